// SPDX-License-Identifier: ISC
// What the tables of malformed inputs are made of.  A row is [name, answer, run]: run(client,
// answer) does something wrong (or nearly wrong) and resolves to what came back, which must be
// `answer` to the letter.
import { show as plain } from "./raw.mjs";
import { Client } from "./raw-client.mjs";

/** The server's largest message and POST body, as the tests start it. */
export const MAX = 131072;
/** The limits that the test server has built in. */
export const HEAD_MAX = 16384, URL_MAX = 8192, FIELDS_MAX = 64, HEAD_SECONDS = 10, BODY_SECONDS = 20;

export const OPTIONS = ["--ping-interval", "600000", "--max-payload", String(MAX)];

/** How long a row waits for what does not come, in ms. */
const PATIENCE = 1500;

export const POLLING = "/engine.io/?EIO=4&transport=polling";
export const WEBSOCKET = "/engine.io/?EIO=4&transport=websocket";

// ---- HTTP ----

export const NOT_FOUND = '404 text/plain "not found\\n"';
export const OK = '200 text/html "ok"';
const TEXTS = ["Transport unknown", "Session ID unknown", "Bad handshake method", "Bad request", "Forbidden",
  "Unsupported protocol version"];
/** The Engine.IO error answer with this code. */
export const error = (code) => `400 application/json ${JSON.stringify(JSON.stringify({ code, message: TEXTS[code] }))}`;
export const LIVES = "session lives", GONE = "session gone (400 code 1)";

/** Behind a request that leaves its connection open this one is sent, and must be answered. */
const MARK = `GET ${POLLING}&sid=mark HTTP/1.1\r\nHost: mark\r\n\r\n`;
const MARK_ANSWER = error(1);

const bytes = (x) => (typeof x === "string" ? Buffer.from(x, "latin1") : x);

/** A request head, line by line; "\x80" and the like stand for bytes. */
export const request = (...lines) => `${lines.join("\r\n")}\r\n\r\n`;
export const get = (...fields) => request("GET / HTTP/1.1", "Host: a", ...fields);

/** A problem document is shown by its code, if it is what it should be. */
function problem(status, body) {
  const p = JSON.parse(body);
  const whole = Object.keys(p).join() === "type,title,status,code" && p.type === "about:blank" && p.status === status;
  return whole ? `${status} ${p.code}` : `${status} ${body}`;
}

function show(status, headers, body) {
  const type = (headers["content-type"] || "").split(";")[0];
  const text = body.toString("utf8").replace(/"sid":"[\w-]+"/, '"sid":"…"');
  const marks = { 405: ["allow"], 426: ["connection", "upgrade", "sec-websocket-version"] }[status] || [];
  if (type === "application/problem+json") return problem(status, text);
  const said = marks.map((k) => `(${k}: ${headers[k]})`);
  return [status, ...said, ...(type ? [type, JSON.stringify(text)] : text ? [JSON.stringify(text)] : [])].join(" ");
}

/** The next answer on the connection; null: it has ended; "nothing": there is none. */
export async function answer(conn, bodiless = false) {
  try {
    const at = await conn.until("an answer", () => {
      const i = conn.buffer.indexOf("\r\n\r\n");
      return i < 0 ? undefined : i;
    }, PATIENCE);
    if (at === undefined) return conn.buffer.length ? `cut off: ${JSON.stringify(conn.take(conn.buffer.length).toString())}` : null;
    const [first, ...lines] = conn.take(at + 4).toString("latin1").trimEnd().split("\r\n");
    const headers = Object.fromEntries(lines.map((l) => [l.slice(0, l.indexOf(":")).toLowerCase(),
      l.slice(l.indexOf(":") + 1).trim()]));
    if (!/^HTTP\/1\.1 \d\d\d /.test(first)) return `not HTTP: ${JSON.stringify(first)}`;
    const status = Number(first.slice(9, 12));
    const length = bodiless || status < 200 || status === 204 ? 0 : Number(headers["content-length"]);
    const body = await conn.until("the body", () => (conn.buffer.length >= length ? conn.take(length) : undefined), PATIENCE);
    return body === undefined ? `${status} cut off` : show(status, headers, body);
  } catch {
    return "nothing";
  }
}

/** Is the connection open still?  Asked by one more request, or by waiting for its end. */
async function ending(conn, closes) {
  if (!closes) {
    conn.write(MARK);
    const r = await answer(conn);
    return r === MARK_ANSWER ? "open" : r === null ? "closed" : `instead of the next request's answer: ${r}`;
  }
  await conn.until("the end", () => undefined, PATIENCE).catch(() => {});
  if (conn.buffer.length) return `and more: ${JSON.stringify(conn.buffer.toString("latin1"))}`;
  return conn.ended ? "closed" : "still open";
}

/** Sends the bytes on a connection of its own and reads as many answers as are expected. */
export async function exchange(c, input, expected, { bodiless = false, end = false } = {}) {
  const conn = c.conn();
  for (const part of [input].flat()) conn.write(bytes(part));
  if (end) conn.end();
  const want = expected.split("; ");
  const got = [];
  while (got.length < want.length - 1) {
    const r = await answer(conn, bodiless);
    if (r === null) return [...got, "closed"].join("; ");
    got.push(r);
  }
  return [...got, await ending(conn, want.at(-1) === "closed")].join("; ");
}

/** A row of bytes on a connection. */
export const http = (name, input, expected, options) => [name, expected, (c) => exchange(c, input, expected, options)];

/** A row that makes a polling session; `input` gets its request target.  The answers, then the session. */
export const post = (name, input, expected, options) => [name, expected, async (c) => {
  const p = await c.polling();
  const at = expected.lastIndexOf("; ");
  const got = await exchange(c, input(p.target), expected.slice(0, at), options);
  return `${got}; ${await p.state()}`;
}];

// ---- WebSocket ----

export const CLOSED = "closed 1005";

const shown = (ws) => ws.text().replace(/"sid":"[\w-]+"/g, '"sid":"…"');

/** What came of what was sent: waits for `expected`, then makes sure that nothing else comes. */
export async function settle(ws, expected) {
  if (ws.refused) return ws.refused;
  await ws.until("the answer", () => shown(ws) === expected, PATIENCE).catch(() => {});
  for (let i = 0; i < 2 && !ws.closed; i++) await ws.roundTrip().catch(() => {});
  if (!ws.closed) return shown(ws);
  const ended = await ws.conn.until("the end", () => undefined, PATIENCE).then(() => true, () => false);
  return ended ? shown(ws) : `${shown(ws)}, the connection is still open`;
}

/** A session of the echo server on WebSocket. */
export async function echoing(c, query = "") {
  const ws = await c.ws(WEBSOCKET + query);
  await ws.openPacket();
  return ws;
}

/** A session that has joined the root namespace and read what came of it. */
export async function member(c) {
  const ws = await c.ws("/socket.io/?EIO=4&transport=websocket");
  await ws.openPacket();
  ws.send("40");
  await ws.until("the join", () => ws.received.length === 2);
  ws.received.length = 0;
  return ws;
}

/** A row whose function sends something on a WebSocket of the echo server. */
export const frames = (name, send, expected) => [name, expected, async (c) => {
  const ws = await echoing(c);
  await send(ws, c);
  return settle(ws, expected);
}];

const sending = (open) => (name, packets, expected) => [name, expected, async (c) => {
  const ws = await open(c);
  for (const p of [packets].flat()) ws.send(p);
  return settle(ws, expected);
}];

/** A row of messages (text, or Buffer: binary) on a bare Engine.IO session. */
export const eio = sending((c) => echoing(c));
/** The same on a Socket.IO session that has not joined anything. */
export const fresh = sending(async (c) => {
  const ws = await c.ws("/socket.io/?EIO=4&transport=websocket");
  await ws.openPacket();
  return ws;
});
/** The same on one that has joined the root namespace. */
export const sio = sending(member);

// ---- others ----

/** Two sessions with nothing wrong about them, which must be served all the time. */
export class Healthy {
  static async start(port) {
    const h = new Healthy();
    h.client = new Client(port);
    h.ws = await member(h.client);
    h.polling = await h.client.polling();
    h.conn = h.client.conn();
    h.count = 0;
    return h;
  }

  async #http(line, body = "") {
    this.conn.write(`${line} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    return plain(await this.conn.response());
  }

  /** What is wrong with the service of the two; null: nothing. */
  async trouble() {
    const n = ++this.count;
    this.ws.send(`42["message",${n}]`);
    const echo = await this.ws.next();
    if (echo !== `42["message-back",${n}]`) return `WebSocket: ${echo}`;
    const sent = await this.#http(`POST ${this.polling.target}`, `4${n}`);
    if (sent !== OK) return `POST: ${sent}`;
    const got = await this.#http(`GET ${this.polling.target}`);
    return got === `200 text/plain;charset=utf-8 "4${n}"` ? null : `GET: ${got}`;
  }

  /** When it returns, the server has read what was written to other connections before. */
  async beat() {
    for (let i = 0; i < 2; i++) await this.ws.roundTrip();
  }

  stop() {
    this.client.close();
  }
}
