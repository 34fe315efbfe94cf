// Edits, deletions, reactions, replies and mentions: over sockets and REST, on several workers, live
// and in history, archived or not.
import assert from "node:assert";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import path from "node:path";
import test from "node:test";
import { history, makeConversation } from "./lib/client.mjs";
import { until } from "./lib/server.mjs";
import { code, stored, world } from "./lib/world.mjs";

test("own messages are edited; everybody sees the newest text", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob, dan }, peer, call, send, shown, group, server } = await world(t);
  const [a, b] = [await peer(ann), await peer(bob)];
  const id = await send(ann, "first text", { mentions: [bob.id] });
  await b.heard("message.created", (e) => e.id === id && e.data.mentions[0] === bob.id);

  const r = await a.ask("message.edit", { message_id: id, text: "second" });
  assert.equal(r.data.message_id, id);
  assert.equal(r.data.conversation_id, group);
  assert.equal(r.data.duplicate, false);
  const live = await b.heard("message.updated", (e) => e.data.message_id === id);
  assert.equal(live.data.text, "second");
  assert.equal(live.seq, r.data.seq);
  assert.deepEqual(Object.keys(await shown(bob, id)).sort(), ["client_msg_id", "edited_at", "sender_id", "text"]);
  assert.equal((await shown(bob, id)).text, "second");

  assert.equal((await call(ann, "PATCH", `/messages/${id}`, { text: "third", mentions: [ann.id] })).status, 200);
  for (const who of [ann, bob]) assert.equal((await call(who, "GET", `/messages/${id}`)).body.data.text, "third");
  // an older edit shows the newest text as well, so that no page ends with an old one
  const updates = (await history(server.base, bob.token, group)).filter((e) => e.type === "message.updated");
  assert.deepEqual(updates.map((e) => e.data.text), ["third", "third"]);
  assert.deepEqual((await shown(bob, id)).mentions, [ann.id]);

  assert.equal(code(await b.ask("message.edit", { message_id: id, text: "not mine" })), "forbidden");
  assert.equal(code(await call(bob, "PATCH", `/messages/${id}`, { text: "not mine" })), "forbidden");
  assert.equal(code(await call(dan, "PATCH", `/messages/${id}`, { text: "stranger" })), "not_found");
  assert.equal(code(await call(dan, "GET", `/messages/${id}`)), "not_found");
  assert.equal(code(await call(ann, "PATCH", `/messages/msg_${"0".repeat(26)}`, { text: "x" })), "not_found");
  assert.equal(code(await call(ann, "PATCH", `/messages/${live.id}`, { text: "of an edit" })), "not_found");
  for (const [body, pointer] of [[{ text: "" }, "/text"], [{ text: "x".repeat(16385) }, "/text"], [{}, "/text"],
    [{ text: "x", mentions: ["ann"] }, "/mentions"], [{ text: "x", mentions: Array(51).fill(ann.id) }, "/mentions"],
    [{ text: "x", client_msg_id: "1" }, "/client_msg_id"]]) {
    const bad = await call(ann, "PATCH", `/messages/${id}`, body);
    assert.equal(bad.status, 422);
    assert.equal(bad.body.errors[0].pointer, pointer);
  }
});

test("a retry with the same id changes nothing a second time", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, peer, call, send, group, server } = await world(t);
  const a = await peer(ann);
  const id = await send(ann, "text");
  const edit = { message_id: id, text: "edited", client_msg_id: randomUUID() };
  const first = await a.ask("message.edit", edit);
  const again = await a.ask("message.edit", edit);
  assert.equal(again.data.duplicate, true);
  assert.equal(again.data.id, first.data.id);
  assert.equal(again.data.seq, first.data.seq);
  assert.equal(code(await a.ask("message.edit", { ...edit, text: "other" })), "client_msg_id_reused");

  const removal = { client_msg_id: randomUUID() };
  const gone = await call(ann, "DELETE", `/messages/${id}`, removal);
  assert.equal(gone.status, 200);
  const retried = await call(ann, "DELETE", `/messages/${id}`, removal); // in the window
  assert.equal(retried.status, 200);
  assert.equal(retried.body.duplicate, true);
  assert.equal(retried.body.id, gone.body.id);
  assert.equal(code(await call(ann, "DELETE", `/messages/${id}`)), "message_deleted");
  assert.equal((await a.ask("message.edit", edit)).data.id, first.data.id); // sent before it was deleted
  await until("the deletion is archived", () => stored(server, "SELECT count(*) FROM deletions") === "1");
  assert.equal((await call(ann, "DELETE", `/messages/${id}`, removal)).body.id, gone.body.id);
  assert.equal((await history(server.base, bob.token, group)).filter((e) => e.type === "message.deleted").length, 1);
});

test("a deleted message is a tombstone, and its text is nowhere", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob, cyd, dan }, peer, call, send, shown, group, server } = await world(t);
  const b = await peer(bob);
  const id = await send(ann, "do not keep this", { mentions: [bob.id] });
  await call(ann, "PATCH", `/messages/${id}`, { text: "do not keep this either" });
  await call(cyd, "PUT", `/messages/${id}/reactions/${encodeURIComponent("👍")}`);
  assert.equal(code(await call(bob, "DELETE", `/messages/${id}`)), "forbidden");
  assert.equal(code(await call(dan, "DELETE", `/messages/${id}`)), "not_found");
  assert.equal((await call(ann, "DELETE", `/messages/${id}`)).status, 200);
  await b.heard("message.deleted", (e) => e.data.message_id === id);
  const data = await shown(bob, id);
  assert.deepEqual(Object.keys(data).sort(), ["client_msg_id", "deleted_at", "sender_id", "text"]);
  assert.equal(data.text, "");
  for (const [method, where, body] of [["PATCH", "", { text: "x" }], ["DELETE", ""], ["PUT", "/reactions/x"], ["DELETE", "/reactions/x"]]) {
    const r = await call(ann, method, `/messages/${id}${where}`, body);
    assert.equal(r.status, 410, method);
    assert.equal(r.body.code, "message_deleted");
  }
  const byBob = await send(bob, "another one"); // the owner of the group may delete it
  assert.equal((await call(ann, "DELETE", `/messages/${byBob}`)).status, 200);
  const direct = (await makeConversation(server.base, ann.token, { type: "direct", members: [bob.id] })).id;
  const inDirect = await send(bob, "between two", { conversation: direct });
  assert.equal(code(await call(ann, "DELETE", `/messages/${inDirect}`)), "forbidden");

  await until("all is archived", () => stored(server, "SELECT count(*) FROM deletions") === "2");
  const texts = stored(server, "SELECT data FROM events WHERE type IN (1, 4)");
  assert.ok(!texts.includes("do not keep") && !texts.includes("another one"), texts);
  assert.equal(stored(server, "SELECT count(*) FROM mentions"), "0");
  assert.equal((await shown(bob, id)).text, "");
  const all = await history(server.base, bob.token, group);
  assert.ok(!JSON.stringify(all).includes("do not keep"));
  await server.stop(); // nor in free pages of the file, once the write-ahead log is in it
  assert.ok(!execFileSync("cat", [path.join(server.stateDir, "palaver.db")]).includes("do not keep"));
});

test("reactions are idempotent, limited and counted by user", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob, cyd }, peer, call, send, shown, group, server } = await world(t, { conf: "chat { max_reactions = 3 }" });
  const [a, b] = [await peer(ann), await peer(bob)];
  const id = await send(ann, "react to this");
  const tea = "🍵";
  const first = await a.ask("reaction.add", { message_id: id, emoji: tea });
  assert.equal(first.data.message_id, id);
  await b.heard("reaction.added", (e) => e.data.emoji === tea && e.data.sender_id === ann.id && e.data.message_id === id);
  assert.equal((await call(bob, "PUT", `/messages/${id}/reactions/${encodeURIComponent(tea)}`)).status, 200);
  const again = await a.ask("reaction.add", { message_id: id, emoji: tea });
  assert.equal(again.data.duplicate, true);
  assert.equal(again.data.id, undefined);
  assert.deepEqual(again.data.reactions, [{ emoji: tea, user_ids: [ann.id, bob.id] }]);
  assert.deepEqual((await shown(cyd, id)).reactions, [{ emoji: tea, user_ids: [ann.id, bob.id] }]);

  for (const emoji of ["x", "y"]) assert.equal((await a.ask("reaction.add", { message_id: id, emoji })).data.duplicate, false);
  const full = await a.ask("reaction.add", { message_id: id, emoji: "z" });
  assert.equal(full.error.code, "invalid_field");
  assert.deepEqual(full.error.errors, [{ pointer: "/emoji", code: "too_many" }]);
  assert.equal((await b.ask("reaction.add", { message_id: id, emoji: "x" })).data.duplicate, false); // one that is there
  assert.equal((await call(ann, "DELETE", `/messages/${id}/reactions/y`)).status, 200);
  assert.equal((await call(ann, "DELETE", `/messages/${id}/reactions/y`)).body.duplicate, true);
  assert.equal((await b.ask("reaction.remove", { message_id: id, emoji: "never" })).data.duplicate, true);
  await b.heard("reaction.removed", (e) => e.data.emoji === "y");
  assert.deepEqual((await shown(cyd, id)).reactions, [{ emoji: tea, user_ids: [ann.id, bob.id] }, { emoji: "x", user_ids: [ann.id, bob.id] }]);
  const count = (await history(server.base, ann.token, group)).filter((e) => e.type.startsWith("reaction.")).length;
  assert.equal(count, 6); // what changed nothing made no event

  for (const emoji of ["", "a\nb", "x".repeat(65)]) {
    const r = await a.ask("reaction.add", { message_id: id, emoji });
    assert.equal(r.error.errors[0].pointer, "/emoji");
  }
  assert.equal((await call(ann, "PUT", `/messages/${id}/reactions/${"x".repeat(65)}`)).status, 422);
});

test("replies name a message of the conversation", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, peer, call, send, shown, group, server } = await world(t);
  const a = await peer(ann);
  const id = await send(ann, "question");
  const r = await a.ask("message.send", { conversation_id: group, client_msg_id: randomUUID(), text: "answer", reply_to: id });
  assert.equal((await shown(bob, r.data.id)).reply_to, id);
  await until("it is archived", () => stored(server, "SELECT count(*) FROM events WHERE type = 1") === "2");
  assert.ok(await send(bob, "to an archived one", { reply_to: id }));
  const direct = (await makeConversation(server.base, ann.token, { type: "direct", members: [bob.id] })).id;
  const refused = await call(ann, "POST", `/conversations/${direct}/messages`, { client_msg_id: randomUUID(), text: "x", reply_to: id });
  assert.equal(refused.status, 422);
  assert.deepEqual(refused.body.errors, [{ pointer: "/reply_to", code: "no_such_message" }]);
  // sent at once, a reply and what follows it keep their order
  const order = Array.from({ length: 20 }, (_, i) => a.ask("message.send",
    { conversation_id: group, client_msg_id: randomUUID(), text: `${i}`, ...(i % 2 ? {} : { reply_to: id }) }));
  const seqs = (await Promise.all(order)).map((x) => x.data.seq);
  assert.deepEqual(seqs, [...seqs].sort((x, y) => x - y));
});

test("who was away finds the folded state, archived or not, whoever was killed", { timeout: 180000 }, async (t) => {
  const { users: { ann, bob }, call, send, shown, peer, group, server } = await world(t);
  const edited = await send(ann, "old text one"), deleted = await send(ann, "old text two"), plain = await send(ann, "plain");
  const before = (await history(server.base, bob.token, group)).at(-1).seq;
  await until("the messages are archived", () => stored(server, "SELECT count(*) FROM events WHERE type = 1") === "3");

  // The archiver does not get on from here: what follows is only in the window.
  process.kill(server.processes("archiver")[0].pid, "SIGSTOP");
  assert.equal((await call(ann, "PATCH", `/messages/${edited}`, { text: "new text" })).status, 200);
  assert.equal((await call(ann, "DELETE", `/messages/${deleted}`)).status, 200);
  assert.equal((await call(bob, "PUT", `/messages/${plain}/reactions/+1`)).status, 200);
  const check = async () => {
    const all = await history(server.base, bob.token, group);
    assert.ok(!JSON.stringify(all).includes("old text"));
    assert.equal((await shown(bob, edited)).text, "new text");
    assert.ok((await shown(bob, deleted)).deleted_at);
    assert.deepEqual((await shown(bob, plain)).reactions, [{ emoji: "+1", user_ids: [bob.id] }]);
    const b = await peer(bob);
    const r = await b.ask("sync", { conversations: { [group]: before - 3 } });
    assert.ok(!JSON.stringify(r).includes("old text"));
    assert.equal(r.data.events.length, 6);
    const later = await b.ask("sync", { conversations: { [group]: before } });
    assert.deepEqual(later.data.events.map((e) => e.type), ["message.updated", "message.deleted", "reaction.added"]);
  };
  await check();
  for (const id of [edited, deleted]) assert.ok(!JSON.stringify((await call(bob, "GET", `/messages/${id}`)).body).includes("old text"));
  assert.equal(stored(server, "SELECT count(*) FROM events WHERE type IN (4, 5, 6)"), "0"); // the premise
  const pid = server.processes("archiver")[0].pid;
  process.kill(pid, "SIGKILL");
  await check();
  await until("the changes are archived", () => stored(server, "SELECT count(*) FROM events WHERE type IN (4, 5, 6)") === "3");
  await check();
  process.kill(server.processes("hub")[0].pid, "SIGKILL");
  await until("the server has a hub again", () => server.processes("hub").length === 1);
  await until("it answers", async () => (await call(bob, "GET", `/messages/${plain}`)).status === 200);
  await check();
});

test("with keep_edits the earlier texts stay, until the message is deleted", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, call, send, server } = await world(t, { conf: "chat { keep_edits = yes }" });
  const id = await send(ann, "one");
  for (const text of ["two", "three"]) await call(ann, "PATCH", `/messages/${id}`, { text });
  const check = async () => {
    const { body } = await call(bob, "GET", `/messages/${id}`);
    assert.equal(body.data.text, "three");
    assert.deepEqual(body.edits.map((e) => e.text), ["one", "two"]);
  };
  await check();
  await until("all is archived", () => stored(server, "SELECT count(*) FROM events WHERE type = 4") === "2");
  await check();
  await call(ann, "DELETE", `/messages/${id}`);
  const { body } = await call(bob, "GET", `/messages/${id}`);
  assert.equal(body.edits, undefined);
  await until("the deletion is archived", () => stored(server, "SELECT count(*) FROM deletions") === "1");
  assert.equal(stored(server, "SELECT count(*) FROM events WHERE type IN (1, 4) AND data LIKE '%two%'"), "0");
});

test("without keep_edits the earlier texts are not in the database", { timeout: 120000 }, async (t) => {
  const { users: { ann }, call, send, server } = await world(t);
  const id = await send(ann, "do not keep one");
  for (const text of ["do not keep two", "three"]) await call(ann, "PATCH", `/messages/${id}`, { text });
  await until("all is archived", () => stored(server, "SELECT count(*) FROM events WHERE type = 4") === "2");
  assert.ok(!stored(server, "SELECT data FROM events").includes("do not keep"));
  const { body } = await call(ann, "GET", `/messages/${id}`);
  assert.equal(body.data.text, "three");
  assert.equal(body.edits, undefined);
});

test("palaverctl says what is known of a message and where it is", { timeout: 120000 }, async (t) => {
  const { users: { ann, bob }, call, send, group, server } = await world(t);
  const id = await send(ann, "text \u0007 with a bell");
  await call(ann, "PATCH", `/messages/${id}`, { text: "edited" });
  await call(bob, "PUT", `/messages/${id}/reactions/x`);
  await until("all is archived", () => stored(server, "SELECT count(*) FROM events WHERE type IN (1, 4, 6)") === "3");
  const { data } = JSON.parse(server.ctl(["--json", "message", "show", id]).stdout);
  assert.equal(data.event.id, id);
  assert.equal(data.event.conversation_id, group);
  assert.equal(data.event.data.text, "edited");
  assert.equal(data.sender_id, ann.id);
  assert.equal(data.edits, 1);
  assert.equal(data.deleted_by, null);
  assert.ok(data.in_window && data.in_store);
  assert.equal(data.changes_in_window, 2);
  const text = server.ctl(["message", "show", id]).stdout;
  for (const line of [`id                  ${id}`, "text                edited", "reactions           x 1", "where               recent window, archive"])
    assert.ok(text.includes(line), text);
  await call(ann, "DELETE", `/messages/${id}`);
  const gone = server.ctl(["message", "show", id]).stdout;
  assert.ok(gone.includes(`deleted_by          ${ann.id}`) && gone.includes("text                -"), gone);
  const unknown = server.ctl(["message", "show", `msg_${"0".repeat(26)}`]);
  assert.equal(unknown.status, 67);
  assert.match(unknown.stderr, /no such thing/i);
  assert.equal(server.ctl(["message", "show"]).status, 64);
});
