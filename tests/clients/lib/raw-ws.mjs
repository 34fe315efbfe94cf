// SPDX-License-Identifier: ISC
// A WebSocket client that keeps no rule it is not told to keep: unmasked frames, reserved bits,
// stray continuations.  Engine.IO PINGs are answered and not shown.
import { createHash, randomBytes } from "node:crypto";
import { contentType, head, LIMIT } from "./raw.mjs";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** One frame as bytes; `mask` false leaves it unmasked, `rsv` are the three reserved bits. */
export function frame(opcode, payload, { fin = true, rsv = 0, mask = true } = {}) {
  const n = payload.length;
  const long = n > 65535 ? 8 : n > 125 ? 2 : 0;
  const h = Buffer.alloc(2 + long);
  h[0] = (fin ? 0x80 : 0) | (rsv << 4) | opcode;
  h[1] = (mask ? 0x80 : 0) | (long === 8 ? 127 : long === 2 ? 126 : n);
  if (long === 2) h.writeUInt16BE(n, 2);
  if (long === 8) h.writeBigUInt64BE(BigInt(n), 2);
  if (!mask) return Buffer.concat([h, payload]);
  const key = randomBytes(4);
  const masked = Buffer.from(payload);
  for (let i = 0; i < n; i++) masked[i] ^= key[i & 3];
  return Buffer.concat([h, key, masked]);
}

export class Ws {
  /** Sends the handshake and reads the answer to it: `refused` is set, or frames are read. */
  static async open(conn, target, { method = "GET", headers = {} } = {}) {
    const key = randomBytes(16).toString("base64");
    const own = { "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": key };
    conn.write(head(method, target, { ...own, ...headers }));
    const ws = new Ws(conn);
    const r = await conn.response(method);
    ws.status = r === null ? "closed" : String(r.status);
    if (r === null) ws.refused = "error";
    else if (r.status !== 101) ws.refused = `refused ${r.status} ${contentType(r)} ${JSON.stringify(r.body.toString("utf8"))}`;
    else ws.#accepted(r, headers["Sec-WebSocket-Key"] || key);
    return ws;
  }

  constructor(conn) {
    this.conn = conn;
    this.refused = null;
    this.closed = null; // "closed CODE" once the connection has ended
    this.received = []; // text messages as they are, binary ones as <hex>
    this.pongs = 0;
    this.pings = 0;
    this.parts = null;
  }

  #accepted(r, key) {
    const proof = createHash("sha1").update(key + GUID).digest("base64");
    if (r.headers["sec-websocket-accept"] !== proof) throw new Error("wrong Sec-WebSocket-Accept");
    this.#parse();
    for (const event of ["data", "end", "close", "error"]) this.conn.socket.on(event, () => this.#parse());
  }

  /** Reads every whole frame in the buffer. */
  #parse() {
    const c = this.conn;
    while (!this.closed) {
      const b = c.buffer;
      if (b.length < 2) break;
      if (b[0] & 0x70 || b[1] & 0x80) return this.#finish("closed 1006");
      const short = b[1] & 0x7f;
      const size = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (b.length < size) break;
      const n = short === 127 ? Number(b.readBigUInt64BE(2)) : short === 126 ? b.readUInt16BE(2) : short;
      if (b.length < size + n) break;
      c.take(size);
      this.#frame(b[0] & 15, (b[0] & 0x80) !== 0, Buffer.from(c.take(n)));
    }
    if (c.ended && !this.closed) this.#finish("closed 1006");
  }

  #frame(opcode, fin, payload) {
    if (opcode === 8) {
      this.conn.write(frame(8, payload.subarray(0, 2)));
      this.#finish(`closed ${payload.length >= 2 ? payload.readUInt16BE(0) : 1005}`);
    } else if (opcode === 9) this.conn.write(frame(10, payload));
    else if (opcode === 10) this.pongs++;
    else {
      if (opcode !== 0) this.parts = { binary: opcode === 2, data: [] };
      this.parts.data.push(payload);
      if (fin) this.#message(this.parts.binary, Buffer.concat(this.parts.data));
    }
  }

  #message(binary, data) {
    if (binary) this.received.push(`<${data.toString("hex")}>`);
    else if (data.toString("utf8") === "2") this.send("3");
    else this.received.push(data.toString("utf8"));
  }

  #finish(how) {
    this.closed = how;
    this.conn.end();
  }

  /** A string goes out as a text frame, bytes as a binary one. */
  send(data) {
    this.conn.write(typeof data === "string" ? frame(1, Buffer.from(data)) : frame(2, data));
  }

  /** A frame of any kind. */
  frame(opcode, payload, options) {
    this.conn.write(frame(opcode, Buffer.from(payload), options));
  }

  drop() {
    this.conn.destroy();
  }

  /** Waits until `condition` holds or the WebSocket has ended; whether the condition holds. */
  async until(what, condition, ms = LIMIT) {
    await this.conn.until(what, () => (condition() || this.closed ? true : undefined), ms);
    return condition();
  }

  /** The next message, or how the WebSocket ended. */
  async next(ms) {
    await this.until("a message", () => this.received.length > 0, ms);
    return this.received.length ? this.received.shift() : this.closed;
  }

  /** Reads the OPEN packet; the session id in it. */
  async openPacket() {
    const first = this.refused || (await this.next());
    if (!/^0\{/.test(first)) throw new Error(`OPEN expected: ${first}`);
    return JSON.parse(first.slice(1)).sid;
  }

  /** A round trip of WebSocket pings: what was sent before has been read by the server. */
  async roundTrip() {
    this.frame(9, "mark");
    this.pings++;
    await this.until("a WebSocket pong", () => this.pongs >= this.pings);
  }

  /** What has come so far, in the notation of the table. */
  text() {
    const all = this.received.filter((m) => !m.startsWith("44/mark,") && m !== "4mark");
    return [...all, ...(this.closed ? [this.closed] : [])].join(" | ") || "nothing";
  }

  /** The answer to what was sent.  `mark` is a packet that every state answers, and in order: when
   * its answer is here, so is what the server says at once; `accepts` is waited for beyond that. */
  async answer(accepts, mark) {
    if (mark) {
      this.send(mark);
      await this.until(`the answer to ${mark}`, () => this.received.some((m) => m.startsWith("44/mark,") || m === "4mark"));
    }
    for (let i = 0; i < 2; i++) await this.roundTrip();
    await this.until("what the row accepts", () => accepts.test(this.text()), LIMIT).catch(() => {});
    return this.text();
  }

  /** Waits for the end of the WebSocket; how it ended, with what came before. */
  async end() {
    await this.until("the end of the WebSocket", () => false).catch(() => {});
    return this.text();
  }
}
