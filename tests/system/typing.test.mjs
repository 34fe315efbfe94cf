// SPDX-License-Identifier: ISC
// Typing on a running palaverd with 4 workers: what others are told of it, and when it ends.
import assert from "node:assert";
import test from "node:test";
import { io } from "socket.io-client";
import { makeConversation, rest, signup } from "./lib/client.mjs";
import { Server, sleep, until } from "./lib/server.mjs";

const LEASE_MS = 6000;
const server = new Server({ workers: 4 });
const sockets = [];
let counter = 0;

test.before(() => server.start());
test.afterEach(() => {
  for (const s of sockets.splice(0)) s.close();
});
test.after(() => server.remove());

/** A socket that has joined; `heard` is what it was told: {type, user, at}. */
async function device(user) {
  const socket = io(server.base, { transports: ["websocket"], auth: { token: user.token }, forceNew: true, reconnection: false });
  sockets.push(socket);
  socket.heard = [];
  for (const type of ["typing.started", "typing.stopped"]) {
    socket.on(type, (t) => socket.heard.push({ type: type.slice(7), user: t.user_id, conversation: t.conversation_id, at: Date.now() }));
  }
  await until(`${user.username} joins`, () => socket.connected);
  socket.slot = socket.io.engine.id.charCodeAt(1) - 65;
  return socket;
}
async function deviceOn(user, good) {
  for (;;) {
    const d = await device(user);
    if (good(d.slot)) return d;
    d.close();
  }
}

/** ann watches, bob types; the direct conversation of the two. */
async function world() {
  const ann = await signup(server.base, `ann${++counter}`);
  const bob = await signup(server.base, `bob${counter}`);
  const { id } = await makeConversation(server.base, ann.token, { type: "direct", members: [bob.id] });
  const watcher = await device(ann);
  const set = (socket, typing, conversation = id) => socket.timeout(5000).emitWithAck("typing.set", { conversation_id: conversation, typing });
  const heard = async (...types) => {
    await until(`ann hears ${types}`, () => watcher.heard.length >= types.length);
    const all = watcher.heard.splice(0);
    assert.deepEqual(all.map((t) => t.type), types);
    for (const t of all) assert.deepEqual([t.user, t.conversation], [bob.id, id]);
    return all.at(-1).at;
  };
  return { ann, bob, id, watcher, set, heard };
}

test("is told once a second at most, and ends when it is said", async () => {
  const { bob, set, heard, watcher } = await world();
  const d = await device(bob);
  for (let i = 0; i < 5; i++) assert.deepEqual(await set(d, true), { data: {} });
  assert.deepEqual(await set(d, false), { data: {} });
  await heard("started", "stopped");
  assert.deepEqual(await set(d, false), { data: {} }, "not typing already");
  await set(d, true);
  await heard("started");
  await sleep(1100);
  await set(d, true);
  await heard("started");
  await set(d, false);
  await heard("stopped");
  assert.deepEqual(d.heard, [], "not to the one who types");
  assert.deepEqual(watcher.heard, []);
});

test("ends by itself 6 s after the last word, and with the client", { timeout: 30000 }, async () => {
  const { bob, set, heard } = await world();
  const d = await device(bob);
  await set(d, true);
  const started = await heard("started");
  const ended = await heard("stopped");
  const lasted = ended - started;
  assert.ok(lasted > LEASE_MS - 500 && lasted < LEASE_MS + 2000, `${lasted} ms`);
  await set(d, true);
  await heard("started");
  d.close();
  await heard("stopped");
});

test("of two devices the last one counts, on one worker and on two", { timeout: 30000 }, async () => {
  const { bob, set, heard } = await world();
  const first = await device(bob);
  for (const same of [true, false]) {
    const second = await deviceOn(bob, (slot) => (slot === first.slot) === same);
    await set(first, true);
    await heard("started");
    await set(second, true);
    if (!same) await heard("started"); // the other worker knows nothing of the first device
    await set(second, false);
    if (!same) await heard("stopped", "started"); // and the first one's worker says so at once
    await set(first, false);
    await heard("stopped");
    second.close();
  }
});

test("is refused to strangers", async () => {
  const { ann, set, id } = await world();
  const stranger = await signup(server.base, `stranger${counter}`);
  const s = await device(stranger);
  assert.equal((await set(s, true)).error.code, "not_found");
  assert.equal((await set(s, false)).error.code, "not_found");
  assert.equal((await set(await device(ann), true, "cnv_none")).error.code, "not_found");
  assert.ok(id);
});

test("is refused in what is archived", async () => {
  const { ann, bob, set } = await world();
  const { id } = await makeConversation(server.base, ann.token, { type: "group", name: "old", members: [bob.id] });
  const d = await device(bob), patch = (archived) => rest(server.base, "PATCH", `/v1/conversations/${id}`, { token: ann.token, body: { archived } });
  assert.deepEqual(await set(d, true, id), { data: {} });
  assert.equal((await patch(true)).status, 200);
  assert.equal((await set(d, true, id)).error.code, "conversation_archived");
  assert.equal((await patch(false)).status, 200);
  assert.deepEqual(await set(d, true, id), { data: {} });
});
