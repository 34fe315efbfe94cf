// SPDX-License-Identifier: ISC
// Malformed WebSocket frames (RFC 6455, sections 5, 7.4 and 8.1), and good ones in any pieces.  The
// server echoes Engine.IO messages; see malformed.mjs for what a row is.
import { answer, CLOSED, echoing, frames, MAX, request, settle, WEBSOCKET } from "./malformed.mjs";
import { frame } from "./raw-ws.mjs";

const TEXT = 1, BINARY = 2, CONTINUE = 0, CLOSE = 8, PING = 9, PONG = 10;
const PROTOCOL = "closed 1002", NOT_UTF8 = "closed 1007", TOO_BIG = "closed 1009";
const x = (n) => "x".repeat(n);

/** A frame header with the lengths as they are told; the mask is zero. */
function header(first, length, ...extended) {
  return Buffer.from([first, 0x80 | length, ...extended, 0, 0, 0, 0]);
}
const wide = (n, size) => Array.from({ length: size }, (_, i) => Number((BigInt(n) >> BigInt(8 * (size - 1 - i))) & 255n));
const raw = (...parts) => (ws) => ws.conn.write(Buffer.concat(parts.map((p) => Buffer.from(p))));
const hex = (h) => Buffer.from(h, "hex");

/** Frames of one message: the first with the opcode, the last with FIN. */
const pieces = (opcode, ...parts) => (ws) => parts.forEach((p, i) =>
  ws.frame(i ? CONTINUE : opcode, p, { fin: i === parts.length - 1 }));

/** The bytes that a server frame must be, for a frame that was sent. */
const exactly = (name, sent, back) => [name, back.toString("hex"), async (c) => {
  const conn = c.conn();
  conn.write(request(`GET ${WEBSOCKET} HTTP/1.1`, "Host: a", "Upgrade: websocket", "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="));
  if ((await answer(conn)) !== "101") return "refused";
  const open = await conn.until("OPEN", () => {
    const size = conn.buffer[1] === 126 ? 4 + conn.buffer.readUInt16BE(2) : 2 + conn.buffer[1];
    return conn.buffer.length > 4 && conn.buffer.length >= size ? conn.take(size) : undefined;
  });
  if (open === undefined) return "closed";
  conn.write(sent);
  const got = await conn.until("the answer", () => (conn.buffer.length >= back.length ? true : undefined)).catch(() => {});
  return got ? conn.buffer.toString("hex") : `too little: ${conn.buffer.toString("hex")}`;
}];
const served = (opcode, payload) => {
  const p = Buffer.from(payload);
  const size = p.length < 126 ? [p.length] : p.length < 65536 ? [126, ...wide(p.length, 2)] : [127, ...wide(p.length, 8)];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...size]), p]);
};
const echoed = (name, text) => exactly(name, frame(TEXT, Buffer.from(text)), served(TEXT, text));

/** More pings in one segment than pongs are kept for, and a message behind them. */
const flood = (count) => (ws) => ws.conn.write(Buffer.concat([...Array(count).fill(frame(PING, Buffer.alloc(125, 0x70))),
  frame(TEXT, Buffer.from("4end"))]));

export const framesOf = [
  frames("unmasked text", (ws) => ws.frame(TEXT, "4a", { mask: false }), PROTOCOL),
  frames("unmasked ping", (ws) => ws.frame(PING, "", { mask: false }), PROTOCOL),
  frames("unmasked close", (ws) => ws.frame(CLOSE, hex("03e8"), { mask: false }), PROTOCOL),
  ...[4, 2, 1, 7].map((rsv) => frames(`reserved bits ${rsv}`, (ws) => ws.frame(TEXT, "4a", { rsv }), PROTOCOL)),
  frames("a reserved bit on a ping", (ws) => ws.frame(PING, "", { rsv: 4 }), PROTOCOL),
  frames("a reserved bit on a continuation", (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(CONTINUE, "b", { rsv: 2 });
  }, PROTOCOL),
  ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((op) => frames(`opcode ${op}`, (ws) => ws.frame(op, "a"), PROTOCOL)),
  frames("opcode 3 in the middle of a message", (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(3, "b");
  }, PROTOCOL),

  frames("16-bit length of 1", raw(header(0x81, 126, 0, 1), "4"), PROTOCOL),
  frames("16-bit length of 0", raw(header(0x81, 126, 0, 0)), PROTOCOL),
  frames("16-bit length of 125", raw(header(0x81, 126, 0, 125), `4${x(124)}`), PROTOCOL),
  frames("16-bit length of 126 is right", raw(header(0x81, 126, 0, 126), `4${x(125)}`), `4${x(125)}`),
  frames("64-bit length of 125", raw(header(0x81, 127, ...wide(125, 8)), `4${x(124)}`), PROTOCOL),
  frames("64-bit length of 65535", raw(header(0x81, 127, ...wide(65535, 8))), PROTOCOL),
  frames("64-bit length of 65536 is right", raw(header(0x81, 127, ...wide(65536, 8)), `4${x(65535)}`), `4${x(65535)}`),
  frames("length 2^32", raw(header(0x81, 127, ...wide(2n ** 32n, 8))), TOO_BIG),
  frames("length 2^62", raw(header(0x81, 127, ...wide(2n ** 62n, 8))), TOO_BIG),
  frames("length 2^63 - 1", raw(header(0x81, 127, ...wide(2n ** 63n - 1n, 8))), TOO_BIG),
  frames("length 2^63", raw(header(0x81, 127, ...wide(2n ** 63n, 8))), PROTOCOL),
  frames("length 2^64 - 1", raw(header(0x81, 127, ...wide(2n ** 64n - 1n, 8))), PROTOCOL),
  frames("length 2^63 - 1 of a continuation", raw(header(0x01, 2), "4a", header(0x80, 127, ...wide(2n ** 63n - 1n, 8))), TOO_BIG),

  frames("a ping in fragments", (ws) => ws.frame(PING, "a", { fin: false }), PROTOCOL),
  frames("a pong in fragments", (ws) => ws.frame(PONG, "a", { fin: false }), PROTOCOL),
  frames("a close in fragments", (ws) => ws.frame(CLOSE, hex("03e8"), { fin: false }), PROTOCOL),
  frames("a ping of 126 bytes", (ws) => ws.frame(PING, x(126)), PROTOCOL),
  frames("a ping of 70000 bytes", (ws) => ws.frame(PING, x(70000)), PROTOCOL),
  frames("a pong of 126 bytes", (ws) => ws.frame(PONG, x(126)), PROTOCOL),
  frames("a pong nobody asked for", (ws) => ws.frame(PONG, "a"), "nothing"),
  exactly("a ping of 125 bytes", frame(PING, Buffer.alloc(125, 0xff)), served(PONG, Buffer.alloc(125, 0xff))),
  exactly("an empty ping", frame(PING, Buffer.alloc(0)), served(PONG, "")),
  frames("40 pings of 125 bytes at once, and a message: it is not lost", flood(40), "4end"),
  frames("100 pings of 125 bytes at once, and a message", flood(100), "4end"),

  frames("a continuation of nothing", (ws) => ws.frame(CONTINUE, "4a"), PROTOCOL),
  frames("a continuation of nothing, not the last", (ws) => ws.frame(CONTINUE, "4a", { fin: false }), PROTOCOL),
  frames("a continuation behind a whole message", async (ws) => {
    ws.frame(TEXT, "4a");
    await ws.until("the echo", () => ws.received.length === 1);
    ws.frame(CONTINUE, "b");
  }, `4a | ${PROTOCOL}`),
  frames("a text frame in the middle of a message", (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(TEXT, "4b");
  }, PROTOCOL),
  frames("a binary frame in the middle of a text message", (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(BINARY, "b");
  }, PROTOCOL),
  frames("a ping in the middle of a message", (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(PING, "p");
    ws.frame(CONTINUE, "b");
  }, "4ab"),
  frames("a close in the middle of a message", (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(CLOSE, hex("03e8"));
  }, "closed 1000"),
  frames("empty fragments", pieces(TEXT, "", "4", "", "a", ""), "4a"),
  frames("a message of 500 fragments", pieces(TEXT, "4", ...Array(499).fill("a")), `4${"a".repeat(499)}`),
  frames("a binary message in fragments", pieces(BINARY, hex("00"), hex("ff"), hex("80")), "<00ff80>"),
  frames("an empty binary message", (ws) => ws.frame(BINARY, ""), "<>"),
  frames("an empty binary message in fragments", pieces(BINARY, "", ""), "<>"),
  frames("an empty text message", (ws) => ws.frame(TEXT, ""), CLOSED),

  ...[[125], [126], [65535], [65536]].map(([n]) => echoed(`a text of ${n} bytes comes back in the shortest form`,
    `4${x(n - 1)}`)),
  frames("a text of the largest size", (ws) => ws.send(`4${x(MAX - 1)}`), `4${x(MAX - 1)}`),
  frames("one byte more", (ws) => ws.send(`4${x(MAX)}`), TOO_BIG),
  frames("one byte more, in binary", (ws) => ws.send(Buffer.alloc(MAX + 1)), TOO_BIG),
  frames("the largest size in fragments", pieces(TEXT, "4", x(MAX - 2), "y", ""), `4${x(MAX - 2)}y`),
  frames("one byte more in fragments", pieces(TEXT, "4", x(MAX - 2), "y", "z"), TOO_BIG),
  frames("one byte more in the last of two fragments", pieces(TEXT, `4${x(MAX - 2)}`, "yz"), TOO_BIG),
  frames("HTTP on a WebSocket", raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), PROTOCOL),
];

const closing = (payload) => (ws) => ws.frame(CLOSE, payload);
const code = (n) => Buffer.from(wide(n, 2));
const reason = (n, ...parts) => closing(Buffer.concat([code(n), ...parts.map((p) => Buffer.from(p))]));

export const closes = [
  frames("without a status", closing(""), CLOSED),
  frames("a payload of one byte", closing(hex("03")), PROTOCOL),
  ...[1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999].map((n) =>
    frames(`status ${n} is echoed`, closing(code(n)), `closed ${n}`)),
  ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000,
    65535].map((n) => frames(`status ${n}`, closing(code(n)), PROTOCOL)),
  frames("a reason of 123 bytes", reason(1000, x(123)), "closed 1000"),
  frames("a reason of 124 bytes", reason(1000, x(124)), PROTOCOL),
  frames("a reason in UTF-8", reason(1000, "é€😀"), "closed 1000"),
  frames("a reason that is not UTF-8", reason(1000, hex("ff")), NOT_UTF8),
  frames("a reason that ends in the middle of a character", reason(1000, hex("e282")), NOT_UTF8),
  frames("a bad status with a bad reason", reason(1005, hex("ff")), PROTOCOL),
  frames("what follows a close is not read", (ws) => {
    ws.frame(CLOSE, code(1000));
    ws.frame(TEXT, "4a");
  }, "closed 1000"),
  frames("rubbish behind a close is not read", (ws) => ws.conn.write(Buffer.concat([frame(CLOSE, code(1000)), hex("ffffffff")])),
    "closed 1000"),
  frames("what follows a violation is not read", (ws) => {
    ws.frame(3, "");
    ws.frame(TEXT, "4a");
  }, PROTOCOL),
];

const BAD = { "a byte FF": "ff", "a byte FE": "fe", "a lone continuation byte": "80", "overlong slash (2 bytes)": "c0af",
  "overlong slash (3 bytes)": "e080af", "overlong slash (4 bytes)": "f08080af", "overlong NUL": "c080", "C1 BF": "c1bf",
  "the largest overlong of 3 bytes": "e09fbf", "the largest overlong of 4 bytes": "f08fbfbf", "a high surrogate": "eda080",
  "a low surrogate": "edbfbf", "a pair of surrogates": "eda0bdedb880", "U+110000": "f4908080", "F5": "f5808080",
  "5 bytes": "f888808080", "6 bytes": "fc8480808080", "the first of 2 bytes at the end": "c3", "2 of 3 bytes at the end": "e282",
  "3 of 4 bytes at the end": "f09f98", "a character broken off by a letter": "e28261", "ISO 8859-1": "636166e9" };
const GOOD = { "the smallest of 2 bytes": "c280", "the largest of 2 bytes": "dfbf", "the smallest of 3 bytes": "e0a080",
  "U+D7FF": "ed9fbf", "U+E000": "ee8080", "U+FFFF": "efbfbf", "U+10000": "f0908080", "U+10FFFF": "f48fbfbf", "NUL": "00",
  "DEL": "7f" };
const four = (h) => Buffer.concat([Buffer.from("4"), hex(h)]);

export const utf8 = [
  ...Object.entries(BAD).map(([name, h]) => frames(name, (ws) => ws.frame(TEXT, four(h)), NOT_UTF8)),
  ...Object.entries(GOOD).map(([name, h]) => exactly(`${name} is good`, frame(TEXT, four(h)), served(TEXT, four(h)))),
  frames("characters cut by fragments", pieces(TEXT, hex("34c3"), hex("a9e2"), hex("82"), hex("acf0"), hex("9f98"), hex("80")),
    "4é€😀"),
  frames("a character cut by a fragment and never finished", pieces(TEXT, hex("34e282"), ""), NOT_UTF8),
  frames("a character cut by a fragment and finished wrongly", pieces(TEXT, hex("34e282"), hex("61")), NOT_UTF8),
  frames("a bad byte in the second fragment", pieces(TEXT, "4a", hex("ff"), "b"), NOT_UTF8),
  frames("a ping within a character", (ws) => {
    ws.frame(TEXT, hex("34c3"), { fin: false });
    ws.frame(PING, hex("ff"));
    ws.frame(CONTINUE, hex("a9"));
  }, "4é"),
  frames("binary need not be UTF-8", (ws) => ws.frame(BINARY, hex("ffc080eda080")), "<ffc080eda080>"),
  frames("a byte order mark is no packet", (ws) => ws.frame(TEXT, hex("efbbbf3461")), CLOSED),
];

/** The frame in two pieces, once for every place `at`; the second goes when the first was read. */
async function cutEverywhere(ws, c, bytes, at, echo) {
  for (const i of at) {
    ws.conn.write(bytes.subarray(0, i));
    await c.healthy.beat();
    ws.conn.write(bytes.subarray(i));
    const got = await ws.next();
    if (got !== echo) return `cut at ${i}: ${got}`;
  }
  return settle(ws, "nothing");
}
const places = (n) => Array.from({ length: n - 1 }, (_, i) => i + 1);
const cut = (name, bytes, at, echo) => [name, "nothing", async (c) => cutEverywhere(await echoing(c), c, bytes, at, echo)];

const SHORT = frame(TEXT, Buffer.from("4hé"));
const MEDIUM = frame(TEXT, Buffer.from(`4${x(199)}`));
const LONG = frame(TEXT, Buffer.from(`4${x(65599)}`));
const PARTED = Buffer.concat([frame(TEXT, Buffer.from("4é").subarray(0, 2), { fin: false }), frame(PING, Buffer.from("p")),
  frame(CONTINUE, Buffer.from("é").subarray(1))]);

export const cuts = [
  cut("a short text at every byte", SHORT, places(SHORT.length), "4hé"),
  cut("a text with a 16-bit length at every byte", MEDIUM, places(MEDIUM.length), `4${x(199)}`),
  cut("a text with a 64-bit length in its header", LONG, [...places(18), 16384, 65000, LONG.length - 1], `4${x(65599)}`),
  cut("binary at every byte", frame(BINARY, hex("00ff80")), places(9), "<00ff80>"),
  cut("fragments with a ping between at every byte", PARTED, places(PARTED.length), "4é"),
  ["a close at every byte", Array(8).fill("closed 4000").join(), async (c) => {
    const bytes = frame(CLOSE, Buffer.from([0x0f, 0xa0]));
    const all = [];
    for (const i of [...places(bytes.length), bytes.length]) {
      const ws = await echoing(c);
      ws.conn.write(bytes.subarray(0, i));
      await c.healthy.beat();
      ws.conn.write(bytes.subarray(i));
      all.push(await settle(ws, "closed 4000"));
    }
    return all.join();
  }],
  ["each frame byte by byte", "4hé | closed 4000", async (c) => {
    const ws = await echoing(c);
    for (const b of Buffer.concat([SHORT, frame(CLOSE, Buffer.from([0x0f, 0xa0]))])) {
      ws.conn.write(Buffer.from([b]));
      await c.healthy.beat();
    }
    return settle(ws, "4hé | closed 4000");
  }],
  ["an unmasked frame is refused by its second byte", PROTOCOL, async (c) => {
    const ws = await echoing(c);
    ws.conn.write(hex("81"));
    await c.healthy.beat();
    ws.conn.write(hex("02"));
    return settle(ws, PROTOCOL);
  }],
  ["a connection lost in the middle of a frame", "gone", async (c) => {
    const ws = await echoing(c);
    ws.conn.write(LONG.subarray(0, 1000));
    await c.healthy.beat();
    ws.drop();
    await c.healthy.beat();
    return "gone";
  }],
];
