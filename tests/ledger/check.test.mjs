// SPDX-License-Identifier: ISC
// Each kind of fault is put into a small world that is right, and must be found.
import assert from "node:assert";
import test from "node:test";
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

const kinds = (w) => [...new Set(check(w).map((f) => f.kind))];

test("a world that is right has no fault", () => assert.deepEqual(check(world()), []));

const faults = {
  "an acknowledged message is not in history": ["lost", (w) => w.history.get(C).splice(1, 1)],
  "an acknowledged message is not in the archive": ["lost", (w) => w.archive.splice(1, 1)],
  "a send became two messages": ["doubled", (w) => w.history.get(C).push({ ...event(2), id: "msg_9", seq: 105 })],
  "an event is in the archive twice": ["doubled", (w) => w.archive.push({ ...w.archive[0] })],
  "history is out of order": ["order", (w) => w.history.get(C).reverse()],
  "a message that nobody sent": ["foreign", (w) => w.history.get(C).push(event(5))],
  "another text": ["changed", (w) => { w.ledger[0].text = "x"; }],
  "another number than acknowledged": ["moved", (w) => { w.ledger[0].ack.seq = 7; }],
  "a stream with a hole": ["stream", (w) => w.streams[0].events.splice(1, 1)],
  "a stream that ends early": ["stream", (w) => w.streams[1].events.pop()],
  "a stream in another order": ["stream", (w) => w.streams[0].events.reverse()],
  "an id with two numbers": ["renumbered", (w) => w.seen.push(["msg_1", C, 999])],
  "a number with two ids": ["reused", (w) => w.seen.push(["msg_9", C, 101])],
  "an id that was seen with another number than in history": ["renumbered", (w) => { w.seen = [["msg_1", C, 99]]; }],
  "an event that was seen and is gone": ["vanished", (w) => w.seen.push(["msg_9", C, 109])],
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
