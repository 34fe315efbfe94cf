// The plain page, without a build step; view.js draws it, files.js has the files.  It follows the
// client rule of palaver-protocol(7): an event is taken if it has the next number, ignored if it
// is older, and a hole means sync.  A message is sent again with the same id until it is
// acknowledged.
"use strict";

const $ = (id) => document.getElementById(id);
const state = { user: null, socket: null, conversations: new Map(), current: null, waiting: null, syncing: false, again: false };
const typingTimers = new Map();
const EVENTS = ["message.created", "message.updated", "message.deleted", "reaction.added", "reaction.removed", "conversation.created",
  "conversation.updated", "member.joined", "member.left", "member.updated"]; // those with a number
const EMOJI = ["👍", "❤️", "😂", "🎉"];

// ---- talking to the server ----

class Problem extends Error {
  constructor(problem) {
    const field = problem.errors?.[0];
    super(field ? `${problem.title}: ${field.pointer.slice(1)} (${field.code.replaceAll("_", " ")})` : problem.title);
    this.problem = problem;
  }
}

// The tokens are in cookies, where no script can read them.  What cookies do, another site's
// page could make the browser do as well: so a header shows that it is this page.
async function rest(method, path, body, { signal, retried } = {}) {
  const headers = {}, isFile = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = isFile ? body.type || "application/octet-stream" : "application/json";
  if (method !== "GET") headers["X-Palaver-CSRF"] = "1";
  const r = await fetch(`/v1${path}`, { method, headers, signal, body: body === undefined || isFile ? body : JSON.stringify(body) });
  if (!r.ok && !/json/.test(r.headers.get("Content-Type"))) throw new Problem({ title: `The answer was ${r.status} ${r.statusText}` }); // a proxy's
  const answer = r.status === 204 ? null : await r.json();
  if (r.ok) return answer;
  if (answer.code === "unauthorized" && state.user && !retried && (await refresh())) return rest(method, path, body, { signal, retried: true });
  throw new Problem(answer);
}

let refreshing = null; // which all requests share that find the login expired meanwhile

/** New cookies for old ones.  A refresh token is good once, so the tabs of a browser take turns. */
function refresh() {
  const name = "palaver-refresh";
  const turn = () => (navigator.locks ? navigator.locks.request(name, refreshNow) : refreshNow()); // only https has locks
  refreshing ??= turn().finally(() => (refreshing = null));
  return refreshing;
}

async function refreshNow() {
  const r = await fetch("/v1/auth/refresh", { method: "POST", headers: { "X-Palaver-CSRF": "1" } });
  if (!r.ok) return false;
  state.user = (await r.json()).user;
  return true;
}

/** Is somebody logged in here? */
async function recognized() {
  const r = await fetch("/v1/users/me");
  if (!r.ok) return refresh();
  state.user = await r.json();
  return true;
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const b = crypto.getRandomValues(new Uint8Array(16)); // a page over plain HTTP has no randomUUID
  b[6] = (b[6] & 15) | 64;
  b[8] = (b[8] & 63) | 128;
  const hex = [...b].map((x) => x.toString(16).padStart(2, "0")).join("");
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
}

// ---- the door ----

async function enter(kind) {
  $("door-error").textContent = "";
  if (!$("door-form").reportValidity()) return;
  try {
    const body = { username: $("username").value.trim(), password: $("password").value, cookies: true };
    if (kind === "signup" && $("invitation").value) body.invitation = $("invitation").value.trim();
    const answer = await rest("POST", `/auth/${kind}`, body);
    state.user = answer.user;
    $("password").value = "";
    await begin();
  } catch (e) {
    showDoor();
    if (e.problem?.errors?.[0].pointer === "/invitation") {
      $("invitation-label").hidden = false;
      $("invitation").focus();
    }
    $("door-error").textContent = e instanceof Problem ? e.message : "The server does not answer.";
  }
}

function showDoor() {
  $("app").hidden = true;
  $("door").hidden = false;
  $("username").focus();
}

async function begin() {
  $("door").hidden = true;
  $("app").hidden = false;
  $("me").textContent = state.user.name;
  await loadConversations();
  connect();
}

async function leave() {
  state.socket?.close();
  await rest("POST", "/auth/logout").catch(() => null);
  location.reload();
}

// ---- conversations ----

function titleOf(c) {
  if (c.type !== "direct") return c.name;
  const other = c.members.find((m) => m.user_id !== state.user.id);
  return other ? other.name || other.username : "(me)";
}

function nameOf(c, userId) {
  const m = c.members.find((x) => x.user_id === userId);
  return m ? m.name || m.username : "somebody";
}

/** An entry keeps: members, `last` (the number up to which all is here), events, pending sends. */
function remember(c) {
  const known = state.conversations.get(c.id);
  if (known) Object.assign(known, c);
  else state.conversations.set(c.id, { ...c, last: 0, events: [], pending: [], attached: [], earlier: false, loaded: false });
}

async function loadConversations() {
  let cursor = "";
  do {
    const page = await rest("GET", `/conversations?limit=200${cursor && `&cursor=${encodeURIComponent(cursor)}`}`);
    page.items.forEach(remember);
    cursor = page.next_cursor;
  } while (cursor);
  for (const c of state.conversations.values()) if (!c.loaded) await loadNewest(c);
  drawConversations();
}

async function loadNewest(c) {
  const page = await rest("GET", `/conversations/${c.id}/messages?limit=50`);
  c.events = page.items;
  c.earlier = page.has_more;
  c.last = page.items.length ? page.items.at(-1).seq : 0;
  c.loaded = true;
}

async function loadEarlier() {
  const c = state.current;
  if (!c || !c.events.length) return;
  const height = $("scroll").scrollHeight;
  const page = await rest("GET", `/conversations/${c.id}/messages?limit=50&before=${c.events[0].seq}`);
  c.events = [...page.items, ...c.events];
  c.earlier = page.has_more;
  drawMessages(false);
  $("scroll").scrollTop = $("scroll").scrollHeight - height;
}

async function startConversation() {
  $("new-error").textContent = "";
  const names = $("new-with").value.split(",").map((s) => s.trim().toLowerCase()).filter(Boolean);
  try {
    const ids = [];
    for (const name of names) {
      const found = (await rest("GET", `/users?limit=20&q=${encodeURIComponent(name)}`)).items.find((u) => u.username === name);
      if (!found) throw new Error(`There is no user called ${name}.`);
      ids.push(found.id);
    }
    const body = ids.length === 1 ? { type: "direct", members: ids } : { type: "group", name: names.join(", "), members: ids };
    const c = await rest("POST", "/conversations", body);
    remember(c);
    const mine = state.conversations.get(c.id);
    if (!mine.loaded) await loadNewest(mine);
    $("new-with").value = "";
    open(mine);
  } catch (e) {
    $("new-error").textContent = e.message;
  }
}

/** What is being written stays with its conversation. */
function changeTo(c) {
  if (state.editing) stopEditing();
  if (c === state.current) return;
  setWaiting(null);
  if (state.current) state.current.draft = $("text").value;
  $("text").value = c.draft ?? "";
  state.current = c;
}

function open(c) {
  changeTo(c);
  drawChips(c);
  $("send-error").textContent = "";
  $("app").classList.add("open");
  $("title").textContent = titleOf(c);
  $("send-form").hidden = false;
  $("leave").hidden = c.type === "direct";
  $("typing").textContent = "";
  markRead(c);
  drawConversations();
  drawMessages(true);
  $("text").focus();
}

// ---- what is unread: the server's count, and what has come since ----

const isUnread = (e, c) => e.type === "message.created" && e.data.sender_id !== state.user.id && !e.data.deleted_at &&
  e.seq > (c.last_seq ?? 0) && e.seq > (c.read_seq ?? 0);

function unreadOf(c) {
  return c === state.current && !document.hidden ? 0 : (c.unread_count ?? 0) + c.events.filter((e) => isUnread(e, c)).length;
}

/** true: that is new, and the list is to be drawn. */
function haveRead(c, seq) {
  if (seq <= (c.read_seq ?? 0)) return false;
  c.read_seq = seq;
  if (seq >= (c.last_seq ?? 0)) c.unread_count = 0;
  return true;
}

/** Tells the server once in half a second at most; it never goes back.  The answer is haveRead()'s. */
function markRead(c) {
  if (c !== state.current || document.hidden || c.last <= (c.read_seq ?? 0)) return false;
  clearTimeout(c.reading);
  c.reading = setTimeout(() => {
    if (state.socket?.connected) state.socket.emit("read.set", { conversation_id: c.id, seq: c.last }, () => {});
  }, 500);
  return haveRead(c, c.last);
}

// ---- events ----

/** Does to a message what the event says; false: it is no change of a message. */
function change(c, event) {
  const { message_id, emoji, sender_id, text } = event.data;
  if (!message_id) return false;
  const data = c.events.find((e) => e.id === message_id)?.data;
  if (!data || data.deleted_at) return true;
  if (event.type === "message.updated") Object.assign(data, { text, edited_at: event.created_at });
  else if (event.type === "message.deleted") Object.assign(data, { text: "", deleted_at: event.created_at, reactions: [], files: [] });
  else {
    const users = new Map((data.reactions ?? []).map((r) => [r.emoji, r.user_ids.filter((id) => r.emoji !== emoji || id !== sender_id)]));
    if (event.type === "reaction.added") users.set(emoji, [...(users.get(emoji) ?? []), sender_id]);
    data.reactions = [...users].filter(([, ids]) => ids.length).map(([e, ids]) => ({ emoji: e, user_ids: ids }));
  }
  if (c === state.current) redrawMessage(c, message_id);
  return true;
}

function take(c, event) {
  c.last = event.seq;
  c.events.push(event);
  if (event.type === "message.created") c.pending = c.pending.filter((p) => p.id !== event.data.client_msg_id);
  if (event.type === "member.left" && event.data.members.some((m) => m.user_id === state.user.id)) return drop(c);
  if (event.type.startsWith("member.") || event.type === "conversation.updated") learn(c);
  if (!change(c, event) && c === state.current) appendEvent(c, event);
  markRead(c);
  if (!state.syncing) drawConversations();
}

async function learn(c) {
  const fresh = await rest("GET", `/conversations/${c.id}`).catch(() => null);
  if (!fresh || state.conversations.get(c.id) !== c) return; // dropped meanwhile
  remember(fresh);
  drawConversations();
  if (c !== state.current) return;
  $("title").textContent = titleOf(c);
  drawMessages(false);
}

/** The user is no member any more. */
function drop(c) {
  state.conversations.delete(c.id);
  for (const a of c.attached) abandon(c, a);
  if (c === state.current) {
    if (state.editing) stopEditing();
    state.current = null;
    $("text").value = "";
    setWaiting(null);
    $("app").classList.remove("open");
    $("title").textContent = "Choose a conversation";
    $("send-form").hidden = $("leave").hidden = $("older").hidden = true;
    $("messages").replaceChildren();
    $("typing").textContent = "";
  }
  drawConversations();
}

async function leaveConversation() {
  const c = state.current;
  if (!c || !confirm(`Leave ${titleOf(c)}?`)) return;
  try {
    await rest("DELETE", `/conversations/${c.id}/members/me`);
    drop(c);
  } catch (e) {
    alert(e.message);
  }
}

function onEvent(event) {
  const c = state.conversations.get(event.conversation_id);
  if (!c) {
    loadConversations().then(sync, () => null); // a new one: somebody added us
    return;
  }
  if (event.seq <= c.last) return;
  if (event.seq === c.last + 1 && !state.syncing) take(c, event);
  else sync();
}

/** What followed in these conversations (at most 200), until there is no more. */
async function syncSome(some) {
  let more = true;
  while (more) {
    const conversations = Object.fromEntries(some.map((c) => [c.id, c.last]));
    const r = await state.socket.timeout(10000).emitWithAck("sync", { conversations });
    if (r.error) throw new Problem(r.error);
    for (const event of r.data.events) {
      const c = state.conversations.get(event.conversation_id);
      if (c && event.seq > c.last) take(c, event);
    }
    r.data.gone.forEach((id) => state.conversations.has(id) && drop(state.conversations.get(id)));
    some = some.filter((c) => state.conversations.has(c.id));
    more = r.data.more && some.length > 0;
  }
}

async function sync() {
  if (state.syncing) {
    state.again = true;
    return;
  }
  state.syncing = true;
  do {
    state.again = false;
    try {
      const all = [...state.conversations.values()];
      for (let i = 0; i < all.length; i += 200) await syncSome(all.slice(i, i + 200));
    } catch {
      await new Promise((f) => setTimeout(f, 1000));
      state.again = state.socket.connected;
    }
  } while (state.again);
  state.syncing = false;
  drawConversations();
}

/** The server has cut the socket: because it wants another one, or because the login is over. */
async function comeBack() {
  try {
    if (!(await recognized())) return location.reload();
  } catch {
    // it is away: the next connect waits for it
  }
  setTimeout(() => state.socket.connect(), 1000);
}

function connect() {
  state.socket = io();
  state.socket.on("connect", async () => {
    $("connection").textContent = "";
    await loadConversations().catch(() => null);
    await sync();
    for (const c of state.conversations.values()) c.pending.forEach((p) => transmit(c, p));
  });
  state.socket.on("disconnect", (reason) => {
    $("connection").textContent = "connecting…";
    if (reason === "io server disconnect") comeBack(); // any other the client library sees to
  });
  state.socket.on("connect_error", async (e) => {
    $("connection").textContent = "connecting…";
    if (state.socket.active) return; // the client library tries again by itself
    try {
      if (e.message === "unauthorized" && !(await refresh())) return location.reload();
    } catch {
      // the server went away meanwhile
    }
    setTimeout(() => state.socket.connect(), e.message === "unauthorized" ? 0 : 2000);
  });
  for (const type of EVENTS) state.socket.on(type, onEvent);
  state.socket.on("read.updated", (r) => {
    const c = state.conversations.get(r.conversation_id);
    if (c && r.user_id === state.user.id && haveRead(c, r.seq)) drawConversations();
  });
  state.socket.on("sync.required", sync);
  state.socket.on("typing.started", (t) => showTyping(t, true));
  state.socket.on("typing.stopped", (t) => showTyping(t, false));
}

// ---- sending ----

function send() {
  const c = state.current;
  const text = $("text").value;
  if (!c || (!text.trim() && (state.editing || !c.attached.length))) return;
  if (state.editing) {
    request("message.edit", { message_id: state.editing, text });
    stopEditing();
    return;
  }
  if (!isUploaded(c)) return;
  const p = { id: uuid(), text: text.trim() && text, files: takeAttached(c), state: "sending…" };
  c.pending.push(p);
  $("text").value = "";
  setTyping(false);
  drawMessages(true);
  transmit(c, p);
}

async function transmit(c, p) {
  if (p.busy) return;
  p.busy = true;
  const files = p.files.length ? p.files.map((f) => f.id) : undefined;
  while (c.pending.includes(p) && state.socket.connected && p.state !== "not sent") {
    try {
      const r = await state.socket.timeout(10000).emitWithAck("message.send", { conversation_id: c.id, client_msg_id: p.id, text: p.text, files });
      if (r.data) {
        p.state = "sent";
        break;
      }
      if (r.error.status === 503 || r.error.status === 429) await new Promise((f) => setTimeout(f, 1000 * (r.error.retry_after || 1)));
      else {
        p.state = "not sent";
        p.why = new Problem(r.error).message;
      }
    } catch {
      // no answer: the same id again, or after the next connect
    }
  }
  p.busy = false;
  if (c === state.current) drawMessages(false);
}

function sendAgain(c, p) {
  p.state = "sending…";
  p.why = "";
  drawMessages(false);
  transmit(c, p);
}

// ---- changing what was sent ----

async function request(name, body) {
  $("send-error").textContent = "";
  try {
    const r = await state.socket.timeout(10000).emitWithAck(name, { ...body, client_msg_id: uuid() });
    if (r.error) throw new Problem(r.error);
  } catch (e) {
    $("send-error").textContent = e instanceof Problem ? e.message : "The server does not answer.";
  }
}

function startEditing(event) {
  setWaiting(null);
  if (!state.editing) state.current.draft = $("text").value;
  state.editing = event.id;
  $("editing").hidden = false;
  $("text").value = event.data.text;
  $("text").focus();
}

function stopEditing() {
  state.editing = null;
  $("editing").hidden = true;
  $("text").value = state.current?.draft ?? "";
}

function remove(event) {
  if (confirm("Delete this message for everybody?")) request("message.delete", { message_id: event.id });
}

function react(event, emoji) {
  const mine = event.data.reactions?.find((r) => r.emoji === emoji)?.user_ids.includes(state.user.id);
  request(mine ? "reaction.remove" : "reaction.add", { message_id: event.id, emoji });
}

// ---- typing ----

let typingUntil = 0;
function setTyping(typing) {
  if (!state.current || !state.socket?.connected) return;
  const now = Date.now();
  if (typing && now < typingUntil) return;
  typingUntil = typing ? now + 3000 : 0;
  state.socket.emit("typing.set", { conversation_id: state.current.id, typing });
}

function showTyping({ conversation_id, user_id }, typing) {
  const c = state.conversations.get(conversation_id);
  if (!c || c !== state.current) return;
  clearTimeout(typingTimers.get(conversation_id));
  $("typing").textContent = typing ? `${nameOf(c, user_id)} is typing…` : "";
  if (typing) typingTimers.set(conversation_id, setTimeout(() => ($("typing").textContent = ""), 6000));
}

// ---- begin ----

$("door-form").addEventListener("submit", (e) => { e.preventDefault(); enter("login"); });
$("signup").addEventListener("click", () => enter("signup"));
$("logout").addEventListener("click", leave);
$("new-form").addEventListener("submit", (e) => { e.preventDefault(); startConversation(); });
$("send-form").addEventListener("submit", (e) => { e.preventDefault(); send(); });
$("text").addEventListener("input", () => setTyping($("text").value !== ""));
$("older").addEventListener("click", () => loadEarlier().catch(() => null));
$("leave").addEventListener("click", leaveConversation);
$("edit-cancel").addEventListener("click", stopEditing);
$("text").addEventListener("keydown", (e) => {
  if (e.key !== "Escape") return;
  setWaiting(null);
  if (state.editing) stopEditing();
});
document.addEventListener("visibilitychange", () => state.current && markRead(state.current) && drawConversations());
$("back").addEventListener("click", () => $("app").classList.remove("open"));
beginFiles();

recognized().then((known) => (known ? begin() : showDoor()), showDoor);
