// SPDX-License-Identifier: ISC
// Logins: tokens, their rotation, and how sessions end: on every worker, whatever dies meanwhile.
import assert from "node:assert";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { io } from "socket.io-client";
import { rest, restRetry, signup } from "./lib/client.mjs";
import { Server, palaverctl, until } from "./lib/server.mjs";

const PASSWORD = "correct horse";
const WORKERS = 4;
const GRACE = 1000;
const SOON = 2000; // an end is everywhere within this
let server;

test.before(async () => {
  server = await new Server({ workers: WORKERS, conf: `accounts { refresh_grace = ${GRACE}ms }` }).start();
});
test.after(() => server.remove());

const api = (method, path, options) => rest(server.base, method, `/v1${path}`, options);
const login = async (username, password = PASSWORD) => (await api("POST", "/auth/login", { body: { username, password } })).body;
const refresh = (refresh_token) => api("POST", "/auth/refresh", { body: { refresh_token } });
const logout = (refresh_token) => api("POST", "/auth/logout", { body: { refresh_token } });
const me = (token) => api("GET", "/users/me", { token });
const sessions = async (token) => (await api("GET", "/users/me/sessions", { token })).body.items;
const later = (ms) => new Promise((f) => setTimeout(f, ms)); // time itself is what is waited for

/** The session that an access token belongs to. */
const claims = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url"));

const slotOf = (socket) => {
  const sid = socket.io.engine.id;
  return (sid.charCodeAt(0) - 65) * 26 + sid.charCodeAt(1) - 65; // two letters name the owner
};

/** A socket that notes when and why it was ended. */
function connect(token, transports = ["websocket"]) {
  const socket = io(server.base, { transports, auth: { token }, forceNew: true, reconnection: false });
  socket.on("session.ended", (e) => (socket.ended = e.reason));
  socket.on("disconnect", () => (socket.cut = Date.now()));
  return new Promise((resolve, reject) => {
    socket.on("connect", () => resolve(socket));
    socket.on("connect_error", (e) => reject(e));
  });
}

/** Sockets of this login on every worker (the kernel chooses, so it may take a few). */
async function everywhere(t, token) {
  const sockets = [];
  t.after(() => sockets.forEach((s) => s.close()));
  for (let i = 0; new Set(sockets.map(slotOf)).size < WORKERS; i++) {
    assert.ok(i < 200, "200 sockets and not one on each worker");
    sockets.push(await connect(token));
  }
  return sockets;
}

async function allEnd(sockets, reason, since = Date.now()) {
  await until("every socket is cut", () => sockets.every((s) => s.cut), 10000);
  const slowest = Math.max(...sockets.map((s) => s.cut)) - since;
  assert.ok(slowest < SOON, `the last socket was cut after ${slowest} ms`);
  assert.deepEqual([...new Set(sockets.map((s) => s.ended))], [reason]);
}

/** No worker takes the token, soon: asked on new connections until each has answered surely. */
async function refusedEverywhere(token) {
  const from = Date.now();
  for (let inARow = 0; inARow < 60; inARow++) {
    const r = await fetch(`${server.base}/v1/users/me`, { headers: { authorization: `Bearer ${token}`, connection: "close" } });
    if (r.status === 401) continue;
    assert.ok(Date.now() - from < SOON, `${r.status} after ${Date.now() - from} ms`);
    inARow = -1; // another worker hears of it a moment later
  }
}

// ---- refresh ----

test("a login gives two tokens in the body, and each refresh two new ones", async () => {
  const ann = await signup(server.base, "ann");
  const l = await login("ann");
  assert.equal(l.user.id, ann.id);
  assert.equal(l.token_type, "Bearer");
  assert.equal(l.expires_in, 900);
  assert.equal((await me(l.access_token)).body.id, ann.id);
  let last = l.refresh_token;
  for (let i = 0; i < 3; i++) {
    const r = await refresh(last);
    assert.equal(r.status, 200);
    assert.equal(r.body.user.id, ann.id);
    assert.notEqual(r.body.refresh_token, last);
    assert.equal(claims(r.body.access_token).sid, claims(l.access_token).sid);
    assert.equal((await me(r.body.access_token)).status, 200);
    last = r.body.refresh_token;
  }
  assert.equal((await logout(last)).status, 204);
  assert.equal((await refresh(last)).body.code, "unauthorized");
  assert.equal((await me(l.access_token)).body.code, "unauthorized");
});

test("what is no refresh token is refused", async () => {
  assert.equal((await api("POST", "/auth/refresh", { body: { refresh_token: 1 } })).body.errors[0].pointer, "/refresh_token");
  assert.equal((await refresh("x".repeat(43))).body.code, "unauthorized");
  assert.equal((await refresh("x".repeat(1000))).body.code, "unauthorized");
  assert.equal((await refresh("")).body.code, "unauthorized");
  assert.equal((await api("POST", "/auth/refresh")).body.code, "unauthorized");
});

test("within the grace a spent token gives the same successor again, and the session goes on", async () => {
  await signup(server.base, "tabs");
  const l = await login("tabs");
  const answers = await Promise.all(Array.from({ length: 8 }, () => refresh(l.refresh_token)));
  assert.deepEqual(answers.map((r) => r.status), Array(8).fill(200));
  assert.equal(new Set(answers.map((r) => r.body.refresh_token)).size, 1);
  const next = await refresh(answers[0].body.refresh_token);
  assert.equal(next.status, 200);
  const behind = await refresh(l.refresh_token); // its successor is spent, too
  assert.equal(behind.body.code, "unauthorized");
  assert.equal((await refresh(next.body.refresh_token)).status, 200);
});

test("a spent token that comes after the grace ends its session on every worker", async (t) => {
  await signup(server.base, "stolen");
  const l = await login("stolen"), other = await login("stolen");
  const r = await refresh(l.refresh_token);
  const sockets = await everywhere(t, r.body.access_token);
  const bystander = await connect(other.access_token);
  t.after(() => bystander.close());
  await later(GRACE);
  const since = Date.now();
  const reused = await refresh(l.refresh_token);
  assert.equal(reused.status, 401);
  assert.equal(reused.body.code, "token_reused");
  await allEnd(sockets, "token_reused", since);
  await refusedEverywhere(r.body.access_token);
  assert.equal((await refresh(r.body.refresh_token)).body.code, "unauthorized");
  assert.equal((await refresh(l.refresh_token)).body.code, "unauthorized");
  await assert.rejects(connect(r.body.access_token));
  assert.ok(bystander.connected && (await me(other.access_token)).status === 200, "the other login is untouched");
});

// ---- ends ----

test("logout ends the session's sockets and access tokens everywhere", async (t) => {
  await signup(server.base, "leaver");
  const l = await login("leaver");
  const sockets = await everywhere(t, l.access_token);
  const since = Date.now();
  assert.equal((await logout(l.refresh_token)).status, 204);
  await allEnd(sockets, "logged_out", since);
  await refusedEverywhere(l.access_token);
});

test("a user sees the sessions, ends one, and ends the others", async (t) => {
  const r = await fetch(`${server.base}/v1/auth/signup`, {
    method: "POST",
    headers: { "content-type": "application/json", "user-agent": "Browser/1 \u00e9\u00ff" },
    body: JSON.stringify({ username: "devices", password: PASSWORD }),
  });
  const first = (await r.json()).access_token;
  const second = await login("devices"), third = await login("devices");
  const list = await sessions(first);
  assert.equal(list.length, 3);
  const mine = list.filter((s) => s.current);
  assert.equal(mine.length, 1);
  assert.equal(mine[0].id, claims(first).sid);
  assert.equal(mine[0].address, "127.0.0.1");
  assert.equal(mine[0].agent, "Browser/1 ??");
  assert.match(mine[0].created_at, /^\d{4}-.*Z$/);
  assert.match(mine[0].used_at, /^\d{4}-.*Z$/);
  assert.deepEqual(Object.keys(mine[0]).sort(), ["address", "agent", "created_at", "current", "id", "used_at"]);

  const socket = await connect(second.access_token), kept = await connect(first);
  t.after(() => kept.close());
  const stranger = await signup(server.base, "stranger");
  const id = claims(second.access_token).sid;
  assert.equal((await api("DELETE", `/users/me/sessions/${id}`, { token: stranger.token })).status, 404);
  assert.equal((await api("DELETE", "/users/me/sessions/nonsense", { token: first })).status, 404);
  const since = Date.now();
  assert.equal((await api("DELETE", `/users/me/sessions/${id}`, { token: first })).status, 204);
  await allEnd([socket], "revoked", since);
  assert.equal((await api("DELETE", `/users/me/sessions/${id}`, { token: first })).status, 404);
  assert.equal((await me(third.access_token)).status, 200);

  assert.equal((await api("DELETE", "/users/me/sessions", { token: first })).status, 204);
  await refusedEverywhere(third.access_token);
  assert.deepEqual((await sessions(first)).map((s) => s.id), [mine[0].id]);
  assert.ok(kept.connected);
});

test("a new password costs the current one, ends the other sessions and keeps this one", async (t) => {
  await signup(server.base, "changer");
  const here = await login("changer"), there = await login("changer");
  const put = (token, current_password, new_password) => api("PUT", "/users/me/password", { token, body: { current_password, new_password } });
  assert.equal((await put(here.access_token, "wrong password", "another horse")).body.code, "bad_credentials");
  assert.equal((await put(here.access_token, PASSWORD, "short")).body.errors[0].pointer, "/new_password");
  assert.equal((await put(here.access_token, "x".repeat(500), "another horse")).body.code, "bad_credentials");
  assert.equal((await put("nonsense", PASSWORD, "another horse")).status, 401);
  const kept = await connect(here.access_token);
  t.after(() => kept.close());
  const sockets = await everywhere(t, there.access_token);
  const since = Date.now();
  assert.equal((await put(here.access_token, PASSWORD, "another horse")).status, 204);
  await allEnd(sockets, "password_changed", since);
  await refusedEverywhere(there.access_token);
  assert.equal((await refresh(there.refresh_token)).status, 401);
  assert.equal((await me(here.access_token)).status, 200);
  assert.ok(kept.connected);
  assert.equal((await refresh(here.refresh_token)).status, 200);
  assert.equal((await login("changer")).code, "bad_credentials");
  assert.equal((await login("changer", "another horse")).user.username, "changer");
});

for (const [command, reason] of [["lock", "locked"], ["passwd", "password_changed"]]) {
  test(`the administrator's user ${command} ends all logins everywhere`, async (t) => {
    await signup(server.base, `by-${command}`);
    const l = await login(`by-${command}`);
    const sockets = await everywhere(t, l.access_token);
    const since = Date.now();
    const r = server.ctl(["user", command, `by-${command}`], "another horse\n");
    assert.equal(r.status, 0, r.stderr);
    await allEnd(sockets, reason, since);
    await refusedEverywhere(l.access_token);
  });
}

test("who deactivates the account is cut everywhere", async (t) => {
  await signup(server.base, "gone");
  const l = await login("gone");
  const sockets = await everywhere(t, l.access_token);
  const since = Date.now();
  const r = await api("DELETE", "/users/me", { token: l.access_token, body: { password: PASSWORD } });
  assert.equal(r.status, 204);
  await allEnd(sockets, "deactivated", since);
  await refusedEverywhere(l.access_token);
});

test("a socket that has moved to another worker goes with its session", async (t) => {
  await signup(server.base, "mover");
  const l = await login("mover");
  const moved = [];
  t.after(() => moved.forEach((s) => s.close()));
  for (let i = 0; i < 12; i++) {
    const s = await connect(l.access_token, ["polling", "websocket"]);
    moved.push(s);
    if (s.io.engine.transport.name !== "websocket") await new Promise((f) => s.io.engine.once("upgrade", f));
  }
  const since = Date.now();
  await logout(l.refresh_token);
  await allEnd(moved, "logged_out", since);
});

test("a polling client is told why and cut, too", async () => {
  await signup(server.base, "poller");
  const l = await login("poller");
  const pollers = [];
  for (let i = 0; i < 10; i++) pollers.push(await connect(l.access_token, ["polling"]));
  const since = Date.now();
  await logout(l.refresh_token);
  await allEnd(pollers, "logged_out", since);
});

// ---- the administrator ----

const ctl = (...args) => {
  const r = server.ctl(["--json", ...args]);
  assert.equal(r.status, 0, r.stdout + r.stderr);
  return JSON.parse(r.stdout).data;
};

test("the administrator lists a user's sessions, kills one, revokes all", async (t) => {
  await signup(server.base, "watched");
  const one = await login("watched"), two = await login("watched");
  const { items } = ctl("session", "list", "watched");
  assert.equal(items.length, 3);
  assert.ok(items.some((s) => s.id === claims(one.access_token).sid && !s.current));
  assert.match(server.ctl(["session", "list", "watched"]).stdout, /ses_\w+ .*127\.0\.0\.1/);
  const socket = await connect(one.access_token);
  let since = Date.now();
  assert.deepEqual(ctl("session", "kill", claims(one.access_token).sid), { ended: 1 });
  await allEnd([socket], "revoked", since);
  assert.equal(server.ctl(["session", "kill", claims(one.access_token).sid]).status, 67);
  assert.equal(server.ctl(["session", "kill", "x"]).status, 67);
  assert.equal((await me(two.access_token)).status, 200);
  const sockets = await everywhere(t, two.access_token);
  since = Date.now();
  assert.equal(server.ctl(["user", "revoke", "watched"]).stdout, "ended 2 logins\n");
  await allEnd(sockets, "revoked", since);
  await refusedEverywhere(two.access_token);
  assert.deepEqual(ctl("session", "list", "watched").items, []);
  for (const args of [["user", "revoke"], ["session", "list"], ["kick"]]) assert.equal(server.ctl([...args, "nobody"]).status, 67);
  assert.equal((await login("watched")).user.username, "watched");
});

test("kick cuts a user's sockets on every worker and ends no login", async (t) => {
  await signup(server.base, "kicked");
  const l = await login("kicked"), other = await signup(server.base, "unkicked");
  const sockets = await everywhere(t, l.access_token), bystander = await connect(other.token);
  t.after(() => bystander.close());
  const since = Date.now();
  assert.equal(server.ctl(["kick", "kicked"]).stdout, "done\n");
  await allEnd(sockets, undefined, since);
  assert.equal((await me(l.access_token)).status, 200);
  const again = await connect(l.access_token);
  t.after(() => again.close());
  assert.ok(bystander.connected);
});

// ---- keys ----

const kid = (token) => JSON.parse(Buffer.from(token.split(".")[0], "base64url")).kid;

test("a rotation of the keys logs nobody out, and every worker signs with the new one", async (t) => {
  await signup(server.base, "keys");
  const l = await login("keys");
  const before = ctl("key", "list").keys;
  assert.equal(kid(l.access_token), before[0].id);
  assert.ok(before[0].signs);
  const sockets = await everywhere(t, l.access_token);
  const { id } = ctl("key", "rotate");
  const after = ctl("key", "list").keys;
  assert.deepEqual(after.map((k) => [k.id, k.signs]), [[id, true], ...before.map((k) => [k.id, false])]);
  for (let i = 0; i < 40; i++) {
    const r = await fetch(`${server.base}/v1/auth/login`, {
      method: "POST",
      headers: { "content-type": "application/json", connection: "close" },
      body: JSON.stringify({ username: "keys", password: PASSWORD }),
    });
    assert.equal(kid((await r.json()).access_token), id);
    const old = await fetch(`${server.base}/v1/users/me`, { headers: { authorization: `Bearer ${l.access_token}`, connection: "close" } });
    assert.equal(old.status, 200);
  }
  assert.ok(sockets.every((s) => s.connected));
  assert.equal((await refresh(l.refresh_token)).status, 200);
  const file = path.join(server.stateDir, "token.keys"), text = fs.readFileSync(file, "utf8");
  assert.equal(fs.statSync(file).mode & 0o777, 0o600);
  assert.match(text, new RegExp(`^palaver-keys 1\n(#.*\n)*${id} \\d{4}-.*Z [0-9a-f]{64}\n${before[0].id} `));
  const hex = text.match(/[0-9a-f]{64}/g);
  for (const args of [["key", "list"], ["--json", "key", "list"], ["key", "rotate"]])
    for (const secret of hex) assert.ok(!server.ctl(args).stdout.includes(secret));
});

test("worker by worker: what one signs with the new key every other takes at once", async () => {
  await signup(server.base, "step");
  const answers = [];
  let going = true;
  const asker = async () => {
    while (going) {
      const l = await restRetry(server.base, "POST", "/v1/auth/login", { body: { username: "step", password: PASSWORD } });
      answers.push((await restRetry(server.base, "GET", "/v1/users/me", { token: l.body.access_token })).status);
    }
  };
  const askers = Array.from({ length: 4 }, asker);
  for (let i = 0; i < 6; i++) {
    const answered = answers.length;
    const r = await new Promise((f) => spawn(palaverctl, ["-c", server.confPath, "key", "rotate"]).on("exit", f));
    assert.equal(r, 0);
    await until("more was asked", () => answers.length > answered + 8);
  }
  going = false;
  await Promise.all(askers);
  assert.deepEqual(answers.filter((s) => s !== 200), []);
});

test("a worker that stands still is waited for, and one that starts gets all keys", async () => {
  await signup(server.base, "late");
  const l = await login("late"), before = kid(l.access_token);
  const victim = server.processes("worker")[3].pid;
  process.kill(victim, "SIGSTOP");
  const rotation = new Promise((resolve) => {
    const p = spawn(palaverctl, ["-c", server.confPath, "--json", "key", "rotate"]);
    let out = "";
    p.stdout.on("data", (d) => (out += d));
    p.on("exit", () => resolve(JSON.parse(out)));
  });
  await until("the new key is there and does not sign", () => {
    const { keys } = ctl("key", "list");
    return !keys[0].signs && keys[1].signs && keys[1].id === before;
  });
  assert.equal(JSON.parse(server.ctl(["--json", "key", "rotate"]).stdout).code, "busy");
  process.kill(victim, "SIGKILL");
  const answer = await rotation;
  assert.ok(answer.ok, JSON.stringify(answer));
  await until("its successor is ready", () => server.processes("worker").filter((w) => w.state === "ready").length === WORKERS);
  for (let i = 0; i < 40; i++) {
    const r = await fetch(`${server.base}/v1/users/me`, { headers: { authorization: `Bearer ${l.access_token}`, connection: "close" } });
    assert.equal(r.status, 200);
  }
});

test("the one key of versions before is taken over, and the keys survive a restart", async (t) => {
  const s = new Server({ workers: 2 });
  t.after(() => s.remove());
  fs.mkdirSync(s.stateDir, { mode: 0o700 });
  fs.writeFileSync(path.join(s.stateDir, "token.key"), Buffer.alloc(32, 7), { mode: 0o600 });
  await s.start();
  const ann = await signup(s.base, "ann");
  assert.equal(kid(ann.token), "0");
  assert.deepEqual(fs.readdirSync(s.stateDir).filter((f) => f.startsWith("token")), ["token.keys"]);
  assert.match(fs.readFileSync(path.join(s.stateDir, "token.keys"), "utf8"), /\n0 .*Z (07){32}\n/);
  const { id } = JSON.parse(s.ctl(["--json", "key", "rotate"]).stdout).data;
  await s.stop();
  await s.start();
  assert.equal((await rest(s.base, "GET", "/v1/users/me", { token: ann.token })).status, 200);
  assert.equal(kid((await signup(s.base, "bob")).token), id);
});

test("keys that cannot be written change nothing", async (t) => {
  const s = new Server({ workers: 2 });
  t.after(() => s.remove());
  await s.start();
  const file = path.join(s.stateDir, "token.keys"), text = fs.readFileSync(file, "utf8");
  fs.mkdirSync(`${file}.new`); // root may write anywhere else
  const r = JSON.parse(s.ctl(["--json", "key", "rotate"]).stdout);
  assert.equal(r.code, "not_saved");
  assert.match(r.error, /nothing has changed/);
  assert.equal(fs.readFileSync(file, "utf8"), text);
  fs.rmdirSync(`${file}.new`);
  assert.equal(s.ctl(["key", "rotate"]).status, 0);
});

test("the administrator's file of keys is changed by hand and reloaded", async (t) => {
  const s = new Server({ workers: 2 });
  const file = path.join(s.dir, "keys");
  t.after(() => s.remove());
  const line = (id, byte) => `${id} 2026-01-31T12:00:00Z ${byte.repeat(32)}\n`;
  const write = (...lines) => fs.writeFileSync(file, `palaver-keys 1\n${lines.join("")}`, { mode: 0o600 });
  write(line("one", "01"));
  s.options.conf = `accounts { key_file = "${file}" }`;
  await s.start();
  const ann = await signup(s.base, "ann");
  assert.equal(kid(ann.token), "one");
  assert.match(s.ctl(["key", "rotate"]).stderr, /reload/);
  write(line("two", "02"), line("one", "01"));
  assert.equal(s.ctl(["reload"]).status, 0);
  await until("the first key signs", async () => JSON.parse(s.ctl(["--json", "key", "list"]).stdout).data.keys[0].signs);
  await until("workers sign with it", async () => kid((await rest(s.base, "POST", "/v1/auth/login", { body: { username: "ann", password: PASSWORD } })).body.access_token) === "two");
  assert.equal((await rest(s.base, "GET", "/v1/users/me", { token: ann.token })).status, 200);
  write("three 2026-01-31T12:00:00Z\n");
  assert.match(JSON.parse(s.ctl(["--json", "reload"]).stdout).data.not_taken, /keys: line 2: a key is three words/);
  assert.equal((await rest(s.base, "GET", "/v1/users/me", { token: ann.token })).status, 200);
  assert.deepEqual(fs.readdirSync(s.stateDir).filter((f) => f.startsWith("token")), []);
});

// ---- under trouble ----

test("the end of a session is everywhere in time although the hub is killed at that moment", async (t) => {
  for (let round = 0; round < 3; round++) {
    await signup(server.base, `hub${round}`);
    const l = await login(`hub${round}`);
    const sockets = await everywhere(t, l.access_token);
    await until("the hub is there", () => server.processes("hub")[0]?.state === "ready");
    const hub = server.processes("hub")[0].pid;
    const since = Date.now();
    if (round % 2) process.kill(hub, "SIGKILL");
    const out = logout(l.refresh_token);
    if (!(round % 2)) process.kill(hub, "SIGKILL");
    assert.equal((await out).status, 204);
    await allEnd(sockets, "logged_out", since);
    await refusedEverywhere(l.access_token);
  }
});

test("a hub that stands still and dies takes no end of a session with it", async (t) => {
  await signup(server.base, "still");
  const l = await login("still");
  const sockets = await everywhere(t, l.access_token);
  await until("the hub is there", () => server.processes("hub")[0]?.state === "ready");
  const hub = server.processes("hub")[0].pid;
  process.kill(hub, "SIGSTOP"); // it takes the announcement into its socket and passes nothing on
  assert.equal((await logout(l.refresh_token)).status, 204);
  await until("the announcer's own sockets are cut", () => sockets.some((s) => s.cut));
  assert.ok(sockets.some((s) => !s.cut), "the others cannot know it yet");
  const since = Date.now();
  process.kill(hub, "SIGKILL");
  await allEnd(sockets, "logged_out", since);
});

test("a worker that starts afterwards refuses the access token still", async () => {
  await signup(server.base, "restart");
  const l = await login("restart");
  await logout(l.refresh_token);
  const before = server.processes("worker");
  for (const w of before) process.kill(w.pid, "SIGKILL");
  await until("all workers are new", () => {
    const now = server.processes("worker");
    return now.length === WORKERS && now.every((w) => w.state === "ready" && !before.some((b) => b.pid === w.pid));
  });
  await refusedEverywhere(l.access_token);
  const again = await restRetry(server.base, "POST", "/v1/auth/login", { body: { username: "restart", password: PASSWORD } });
  assert.equal((await me(again.body.access_token)).status, 200);
});
