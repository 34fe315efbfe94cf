// SPDX-License-Identifier: ISC
// Presence on a running palaverd with 4 workers: who is told what of whom, over devices,
// workers that are killed, a hub that is killed.
//
// What must not come is asserted without waiting for it: a second user, the clock, is made to
// go offline at the same moment, and when that is told everything earlier would have been.
import assert from "node:assert";
import test from "node:test";
import { io } from "socket.io-client";
import { makeConversation, rest, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

const OFFLINE_MS = 2000;
const WORKERS = 4;

const server = new Server({ workers: WORKERS, conf: `presence { offline_delay = ${OFFLINE_MS}ms }\nchat { presence_members = 3 }` });
const sockets = [];

/** A device; `seen` is what it was told of presence, as "name status". */
class Device {
  constructor(user, names) {
    this.user = user;
    this.seen = [];
    this.updates = [];
    this.socket = io(server.base, { transports: ["websocket"], auth: { token: user.token }, forceNew: true, reconnectionDelay: 50, reconnectionDelayMax: 200 });
    sockets.push(this.socket);
    this.socket.on("presence.updated", (p) => {
      this.seen.push(`${names.get(p.user_id)} ${p.status}`);
      this.updates.push(p);
    });
  }

  async joined() {
    await until(`${this.user.username} joins`, () => this.socket.connected);
    return this;
  }

  /** The slot of the worker that has this device. */
  get slot() {
    return this.socket.io.engine.id.charCodeAt(1) - 65;
  }

  ask(event, body) {
    return this.socket.timeout(5000).emitWithAck(event, body);
  }

  async saw(...expected) {
    await until(`${this.user.username} sees ${expected}`, () => this.seen.length >= expected.length);
    assert.deepEqual(this.seen.splice(0), expected);
    return this.updates.splice(0).at(-1);
  }

  close() {
    this.socket.close();
  }
}

let names, counter = 0;
/** New users with these names; the first shares a group with each of the others but "stranger". */
async function world(...who) {
  const users = {};
  names = names || new Map();
  for (const name of who) {
    users[name] = await signup(server.base, `${name}${++counter}`);
    names.set(users[name].id, name);
  }
  for (const name of who.slice(1)) {
    if (name !== "stranger") await makeConversation(server.base, users[who[0]].token, { type: "direct", members: [users[name].id] });
  }
  return users;
}
const device = (user) => new Device(user, names).joined();
/** A device on a worker that `good` takes. */
async function deviceOn(user, good) {
  for (;;) {
    const d = await device(user);
    if (good(d.slot)) return d;
    d.close();
  }
}
const kill = (role, slot) => process.kill(server.processes(role).find((p) => slot === undefined || p.slot === slot).pid, "SIGKILL");

test.before(() => server.start());
test.afterEach(() => {
  for (const s of sockets.splice(0)) s.close();
});
test.after(() => server.remove());

test("online, away and offline over two devices; strangers and the user see nothing", async () => {
  const { ann, bob, stranger } = await world("ann", "bob", "stranger");
  const [watcher, other] = [await device(ann), await device(stranger)];
  const first = await device(bob);
  assert.equal((await watcher.saw("bob online")).last_seen_at, null);
  const second = await device(bob);
  assert.deepEqual(await first.ask("presence.set", { status: "away" }), { data: {} });
  assert.deepEqual(await second.ask("presence.set", { status: "away" }), { data: {} });
  await watcher.saw("bob away"); // not before the second one is
  await second.ask("presence.set", { status: "online" });
  await watcher.saw("bob online");
  second.close();
  await watcher.saw("bob away");
  const gone = Date.now();
  first.close();
  const { last_seen_at: seen } = await watcher.saw("bob offline");
  assert.ok(Date.now() - gone >= OFFLINE_MS, "not at once");
  assert.ok(Math.abs(new Date(seen) - gone) < 1000, "the time at which the last device went");
  const { body } = await rest(server.base, "GET", `/v1/presence?users=${bob.id},${stranger.id},${ann.id}`, { token: ann.token });
  assert.deepEqual(body.items, [
    { user_id: bob.id, status: "offline", last_seen_at: seen },
    { user_id: ann.id, status: "online", last_seen_at: null },
  ]);
  assert.deepEqual(await watcher.ask("presence.get", { user_ids: [stranger.id, bob.id] }), { data: { items: [body.items[0]] } });
  assert.deepEqual(other.seen, []);
  assert.deepEqual([...first.seen, ...second.seen], [], "nobody is told of himself");
});

test("the fields of presence.set and presence.get are checked", async () => {
  const { ann } = await world("ann");
  const d = await device(ann);
  const fault = async (event, body) => (await d.ask(event, body)).error.errors[0];
  const get = async (query) => (await rest(server.base, "GET", `/v1/presence${query}`, { token: ann.token })).body;
  assert.deepEqual(await fault("presence.set", { status: "offline" }), { pointer: "/status", code: "invalid" });
  assert.deepEqual(await fault("presence.set", {}), { pointer: "/status", code: "required" });
  const many = Array(101).fill(ann.id);
  assert.deepEqual(await fault("presence.get", { user_ids: many }), { pointer: "/user_ids", code: "too_many" });
  assert.deepEqual(await fault("presence.get", { user_ids: [] }), { pointer: "/user_ids", code: "empty" });
  assert.deepEqual(await fault("presence.get", { user_ids: ["me"] }), { pointer: "/user_ids", code: "invalid" });
  assert.equal((await d.ask("presence.get", { user_ids: many.slice(1) })).data.items.length, 100);
  for (const [query, code] of [["", "required"], ["?users=", "required"], ["?users=me", "invalid"], [`?users=${"x".repeat(40)}`, "invalid"],
    [`?users=${ann.id},`, "invalid"], [`?users=${many}`, "too_many"]]) {
    assert.deepEqual((await get(query)).errors, [{ pointer: "/users", code }], query);
  }
  assert.equal((await rest(server.base, "GET", `/v1/presence?users=${ann.id}`)).status, 401);
});

test("who shares several conversations is told once", async () => {
  const { ann, bob, carl } = await world("ann", "bob", "carl");
  const watcher = await device(bob);
  for (const name of ["one", "two"]) await makeConversation(server.base, ann.token, { type: "group", name, members: [bob.id, carl.id] });
  const a = await device(ann);
  await watcher.saw("ann online");
  await a.ask("presence.set", { status: "away" });
  await watcher.saw("ann away");
  await a.ask("presence.set", { status: "online" });
  await watcher.saw("ann online");
});

test("members of a large channel are not told; of a small one they are, and of a large group", async () => {
  const { ann, bob, carl, dora } = await world("ann", "bob", "carl", "dora"); // ann shares a direct one with each
  const [bobs, carls] = [await device(bob), await device(carl)];
  const channel = (name, ...members) => makeConversation(server.base, ann.token, { type: "channel", name, members: members.map((u) => u.id) });
  await channel("large", bob, carl, dora);
  const d = await device(dora);
  await d.ask("presence.set", { status: "away" });
  const asked = async () => (await bobs.ask("presence.get", { user_ids: [dora.id] })).data.items[0].status;
  await until("the change is known to who asks", async () => (await asked()) === "away");
  await channel("small", bob, dora);
  await d.ask("presence.set", { status: "online" });
  await bobs.saw("dora online"); // and nothing before it
  await makeConversation(server.base, ann.token, { type: "group", name: "g", members: [bob.id, carl.id, dora.id] });
  await d.ask("presence.set", { status: "away" });
  await bobs.saw("dora away");
  await carls.saw("dora away");
});

test("who is removed is told nothing more", async () => {
  const { ann, bob, carl } = await world("ann", "bob", "carl");
  const group = await makeConversation(server.base, ann.token, { type: "group", name: "g", members: [bob.id, carl.id] });
  const [bobs, carls] = [await device(bob), await device(carl)];
  await bobs.saw("carl online");
  const anns = await device(ann); // tells the time: she shares a direct conversation with carl
  const r = await rest(server.base, "DELETE", `/v1/conversations/${group.id}/members/${bob.id}`, { token: ann.token });
  assert.equal(r.status, 204);
  await bobs.saw("ann online");
  await carls.ask("presence.set", { status: "away" });
  await anns.saw("carl away");
  assert.deepEqual(bobs.seen, []);
});

test("a worker is killed: who comes back is not told of, who does not is offline", { timeout: 60000 }, async () => {
  const { ann, bob, carl } = await world("ann", "bob", "carl");
  const watcher = await device(ann);
  const bobs = await deviceOn(bob, (slot) => slot !== watcher.slot);
  const carls = await deviceOn(carl, (slot) => slot === bobs.slot);
  await until("both are online", () => ["bob online", "carl online"].every((s) => watcher.seen.includes(s)));
  watcher.seen.length = 0;
  carls.socket.io.reconnection(false);
  const connects = new Promise((f) => bobs.socket.once("connect", f));
  kill("worker", bobs.slot);
  await connects;
  await watcher.saw("carl offline");
});

test("moves between workers and short interruptions are not told of", { timeout: 60000 }, async () => {
  const { ann, bob, clock } = await world("ann", "bob", "clock");
  const watcher = await device(ann);
  const [first, tick] = [await device(bob), await device(clock)];
  await until("both are online", () => watcher.seen.length === 2);
  watcher.seen.length = 0;
  first.close();
  const slots = new Set([first.slot]);
  for (let i = 0; i < 10; i++) { // by polling and the upgrade: many change the worker
    const socket = io(server.base, { auth: { token: bob.token }, forceNew: true });
    sockets.push(socket);
    await until("the upgrade", () => socket.connected && socket.io.engine.transport.name === "websocket");
    slots.add(socket.io.engine.id.charCodeAt(1) - 65);
    if (i < 9) socket.close();
  }
  assert.ok(slots.size > 1, "several workers had a part in it");
  tick.close();
  await watcher.saw("clock offline");
});

test("the hub is killed: nobody flaps, and who goes meanwhile is offline", { timeout: 60000 }, async () => {
  const { ann, bob, clock } = await world("ann", "bob", "clock");
  const watcher = await device(ann);
  const [b, tick] = [await device(bob), await device(clock)];
  await until("both are online", () => watcher.seen.length === 2);
  watcher.seen.length = 0;
  const { pid } = server.processes("hub")[0];
  kill("hub");
  tick.close();
  await until("another hub", () => server.processes("hub").some((p) => p.pid !== pid));
  await watcher.saw("clock offline");
  await b.ask("presence.set", { status: "away" });
  await watcher.saw("bob away");
});

test("the server is stopped and started: who was online and does not come back goes offline", { timeout: 60000 }, async () => {
  const { ann, bob } = await world("ann", "bob");
  const watcher = await device(ann);
  const b = await device(bob);
  await watcher.saw("bob online");
  await server.stop();
  const stopped = Date.now();
  b.close();
  await server.start();
  await until("ann is back", () => watcher.socket.connected);
  const { last_seen_at: seen } = await watcher.saw("bob offline");
  assert.ok(new Date(seen) - stopped < 500, "when the server stopped, not when it started");
});
