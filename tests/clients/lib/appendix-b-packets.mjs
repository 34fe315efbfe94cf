// SPDX-License-Identifier: ISC
// Appendix B of the protocol specification, the Socket.IO packets on WebSocket.  A row is its
// text, what is accepted as its answer, and what is sent: strings, bytes, or THEN, which waits
// until all before it has been dealt with.  A row that ends in a function runs that instead.
import { ANY, RS } from "./raw-client.mjs";

const WEBSOCKET = "/socket.io/?EIO=4&transport=websocket";
/** A packet that is answered whatever has been joined, and closes nothing. */
const MARK = "40/mark,";
/** Stands for a round trip between two packets. */
const THEN = null;
const CLOSED = /^closed/;
const NOTHING = /^nothing/;

/** Sends the steps on `ws`; `mark` false where the next text packet would be out of place. */
async function send(ws, accepts, steps, mark) {
  for (const step of steps) {
    if (step !== THEN) ws.send(step);
    else if (!ws.closed) {
      await ws.answer(ANY, MARK);
      ws.received.length = 0;
    }
  }
  return ws.answer(accepts, mark ? MARK : undefined);
}

async function open(c) {
  const ws = await c.ws(WEBSOCKET);
  await ws.openPacket();
  return ws;
}

/** In a session that has joined nothing. */
const bare = ([name, accepts, ...steps]) => [name, accepts, async (c) => {
  if (typeof steps[0] === "function") return steps[0](c);
  return send(await open(c), accepts, steps, !/^"45/.test(name));
}];

/** In a session that has joined the root namespace. */
const inRoot = ([name, accepts, ...steps]) => [name, accepts, async (c) => {
  if (typeof steps[0] === "function") return steps[0](c);
  const ws = await open(c);
  ws.send("40");
  if (!(await ws.until("the join", () => ws.received.some((m) => m.startsWith('42["auth"'))))) return ws.text();
  ws.received.length = 0;
  return send(ws, accepts, steps, true);
}];

async function silent(c) {
  const ws = await open(c);
  const start = performance.now();
  const end = await ws.end();
  return `${end} after about ${Math.round((performance.now() - start) / 100) * 100} ms`;
}

export const connect = [
  ['"40"', /^40\{"sid"/, "40"],
  ['"40{}" and "40/custom,{}"', /^40\{"sid".*40\/custom,\{"sid"/, "40{}", "40/custom,{}"],
  ['"40/custom" without comma', /^40\/custom,\{"sid"/, "40/custom"],
  ['"40/," (root namespace spelled out)', /^40\{"sid"|^44/, "40/,"],
  ['"40/nope"', /^44\/nope,\{"message":"Invalid namespace"\}/, "40/nope"],
  ['"40/custom?token=1," (query in the namespace, a v2 habit)', ANY, "40/custom?token=1,"],
  ['"40/denied," (middleware refuses)', /^44\/denied,\{"message":"not authorized"/, "40/denied,"],
  ['"40/nope" and then "40": the connection is still good', /^44\/nope.* \| 40\{"sid"/, "40/nope", "40"],
  ['"40[]" (array)', CLOSED, "40[]"],
  ['"40"x"" (string)', CLOSED, '40"x"'],
  ['"40{" (broken JSON)', CLOSED, "40{"],
  ['"40null" (null)', CLOSED, "40null"],
  ['"407" (an id is read, no payload)', ANY, "407"],
  ['"40" twice', CLOSED, "40", THEN, "40"],
  ['"42["a"]" before CONNECT', CLOSED, '42["a"]'],
  ['"41" before CONNECT', CLOSED, "41"],
  ['"43[]" before CONNECT', CLOSED, "43[]"],
  ['"44{}" before CONNECT', CLOSED, "44{}"],
  ['"42/custom,["a"]" before CONNECT', CLOSED, '42/custom,["a"]'],
  ['"451-["a",{"_placeholder":true,"num":0}]" before CONNECT', ANY, '451-["a",{"_placeholder":true,"num":0}]'],
  ["nothing sent: connectTimeout (reference server started with 1000 ms)", CLOSED, silent],
].map(bare);

export const packet = [
  ['"42["message",1]"', /^42\["message-back",1\]/, '42["message",1]'],
  ['"42["unknown-event",1]" (no handler)', NOTHING, '42["unknown-event",1]'],
  ['"42[1,2]" (number as event name)', NOTHING, "42[1,2]"],
  ['"42" (EVENT without payload)', ANY, "42"],
  ['"4212" (EVENT with an id, without payload)', ANY, "4212"],
  ['"42[]"', CLOSED, "42[]"],
  ['"42{}"', CLOSED, "42{}"],
  ['"42"a""', CLOSED, '42"a"'],
  ['"42null"', CLOSED, "42null"],
  ['"42[null]"', CLOSED, "42[null]"],
  ['"42[true]"', CLOSED, "42[true]"],
  ['"42[{}]"', CLOSED, "42[{}]"],
  ['"42["a"" (broken JSON)', CLOSED, '42["a"'],
  ['"42["a"]x" (text after the JSON)', CLOSED, '42["a"]x'],
  ['"42["a"] " (blank after the JSON)', ANY, '42["a"] '],
  ['"42["connect"]" (reserved)', CLOSED, '42["connect"]'],
  ['"42["connect_error"]" (reserved)', CLOSED, '42["connect_error"]'],
  ['"42["disconnect"]" (reserved)', CLOSED, '42["disconnect"]'],
  ['"42["disconnecting"]" (reserved)', CLOSED, '42["disconnecting"]'],
  ['"42["newListener"]" (reserved)', CLOSED, '42["newListener"]'],
  ['"42["removeListener"]" (reserved)', CLOSED, '42["removeListener"]'],
  ['"42["error",1]" (not reserved on the wire)', NOTHING, '42["error",1]'],
  ['"42abc["message-with-ack",1]" (bad ack id)', CLOSED, '42abc["message-with-ack",1]'],
  ['"42-1["message-with-ack",1]" (negative ack id)', CLOSED, '42-1["message-with-ack",1]'],
  ['"421.5["message-with-ack",1]" (fractional ack id)', CLOSED, '421.5["message-with-ack",1]'],
  ['"4207["message-with-ack",1]" (leading zero)', ANY, '4207["message-with-ack",1]'],
  ['"429007199254740991["message-with-ack",1]" (2^53-1 as id)', ANY, '429007199254740991["message-with-ack",1]'],
  ['"4218446744073709551616["message-with-ack",1]" (2^64 as id)', ANY, '4218446744073709551616["message-with-ack",1]'],
  ['"420["message-with-ack",1]" (ack id 0)', /^430\[1\]/, '420["message-with-ack",1]'],
  ['"4210["message-with-ack",1]" (ack id of two digits)', /^4310\[1\]/, '4210["message-with-ack",1]'],
  ['"421["message-with-ack"]" (ack without arguments)', /^431\[\]/, '421["message-with-ack"]'],
  ['"4310[1]" (ACK nobody waits for)', NOTHING, "4310[1]"],
  ['"43[1]" (ACK without id)', ANY, "43[1]"],
  ['"4310" (ACK without payload)', ANY, "4310"],
  ['"431{}" (ACK payload not an array)', CLOSED, "431{}"],
  ['"44{}" (CONNECT_ERROR from a client)', CLOSED, "44{}"],
  ['"44"x""', CLOSED, '44"x"'],
  ['"41" (DISCONNECT: the connection stays)', NOTHING, "41"],
  ['"41{}" (DISCONNECT with a payload)', CLOSED, "41{}"],
  ['"41/custom," (DISCONNECT of a namespace not joined)', CLOSED, "41/custom,"],
  ['"42/custom,["a"]" (namespace not joined)', CLOSED, '42/custom,["a"]'],
  ['"42/nope,["a"]" (unknown namespace)', CLOSED, '42/nope,["a"]'],
  ['"4" (MESSAGE without data)', CLOSED, "4"],
  ['"47" (unknown type)', CLOSED, "47"],
  ['"49"', CLOSED, "49"],
  ['"4abc"', CLOSED, "4abc"],
  ['"4 2["a"]"', CLOSED, '4 2["a"]'],
  ['"41" and "42[…]" back to back on the left namespace', /^(nothing|closed)/, "41", '42["message",1]'],
  ['"41", 30 ms later "42[…]" on the left namespace', /^(nothing|closed)/, "41", THEN, '42["message",1]'],
  ['"41" and "40" back to back (a race inside the reference)', /^(40\{"sid"|closed)/, "41", "40"],
  ['"41", 30 ms later "40": join again', /^40\{"sid"/, "41", THEN, "40"],
].map(inRoot);

const BIN = Buffer.from([1, 2, 3]);
const slot = (num) => `{"_placeholder":true,"num":${num}}`;
const ONE = `451-["message",${slot(0)}]`;
const TEN = Array.from({ length: 10 }, (_, i) => slot(i)).join();
const tens = Array.from({ length: 10 }, (_, i) => Buffer.from([i]));

/** A binary event over polling, its two packets in `bodies`. */
const overPolling = (between, bodies) => async (c) => {
  const p = await c.joined();
  for (const body of bodies) await p.post(body);
  return (await p.packets((all) => all.some((x) => /^[b1]/.test(x)))).join(between);
};

export const binary = [
  [`"${ONE}" <bin> (one attachment)`, /^451-\["message-back",.* \| <010203>/, ONE, BIN],
  [`"451-["message",{"a":[${slot(0)}]}]" <bin> (nested placeholder)`, /\| <010203>/, `451-["message",{"a":[${slot(0)}]}]`, BIN],
  [`"452-["message",${slot(1)},{"_placeholder"…" <bin> <bin> (placeholders out of order)`, /^452-/,
    `452-["message",${slot(1)},${slot(0)}]`, BIN, Buffer.from([9])],
  [`"451-["message",${slot(0)},{"_placeholder"…" <bin> (one attachment used twice)`, ANY, `451-["message",${slot(0)},${slot(0)}]`, BIN],
  [`"452-["message",${slot(0)}]" <bin> <bin> (an attachment nobody refers to)`, ANY, `452-["message",${slot(0)}]`, BIN, BIN],
  ['"451-["message",{"_placeholder":true,"num":"0"}]" <bin> (num is a string)', ANY, `451-["message",${slot('"0"')}]`, BIN],
  [`"451-["message",${slot(5)}]" <bin> (num out of range)`, CLOSED, `451-["message",${slot(5)}]`, BIN],
  [`"451-["message",${slot(-1)}]" <bin> (num negative)`, CLOSED, `451-["message",${slot(-1)}]`, BIN],
  ['"451-["message",1]" <bin> (attachment, but no placeholder)', ANY, '451-["message",1]', BIN],
  ['"451-["message",{"_placeholder":false,"num":0}]" <bin> (_placeholder false)', ANY,
    '451-["message",{"_placeholder":false,"num":0}]', BIN],
  [`"42["message",${slot(0)}]" (placeholder in a plain EVENT is plain data)`, ANY, `42["message",${slot(0)}]`],
  ['"450-["message",1]" (zero attachments)', ANY, '450-["message",1]'],
  ['"451["message",1]" (no dash)', CLOSED, '451["message",1]'],
  ['"45-["message",1]" (no count)', CLOSED, '45-["message",1]'],
  ['"45a-["message",1]" (count not a number)', CLOSED, '45a-["message",1]'],
  ['"451.5-["message",1]" (fractional count)', CLOSED, '451.5-["message",1]'],
  ['"45-1-["message",1]" (negative count)', CLOSED, '45-1-["message",1]'],
  ['"45"', CLOSED, "45"],
  ['"4511-["message",1]" (more than 10 attachments)', ANY, '4511-["message",1]'],
  [`"4510-["message",${slot(0)},{"_placeholder…" <bin> <bin> <bin> (exactly 10 attachments)`, /^4510-/, `4510-["message",${TEN}]`, ...tens],
  [`"${ONE}" "42["message",1]" (text where an attachment is due)`, CLOSED, ONE, '42["message",1]'],
  [`"${ONE}" "3" <bin> (PONG between header and attachment)`, /^451-/, ONE, "3", BIN],
  ["<bin> (attachment nobody announced)", CLOSED, BIN],
  [`"451-42["message-with-ack",${slot(0)}]" <bin> (binary event with ack)`, /^461-42\[.* \| <010203>/,
    `451-42["message-with-ack",${slot(0)}]`, BIN],
  [`"461-10[${slot(0)}]" <bin> (binary ack nobody waits for)`, NOTHING, `461-10[${slot(0)}]`, BIN],
  [`"451-/custom,["message",${slot(0)}]" <bin> (binary event on a namespace not joined)`, CLOSED,
    `451-/custom,["message",${slot(0)}]`, BIN],
  ['the same over polling: "451-[…]" RS "bAQID" in one POST', /^451-.* RS bAQID$/, overPolling(" RS ", [`${ONE}${RS}bAQID`])],
  ["the same in two POSTs (header, then attachment)", /451-.*bAQID/, overPolling(" ", [ONE, "bAQID"])],
].map(inRoot);
