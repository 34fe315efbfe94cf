// Who has read how far: positions, counts of what is unread, and muting, on several workers.
import assert from "node:assert";
import test from "node:test";
import { until } from "./lib/server.mjs";
import { code, stored, world } from "./lib/world.mjs";

/** The conversation as this user's list shows it. */
const listed = async (call, user, id) => (await call(user, "GET", "/conversations")).body.items.find((c) => c.id === id);
const seqOf = async (call, user, id) => (await call(user, "GET", `/messages/${id}`)).body.seq;

test("a position moves forward only, and not beyond the newest event", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob, dan }, peer, call, send, group, server } = await world(t);
  const [a, phone, b] = [await peer(ann), await peer(ann), await peer(bob)];
  const [first, second] = [await send(bob, "one"), await send(bob, "two")];
  const [one, two] = [await seqOf(call, ann, first), await seqOf(call, ann, second)];

  assert.deepEqual((await a.ask("read.set", { conversation_id: group, seq: two })).data, { conversation_id: group, seq: two });
  for (const p of [phone, b]) await p.heard("read.updated", (e) => e.user_id === ann.id && e.seq === two && e.conversation_id === group);
  assert.equal((await a.ask("read.set", { conversation_id: group, seq: one })).data.seq, two); // never back
  assert.deepEqual((await call(ann, "PUT", `/conversations/${group}/read`, { seq: one })).body, { conversation_id: group, seq: two });
  assert.equal((await call(bob, "PUT", `/conversations/${group}/read`, { seq: 2 ** 52 })).body.seq, two); // not beyond
  await until("the positions are stored", () => stored(server, `SELECT count(*) FROM members WHERE read = ${two}`) === "2");
  assert.equal((await a.ask("read.set", { conversation_id: group, seq: one })).data.seq, two);

  assert.equal(code(await call(dan, "PUT", `/conversations/${group}/read`, { seq: one })), "not_found");
  assert.equal(code(await a.ask("read.set", { conversation_id: "none", seq: one })), "not_found");
  for (const body of [{}, { seq: -1 }, { seq: "1" }]) {
    const r = await call(ann, "PUT", `/conversations/${group}/read`, body);
    assert.equal(r.status, 422);
    assert.equal(r.body.errors[0].pointer, "/seq");
  }
});

test("many positions at once are told once or little more, and all are stored", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, peer, call, send, group, server } = await world(t);
  const [a, b] = [await peer(ann), await peer(bob)];
  const ids = [];
  for (let i = 0; i < 30; i++) ids.push(await send(bob, `${i}`));
  const last = await seqOf(call, ann, ids.at(-1));
  await Promise.all(ids.map((_, i) => a.ask("read.set", { conversation_id: group, seq: last - 29 + i })));
  await b.heard("read.updated", (e) => e.seq === last);
  await until("the position is stored", () => stored(server, `SELECT read FROM members WHERE user = '${ann.id}'`) === `${last}`);
  assert.ok(b.events.filter((e) => e.event === "read.updated").length < 10, "they are coalesced");
  const seqs = b.events.filter((e) => e.event === "read.updated").map((e) => e.seq);
  assert.deepEqual(seqs, [...seqs].sort((x, y) => x - y));
});

test("what is unread is counted, and what mentions me", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, call, send, group, server } = await world(t);
  const ids = [];
  for (let i = 0; i < 4; i++) ids.push(await send(bob, `${i}`, i % 2 ? { mentions: [ann.id] } : {}));
  await send(ann, "my own is not unread");
  const count = async (user, unread, mentions) => {
    const c = await until(`${user.username} has ${unread} unread, ${mentions} mentions`, async () => {
      const seen = await listed(call, user, group);
      return seen.unread_count === unread && seen.mention_count === mentions && seen;
    });
    assert.equal(c.muted, false);
    return c;
  };
  assert.equal((await count(ann, 4, 2)).role, "owner");
  assert.equal((await count(bob, 1, 0)).role, "member");
  await call(bob, "DELETE", `/messages/${ids[1]}`);
  await count(ann, 3, 1);
  await call(bob, "PATCH", `/messages/${ids[3]}`, { text: "nobody is mentioned" });
  await count(ann, 3, 0);
  await call(bob, "PATCH", `/messages/${ids[2]}`, { text: "now", mentions: [ann.id] });
  await count(ann, 3, 1);
  const third = await seqOf(call, ann, ids[2]);
  await call(ann, "PUT", `/conversations/${group}/read`, { seq: third });
  const c = await count(ann, 1, 0);
  assert.equal(c.read_seq, third);
  assert.equal(c.last_seq, Number(stored(server, `SELECT max(seq) FROM events WHERE conversation = '${group}'`)));
  await server.stop(); // what was told is written before the worker ends
  await server.start();
  await call(ann, "PUT", `/conversations/${group}/read`, { seq: 2 ** 52 });
  await server.stop();
  assert.equal(stored(server, `SELECT read = (SELECT max(seq) FROM events WHERE conversation = '${group}') FROM members WHERE user = '${ann.id}'`), "1");
});

test("muting is the user's own, and told to the user's own devices", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob, dan }, peer, call, group } = await world(t);
  const [phone, laptop, b] = [await peer(ann), await peer(ann), await peer(bob)];
  const at = `/conversations/${group}/members`;
  assert.deepEqual((await call(ann, "PATCH", `${at}/me`, { muted: true })).body, { conversation_id: group, muted: true });
  for (const p of [phone, laptop]) await p.heard("mute.updated", (e) => e.conversation_id === group && e.muted === true);
  assert.equal((await listed(call, ann, group)).muted, true);
  assert.equal((await listed(call, bob, group)).muted, false);
  assert.equal((await call(ann, "PATCH", `${at}/${ann.id}`, { muted: false })).body.muted, false);
  for (const p of [phone, laptop]) await p.heard("mute.updated", (e) => e.muted === false);
  assert.equal(code(await call(ann, "PATCH", `${at}/${bob.id}`, { muted: true })), "forbidden");
  assert.equal(code(await call(dan, "PATCH", `${at}/me`, { muted: true })), "not_found");
  assert.equal(b.events.filter((e) => e.event === "mute.updated").length, 0);
});

test("in a channel nobody but the user's own devices hears the position", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, peer, call, send, server } = await world(t);
  const channel = (await call(ann, "POST", "/conversations", { type: "channel", name: "news", members: [bob.id] })).body.id;
  const [a, phone, b] = [await peer(ann), await peer(ann), await peer(bob)];
  const seq = await seqOf(call, ann, await send(bob, "news", { conversation: channel }));
  await a.ask("read.set", { conversation_id: channel, seq });
  await phone.heard("read.updated", (e) => e.seq === seq && e.user_id === ann.id);
  await until("the position is stored", () => stored(server, `SELECT read FROM members WHERE user = '${ann.id}' AND conversation = '${channel}'`) === `${seq}`);
  await b.ask("read.set", { conversation_id: channel, seq }); // what bob hears of it comes after what he would have heard
  await b.heard("read.updated", (e) => e.user_id === bob.id);
  assert.equal(b.events.filter((e) => e.event === "read.updated" && e.user_id === ann.id).length, 0);
});

test("an archived conversation takes no changes; what is muted and read goes on", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, peer, call, send, group } = await world(t);
  const b = await peer(bob);
  const id = await send(bob, "text");
  assert.equal((await call(ann, "PATCH", `/conversations/${group}`, { archived: true })).status, 200);
  for (const [name, body] of [["message.edit", { text: "x" }], ["message.delete", {}], ["reaction.add", { emoji: "x" }], ["reaction.remove", { emoji: "x" }]])
    assert.equal(code(await b.ask(name, { message_id: id, ...body })), "conversation_archived", name);
  assert.equal(code(await b.ask("message.send", { conversation_id: group, client_msg_id: crypto.randomUUID(), text: "x" })), "conversation_archived");
  const seq = await seqOf(call, bob, id);
  assert.equal((await b.ask("read.set", { conversation_id: group, seq })).data.seq, seq);
  assert.equal((await call(bob, "PATCH", `/conversations/${group}/members/me`, { muted: true })).status, 200);
});

test("who joined later sees and changes nothing older", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob, dan }, call, send } = await world(t);
  const channel = (await call(ann, "POST", "/conversations", { type: "channel", name: "new", history: "joined", members: [bob.id] })).body.id;
  const old = await send(bob, "before", { conversation: channel });
  assert.equal((await call(ann, "POST", `/conversations/${channel}/members`, { user_ids: [dan.id] })).status, 201);
  assert.equal(code(await call(dan, "GET", `/messages/${old}`)), "not_found");
  assert.equal(code(await call(dan, "PUT", `/messages/${old}/reactions/x`)), "not_found");
  const reply = await call(dan, "POST", `/conversations/${channel}/messages`, { client_msg_id: crypto.randomUUID(), text: "x", reply_to: old });
  assert.deepEqual(reply.body.errors, [{ pointer: "/reply_to", code: "no_such_message" }]);
  const now = await send(bob, "after", { conversation: channel });
  assert.equal((await call(dan, "PUT", `/messages/${now}/reactions/x`)).status, 200);
  const c = await until("one is unread", async () => {
    const seen = await listed(call, dan, channel);
    return seen.unread_count > 0 && seen;
  });
  assert.equal(c.unread_count, 1);
});
