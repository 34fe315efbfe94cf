// SPDX-License-Identifier: ISC
// Logins: tokens, their rotation, and how sessions end: on every worker, whatever dies meanwhile.
import assert from "node:assert";
import fs from "node:fs";
import test from "node:test";
import { io } from "socket.io-client";
import { rest, restRetry, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

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

/** No worker takes the token: asked on new connections until each has answered surely. */
async function refusedEverywhere(token) {
  for (let i = 0; i < 60; i++) {
    const r = await fetch(`${server.base}/v1/users/me`, { headers: { authorization: `Bearer ${token}`, connection: "close" } });
    assert.equal(r.status, 401);
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
  const socket = await connect(l.access_token, ["polling"]);
  const since = Date.now();
  await logout(l.refresh_token);
  await allEnd([socket], "logged_out", since);
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
