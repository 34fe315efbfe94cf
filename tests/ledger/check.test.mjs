// SPDX-License-Identifier: ISC
// Each kind of fault is put into a small world that is right, and must be found.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { fileURLToPath } from "node:url";
import { check } from "./check.mjs";

const C = "cnv_a";
const event = (n) => ({
  id: `msg_${n}`, type: "message.created", conversation_id: C, seq: 100 + n,
  data: { sender_id: "usr_a", client_msg_id: `c${n}`, text: `text ${n}` },
});

function world() {
  const events = [1, 2, 3, 4].map(event);
  return {
    ledger: events.map((ev) => ({ conversation: C, user: "usr_a", client_msg_id: ev.data.client_msg_id, text: ev.data.text, ack: { id: ev.id, seq: ev.seq } })),
    history: new Map([[C, events]]),
    archive: events.map((ev) => ({ id: ev.id, conversation: C, seq: ev.seq, sender: "usr_a", client_id: ev.data.client_msg_id, type: 1, data: JSON.stringify(ev.data) })),
    streams: [{ name: "one", conversation: C, events: [...events] }, { name: "late", conversation: C, events: events.slice(2) }],
    seen: events.map((ev) => [ev.id, C, ev.seq]),
  };
}

/** The same with an edit, a deletion and two reactions, one taken back. */
function changedWorld() {
  const w = world();
  const change = (n, type, message, more) => ({
    id: `msg_${n}`, type, conversation_id: C, seq: 100 + n, data: { sender_id: "usr_a", client_msg_id: `c${n}`, message_id: message, ...more },
  });
  const events = [
    change(5, "message.updated", "msg_1", { text: "new 1" }), change(6, "message.deleted", "msg_2"),
    change(7, "reaction.added", "msg_3", { emoji: "a" }), change(8, "reaction.added", "msg_3", { emoji: "b" }), change(9, "reaction.removed", "msg_3", { emoji: "a" }),
  ];
  const numbers = { "message.updated": 4, "message.deleted": 5, "reaction.added": 6, "reaction.removed": 7 };
  const before = w.history.get(C);
  w.streams = [{ name: "one", conversation: C, events: [...before, ...events] }];
  w.history.set(C, [...before.map((ev) => ({ ...ev, data: { ...ev.data } })), ...events]);
  const shownAs = (i, data) => Object.assign(w.history.get(C)[i].data, data);
  shownAs(0, { text: "new 1", edited_at: "x" });
  shownAs(1, { text: "", deleted_at: "x" });
  shownAs(2, { reactions: [{ emoji: "b", user_ids: ["usr_a"] }] });
  for (const ev of events) {
    w.ledger.push({ conversation: C, user: "usr_a", type: ev.type, client_msg_id: ev.data.client_msg_id, message: ev.data.message_id, emoji: ev.data.emoji, text: ev.data.text, ack: { id: ev.id, seq: ev.seq } });
    w.archive.push({ id: ev.id, conversation: C, seq: ev.seq, sender: "usr_a", client_id: ev.data.client_msg_id, type: numbers[ev.type], data: JSON.stringify(ev.data) });
    w.seen.push([ev.id, C, ev.seq]);
  }
  w.archive[1].data = "{\"text\":\"\"}";
  w.state = { edits: new Map([["msg_1", 105]]), deletions: new Set(["msg_2"]), reactions: new Map([["msg_3", new Set(["b usr_a"])]]) };
  return w;
}

const kinds = (w) => [...new Set(check(w).map((f) => f.kind))];

test("a world that is right has no fault", () => assert.deepEqual(check(world()), []));

test("a world with changes that is right has no fault", () => assert.deepEqual(check(changedWorld()), []));

const changeFaults = {
  "an acknowledged edit is lost": ["lost", (w) => { w.history.get(C).splice(4, 1); w.archive.splice(4, 1); }],
  "an edit that history does not show": ["state", (w) => { w.history.get(C)[0].data.text = "text 1"; }],
  "an edit that the store does not have": ["state", (w) => w.state.edits.clear()],
  "a deleted message that history shows": ["state", (w) => { delete w.history.get(C)[1].data.deleted_at; }],
  "a deleted message whose text the store keeps": ["state", (w) => { w.archive[1].data = JSON.stringify({ text: "text 2" }); }],
  "a reaction that history does not show": ["state", (w) => { delete w.history.get(C)[2].data.reactions; }],
  "a reaction that was taken back and is in the store": ["state", (w) => w.state.reactions.get("msg_3").add("a usr_a")],
  "a client that was shown another text": ["state", (w) => { w.streams[0].events[4] = { ...w.streams[0].events[4], data: { ...w.streams[0].events[4].data, text: "x" } }; }],
  "a change of another message": ["changed", (w) => { w.ledger[4].message = "msg_2"; }],
  "a change that was refused and is there": ["refused", (w) => { Object.assign(w.ledger[5], { ack: undefined, refused: { code: "forbidden" }, tries: 1 }); }],
};

for (const [name, [kind, break_]] of Object.entries(changeFaults)) {
  test(`found: ${name}`, () => {
    const w = changedWorld();
    break_(w);
    assert.ok(kinds(w).includes(kind), `found ${kinds(w)}, wanted ${kind}`);
  });
}

const faults = {
  "an acknowledged message is not in history": ["lost", (w) => w.history.get(C).splice(1, 1)],
  "an acknowledged message is not in the archive": ["lost", (w) => w.archive.splice(1, 1)],
  "a send became two messages": ["doubled", (w) => w.history.get(C).push({ ...event(2), id: "msg_9", seq: 105 })],
  "an event is in the archive twice": ["doubled", (w) => w.archive.push({ ...w.archive[0] })],
  "history is out of order": ["order", (w) => w.history.get(C).reverse()],
  "a message that nobody sent": ["foreign", (w) => w.history.get(C).push(event(5))],
  "another text": ["state", (w) => { w.ledger[0].text = "x"; }],
  "another number than acknowledged": ["moved", (w) => { w.ledger[0].ack.seq = 7; }],
  "a stream with a hole": ["stream", (w) => w.streams[0].events.splice(1, 1)],
  "a stream that ends early": ["stream", (w) => w.streams[1].events.pop()],
  "a stream in another order": ["stream", (w) => w.streams[0].events.reverse()],
  "an id with two numbers": ["renumbered", (w) => w.seen.push(["msg_1", C, 999])],
  "a number with two ids": ["reused", (w) => w.seen.push(["msg_9", C, 101])],
  "an id that was seen with another number than in history": ["renumbered", (w) => { w.seen = [["msg_1", C, 99]]; }],
  "an event that was seen and is gone": ["vanished", (w) => w.seen.push(["msg_9", C, 109])],
  "a hole in what a connected client was shown": ["hole", (w) => { w.holes = [{ name: "one", conversation: C, last: 101, seq: 103 }]; }],
  "two answers to one send": ["moved", (w) => { w.ledger[0].acks = [w.ledger[0].ack, { id: "msg_9", seq: 109 }]; }],
};

for (const [name, [kind, break_]] of Object.entries(faults)) {
  test(`found: ${name}`, () => {
    const w = world();
    break_(w);
    assert.ok(kinds(w).includes(kind), `found ${kinds(w)}, wanted ${kind}`);
  });
}

test("a send without an answer may be there once, or not at all", () => {
  const w = world();
  delete w.ledger[3].ack;
  assert.deepEqual(check(w), []);
  w.history.get(C).pop();
  w.archive.pop();
  w.streams.forEach((s) => s.events.pop());
  w.seen.pop();
  assert.deepEqual(check(w), []);
});

const here = path.dirname(fileURLToPath(import.meta.url));
for (const name of fs.readdirSync(path.join(here, "bugs")).filter((f) => f.endsWith(".patch"))) {
  test(`the seeded bug ${name} still fits the source`, () => {
    const argv = ["--dry-run", "-p1", "-s", "-f", "-F0", "-i", path.join(here, "bugs", name)];
    const r = spawnSync("patch", argv, { cwd: path.join(here, "../.."), encoding: "utf8" });
    assert.equal(r.status, 0, r.stdout + r.stderr);
  });
}
