// SPDX-License-Identifier: ISC
// Appendix B of the protocol specification, the sections on WebSocket: its handshake, its frames,
// and the upgrade from polling.  Rows as in appendix-b-http.mjs.
import { randomUUID } from "node:crypto";
import { show, within } from "./raw.mjs";
import { ANY, RS } from "./raw-client.mjs";

const PATH = "/engine.io/";
const WEBSOCKET = `${PATH}?EIO=4&transport=websocket`;
const MAX_PAYLOAD = 1000000;

/** How a WebSocket handshake ends; a refusal may come after the 101. */
async function outcome(ws) {
  if (ws.refused) return ws.refused;
  await ws.until("the end of the WebSocket", () => false);
  return `open, then ${ws.closed}`;
}
const opening = (query, options) => async (c) => outcome(await c.ws(`${PATH}${query}`, options));
/** Only the status of the answer to a WebSocket handshake. */
const status = (options) => async (c) => (await c.ws(WEBSOCKET, options)).status;
const REFUSED = /^(refused 4|open, then closed|error)/;

export const wsHandshake = [
  ["no transport", REFUSED, opening("?EIO=4")],
  ["transport=abc", REFUSED, opening("?EIO=4&transport=abc")],
  ["transport=polling with Upgrade", REFUSED, opening("?EIO=4&transport=polling")],
  ["no EIO", REFUSED, opening("?transport=websocket")],
  ["EIO=abc", REFUSED, opening("?EIO=abc&transport=websocket")],
  ["unknown sid", REFUSED, opening(`?EIO=4&transport=websocket&sid=${randomUUID()}`)],
  ["allowRequest refuses", REFUSED, opening("?EIO=4&transport=websocket", { headers: { "x-deny": "go away" } })],
  ["no Sec-WebSocket-Key", /^(4\d\d|closed|complete)/, status({ headers: { "Sec-WebSocket-Key": undefined } })],
  ["Sec-WebSocket-Key of a wrong length", /^(4\d\d|101|closed)/, status({ headers: { "Sec-WebSocket-Key": "c2hvcnQ=" } })],
  ["Sec-WebSocket-Version: 12", /^(4\d\d|closed)/, status({ headers: { "Sec-WebSocket-Version": "12" } })],
  ["POST with Upgrade", /^(4\d\d|closed)/, status({ method: "POST" })],
  ["Upgrade: h2c", /^(4\d\d|closed)/, status({ headers: { Upgrade: "h2c" } })],
];

/** A session of the echo server that started on WebSocket. */
async function echoing(c, query = "") {
  const ws = await c.ws(WEBSOCKET + query);
  await ws.openPacket();
  return ws;
}

/** A row whose function sends something on such a WebSocket; the answer is what comes of it. */
const frames = (name, accepts, send, query) => [name, accepts, async (c) => {
  const ws = await echoing(c, query);
  send(ws);
  return ws.answer(accepts);
}];

/** The same for what must not be answered: the echo behind it shows that it has been read. */
async function silence(c, ...texts) {
  const ws = await echoing(c);
  const all = [];
  for (const text of texts) {
    ws.send(text);
    all.push(await ws.answer(ANY, "4mark"));
    ws.received.length = 0;
  }
  return all.join(" ");
}

async function biggest(c) {
  const ws = await echoing(c);
  const text = "4".padEnd(MAX_PAYLOAD, "x");
  ws.send(text);
  const back = await ws.next();
  return back === text ? "echo" : back.slice(0, 50);
}

async function tooBig(c) {
  const ws = await echoing(c);
  ws.send("4".padEnd(MAX_PAYLOAD + 1, "x"));
  return ws.end();
}

const BYTES = Buffer.from([1, 2, 3]);
const TEXT = 1;
const CLOSED = /^closed/;

export const wsFrame = [
  frames('text "4hello": echo', /^4hello/, (ws) => ws.send("4hello")),
  frames("binary 01 02 03: echo as a binary frame", /^<010203>/, (ws) => ws.send(BYTES)),
  frames("empty binary frame", ANY, (ws) => ws.send(Buffer.alloc(0))),
  frames("empty text frame", CLOSED, (ws) => ws.send("")),
  frames('text "abc"', CLOSED, (ws) => ws.send("abc")),
  frames('text "bAQID" (base64 in a text frame)', ANY, (ws) => ws.send("bAQID")),
  frames('text "2" (PING from a client)', CLOSED, (ws) => ws.send("2")),
  frames('text "2probe" on a session that started on WebSocket', CLOSED, (ws) => ws.send("2probe")),
  ['text "3" unasked', /^nothing/, (c) => silence(c, "3")],
  ['text "0", "5", "6"', /^(nothing ?)+$/, (c) => silence(c, "0", "5", "6")],
  ['text "1" (CLOSE)', /^(nothing|closed)/, (c) => silence(c, "1")],
  ["a frame of maxPayload bytes", /^echo/, biggest],
  ["a frame of maxPayload + 1 bytes", CLOSED, tooBig],
  frames("unmasked frame from the client", CLOSED, (ws) => ws.frame(TEXT, "4a", { mask: false })),
  frames("reserved bit set", CLOSED, (ws) => ws.frame(TEXT, "4a", { rsv: 4 })),
  frames("unknown opcode 3", CLOSED, (ws) => ws.frame(3, "4a")),
  frames("continuation without a start", CLOSED, (ws) => ws.frame(0, "4a")),
  frames("invalid UTF-8 in a text frame", CLOSED, (ws) => ws.frame(TEXT, Buffer.from([0x34, 0xff, 0x61]))),
  frames("message in 3 fragments with a WebSocket ping between: echo", /^4abc/, (ws) => {
    ws.frame(TEXT, "4a", { fin: false });
    ws.frame(9, "between");
    ws.pings++;
    ws.frame(0, "b", { fin: false });
    ws.frame(0, "c");
  }),
  frames("b64=1 in the query: binary echo", ANY, (ws) => ws.send(BYTES), "&b64=1"),
];

/** A polling session with a WebSocket beside it, its probe answered. */
async function probed(c) {
  const p = await c.polling();
  const ws = await p.upgrade();
  ws.send("2probe");
  const answer = await ws.next();
  return { p, ws, answer };
}

async function upgraded(c) {
  const { p, ws } = await probed(c);
  ws.send("5");
  ws.send("4hi");
  const first = await ws.next();
  return { p, ws, first };
}

/** The new WebSocket gets a packet that it must not get; what becomes of it and of the session. */
const refused = (packet) => async (c) => {
  const p = await c.polling();
  const ws = await p.upgrade();
  ws.send(packet);
  return `${await ws.end()}; ${await p.state()}`;
};

async function refusedAfterProbe(c) {
  const { p, ws } = await probed(c);
  ws.send("4hello");
  return `${await ws.end()}; ${await p.state()}`;
}

async function furtherGets(c) {
  const { p } = await probed(c);
  const bodies = [await p.poll(), await p.poll()].map((r) => (r.status === 200 ? JSON.stringify(r.body.toString()) : show(r)));
  return bodies.join(" ");
}

async function withoutProbe(c) {
  const p = await c.polling();
  const ws = await p.upgrade();
  ws.send("5");
  ws.send("4hi");
  return `${await ws.next()}; GET ${show(await p.get())}`;
}

/** The loss is known to the server when another WebSocket may try. */
async function dropped(c) {
  const { p, ws } = await probed(c);
  ws.drop();
  const again = await within(400, async () => {
    const other = await p.upgrade();
    if (other.refused) return false;
    other.send("2probe");
    const answer = await other.next();
    other.drop();
    return answer === "3probe";
  });
  return again ? p.state() : "no other WebSocket may try";
}

async function secondWhileUpgrading(c) {
  const { p, ws } = await probed(c);
  const second = await outcome(await p.upgrade());
  ws.send("2probe");
  return `${second}; first still works: ${await ws.next()}`;
}

async function secondAfterUpgrade(c) {
  const { p, ws } = await upgraded(c);
  const second = await outcome(await p.upgrade());
  ws.send("4hi");
  return `${second}; first: ${await ws.next()}`;
}

async function pendingAtUpgrade(c) {
  const { p, ws } = await probed(c);
  const get = await p.park();
  ws.send("5");
  return show(await get.response());
}

async function queuedWhileUpgrading(c) {
  const { p, ws } = await probed(c);
  await p.post(`4a${RS}4b`);
  ws.send("5");
  return `${await ws.next()} ${await ws.next()}`;
}

async function sidOfWebSocket(c) {
  const first = await c.ws(WEBSOCKET);
  const second = await c.ws(`${WEBSOCKET}&sid=${await first.openPacket()}`);
  if (second.refused) return second.refused;
  return `open, then ${await second.answer(ANY)}`;
}

/** Without a probe: the session is kept alive by its polls until the WebSocket is closed. */
async function noProbe(c) {
  const p = await c.polling();
  const start = performance.now();
  const ws = await p.upgrade();
  let over = false;
  const polls = (async () => {
    while (!over) {
      const r = await p.get();
      if (r === null || r.status !== 200) return;
      if (r.body.toString() === "2") await p.post("3");
    }
  })();
  const end = await ws.end();
  const after = Math.round((performance.now() - start) / 100) * 100;
  const state = await p.state();
  over = true;
  await Promise.all([p.post("1"), polls]);
  return `${end} after about ${after} ms; ${state}`;
}

const STAYS = /^closed.*; session lives/;

export const upgrade = [
  ['"2probe" is answered, the polling session stays usable', /^3probe; session lives/, async (c) => {
    const { p, answer } = await probed(c);
    return `${answer}; ${await p.state()}`;
  }],
  ["pending GET after the probe", /^200 \S+ "6"/, async (c) => {
    const p = await c.polling();
    const get = await p.park();
    const ws = await p.upgrade();
    ws.send("2probe");
    return show(await get.response());
  }],
  ["each further GET before UPGRADE gets a NOOP too", /^"6" "6"/, furtherGets],
  ['"2probe" sent twice', /^3probe (3probe|closed)/, async (c) => {
    const { ws, answer } = await probed(c);
    ws.send("2probe");
    return `${answer} ${await ws.next()}`;
  }],
  ['"2" (no "probe") on the new WebSocket', STAYS, refused("2")],
  ['"2probeX" on the new WebSocket', STAYS, refused("2probeX")],
  ['"4hello" before the probe', STAYS, refused("4hello")],
  ['"4hello" between the probe and UPGRADE', STAYS, refusedAfterProbe],
  ['"abc" on the new WebSocket', STAYS, refused("abc")],
  ["binary frame on the new WebSocket", STAYS, refused(BYTES)],
  ['"5" without a probe: the upgrade is done all the same', ANY, withoutProbe],
  ["client drops the new WebSocket before UPGRADE", /^session lives/, dropped],
  ["second WebSocket while the first one is still upgrading", /(closed|refused).*; first still works: 3probe/, secondWhileUpgrading],
  ["second WebSocket after the upgrade", /(closed|refused).*; first: 4hi/, secondAfterUpgrade],
  ["GET / POST polling with the sid after the upgrade", /^GET 400 .*; POST 400 /, async (c) => {
    const { p } = await upgraded(c);
    return `GET ${show(await p.get())}; POST ${show(await p.post("4a"))}`;
  }],
  ["GET still pending when UPGRADE arrives (impatient client)", /^200 \S+ "[16]"/, pendingAtUpgrade],
  ["messages queued while upgrading arrive on the WebSocket, in order", /^4a 4b$/, queuedWhileUpgrading],
  ["WebSocket with the sid of a session that started on WebSocket", ANY, sidOfWebSocket],
  ["upgradeTimeout: no probe within the limit (reference server started with 1000 ms)", /^closed .*session lives/, noProbe],
];
