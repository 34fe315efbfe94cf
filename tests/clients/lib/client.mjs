// SPDX-License-Identifier: ISC
// One Socket.IO client of any version: how it is loaded and configured, and the streams it checks.
import http from "node:http";
import { createRequire } from "node:module";

const require = createRequire(import.meta.url);

/** The transports of the three modes. */
export const modes = { upgrade: ["polling", "websocket"], polling: ["polling"], websocket: ["websocket"] };

/**
 * A manager that is not open yet.  `keep` gives it kept connections of its own; without, each
 * polling request opens one, so that it may land on any worker.  A kept connection that was idle
 * for 2 s is dropped: the server may be closing it, and this client never ends the request that
 * it then repeats.
 */
export function manager(client, base, mode, { keep = false, ...options } = {}) {
  const { Manager } = require(client);
  const agent = keep ? new http.Agent({ keepAlive: true, timeout: 2000 }) : false;
  return new Manager(base, { transports: modes[mode], autoConnect: false, timeout: 60000, agent, ...options });
}

/** What a receiver saw of numbered messages: each sender's numbers must come one by one. */
export class Streams {
  constructor(fail) {
    this.fail = fail;
    this.seen = new Map(); // sender -> { first, last }
  }

  take(from, n) {
    const sender = String(from);
    const s = this.seen.get(sender);
    if (!s) this.seen.set(sender, { first: n, last: n });
    else if (n === s.last + 1) s.last = n;
    else {
      this.fail(`from ${sender}: ${n} came after ${s.last}`);
      s.last = Math.max(s.last, n);
    }
  }

  /** What is missing of `totals`: { sender: { base, next } }, everything from base to before next. */
  missing(totals) {
    const all = [];
    for (const [sender, { base, next }] of Object.entries(totals)) {
      if (base === next) continue;
      const s = this.seen.get(sender);
      if (!s) all.push(`from ${sender}: nothing of ${base}..${next - 1}`);
      else if (s.first > base || s.last !== next - 1) all.push(`from ${sender}: ${s.first}..${s.last} instead of ${base}..${next - 1}`);
    }
    return all;
  }

  count() {
    let sum = 0;
    for (const { first, last } of this.seen.values()) sum += last - first + 1;
    return sum;
  }
}

/** The binary argument number n of a sender: anybody can compute it. */
export function pattern(sender, n) {
  return Buffer.alloc(1 + ((n * 37 + sender * 11) % 2000), (n + sender) & 255);
}

/** xorshift: runs repeat for the same seed */
export function random(seed) {
  let x = (seed * 2654435761 + 1) >>> 0 || 1;
  return () => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x / 2 ** 32;
  };
}
