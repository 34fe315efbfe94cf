// SPDX-License-Identifier: ISC
// Conversations: what each role may do, versions, channels, archiving, history from joining on.
// Four workers, so that those who change something and those who hear of it rarely share one.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import path from "node:path";
import test from "node:test";
import { io } from "socket.io-client";
import { makeConversation, rest, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

let server;
const users = {};

test.before(async () => {
  server = await new Server({ workers: 4, conf: "chat { rate = 100000 burst = 100000 }" }).start(); // olga does a lot
  for (const name of ["olga", "oscar", "adam", "alma", "mary", "max", "sam"]) users[name] = await signup(server.base, name);
});
test.after(() => server.remove());

const api = (who, method, path, body) => rest(server.base, method, `/v1${path}`, { token: users[who].token, body });
/** The status, and the code of a refusal. */
const ask = async (...args) => {
  const r = await api(...args);
  return r.status < 400 ? r.status : `${r.status} ${r.body.code}`;
};
const members = (c) => Object.fromEntries(c.members.map((m) => [m.username, m.role]));
const get = async (who, id) => (await api(who, "GET", `/conversations/${id}`)).body;
const history = async (who, id) => (await api(who, "GET", `/conversations/${id}/messages?after=0&limit=200`)).body.items;
const say = (who, id, text) => api(who, "POST", `/conversations/${id}/messages`, { client_msg_id: randomUUID(), text });

/** With an owner olga, an admin adam, members mary and max, and sam who is a stranger. */
async function conversation(type, more = {}) {
  const c = await makeConversation(server.base, users.olga.token, { type, name: type, members: ["adam", "mary", "max"].map((n) => users[n].id), ...more });
  const path = `/conversations/${c.id}`;
  assert.equal((await api("olga", "PATCH", `${path}/members/${users.adam.id}`, { role: "admin" })).status, 200);
  return { id: c.id, path };
}

const roles = ["olga", "adam", "mary", "sam"]; // owner, admin, member, stranger

// ---- what each role may do ----

const NO = "403 forbidden";
const HIDDEN = "404 not_found";

for (const type of ["group", "channel"]) {
  test(`what owner, admin, member and stranger may do in a ${type}`, async () => {
    const all = async (call, undo) => {
      const results = [];
      for (const who of roles) {
        const c = await conversation(type);
        if (undo) await undo(c);
        results.push(await call(who, c));
      }
      return results;
    };
    const add = type === "group" ? 201 : NO;
    assert.deepEqual(await all((who, c) => ask(who, "POST", `${c.path}/members`, { user_ids: [users.alma.id] })), [201, 201, add, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "POST", `${c.path}/members`, { user_ids: [users.alma.id], role: "admin" })), [201, NO, NO, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "POST", `${c.path}/members`, { user_ids: [users.sam.id] })), [201, 201, add, HIDDEN]); // himself
    assert.deepEqual(await all((who, c) => ask(who, "DELETE", `${c.path}/members/${users.max.id}`)), [204, 204, NO, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "DELETE", `${c.path}/members/${users.olga.id}`)), ["409 last_owner", NO, NO, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "PATCH", `${c.path}/members/${users.max.id}`, { role: "owner" })), [200, NO, NO, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "PATCH", c.path, { name: "New", topic: "t", history: "joined" })), [200, 200, NO, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "PATCH", c.path, { archived: true })), [200, 200, NO, HIDDEN]);
    const archive = (c) => api("adam", "PATCH", c.path, { archived: true });
    assert.deepEqual(await all((who, c) => ask(who, "PATCH", c.path, { archived: false }), archive), [200, 200, NO, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "GET", c.path)), [200, 200, 200, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "GET", `${c.path}/members`)), [200, 200, 200, HIDDEN]);
    assert.deepEqual(await all((who, c) => ask(who, "DELETE", `${c.path}/members/me`)), ["409 last_owner", 204, 204, HIDDEN]);
  });
}

test("an admin removes no other admin, and an owner no other owner", async () => {
  const c = await conversation("group");
  await api("olga", "POST", `${c.path}/members`, { user_ids: [users.alma.id], role: "admin" });
  await api("olga", "POST", `${c.path}/members`, { user_ids: [users.oscar.id], role: "owner" });
  assert.equal(await ask("adam", "DELETE", `${c.path}/members/${users.alma.id}`), NO);
  assert.equal(await ask("olga", "DELETE", `${c.path}/members/${users.oscar.id}`), NO);
  assert.equal(await ask("olga", "DELETE", `${c.path}/members/${users.alma.id}`), 204);
  assert.equal(await ask("olga", "DELETE", `${c.path}/members/${users.alma.id}`), HIDDEN);
});

test("in a direct conversation nothing can be changed", async () => {
  const c = await makeConversation(server.base, users.mary.token, { type: "direct", members: [users.max.id] });
  const path = `/conversations/${c.id}`;
  assert.deepEqual(members(c), { mary: "member", max: "member" });
  assert.equal(await ask("mary", "PATCH", path, { name: "x" }), NO);
  assert.equal(await ask("mary", "PATCH", path, { archived: true }), NO);
  assert.equal(await ask("mary", "POST", `${path}/members`, { user_ids: [users.sam.id] }), NO);
  assert.equal(await ask("mary", "PATCH", `${path}/members/${users.max.id}`, { role: "admin" }), NO);
  assert.equal(await ask("mary", "DELETE", `${path}/members/me`), NO);
  assert.equal(await ask("mary", "DELETE", `${path}/members/${users.max.id}`), NO);
});

test("two people who begin a direct conversation at the same moment have one", async () => {
  const pair = [["alma", "oscar"], ["oscar", "alma"]];
  const both = await Promise.all([...pair, ...pair, ...pair].map(([who, other]) => api(who, "POST", "/conversations", { type: "direct", members: [users[other].id] })));
  assert.equal(new Set(both.map((r) => r.body.id)).size, 1);
  assert.deepEqual(both.map((r) => r.status).sort(), [200, 200, 200, 200, 200, 201]);
  assert.deepEqual((await history("alma", both[0].body.id)).map((e) => e.type), ["conversation.created"]);
});

test("the last owner goes with a successor, or alone: then it is archived", async () => {
  const c = await conversation("group");
  assert.equal(await ask("olga", "PATCH", `${c.path}/members/me`, { role: "member" }), "409 last_owner");
  const bad = await api("olga", "DELETE", `${c.path}/members/me?successor=${users.sam.id}`);
  assert.deepEqual(bad.body.errors, [{ pointer: "/successor", code: "not_a_member" }]);
  assert.equal(await ask("mary", "DELETE", `${c.path}/members/me?successor=${users.max.id}`), NO);
  assert.equal(await ask("olga", "DELETE", `${c.path}/members/me?successor=${users.mary.id}`), 204);
  assert.deepEqual(members(await get("mary", c.id)), { adam: "admin", mary: "owner", max: "member" });
  assert.deepEqual((await history("mary", c.id)).slice(-2).map((e) => e.type), ["member.updated", "member.left"]);
  for (const who of ["adam", "max"]) assert.equal(await ask(who, "DELETE", `${c.path}/members/me`), 204);
  assert.equal(await ask("mary", "DELETE", `${c.path}/members/me`), 204);
  const shown = JSON.parse(server.ctl(["--json", "conversation", "show", c.id]).stdout).data;
  assert.deepEqual([shown.archived, shown.members], [true, []]);
  const archived = `SELECT data FROM events WHERE conversation = '${c.id}' AND type = 10`;
  const data = await until("the last event is in the archive", () => spawnSync("sqlite3", ["-readonly", path.join(server.stateDir, "palaver.db"), archived], { encoding: "utf8" }).stdout);
  assert.deepEqual(JSON.parse(data), { sender_id: users.mary.id, version: shown.version, changes: { archived: true } });
});

test("each change is one event, and what changes nothing is none", async () => {
  const c = await conversation("channel");
  const before = (await history("olga", c.id)).length;
  const version = (await get("olga", c.id)).version;
  await api("olga", "PATCH", c.path, { name: "Renamed", topic: "", public: true });
  await api("olga", "PATCH", c.path, { name: "Renamed" });
  await api("olga", "POST", `${c.path}/members`, { user_ids: [users.sam.id, users.mary.id, users.sam.id] });
  assert.equal(await ask("olga", "POST", `${c.path}/members`, { user_ids: [users.sam.id] }), 200);
  await api("olga", "PATCH", `${c.path}/members/${users.sam.id}`, { role: "admin" });
  await api("olga", "PATCH", `${c.path}/members/${users.sam.id}`, { role: "admin" });
  await api("olga", "DELETE", `${c.path}/members/${users.sam.id}`);
  const events = (await history("olga", c.id)).slice(before);
  const sender_id = users.olga.id;
  const sam = { user_id: users.sam.id };
  assert.deepEqual(events.map((e) => [e.type, e.data]), [
    ["conversation.updated", { sender_id, version: version + 1, changes: { name: "Renamed", public: true } }],
    ["member.joined", { sender_id, members: [{ ...sam, username: "sam", role: "member" }] }],
    ["member.updated", { sender_id, members: [{ ...sam, role: "admin" }] }],
    ["member.left", { sender_id, members: [{ ...sam, username: "sam" }], reason: "removed" }],
  ]);
  const now = await get("olga", c.id);
  assert.deepEqual([now.version, now.name, now.public], [version + 4, "Renamed", true]);
});

test("what is no conversation, member or role is refused with the field at fault", async () => {
  const c = await conversation("group");
  const fault = async (...args) => {
    const r = await api(...args);
    assert.equal(r.status, 422, JSON.stringify(args));
    return `${r.body.errors[0].pointer} ${r.body.errors[0].code}`;
  };
  const create = (body) => fault("olga", "POST", "/conversations", { members: [], ...body });
  assert.equal(await create({ type: "club", name: "x" }), "/type unknown_type");
  assert.equal(await create({ type: "channel" }), "/name required");
  assert.equal(await create({ type: "group", name: "x".repeat(129) }), "/name too_long");
  assert.equal(await create({ type: "group", name: "x", topic: "x".repeat(513) }), "/topic too_long");
  assert.equal(await create({ type: "group", name: "x", history: "some" }), "/history invalid");
  assert.equal(await create({ type: "group", name: "x", public: true }), "/public channels_only");
  assert.equal(await create({ type: "group", name: "x", members: ["usr_00000000000000000000000000"] }), "/members no_such_user");
  assert.equal(await fault("olga", "PATCH", c.path, { name: "" }), "/name empty");
  assert.equal(await fault("olga", "PATCH", c.path, { public: true }), "/public channels_only");
  assert.equal(await fault("olga", "PATCH", c.path, { archived: "yes" }), "/archived wrong_type");
  assert.equal(await fault("olga", "PATCH", `${c.path}/members/${users.max.id}`, { role: "king" }), "/role invalid");
  assert.equal(await fault("olga", "POST", `${c.path}/members`, { user_ids: [users.sam.id], role: "king" }), "/role invalid");
  assert.equal(await fault("olga", "POST", `${c.path}/members`, { user_ids: ["usr_00000000000000000000000000"] }), "/user_ids no_such_user");
  assert.equal(await fault("olga", "GET", `${c.path}/members?limit=201`), "/limit out_of_range");
  assert.equal(await fault("olga", "GET", "/conversations?limit=0"), "/limit out_of_range");
  assert.equal(await fault("olga", "GET", "/conversations?public=maybe"), "/public invalid");
  assert.equal(await ask("olga", "PATCH", "/conversations/cnv_x", { name: "x" }), HIDDEN);
  assert.equal(await ask("olga", "DELETE", `${c.path}/members/nobody`), HIDDEN);
});

// ---- versions ----

/** A request with headers of its own. */
async function withHeaders(who, method, path, headers, body) {
  const r = await fetch(`${server.base}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${users[who].token}`, "content-type": "application/json", ...headers },
    body: body && JSON.stringify(body),
  });
  return { status: r.status, etag: r.headers.get("etag") };
}

test("If-Match lets nobody write over what he has not read", async () => {
  const c = await conversation("group");
  const first = await withHeaders("olga", "GET", c.path, {});
  const changed = await withHeaders("adam", "PATCH", c.path, { "if-match": first.etag }, { topic: "one" });
  assert.equal(changed.status, 200);
  assert.notEqual(changed.etag, first.etag);
  assert.equal((await withHeaders("olga", "PATCH", c.path, { "if-match": first.etag }, { topic: "two" })).status, 412);
  assert.equal((await withHeaders("mary", "PATCH", c.path, { "if-match": first.etag }, { topic: "two" })).status, 403);
  assert.equal((await get("olga", c.id)).topic, "one");
  assert.equal((await withHeaders("olga", "GET", c.path, { "if-none-match": changed.etag })).status, 304);
});

test("of many changes at the same moment none is lost", async () => {
  const c = await conversation("group");
  const version = (await get("olga", c.id)).version;
  const done = await Promise.all([
    api("olga", "PATCH", c.path, { name: "A" }),
    api("adam", "PATCH", c.path, { topic: "B" }),
    api("mary", "POST", `${c.path}/members`, { user_ids: [users.sam.id] }),
    api("max", "DELETE", `${c.path}/members/me`),
  ]);
  assert.deepEqual(done.map((r) => r.status), [200, 200, 201, 204]);
  const now = await get("olga", c.id);
  assert.deepEqual([now.version, now.name, now.topic], [version + 4, "A", "B"]);
  assert.deepEqual(Object.keys(members(now)).sort(), ["adam", "mary", "olga", "sam"]);
});

test("of two owners who leave at the same moment one stays", async () => {
  for (let round = 0; round < 5; round++) {
    const c = await conversation("group");
    await api("olga", "POST", `${c.path}/members`, { user_ids: [users.oscar.id], role: "owner" });
    const done = await Promise.all(["olga", "oscar"].map((who) => ask(who, "DELETE", `${c.path}/members/me`)));
    assert.deepEqual(done.map(String).sort(), ["204", "409 last_owner"]);
  }
});

// ---- archiving, channels, the past ----

test("what is archived can be read, and nothing more, until it is taken back", async () => {
  const c = await conversation("group");
  assert.equal((await say("mary", c.id, "before")).status, 201);
  assert.equal(await ask("adam", "PATCH", c.path, { archived: true }), 200);
  const ARCHIVED = "409 conversation_archived";
  assert.equal(await ask("mary", "POST", `${c.path}/messages`, { client_msg_id: randomUUID(), text: "after" }), ARCHIVED);
  assert.equal(await ask("olga", "PATCH", c.path, { name: "x" }), ARCHIVED);
  assert.equal(await ask("olga", "POST", `${c.path}/members`, { user_ids: [users.sam.id] }), ARCHIVED);
  assert.equal(await ask("olga", "DELETE", `${c.path}/members/${users.mary.id}`), ARCHIVED);
  assert.equal(await ask("olga", "PATCH", `${c.path}/members/${users.mary.id}`, { role: "admin" }), ARCHIVED);
  assert.equal((await history("mary", c.id)).some((e) => e.data.text === "before"), true);
  assert.equal(await ask("mary", "PATCH", c.path, { archived: false }), NO);
  assert.equal(await ask("adam", "PATCH", c.path, { archived: false }), 200);
  assert.equal((await say("mary", c.id, "again")).status, 201);
});

test("public channels are listed and joined by everybody, others are not there", async () => {
  const open = await conversation("channel", { name: "Open House", public: true, topic: "come in" });
  await conversation("channel", { name: "Open Secret" });
  const list = (await api("sam", "GET", "/conversations?public=true&q=open")).body;
  assert.deepEqual(list.items.map((i) => [i.id, i.name, i.topic, i.member_count, i.members]), [[open.id, "Open House", "come in", 4, undefined]]);
  assert.equal(list.next_cursor, null);
  assert.equal((await get("sam", open.id)).member_count, 4);
  assert.equal(await ask("sam", "GET", `${open.path}/members`), HIDDEN);
  assert.equal(await ask("sam", "GET", `${open.path}/messages`), HIDDEN);
  assert.equal(await ask("sam", "POST", `${open.path}/members`, { user_ids: [users.sam.id], role: "owner" }), NO);
  assert.equal(await ask("sam", "POST", `${open.path}/members`, { user_ids: [users.sam.id, users.alma.id] }), HIDDEN);
  assert.equal(await ask("sam", "POST", `${open.path}/members`, { user_ids: [users.sam.id] }), 201);
  assert.equal(await ask("sam", "POST", `${open.path}/members`, { user_ids: [users.sam.id] }), 200);
  assert.equal(members(await get("sam", open.id)).sam, "member");
  const page = (await api("sam", "GET", `${open.path}/members?limit=2`)).body;
  const rest_ = (await api("sam", "GET", `${open.path}/members?limit=200&cursor=${page.next_cursor}`)).body;
  assert.deepEqual([page.items.length, rest_.items.length, rest_.next_cursor], [2, 3, null]);
  await api("olga", "PATCH", open.path, { archived: true });
  assert.equal((await api("sam", "GET", "/conversations?public=true&q=open")).body.items.length, 0);
  assert.equal(await ask("alma", "POST", `${open.path}/members`, { user_ids: [users.alma.id] }), "409 conversation_archived");
});

// ---- live ----

/** A socket that keeps the numbered events it hears, by conversation. */
async function live(who, transports = ["websocket"]) {
  const socket = io(server.base, { transports, auth: { token: users[who].token }, forceNew: true, reconnection: false });
  const heard = [];
  socket.onAny((name, ev) => ev.seq && heard.push(ev));
  await new Promise((resolve, reject) => {
    socket.on("connect", resolve);
    socket.on("connect_error", reject);
  });
  return {
    socket,
    who,
    of: (id) => heard.filter((e) => e.conversation_id === id),
    say: (name, body) => socket.timeout(10000).emitWithAck(name, body),
    send: (id, text) => socket.timeout(10000).emitWithAck("message.send", { conversation_id: id, client_msg_id: randomUUID(), text }),
    hears: (id, fits) => until(`${who} hears it`, () => heard.find((e) => e.conversation_id === id && fits(e))),
    close: () => socket.close(),
  };
}
const text = (t) => (e) => e.data.text === t;

test("who is removed hears that and nothing after, on every worker, and can do nothing more", async () => {
  const c = await conversation("group");
  const devices = await Promise.all(Array.from({ length: 8 }, () => live("mary")));
  const others = await Promise.all(["olga", "adam", "max"].map((who) => live(who)));
  await others[2].send(c.id, "one");
  await Promise.all([...devices, ...others].map((d) => d.hears(c.id, text("one"))));
  assert.equal(await ask("adam", "DELETE", `${c.path}/members/${users.mary.id}`), 204);
  for (let i = 0; i < 20; i++) await others[i % 3].send(c.id, `after ${i}`);
  await Promise.all(others.map((d) => d.hears(c.id, text("after 19"))));
  for (const d of devices) {
    await d.hears(c.id, (e) => e.type === "member.left");
    assert.deepEqual((await d.send(c.id, "x")).error.code, "not_found");
    assert.deepEqual((await d.say("typing.set", { conversation_id: c.id, typing: true })).error.code, "not_found");
    assert.deepEqual((await d.say("sync", { conversations: { [c.id]: 0 } })).data, { events: [], more: false, gone: [c.id] });
    assert.equal(d.of(c.id).at(-1).type, "member.left");
  }
  assert.equal(await ask("mary", "GET", c.path), HIDDEN);
  assert.equal(await ask("mary", "GET", `${c.path}/messages`), HIDDEN);
  assert.equal((await say("mary", c.id, "x")).status, 404);
  for (const d of [...devices, ...others]) d.close();
});

test("who comes back hears again what follows, on every device", async () => {
  const c = await conversation("group");
  const devices = await Promise.all(Array.from({ length: 6 }, () => live("mary")));
  const olga = await live("olga");
  for (let round = 0; round < 5; round++) {
    assert.equal(await ask("olga", "DELETE", `${c.path}/members/${users.mary.id}`), 204);
    assert.equal(await ask("olga", "POST", `${c.path}/members`, { user_ids: [users.mary.id] }), 201);
    await olga.send(c.id, `round ${round}`);
    await Promise.all(devices.map((d) => d.hears(c.id, text(`round ${round}`))));
  }
  const all = (await history("mary", c.id)).map((e) => e.seq);
  for (const d of devices) {
    const seqs = d.of(c.id).map((e) => e.seq);
    assert.deepEqual(seqs, all.slice(-seqs.length)); // each once, in order
    assert.equal(seqs.length, 15);
    d.close();
  }
  olga.close();
});

test("who leaves, joins a public channel and connects at the same time hears what a member hears", async () => {
  const c = await conversation("channel", { public: true });
  const olga = await live("olga");
  for (let round = 0; round < 10; round++) {
    const connecting = live("sam"); // not waited for
    assert.equal(await ask("sam", "POST", `${c.path}/members`, { user_ids: [users.sam.id] }), 201);
    const sam = await connecting;
    await olga.send(c.id, `in ${round}`);
    await sam.hears(c.id, text(`in ${round}`));
    const again = live("sam");
    assert.equal(await ask("sam", "DELETE", `${c.path}/members/me`), 204);
    const late = await again;
    await olga.send(c.id, `out ${round}`);
    await olga.hears(c.id, text(`out ${round}`));
    assert.equal((await late.send(c.id, "x")).error.code, "not_found"); // and by then it had heard nothing
    assert.deepEqual([...sam.of(c.id), ...late.of(c.id)].filter(text(`out ${round}`)), []);
    sam.close();
    late.close();
  }
  olga.close();
});

test("a client that moves to a WebSocket while its user is removed is out afterwards", async () => {
  const c = await conversation("group");
  const olga = await live("olga");
  for (let round = 0; round < 6; round++) {
    const mary = await live("mary", ["polling", "websocket"]); // the upgrade begins now
    assert.equal(await ask("olga", "DELETE", `${c.path}/members/${users.mary.id}`), 204);
    await until("it has moved", () => mary.socket.io.engine.transport.name === "websocket");
    await olga.send(c.id, `without ${round}`);
    await olga.hears(c.id, text(`without ${round}`));
    assert.deepEqual((await mary.say("sync", { conversations: { [c.id]: 0 } })).data.gone, [c.id]);
    assert.equal((await mary.send(c.id, "x")).error.code, "not_found");
    assert.equal(mary.of(c.id).some(text(`without ${round}`)), false);
    mary.close();
    assert.equal(await ask("olga", "POST", `${c.path}/members`, { user_ids: [users.mary.id] }), 201);
  }
  olga.close();
});

test("nothing is sent into what is archived, over sockets either; a retry of what was sent before is answered", async () => {
  const c = await conversation("group");
  const mary = await live("mary");
  const message = { conversation_id: c.id, client_msg_id: randomUUID(), text: "in time" };
  const first = (await mary.say("message.send", message)).data;
  await api("olga", "PATCH", c.path, { archived: true });
  await mary.hears(c.id, (e) => e.data.changes?.archived === true);
  assert.equal((await mary.send(c.id, "too late")).error.code, "conversation_archived");
  await until("the archive has it", async () => {
    const again = await mary.say("message.send", message);
    return again.data?.id === first.id && again.data.duplicate;
  });
  mary.close();
});

test("where history begins with joining nothing before it can be read", async () => {
  const c = await conversation("channel", { public: true, history: "joined" });
  for (let i = 0; i < 3; i++) await say("olga", c.id, `before ${i}`);
  const sam = await live("sam");
  assert.equal(await ask("sam", "POST", `${c.path}/members`, { user_ids: [users.sam.id] }), 201);
  const joined = await sam.hears(c.id, (e) => e.type === "member.joined");
  await say("olga", c.id, "after");
  const types = (items) => items.map((e) => e.data.text ?? e.type);
  const page = async (query) => (await api("sam", "GET", `${c.path}/messages?${query}`)).body;
  const all = ["member.joined", "after"];
  for (const query of ["after=0", "limit=50", `around=${joined.seq}`, "around=1", `before=${joined.seq + 2}`]) {
    const p = await page(query);
    assert.deepEqual([types(p.items), p.has_more], [all, false], query);
  }
  assert.deepEqual(types((await page(`before=${joined.seq}`)).items), []);
  assert.deepEqual(types((await sam.say("sync", { conversations: { [c.id]: 0 } })).data.events), all);
  assert.equal((await history("mary", c.id)).length, 7); // who was there from the beginning sees it all
  const early = (await history("mary", c.id)).find(text("before 0"));
  assert.equal((await api("sam", "GET", `/messages/${early.id}`)).status, 404);
  sam.close();
});

// ---- palaverctl ----

test("palaverctl lists conversations and shows one", async () => {
  const c = await conversation("channel", { name: "Quiet corner", public: true, topic: "for\tall" });
  const list = server.ctl(["conversation", "list", "quiet"]);
  assert.match(list.stdout, new RegExp(`^${c.id} +channel +4 +\\d{4}-\\d\\d-\\d\\d +Quiet corner  \\(public\\)$`, "m"));
  assert.equal(JSON.parse(server.ctl(["--json", "conversation", "list", "no such"]).stdout).data.conversations.length, 0);
  const shown = server.ctl(["conversation", "show", c.id]).stdout;
  for (const row of ["type +channel", "name +Quiet corner", "topic +for\\?all", "state +public", "version +2", "members +4", `  owner +${users.olga.id} +olga`, `  admin +${users.adam.id} +adam`]) {
    assert.match(shown, new RegExp(`^${row}`, "m"));
  }
  for (const id of ["cnv_00000000000000000000000000", "nothing"]) assert.equal(server.ctl(["conversation", "show", id]).status, 67, id);
});
