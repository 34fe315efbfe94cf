// What palaverd must refuse: with a clear error, the right exit status (sysexits.h), and
// nothing changed.  Needs root for the full disk and for the unwritable directory; without
// it the one is skipped and the other runs as the caller.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { Server, palaverd, until } from "./lib/server.mjs";
import { history, makeConversation, rest, restRetry, signup } from "./lib/client.mjs";
import { readArchive } from "../ledger/ledger.mjs";

const EX_CANTCREAT = 73, EX_OSERR = 71, EX_TEMPFAIL = 75, EX_NOPERM = 77, EX_CONFIG = 78;
const isRoot = process.getuid() === 0;
const NOBODY = 65534;

/** Every file below dir: name, mode, owner, contents.  The lock holds a pid, so it is left out. */
function picture(dir) {
  if (!fs.existsSync(dir)) return null;
  return fs.readdirSync(dir, { recursive: true }).sort().filter((f) => f !== "palaverd.lock").map((f) => {
    const p = path.join(dir, f), st = fs.statSync(p);
    const sum = st.isFile() ? createHash("sha256").update(fs.readFileSync(p)).digest("hex") : "";
    return `${f} ${st.mode.toString(8)} ${st.uid} ${st.size} ${sum}`;
  });
}

function run(args, { as } = {}) {
  const argv = as ? ["setpriv", `--reuid=${as}`, `--regid=${as}`, "--clear-groups", ...args] : args;
  return spawnSync(argv[0], argv.slice(1), { encoding: "utf8", timeout: 20000 });
}

const endings = new WeakMap();

/** The last thing that was set up is the first to go (t.after alone would begin with the first). */
function atEnd(t, f) {
  if (!endings.has(t)) {
    const list = [];
    endings.set(t, list);
    t.after(async () => {
      while (list.length) await list.pop()();
    });
  }
  endings.get(t).push(f);
}

function tempDir(t, mode = 0o700) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "palaver-test-"));
  fs.chmodSync(dir, mode);
  atEnd(t, () => fs.rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A directory that is given belongs to the caller and is not removed with the server. */
function server(t, options) {
  const s = new Server(options);
  atEnd(t, async () => {
    await s.stop();
    if (!options.dir) await s.remove();
  });
  return s;
}

/** A server that has run, been used and been stopped: something that could be harmed. */
async function used(t) {
  const s = await server(t, { workers: 1 }).start();
  const user = await signup(s.base, "anna");
  const other = await signup(s.base, "bert");
  const c = await makeConversation(s.base, user.token, { type: "direct", members: [other.id] });
  await send(s, user, c.id, "hello");
  await s.stop();
  return s;
}

const send = (s, user, conversation, text, id = randomUUID()) => rest(s.base, "POST", `/v1/conversations/${conversation}/messages`,
  { token: user.token, body: { client_msg_id: id, text } });

function refused(r, status, ...patterns) {
  assert.equal(r.error, undefined, `it ended by itself: ${r.error}`);
  for (const p of patterns) assert.match(r.stderr, p);
  assert.equal(r.status, status, r.stderr);
}

// ---- configuration ----

const broken = [
  ["a wrong type", "workers = many\n", (f) => [`${f}:2: workers: "many" is not a number`]],
  ["a fraction", "workers = 1.5\n", (f) => [`${f}:2: workers: "1.5" is not a whole number`]],
  ["a unit that is missing", "drain_timeout = 10\n", (f) => [`${f}:2: drain_timeout: "10" needs a unit`]],
  ["a value out of bounds", "workers = 4000\n", (f) => [`${f}:2: workers: `, "63"]],
  ["a word that is no choice", 'store = "oracle"\n', (f) => [`${f}:2: store: "oracle" is not one of sqlite`]],
  ["an unknown name", "wrokers = 2\n", (f) => [`${f}:2: `, "wrokers"]],
  ["an unknown name in a section", "chat { rat = 2 }\n", (f) => [`${f}:2: `, "rat"]],
  ["a missing brace", "chat { rate = 2\n", (f) => [`${f}:`, "brace|\\}|not closed"]],
];

for (const [what, line, wanted] of broken) {
  test(`refused: configuration with ${what}`, (t) => {
    const dir = tempDir(t), conf = path.join(dir, "palaver.conf"), state = path.join(dir, "state");
    fs.writeFileSync(conf, `state_dir = "${state}"\n${line}`);
    const escaped = conf.replaceAll(".", "\\.");
    const patterns = wanted(escaped).map((p) => new RegExp(p));
    for (const args of [["-t"], ["-T"], ["-f"]]) refused(run([palaverd, ...args, "-c", conf]), EX_CONFIG, ...patterns);
    assert.equal(fs.existsSync(state), false, "nothing was made");
  });
}

test("refused: a configuration that is not there", (t) => {
  const conf = path.join(tempDir(t), "none.conf");
  refused(run([palaverd, "-t", "-c", conf]), EX_CONFIG, /none\.conf: cannot be read: No such file/);
});

test("refused: a secret that others may read, is too short, or is not there", async (t) => {
  const s = await used(t);
  const key = path.join(s.dir, "key");
  s.options.conf = `accounts { key_file = "${key}" }`;
  await s.writeConf();
  const before = picture(s.stateDir);
  const cases = [
    ["x".repeat(40), 0o644, /key: may be read or written by others \(mode 0644\); chmod 600 it/],
    ["short", 0o600, /key: holds 5 bytes; 32 to 40960 are needed/],
    [null, 0, /key: cannot be read: No such file or directory/],
  ];
  for (const [text, mode, message] of cases) {
    fs.rmSync(key, { force: true });
    if (text) fs.writeFileSync(key, text, { mode });
    for (const args of [["-t"], ["-f"]]) refused(run([palaverd, ...args, "-c", s.confPath]), EX_NOPERM, /accounts\.key_file/, message);
  }
  assert.deepEqual(picture(s.stateDir), before);
});

test("refused: a secret that the user cannot open", { skip: !isRoot && "needs root to become another user" }, (t) => {
  const dir = tempDir(t, 0o755), conf = path.join(dir, "palaver.conf"), program = path.join(dir, "palaverd"), key = path.join(dir, "key");
  fs.copyFileSync(palaverd, program);
  fs.writeFileSync(key, "x".repeat(40), { mode: 0o600 });
  fs.writeFileSync(conf, `state_dir = "${dir}/state"\naccounts { key_file = "${key}" }\n`, { mode: 0o644 });
  refused(run([program, "-t", "-c", conf], { as: NOBODY }), EX_NOPERM, /accounts\.key_file: .*key: cannot be read: Permission denied/);
  assert.equal(fs.existsSync(path.join(dir, "state")), false);
});

// ---- the place where it runs ----

test("refused: a port in use", async (t) => {
  const s = await used(t);
  const before = picture(s.stateDir);
  const holder = net.createServer().listen(s.port, "127.0.0.1");
  await new Promise((r) => holder.once("listening", r));
  const r = run([palaverd, "-f", "-c", s.confPath]);
  await new Promise((f) => holder.close(f));
  refused(r, EX_OSERR, new RegExp(`cannot listen on 127\\.0\\.0\\.1:${s.port}: Address already in use`), /ss -ltnp.*listen\.port/);
  assert.deepEqual(picture(s.stateDir), before);
  await s.start();
  assert.ok(await s.healthy(), "with the port free it starts");
});

test("refused: the port of another palaverd, though both would share it", async (t) => {
  const first = await server(t, { workers: 1 }).start();
  const second = server(t, { workers: 1, port: first.port });
  await second.writeConf();
  refused(run([palaverd, "-f", "-c", second.confPath]), EX_OSERR, /Address already in use/);
  assert.ok(await first.healthy());
});

test("refused: a state directory that is not writable", (t) => {
  const dir = tempDir(t, 0o755), conf = path.join(dir, "palaver.conf"), program = path.join(dir, "palaverd");
  const state = path.join(dir, "state"), as = isRoot ? NOBODY : undefined;
  fs.copyFileSync(palaverd, program);
  fs.mkdirSync(path.join(dir, "run"));
  if (isRoot) fs.chownSync(path.join(dir, "run"), NOBODY, NOBODY);
  fs.writeFileSync(conf, `state_dir = "${state}"\nrun_dir = "${dir}/run"\nuser = ""\nworkers = 1\n`, { mode: 0o644 });
  fs.chmodSync(dir, 0o555);
  refused(run([program, "-f", "-c", conf], { as }), EX_CANTCREAT, new RegExp(`state_dir=${state}`), /Permission denied; create it: install -d/);
  assert.equal(fs.existsSync(state), false);
  fs.chmodSync(dir, 0o755);
  fs.mkdirSync(state, { mode: 0o755 });
  fs.writeFileSync(path.join(state, "mine"), "x");
  fs.chmodSync(state, 0o555);
  const before = picture(state);
  refused(run([program, "-f", "-c", conf], { as }), EX_CANTCREAT, new RegExp(`state_dir=${state} is not writable`), /Permission denied; run: chown/);
  assert.deepEqual(picture(state), before);
  fs.chmodSync(state, 0o755);
});

test("refused: a second palaverd on the same state directory", async (t) => {
  const first = await server(t, { workers: 1 }).start();
  const user = await signup(first.base, "anna");
  const second = server(t, { workers: 1, stateDir: first.stateDir });
  await second.writeConf();
  const names = fs.readdirSync(first.stateDir, { recursive: true }).sort();
  const pid = fs.readFileSync(path.join(first.stateDir, "palaverd.lock"), "utf8");
  const r = run([palaverd, "-f", "-c", second.confPath]);
  refused(r, EX_TEMPFAIL, new RegExp(`another palaverd \\(pid ${first.process.pid}\\) uses state_dir ${first.stateDir}`), /palaverctl shutdown/);
  assert.deepEqual(fs.readdirSync(first.stateDir, { recursive: true }).sort(), names);
  assert.equal(fs.readFileSync(path.join(first.stateDir, "palaverd.lock"), "utf8"), pid);
  const me = await rest(first.base, "GET", "/v1/users/me", { token: user.token });
  assert.equal(me.status, 200, "the first goes on");
});

// ---- a full disk ----

function mountSmall(t, dir, size) {
  const r = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${size},mode=700`, "tmpfs", dir], { encoding: "utf8" });
  if (r.status === 0) atEnd(t, () => spawnSync("umount", [dir]));
  return r.status === 0;
}

/** Fills what is left, to the last block. */
function fill(file) {
  const fd = fs.openSync(file, "w");
  try {
    for (const size of [65536, 4096]) {
      try {
        for (;;) fs.writeSync(fd, Buffer.alloc(size, 0x55));
      } catch (e) {
        if (e.code !== "ENOSPC") throw e;
      }
    }
  } finally {
    fs.closeSync(fd);
  }
}

test("full disk: refused with an error that can be retried, readable, and well again by itself", { timeout: 120000 }, async (t) => {
  const dir = tempDir(t);
  const state = path.join(dir, "state");
  fs.mkdirSync(state);
  if (!mountSmall(t, state, "24m")) return t.skip("cannot mount a tmpfs here; needs root");
  const s = await server(t, { workers: 2, dir, conf: 'spool { segment = "64K" } chat { rate = 100000 burst = 100000 }' }).start();
  const anna = await signup(s.base, "anna"), bert = await signup(s.base, "bert");
  const c = await makeConversation(s.base, anna.token, { type: "direct", members: [bert.id] });
  const sent = new Map(); // client_msg_id -> {text, ack}
  const one = async () => {
    const id = randomUUID(), text = `${sent.size} ${"x".repeat(2000)}`;
    const r = await send(s, anna, c.id, text, id);
    sent.set(id, { text, ack: r.status === 201 || r.status === 200 ? r.body : null });
    return r;
  };
  for (let i = 0; i < 20; i++) assert.equal((await one()).status, 201);

  const ballast = path.join(state, "ballast");
  fill(ballast);
  const no = await until("a message is refused", async () => {
    const r = await one();
    return r.status === 201 ? null : r;
  }, 60000, 0);
  assert.equal(no.status, 503, JSON.stringify(no.body));
  assert.match(no.body.code, /^(storage_full|unavailable)$/);
  assert.ok(no.headers.get("retry-after"), "says when to try again");
  assert.match(no.headers.get("content-type"), /application\/problem\+json/);
  const acked = () => [...sent.values()].filter((m) => m.ack);
  const seen = await history(s.base, bert.token, c.id);
  const readable = new Set(seen.map((ev) => ev.id));
  assert.ok(acked().every((m) => readable.has(m.ack.id)), "what was acknowledged is readable");
  assert.match(s.log, /err=.*(No space left|storage_full|full)/, "the log says why");

  fs.rmSync(ballast);
  await until("a message is accepted again", async () => (await one()).status === 201, 60000, 100);
  for (const [id, m] of sent) { // refused ones, again, with the same id
    if (m.ack) continue;
    const r = await restRetry(s.base, "POST", `/v1/conversations/${c.id}/messages`, { token: anna.token, body: { client_msg_id: id, text: m.text } });
    assert.ok(r.status === 201 || r.status === 200, JSON.stringify(r.body));
    m.ack = r.body;
  }
  const full = await history(s.base, bert.token, c.id);
  const messages = full.filter((ev) => ev.type === "message.created");
  assert.equal(messages.length, sent.size, "each once");
  for (const ev of messages) assert.equal(sent.get(ev.data.client_msg_id).ack.seq, ev.seq);
  const rows = await until("the archive has caught up", () => {
    const l = readArchive(state).filter((r) => r.conversation === c.id);
    return l.length >= full.length && l;
  }, 60000, 200);
  assert.deepEqual(rows.map((r) => r.id), full.map((ev) => ev.id));
  assert.ok(s.status().processes.every((p) => p.state === "ready"));
  console.log(`# refused with ${no.body.code} after ${acked().length} messages; ${sent.size} in the end`);
});

// ---- damage ----

/** All places of a text in the spool's segments, with the segment's name. */
function findInSpool(state, text) {
  const found = [];
  for (const f of fs.readdirSync(path.join(state, "spool"), { recursive: true })) {
    if (!/\.seg$/.test(f)) continue;
    const file = path.join(state, "spool", f), data = fs.readFileSync(file);
    for (let at = data.indexOf(text); at >= 0; at = data.indexOf(text, at + 1)) found.push({ file, at });
  }
  return found;
}

function flip({ file, at }) {
  const fd = fs.openSync(file, "r+"), b = Buffer.alloc(1);
  fs.readSync(fd, b, 0, 1, at);
  b[0] ^= 0x20;
  fs.writeSync(fd, b, 0, 1, at);
  fs.closeSync(fd);
}

test("a damaged spool segment: what is skipped is counted and named, the rest is kept", { timeout: 60000 }, async (t) => {
  const s = await server(t, { workers: 1 }).start();
  const anna = await signup(s.base, "anna"), bert = await signup(s.base, "bert");
  const c = await makeConversation(s.base, anna.token, { type: "direct", members: [bert.id] });
  // The archiver stands still, so that the messages are in the spool alone.
  process.kill(s.processes("archiver")[0].pid, "SIGSTOP");
  const acks = [];
  for (let i = 0; i < 20; i++) {
    const r = await send(s, anna, c.id, `number-${i}-of-twenty`);
    assert.equal(r.status, 201, JSON.stringify(r.body));
    acks.push(r.body);
  }
  const children = s.status().processes.map((p) => p.pid);
  await s.killMaster();
  for (const pid of children) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // it had left already
    }
  }
  await until("all children are gone", () => s.alive().length === 0);
  fs.rmSync(path.join(s.stateDir, "hub.log"), { force: true }); // the hub's own copy would mend it
  const places = findInSpool(s.stateDir, "number-7-of-twenty");
  assert.ok(places.length >= 1, "the message is in the spool");
  for (const p of places) flip(p);

  await s.start();
  const rows = await until("the archive has the others", () => {
    const l = readArchive(s.stateDir).filter((r) => r.conversation === c.id && r.type === 1);
    return l.length >= 19 && l;
  });
  const texts = rows.map((r) => JSON.parse(r.data).text);
  const want = acks.map((_, i) => `number-${i}-of-twenty`).filter((_, i) => i !== 7);
  assert.deepEqual(texts, want, "the good ones are kept, in order; what was damaged is never shown");
  assert.deepEqual(rows.map((r) => r.seq), acks.filter((_, i) => i !== 7).map((a) => a.seq));
  const lines = s.log.split("\n").filter((l) => l.includes("journal.damaged"));
  assert.ok(lines.length > 0, `the log names the damage:\n${s.log}`);
  for (const p of new Set(places.map((x) => x.file))) {
    const mine = lines.filter((l) => l.includes(`file=${p} `) || l.includes(path.basename(p)));
    assert.ok(mine.some((l) => /offset=\d+ bytes=\d+ records=[1-9]/.test(l)), `${p} is named with its count:\n${lines.join("\n")}`);
  }
  const after = await send(s, anna, c.id, "afterwards");
  assert.equal(after.status, 201);
  assert.ok(after.body.seq > acks[19].seq, "numbers go on");
});
