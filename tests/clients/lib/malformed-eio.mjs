// SPDX-License-Identifier: ISC
// Malformed Engine.IO: handshakes and session ids, payloads and packets, requests that overlap, and
// upgrades.  The answers are those of the protocol's specification, where it says what a server in C
// should do; see malformed.mjs for what a row is.
import { CLOSED, echoing, eio, error, exchange, frames, GONE, http, LIVES, MAX, OK, POLLING, request, settle,
  WEBSOCKET } from "./malformed.mjs";
import { RS } from "./raw-client.mjs";
import { show } from "./raw.mjs";

const OPENED = `200 text/plain "0{\\"sid\\":\\"…\\",\\"upgrades\\":[\\"websocket\\"],\\"pingInterval\\":600000,` +
  `\\"pingTimeout\\":20000,\\"maxPayload\\":${MAX}}"; open`;
const refused = (code) => `${error(code)}; open`;

const asked = (query, expected, method = "GET", more = []) => http(`${method} ${query.length > 60 ? `${query.slice(0,
  60)}…` : query}`,
  request(`${method} /engine.io/${query} HTTP/1.1`, "Host: a", ...more), expected);
const withSid = (sid, expected = refused(1)) => asked(`?EIO=4&transport=polling&sid=${sid}`, expected);

const queries = [
  asked("", refused(0)), asked("?", refused(0)), asked("?transport", refused(0)), asked("?transport=", refused(0)),
  ...["Polling", "polling%20", "+polling", "polling%00", "polling%", "toString", "websocket2", "poll", "webtransport"].map(
    (t) => asked(`?EIO=4&transport=${t}`, refused(0))),
  asked("?EIO=4&transport=polling&transport=abc", refused(0)), asked("?EIO=4&transport=abc&transport=polling", OPENED),
  asked("?EIO=4&Transport=polling", refused(0)), asked("?EIO=4;transport=polling", refused(0)),
  asked("?&&EIO=4&&=&transport=polling&", OPENED),
  asked("?EIO=4&transport=%70olling", OPENED), asked("?%45IO=4&transport=polling", OPENED),
  ...["", "3", "5", "04", "4.0", "+4", "4+", "%204", "-4", "four", "44", "4%00",
    "4%"].map((v) => asked(`?EIO=${v}&transport=polling`, refused(5))),
  asked("?transport=polling", refused(5)), asked("?EIO=4&EIO=3&transport=polling", refused(5)),
  asked("?eio=4&transport=polling", refused(5)),
  asked("?EIO=4?transport=polling", refused(0)), asked("?EIO=4&transport=websocket", refused(3)),
  asked("?EIO=4&transport=polling&sid=", OPENED), asked("?EIO=4&transport=polling&sid", OPENED),
  ...["POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map((m) => asked("?EIO=4&transport=polling", refused(2), m)),
  ...["A", "AA", "aaBCDEFGHIJKLMNOPQRSTU", "A1BCDEFGHIJKLMNOPQRSTU", "AABCDEFGHIJKLMNOPQRSTU", "BABCDEFGHIJKLMNOPQRSTU",
    "ZZBCDEFGHIJKLMNOPQRSTU",
    "__proto__", "AA%2e%2e%2f%2e%2e", "AA%22%7b%7d", "%c3%a9%c3%a9%c3%a9", "%ff%fe", "AA+BCD", `AA${"x".repeat(100)}`,
    `AA${"y".repeat(5000)}`, "0",
    "%zz", "AA%00", "AA%", "%0a"].map((sid) => withSid(sid)),
];

/** A row of one POST on a fresh polling session: the answer, what is there to be fetched, the state. */
const posted = (name, body, expected, options) => [name, expected, async (c) => {
  const p = await c.polling();
  const r = await p.post(typeof body === "string" ? Buffer.from(body, "latin1") : body, options);
  const status = r === null ? "closed" : r.status === 200 ? show(r) === OK ? "ok" : show(r) : show(r);
  const state = await p.state();
  const echo = state === LIVES && expected.includes("echo") ? `; echo ${JSON.stringify((await p.get()).body.toString())}` : "";
  return `${status}; ${state}${echo}`;
}];
const NO = `400 - ""; ${GONE}`;
const echo = (text) => `ok; ${LIVES}; echo ${JSON.stringify(text)}`;
const QUIET = `ok; ${LIVES}`;

const payloads = [
  posted("payload: empty", "", NO), posted("payload: RS alone", RS, NO), posted("payload: two RS", RS + RS, NO),
  posted("payload: RS in front", `${RS}4a`, NO), posted("payload: RS at the end", `4a${RS}`, NO),
  posted("payload: two RS between", `4a${RS}${RS}4b`, NO),
  ...["7", "8", "9", "a", "B", " 4a", "-4", "\x004a", "\n", "é", "{}", "[]", "c4", "<html>", "2:4a"].map(
    (x) => posted(`payload: ${JSON.stringify(x)}`, x, NO)),
  posted("payload: a bad packet behind a good one", `4a${RS}x`, NO),
  posted("payload: a bad packet in front of a good one", `x${RS}4a`, NO),
  posted("payload: two packets", `4a${RS}4b`, echo(`4a${RS}4b`)), posted("payload: 4 alone", "4", echo("4")),
  posted("payload: lines and NUL in a message", "4a\r\n\x00b", echo("4a\r\n\x00b")),
  posted("payload: OPEN", "0", QUIET), posted("payload: OPEN with data", '0{"sid":"x"}', QUIET),
  posted("payload: UPGRADE", "5", QUIET),
  posted("payload: NOOP", "6", QUIET), posted("payload: PONG", "3", QUIET), posted("payload: PONG with data", "3probe", QUIET),
  posted("payload: 200 PONGs", Array(200).fill("3").join(RS), QUIET),
  posted("payload: PING", "2", NO), posted("payload: PING with data", "2probe", NO),
  posted("payload: PING behind a message", `4a${RS}2`, NO),
  posted("payload: CLOSE", "1", `ok; ${GONE}`), posted("payload: CLOSE with data", "1:4", `ok; ${GONE}`),
  posted("payload: rubbish behind CLOSE", `1${RS}x`, `ok; ${GONE}`), posted("payload: CLOSE twice", `1${RS}1`, `ok; ${GONE}`),
  posted("payload: 1000 packets", Array(1000).fill("3").join(RS), QUIET),
  posted("payload: 1001 packets", Array(1001).fill("3").join(RS), NO),
  posted("payload: 60000 packets", Array(60000).fill("6").join(RS), NO),
  posted("payload: the largest", `3${"x".repeat(MAX - 1)}`, QUIET),
  posted("payload: one byte more", `3${"x".repeat(MAX)}`, `413 - ""; ${LIVES}`),
  ...Object.entries({ "FF": "\xff", "overlong": "\xc0\xaf", "a surrogate": "\xed\xa0\x80", "half a character": "\xe2\x82",
    "U+110000": "\xf4\x90\x80\x80" })
    .map(([name, x]) => posted(`payload: not UTF-8, ${name}`, `4${x}`, NO)),
  posted("payload: half a character before RS", `4\xe2\x82${RS}4a`, NO),
  posted("payload: not UTF-8 in an ignored packet", "6\xff", NO),
  posted("payload: octets", "4a", NO, { headers: { "Content-Type": "application/octet-stream" } }),
  posted("payload: octets with a parameter", "4a", NO, { headers: { "Content-Type": "Application/Octet-Stream; x=y" } }),
  posted("payload: any other type", "4a", echo("4a"), { headers: { "Content-Type": "x" } }),
  posted("payload: no type", "4a", echo("4a"), { headers: { "Content-Type": undefined } }),
  posted("payload: JSONP's form", "d=4a", NO),
];

const base64 = [
  ...[["", ""], ["AQID", "AQID"], ["AQ==", "AQ=="], ["AQ", "AQ=="], ["AQI", "AQI="], ["-_8", "+/8="], ["+/8=", "+/8="],
    ["AR==", "AQ=="]].map(
    ([x, back]) => posted(`base64: ${JSON.stringify(x)}`, `b${x}`, echo(`b${back}`))),
  ...["A", "AQIDA", "=", "==", "====", "A===", "AQ=a", "A=QI", "AQID=", "AQID==", "AQID====", "AQ ID", " AQID", "AQID\n", "AQ,D",
    "!!!!", "AQ\xe9=", "AQI\x00",
    "4AQID AQ"].map((x) => posted(`base64: ${JSON.stringify(x)}`, `b${x}`, NO)),
  posted("base64: it begins with 4", "b4AAA", echo("b4AAA")), posted("base64: bad behind a message", `4a${RS}b!`, NO),
  posted("base64: a capital B is no packet", "BAQID", NO),
];

const onWebSocket = [
  ...["7", "9", "a", " 4a", "\n4a", "{}", "\u00004", "é", "2", "2probe", "1", "1x", "b!", "bA", "bAQID=", `x${RS}4a`].map(
    (x) => eio(`WebSocket: ${JSON.stringify(x)}`, x, CLOSED)),
  ...["0", '0{"sid":"x"}', "5", "6", "3", "3probe",
    "3".repeat(1000)].map((x) => eio(`WebSocket: ${JSON.stringify(x.slice(0, 20))} is let pass`, x, "nothing")),
  eio("WebSocket: RS means nothing", `4a${RS}4b`, `4a${RS}4b`), eio("WebSocket: 4 alone", "4", "4"),
  eio("WebSocket: base64 in a text", "bAQID", "<010203>"), eio("WebSocket: bad behind good", ["4a", "x", "4b"], `4a | ${CLOSED}`),
  eio("WebSocket: CLOSE, then a message", ["1", "4b"], CLOSED), eio("WebSocket: NUL in a message", "4a\u0000b", "4a\u0000b"),
];

const PARKED_OUT = '200 text/plain;charset=utf-8 "1"';

async function twoGets(c) {
  const p = await c.polling();
  const first = await p.park();
  const second = show(await p.get());
  return `1st ${show(await first.response())}; 2nd ${second}; ${await p.state()}`;
}

/** That the first has begun must reach the session's owner, and nothing outside says when: others
 * go the same way several times meanwhile. */
async function twoPosts(c) {
  const p = await c.polling();
  const first = c.conn();
  first.write(`${request(`POST ${p.target} HTTP/1.1`, "Host: a", "Content-Length: 10")}4a`);
  for (let i = 0; i < 5; i++) await c.healthy.beat();
  const second = show(await p.post("4b"));
  return `1st ${show(await first.response())}; 2nd ${second}; ${await p.state()}`;
}

async function lost(c, what) {
  const p = await c.polling();
  const conn = c.conn();
  conn.write(what === "GET" ? request(`GET ${p.target} HTTP/1.1`,
    "Host: a") : `${request(`POST ${p.target} HTTP/1.1`, "Host: a", "Content-Length: 9")}4a`);
  for (let i = 0; i < 5; i++) await c.healthy.beat();
  conn.destroy();
  return p.stateAfterLoss();
}

async function parkedWhile(c, body) {
  const p = await c.polling();
  const first = await p.park();
  const r = show(await p.post(body));
  return `GET ${show(await first.response())}; POST ${r}; ${await p.state()}`;
}

async function otherEndpoint(c) {
  const p = await c.polling("/socket.io/");
  return exchange(c, request(`GET ${POLLING}&sid=${p.sid} HTTP/1.1`, "Host: a"), refused(1));
}

async function ofWebSocket(c, method) {
  const ws = await c.ws(WEBSOCKET);
  const sid = await ws.openPacket();
  const r = await exchange(c, request(`${method} ${POLLING}&sid=${sid} HTTP/1.1`, "Host: a"), refused(3));
  ws.send("4still");
  return `${r}; ${await ws.next()}`;
}

/** A sid that differs from a session's in one way. */
const changed = (name, change) => [`a sid, ${name}`, `${refused(1)}; ${LIVES}`, async (c) => {
  const p = await c.polling();
  const r = await exchange(c, request(`GET ${POLLING}&sid=${change(p.sid)} HTTP/1.1`, "Host: a"), refused(1));
  return `${r}; ${await p.state()}`;
}];

const requests = [
  ["a second GET", `1st ${PARKED_OUT}; 2nd 400 - ""; ${GONE}`, twoGets],
  ["a second POST while the first arrives", `1st 400 - ""; 2nd 400 - ""; ${GONE}`, twoPosts],
  ["a GET that is lost", GONE, (c) => lost(c, "GET")],
  ["a POST that is lost", GONE, (c) => lost(c, "POST")],
  ["a bad packet while a GET waits", `GET ${PARKED_OUT}; POST 400 - ""; ${GONE}`, (c) => parkedWhile(c, "x")],
  ["CLOSE while a GET waits", `GET 200 text/plain;charset=utf-8 "6"; POST ${OK}; ${GONE}`, (c) => parkedWhile(c, "1")],
  ["PING while a GET waits", `GET ${PARKED_OUT}; POST 400 - ""; ${GONE}`, (c) => parkedWhile(c, "2")],
  ["a sid of the other endpoint", refused(1), otherEndpoint],
  ["GET with the sid of a WebSocket session", `${refused(3)}; 4still`, (c) => ofWebSocket(c, "GET")],
  ["POST with the sid of a WebSocket session", `${refused(3)}; 4still`, (c) => ofWebSocket(c, "POST")],
  changed("other slot letters", (s) => `ZZ${s.slice(2)}`),
  changed("slot letters in lower case", (s) => s.slice(0, 2).toLowerCase() + s.slice(2)),
  changed("one letter short", (s) => s.slice(0, -1)), changed("one letter more", (s) => `${s}A`),
  changed("a blank behind it", (s) => `${s}%20`),
  changed("NUL behind it", (s) => `${s}%00`), changed("the last letter changed",
    (s) => s.slice(0, -1) + (s.endsWith("A") ? "B" : "A")),
  ["without EIO", `${refused(3)}; ${LIVES}`, async (c) => {
    const p = await c.polling();
    return `${await exchange(c, request(`GET /engine.io/?transport=polling&sid=${p.sid} HTTP/1.1`, "Host: a"),
      refused(3))}; ${await p.state()}`;
  }],
];

export const engine = [...queries, ...payloads, ...base64, ...onWebSocket, ...requests];

// ---- upgrades ----

/** A row of messages on a WebSocket that is to become a polling session's transport. */
const upgrade = (name, packets, expected) => [name, expected, async (c) => {
  const p = await c.polling();
  const ws = await p.upgrade();
  for (const x of [packets].flat()) ws.send(x);
  const at = expected.lastIndexOf("; ");
  const seen = await settle(ws, expected.slice(0, at));
  // Of a session that moved, its first worker hears a moment later that it has ended.
  return `${seen}; ${await (expected.slice(at + 2) === GONE ? p.stateAfterLoss() : p.state())}`;
}];
const CUT = `${CLOSED}; ${LIVES}`;
const DONE = `session undecided: 400 application/json "{\\"code\\":3,\\"message\\":\\"Bad request\\"}"`;
const WS_REFUSED = (text) => `refused 400 text/html "${text}"`;

async function secondCandidate(c) {
  const p = await c.polling();
  const first = await p.upgrade();
  const second = await p.upgrade();
  first.send("2probe");
  return `${second.refused}; ${await first.next()}; ${await p.state()}`;
}

async function afterUpgrade(c) {
  const p = await c.polling();
  const first = await p.upgrade();
  for (const x of ["2probe", "5", "4a"]) first.send(x);
  await settle(first, "3probe | 4a");
  const second = await p.upgrade();
  first.received.length = 0;
  first.send("4b");
  return `${second.refused}; ${await first.next()}`;
}

async function fragmentedProbe(c) {
  const p = await c.polling();
  const ws = await p.upgrade();
  ws.frame(1, "2pr", { fin: false });
  ws.frame(9, "ping");
  ws.frame(0, "obe");
  return settle(ws, "3probe");
}

export const upgrades = [
  ...["2", "2probe ", "2Probe", "2probeX", "3probe", "4a", "0", "1", "6", "5x", "50", " 5", "", "x", "é"].map(
    (x) => upgrade(`${JSON.stringify(x)} instead of the probe`, x, CUT)),
  ...["4a", "2", "6", "3", "5x", ""].map((x) => upgrade(`${JSON.stringify(x)} behind the probe`, ["2probe", x],
    `3probe | ${CUT}`)),
  upgrade("a binary probe", Buffer.from("2probe"), CUT),
  upgrade("a binary UPGRADE", ["2probe", Buffer.from("5")], `3probe | ${CUT}`),
  upgrade("UPGRADE without a probe", "5", `nothing; ${DONE}`),
  upgrade("three probes", ["2probe", "2probe", "2probe"], `3probe | 3probe | 3probe; ${LIVES}`),
  upgrade("rubbish behind UPGRADE", ["2probe", "5", "x"], `3probe | ${CLOSED}; ${GONE}`),
  upgrade("UPGRADE twice: the second is let pass", ["2probe", "5", "5", "4a"], `3probe | 4a; ${DONE}`),
  upgrade("a probe behind UPGRADE", ["2probe", "5", "2probe"], `3probe | ${CLOSED}; ${GONE}`),
  ["a probe in fragments", "3probe", fragmentedProbe],
  ["a bad frame on the candidate", `closed 1002; ${LIVES}`, async (c) => {
    const p = await c.polling();
    const ws = await p.upgrade();
    ws.frame(1, "2probe", { mask: false });
    return `${await settle(ws, "closed 1002")}; ${await p.state()}`;
  }],
  ["a close frame on the candidate", `closed 1000; ${LIVES}`, async (c) => {
    const p = await c.polling();
    const ws = await p.upgrade();
    ws.frame(8, Buffer.from([3, 232]));
    return `${await settle(ws, "closed 1000")}; ${await p.state()}`;
  }],
  ["a second candidate", `${WS_REFUSED("Bad request")}; 3probe; ${LIVES}`, secondCandidate],
  ["a candidate behind the upgrade", `${WS_REFUSED("Bad request")}; 4b`, afterUpgrade],
  ["a candidate for a session that began on WebSocket", `${WS_REFUSED("Bad request")}; 4a`, async (c) => {
    const first = await c.ws(WEBSOCKET);
    const sid = await first.openPacket();
    const second = await c.ws(`${WEBSOCKET}&sid=${sid}`);
    first.send("4a");
    return `${second.refused}; ${await first.next()}`;
  }],
  ["a candidate for a session of the other endpoint", WS_REFUSED("Session ID unknown"), async (c) => {
    const p = await c.polling("/socket.io/");
    return (await c.ws(`${WEBSOCKET}&sid=${p.sid}`)).refused;
  }],
  ["a candidate with the letters of a worker that is not there", WS_REFUSED("Session ID unknown"),
    async (c) => (await c.ws(`${WEBSOCKET}&sid=ZZBCDEFGHIJKLMNOPQRSTU`)).refused],
  ["a candidate for a session that is closed", WS_REFUSED("Session ID unknown"), async (c) => {
    const p = await c.polling();
    await p.post("1");
    return (await p.upgrade()).refused;
  }],
  frames("b64: binary comes as text", async (first, c) => {
    first.send("4a");
    const ws = await echoing(c, "&b64=1");
    ws.send(Buffer.from([1, 2, 3]));
    if ((await ws.next()) !== "bAQID") first.send("4wrong");
  }, "4a"),
];
