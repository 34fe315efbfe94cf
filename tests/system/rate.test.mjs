// SPDX-License-Identifier: ISC
// How much a user may write: one count for REST and all sockets of a user at a worker, whatever
// is written, and connecting again does not begin it anew.
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import test from "node:test";
import { io } from "socket.io-client";
import { makeConversation, rest, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

const RATE = 2, BURST = 4;
const server = new Server({ workers: 1, conf: `chat { rate = ${RATE} burst = ${BURST} }` });
const sockets = [];
let counter = 0;

test.before(() => server.start());
test.afterEach(() => {
  for (const s of sockets.splice(0)) s.close();
});
test.after(() => server.remove());

async function device(user) {
  const socket = io(server.base, { transports: ["websocket"], auth: { token: user.token }, forceNew: true, reconnection: false });
  sockets.push(socket);
  await until("it joins", () => socket.connected);
  return socket;
}
/** A user with a full bucket and a group, which somebody else made. */
async function member() {
  const owner = await signup(server.base, `owner${++counter}`), user = await signup(server.base, `user${counter}`);
  const { id } = await makeConversation(server.base, owner.token, { type: "group", name: "g", members: [user.id] });
  const message = () => ({ client_msg_id: randomUUID(), text: "x" });
  user.post = () => rest(server.base, "POST", `/v1/conversations/${id}/messages`, { token: user.token, body: message() });
  user.send = (socket) => socket.timeout(5000).emitWithAck("message.send", { conversation_id: id, ...message() });
  user.group = id;
  return user;
}
const refused = (r) => {
  assert.equal(r.status, 429);
  assert.equal(r.body.code, "rate_limited");
  assert.equal(r.headers.get("retry-after"), "1");
  assert.equal(r.body.retry_after, 1);
};

test("messages by REST and by two sockets take from one bucket", async () => {
  const user = await member(), [a, b] = [await device(user), await device(user)];
  const start = Date.now(), refusals = new Set();
  let taken = 0;
  await until("each way in is refused", async () => {
    const r = await user.post();
    if (r.status === 201) taken++;
    else refused(r), refusals.add("rest");
    for (const [name, s] of [["a", a], ["b", b]]) {
      const { data, error } = await user.send(s);
      if (data) taken++;
      else assert.deepEqual([error.code, error.status, error.retry_after], ["rate_limited", 429, 1]), refusals.add(name);
    }
    return refusals.size === 3;
  }, 5000, 0);
  const due = BURST + Math.ceil(((Date.now() - start) / 1000) * RATE);
  assert.ok(taken >= BURST && taken <= due, `${taken} of ${due}`);
});

test("after the time that Retry-After names it goes on", async () => {
  const user = await member();
  let r;
  while ((r = await user.post()).status === 201);
  refused(r);
  await new Promise((f) => setTimeout(f, 1000 * Number(r.headers.get("retry-after"))));
  assert.equal((await user.post()).status, 201);
});

test("connecting again gives no new burst", async () => {
  const user = await member();
  let sent = 0;
  const start = Date.now();
  for (let i = 0; i < 8; i++) {
    const s = await device(user);
    for (let j = 0; j < BURST; j++) if ((await user.send(s)).data) sent++;
    s.close();
    await until("it is gone", async () => server.status() && !s.connected);
  }
  const due = BURST + Math.ceil(((Date.now() - start) / 1000) * RATE);
  assert.ok(sent >= BURST && sent <= due, `${sent} of ${due}`);
});

test("everything that changes something is counted, and nothing that reads", async () => {
  const user = await member(), s = await device(user), { token } = user;
  const ask = (name, body) => s.timeout(5000).emitWithAck(name, body);
  const writes = [
    () => ask("presence.set", { status: "away" }),
    () => ask("typing.set", { conversation_id: user.group, typing: false }),
    () => ask("no.such.event", {}),
    async () => (await rest(server.base, "PATCH", "/v1/users/me", { token, body: { name: "New" } })).body,
    async () => (await rest(server.base, "POST", "/v1/conversations", { token, body: { type: "group", name: "g", members: [] } })).body,
    async () => (await rest(server.base, "PUT", "/v1/messages/none/reactions/x", { token })).body,
  ];
  const code = (r) => r.code ?? r.error?.code;
  for (const write of writes) {
    await until("one is refused", async () => code(await write()) === "rate_limited", 5000, 0);
    for (const path of ["/v1/users/me", "/v1/conversations", `/v1/conversations/${user.group}/messages`, `/v1/presence?users=${user.id}`]) {
      for (let i = 0; i < BURST; i++) assert.equal((await rest(server.base, "GET", path, { token })).status, 200);
    }
    assert.ok((await ask("sync", { conversations: {} })).data);
    assert.ok((await ask("presence.get", { user_ids: [user.id] })).data);
    assert.equal((await rest(server.base, "POST", "/v1/sync", { token, body: { conversations: {} } })).status, 200);
  }
});

test("a user does not pay for another", async () => {
  const [one, two] = [await member(), await member()];
  while ((await one.post()).status === 201);
  assert.equal((await two.post()).status, 201);
});

test("who asks for many syncs at once without waiting is refused, and may ask again", async () => {
  const user = await member(), socket = await device(user);
  const ask = () => socket.timeout(5000).emitWithAck("sync", { conversations: { [user.group]: 0 } });
  const answers = await Promise.all(Array.from({ length: 200 }, ask));
  const taken = answers.filter((a) => a.data);
  assert.ok(taken.length >= 8 && taken.length < 200, `${taken.length} of 200 were taken`);
  for (const { error } of answers.filter((a) => a.error)) assert.deepEqual([error.code, error.retry_after], ["rate_limited", 1]);
  for (const { data } of taken) assert.equal(data.events.at(-1).conversation_id, user.group);
  assert.ok((await ask()).data, "afterwards");
});
