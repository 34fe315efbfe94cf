// SPDX-License-Identifier: ISC
// A pool of Node child processes that carry the clients, and the calls between them and the test.
import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";

export class Pool {
  /** `script` is a file of this folder that calls serve(). */
  constructor(script, size) {
    this.children = Array.from({ length: size }, () => {
      const child = fork(fileURLToPath(new URL(script, import.meta.url)), { serialization: "advanced" });
      child.calls = new Map();
      child.on("message", ({ id, error, value }) => {
        const { resolve, reject } = child.calls.get(id);
        child.calls.delete(id);
        if (error) reject(new Error(error));
        else resolve(value);
      });
      child.on("exit", (code, signal) => {
        child.gone = true;
        for (const { reject } of child.calls.values()) reject(new Error(`a client process ended: ${code ?? signal}`));
        child.calls.clear();
      });
      return child;
    });
    this.next = 0;
  }

  /** Runs a command in every child; arg may be a function of the child's number. */
  all(command, arg) {
    return Promise.all(this.children.map((child, k) => this.call(child, command, typeof arg === "function" ? arg(k) : arg)));
  }

  call(child, command, arg) {
    return new Promise((resolve, reject) => {
      if (child.gone) return reject(new Error("a client process has ended"));
      const id = this.next++;
      child.calls.set(id, { resolve, reject });
      child.send({ id, command, arg });
    });
  }

  /** The children end when their channel closes. */
  async close() {
    await Promise.all(
      this.children.map((child) => {
        if (child.gone) return null;
        const ended = new Promise((r) => child.on("exit", r));
        child.disconnect();
        return ended;
      }),
    );
  }
}

/** In a child: answers the calls with the functions of `commands`. */
export function serve(commands) {
  process.on("disconnect", () => process.exit(0));
  process.on("message", async ({ id, command, arg }) => {
    try {
      process.send({ id, value: await commands[command](arg) });
    } catch (e) {
      process.send({ id, error: e.stack || String(e) });
    }
  });
}
