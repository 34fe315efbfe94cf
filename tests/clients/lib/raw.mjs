// SPDX-License-Identifier: ISC
// HTTP in raw bytes: nothing is normalised, retried or pooled, so that a test can send what no
// library would and see exactly what came back.
import net from "node:net";

/** How long one answer may take, in ms, before the wait for it fails. */
export const LIMIT = 3000;

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/** Asks `condition` again every 5 ms; resolves to whether it came true within `ms`. */
export async function within(ms, condition) {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) return false;
    await sleep(5);
  }
  return true;
}

/** One TCP connection with a buffer of what has not been read yet. */
export class Conn {
  constructor(port, { localAddress } = {}) {
    this.buffer = Buffer.alloc(0);
    this.ended = false;
    this.wake = () => {};
    this.socket = net.connect({ port, host: "127.0.0.1", localAddress, allowHalfOpen: true, noDelay: true });
    this.socket.on("data", (d) => {
      this.buffer = this.buffer.length ? Buffer.concat([this.buffer, d]) : d;
      this.wake();
    });
    for (const event of ["end", "close", "error"]) {
      this.socket.on(event, () => {
        this.ended = true;
        this.wake();
      });
    }
  }

  write(data) {
    if (!this.socket.destroyed) this.socket.write(data);
  }

  end() {
    this.socket.end();
  }

  destroy() {
    this.socket.destroy();
  }

  /** Waits until `look` returns something or the peer is gone (then undefined). */
  async until(what, look, ms = LIMIT) {
    const end = performance.now() + ms;
    for (;;) {
      const v = look();
      if (v !== undefined || this.ended) return v;
      const left = end - performance.now();
      if (left <= 0) throw new Error(`waited ${ms} ms for: ${what}`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
  }

  take(n) {
    const b = this.buffer.subarray(0, n);
    this.buffer = this.buffer.subarray(n);
    return b;
  }

  /** The next answer on this connection; null if it was closed before one was complete. */
  async response(method = "GET") {
    const at = await this.until(`the answer to ${method}`, () => {
      const i = this.buffer.indexOf("\r\n\r\n");
      return i < 0 ? undefined : i;
    });
    if (at === undefined) return null;
    const [first, ...lines] = this.take(at + 4).toString("latin1").trimEnd().split("\r\n");
    const headers = {};
    for (const l of lines) headers[l.slice(0, l.indexOf(":")).toLowerCase()] = l.slice(l.indexOf(":") + 1).trim();
    const status = Number(first.split(" ")[1]);
    if (status === 100) return this.response(method);
    const r = { status, headers, body: Buffer.alloc(0) };
    if (method !== "HEAD" && status !== 204 && status >= 200) r.body = await this.#body(headers);
    return r.body === undefined ? null : r;
  }

  async #body(headers) {
    if (/chunked/i.test(headers["transfer-encoding"])) return this.#chunks();
    const n = headers["content-length"];
    if (n === undefined) {
      await this.until("the end of the answer", () => undefined);
      return this.take(this.buffer.length);
    }
    return this.until("the body of the answer", () => (this.buffer.length >= Number(n) ? this.take(Number(n)) : undefined));
  }

  async #chunks() {
    const parts = [];
    for (;;) {
      const at = await this.until("a chunk", () => {
        const i = this.buffer.indexOf("\r\n");
        return i < 0 ? undefined : i;
      });
      if (at === undefined) return undefined;
      const size = parseInt(this.take(at + 2).toString("latin1"), 16);
      const data = await this.until("a chunk's data", () => (this.buffer.length >= size + 2 ? this.take(size + 2) : undefined));
      if (data === undefined) return undefined;
      if (size === 0) return Buffer.concat(parts);
      parts.push(data.subarray(0, size));
    }
  }
}

/** The head of a request; `headers` with the value undefined are left out. */
export function head(method, target, headers = {}) {
  const all = { Host: "127.0.0.1", ...headers };
  const lines = Object.entries(all).filter(([, v]) => v !== undefined);
  return `${method} ${target} HTTP/1.1\r\n${lines.map(([k, v]) => `${k}: ${v}\r\n`).join("")}\r\n`;
}

/** The body in two chunks and the end mark. */
function chunked(body) {
  const half = body.length >> 1;
  const parts = [body.subarray(0, half), body.subarray(half)].filter((p) => p.length);
  return Buffer.concat([
    ...parts.flatMap((p) => [Buffer.from(`${p.length.toString(16)}\r\n`), p, Buffer.from("\r\n")]),
    Buffer.from("0\r\n\r\n"),
  ]);
}

/** A whole request as bytes. */
export function message(method, target, { headers = {}, body, chunks = false } = {}) {
  if (body === undefined) return Buffer.from(head(method, target, headers));
  const b = Buffer.from(body);
  const length = chunks ? { "Transfer-Encoding": "chunked" } : { "Content-Length": b.length };
  const type = { "Content-Type": "text/plain;charset=UTF-8" };
  return Buffer.concat([Buffer.from(head(method, target, { ...type, ...length, ...headers })), chunks ? chunked(b) : b]);
}

export const contentType = (r) => (r.headers["content-type"] || "-").toLowerCase().replace(/\s/g, "");

/** An answer in the notation of the table: status, type, body as a JSON string. */
export function show(r) {
  return r === null ? "connection closed" : `${r.status} ${contentType(r)} ${JSON.stringify(r.body.toString("utf8"))}`;
}

/** The `code` of an Engine.IO error answer, else undefined. */
export function errorCode(r) {
  if (r === null || r.status < 400) return undefined;
  try {
    return JSON.parse(r.body.toString("utf8")).code;
  } catch {
    return undefined;
  }
}
