// SPDX-License-Identifier: ISC
// The outbox: a worker that dies between the store's commit and its spool leaves the event of a
// change there, and the next ones bring it to everybody, once.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import path from "node:path";
import test from "node:test";
import { io } from "socket.io-client";
import { makeConversation, rest, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

let server, ann, bob;

test.before(async () => {
  server = await new Server({ workers: 4 }).start();
  ann = await signup(server.base, "ann");
  bob = await signup(server.base, "bob");
});
test.after(() => server.remove());

const api = (user, method, where, body) => rest(server.base, method, `/v1${where}`, { token: user.token, body });
const history = async (user, id) => (await api(user, "GET", `/conversations/${id}/messages?after=0&limit=200`)).body.items;

/** A program of its own: tests link no database. */
function sql(text) {
  const r = spawnSync("sqlite3", ["-cmd", ".timeout 5000", path.join(server.stateDir, "palaver.db"), text], { encoding: "utf8" });
  assert.equal(r.status, 0, r.stderr);
  return r.stdout.trim();
}
const rows = () => Number(sql("SELECT count(*) FROM outbox"));

/** An event in the form in which it is packed (src/model/event.c), as hexadecimal digits. */
function packed({ type, id, conversation, sender, data }) {
  const str = (s) => {
    const b = Buffer.from(s);
    const len = Buffer.alloc(4);
    len.writeUInt32LE(b.length);
    return Buffer.concat([len, b]);
  };
  const head = Buffer.from([2, type]);
  return Buffer.concat([head, str(id), str(conversation), str(sender), str(""), str(""), Buffer.alloc(16), Buffer.alloc(8), Buffer.alloc(8), str(JSON.stringify(data))]).toString("hex");
}
const UPDATED = 10;

test("what a change leaves in the outbox is gone when it is archived", async () => {
  const c = await makeConversation(server.base, ann.token, { type: "group", name: "one", members: [bob.id] });
  for (let i = 0; i < 5; i++) assert.equal((await api(ann, "PATCH", `/conversations/${c.id}`, { topic: `t${i}` })).status, 200);
  await until("the outbox is empty", () => rows() === 0);
  assert.equal((await history(ann, c.id)).length, 6);
});

test("an event that only the outbox has arrives once, and its row goes away", async () => {
  const c = await makeConversation(server.base, ann.token, { type: "group", name: "two", members: [bob.id] });
  await until("the outbox is empty", () => rows() === 0);
  await server.stop();
  const id = `msg_${c.id.slice(4, 20)}000000000x`;
  const event = packed({ type: UPDATED, id, conversation: c.id, sender: ann.id, data: { sender_id: ann.id, changes: { topic: "rescued" } } });
  sql(`UPDATE conversations SET topic = 'rescued', version = version + 1 WHERE id = '${c.id}'; INSERT INTO outbox VALUES ('${id}', 1, x'${event}')`);
  await server.start();
  const arrived = await until("the event arrives", async () => (await history(bob, c.id)).find((e) => e.id === id));
  assert.deepEqual([arrived.type, arrived.data], ["conversation.updated", { sender_id: ann.id, changes: { topic: "rescued" } }]);
  await until("the row goes away", () => rows() === 0);
  await server.stop();
  await server.start(); // and not again after another start
  const events = await history(bob, c.id);
  assert.deepEqual(events.map((e) => e.type), ["conversation.created", "conversation.updated"]);
  assert.equal(sql(`SELECT count(*) FROM events WHERE id = '${id}'`), "1");
});

test("a row that is there while the server runs is found, by whichever worker, and heard live", async () => {
  const c = await makeConversation(server.base, ann.token, { type: "group", name: "three", members: [bob.id] });
  const socket = io(server.base, { transports: ["websocket"], auth: { token: bob.token }, forceNew: true });
  const heard = [];
  socket.on("conversation.updated", (e) => heard.push(e));
  await new Promise((f) => socket.on("connect", f));
  const ids = ["a", "b", "c"].map((x) => `msg_${c.id.slice(4, 20)}00000000${x}x`);
  for (const [i, id] of ids.entries()) {
    sql(`INSERT INTO outbox VALUES ('${id}', ${i + 1}, x'${packed({ type: UPDATED, id, conversation: c.id, sender: ann.id, data: { sender_id: ann.id, changes: { topic: id } } })}')`);
  }
  await until("the rows go away", () => rows() === 0, 40000);
  await until("all are heard", () => heard.length >= 3);
  assert.deepEqual((await history(bob, c.id)).slice(1).map((e) => e.id), heard.map((e) => e.id));
  assert.deepEqual(heard.map((e) => e.id).sort(), ids);
  socket.close();
});
