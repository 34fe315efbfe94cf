// Files on the plain page: what is attached to the next message of a conversation, and the
// files of the messages.  Shares $, state and the requests with palaver.js, which is loaded
// after it and calls beginFiles().
//
// An attachment is { file, li, error, id }, in `attached` of its conversation.  It is uploaded
// when it is chosen; `id` is there when the server has it, `error` says why it has not.  A send
// waits until all have their ids (`state.waiting` is the conversation whose send waits).
"use strict";

const MAX_FILES = 10; // of a message, as the server has it
const UPLOADS_AT_ONCE = 3; // of this page; the server takes 4 of a user
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]; // the server lets no browser show others

function sizeOf(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let n = bytes, unit = 0;
  if (n === 1) return "1 byte";
  while (Math.round(n) >= 1000 && unit < units.length - 1) {
    n /= 1000;
    unit++;
  }
  return `${unit && n < 10 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

// ---- the next message ----

function attach(files) {
  const c = state.current;
  if (!c || !files.length) return;
  const free = MAX_FILES - c.attached.length;
  $("send-error").textContent = files.length > free ? `A message has at most ${MAX_FILES} files.` : "";
  for (const file of files.slice(0, free)) {
    const a = { file };
    a.li = makeChip(c, a);
    c.attached.push(a);
    upload(c, a);
  }
  drawChips(c);
  $("text").focus();
}

// The server takes few uploads of a user at once, so the others wait here.
const turns = { running: 0, waiting: [] };

function takeTurn() {
  if (turns.running >= UPLOADS_AT_ONCE) return new Promise((f) => turns.waiting.push(f));
  turns.running++;
}

function endTurn() {
  const next = turns.waiting.shift();
  if (next) next();
  else turns.running--;
}

/** Until it is there, or cannot be: "busy" means later. */
async function transfer(c, a) {
  await a.file.slice(0, 1).arrayBuffer().catch(() => { throw new Problem({ title: "This cannot be read" }); }); // a folder
  while (c.attached.includes(a)) {
    try {
      await rest("GET", "/users/me"); // an expired login is noticed before all of the file is sent
      return (await rest("POST", `/files?name=${encodeURIComponent(a.file.name)}`, a.file, { signal: a.upload.signal })).id;
    } catch (e) {
      const { status, retry_after } = e.problem ?? {};
      if (status !== 429 && status !== 503) throw e;
      await new Promise((f) => setTimeout(f, 1000 * (retry_after || 1)));
    }
  }
}

async function upload(c, a) {
  a.error = "";
  a.upload = new AbortController();
  drawChip(a);
  await takeTurn();
  try {
    a.id = await transfer(c, a);
  } catch (e) {
    a.error = e instanceof Problem ? e.message : "The server does not answer.";
  }
  endTurn();
  if (!c.attached.includes(a)) return discard(a); // taken away meanwhile
  drawChip(a);
  goOn(c);
}

/** Nobody waits for it: what is not removed now the server removes in a day. */
function discard(a) {
  if (a.id) rest("DELETE", `/files/${a.id}`).catch(() => null);
}

function abandon(c, a) {
  c.attached = c.attached.filter((other) => other !== a);
  a.upload.abort();
  discard(a);
}

function takeAway(c, a) {
  abandon(c, a);
  drawChips(c);
  $("send-error").textContent = "";
  $("text").focus();
  goOn(c);
}

function makeChip(c, a) {
  const { name } = a.file;
  const label = document.createElement("span");
  label.className = "name";
  label.textContent = name;
  a.status = document.createElement("span");
  const away = button("×", "", () => takeAway(c, a));
  away.setAttribute("aria-label", `Remove ${name}`);
  a.again = button("Try again", "", () => {
    away.focus(); // this button goes
    upload(c, a);
  });
  a.again.setAttribute("aria-label", `Try again: ${name}`);
  const li = document.createElement("li");
  li.append(label, a.status, a.again, away);
  return li;
}

function drawChip(a) {
  a.status.textContent = a.error || (a.id ? sizeOf(a.file.size) : "uploading…");
  a.status.className = a.error ? "error" : "hint";
  a.again.hidden = !a.error;
}

function drawChips(c) {
  if (c === state.current) keepEnd(() => $("chips").replaceChildren(...c.attached.map((a) => a.li)));
}

/** May a message go with what is attached?  If not, it waits, or the user is told what to do. */
function isUploaded(c) {
  const failed = c.attached.some((a) => a.error);
  $("send-error").textContent = failed ? "A file was not uploaded: try again, or remove it." : "";
  if (!failed && c.attached.some((a) => !a.id)) setWaiting(c);
  return c.attached.every((a) => a.id);
}

function setWaiting(c) {
  state.waiting = c;
  $("waiting").hidden = !c;
  $("text").readOnly = Boolean(c);
}

/** One more is uploaded, has failed or was taken away: is that what a send waits for? */
function goOn(c) {
  if (state.waiting !== c || !c.attached.every((a) => a.id || a.error)) return;
  setWaiting(null);
  send();
}

/** The files go with a message. */
function takeAttached(c) {
  const files = c.attached.map(({ id, file }) => ({ id, name: file.name }));
  c.attached = [];
  drawChips(c);
  return files;
}

// ---- the files of a message ----

// The browser fetches these itself, so a request for what is known of the file goes before, or
// after a failure: rest() sees to the login if the access token has expired.

function drawPicture(f) {
  const img = document.createElement("img");
  img.loading = "lazy";
  img.draggable = false; // else it could be dropped as a new file
  img.alt = f.name;
  img.addEventListener("error", () => {
    rest("GET", `/files/${f.id}`).then(() => (img.src = contentOf(f)), () => null);
  }, { once: true });
  img.src = contentOf(f);
  return img;
}

const contentOf = (f) => `/v1/files/${f.id}/content`;

function drawFile(f) {
  const link = document.createElement("a");
  link.href = contentOf(f);
  if (PICTURES.includes(f.type)) {
    link.target = "_blank";
    link.append(drawPicture(f));
  } else {
    link.download = f.name;
    link.textContent = `${f.name} (${sizeOf(f.size)})`;
  }
  link.addEventListener("click", async (e) => {
    if (!e.isTrusted) return; // the second time
    e.preventDefault();
    await rest("GET", `/files/${f.id}`).catch(() => null);
    link.dispatchEvent(new MouseEvent("click", e));
  });
  return link;
}

function drawFiles(files) {
  const box = document.createElement("div");
  box.className = "files";
  box.append(...files.map(drawFile));
  return box;
}

// ---- begin ----

function beginFiles() {
  const here = $("conversation");
  const over = (e) => state.current !== null && here.contains(e.target);
  const hasFiles = (e) => e.dataTransfer.types.includes("Files");
  $("attach").addEventListener("click", () => $("files").click());
  $("files").addEventListener("change", () => {
    attach([...$("files").files]);
    $("files").value = ""; // the same file can be chosen again
  });
  $("text").addEventListener("paste", (e) => {
    const { files, types } = e.clipboardData;
    if (!files.length || types.includes("text/plain")) return; // office programs add a picture of the text
    e.preventDefault();
    attach([...files]);
  });
  document.addEventListener("dragover", (e) => {
    if (!hasFiles(e)) return;
    e.preventDefault(); // else the browser would leave the page and show the file, wherever it is dropped
    e.dataTransfer.dropEffect = over(e) ? "copy" : "none";
    here.classList.toggle("dropping", over(e));
  });
  document.addEventListener("dragleave", (e) => !e.relatedTarget && here.classList.remove("dropping"));
  document.addEventListener("drop", (e) => {
    if (!hasFiles(e)) return;
    e.preventDefault();
    here.classList.remove("dropping");
    if (over(e)) attach([...e.dataTransfer.files]);
  });
  $("waiting-cancel").addEventListener("click", () => {
    setWaiting(null);
    $("text").focus();
  });
}
