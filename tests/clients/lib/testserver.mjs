// SPDX-License-Identifier: ISC
// Starts and stops one test server: env SERVER is its command, the built sio-testserver otherwise.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const build = process.env.PALAVER_BUILD || fileURLToPath(new URL("../../../build", import.meta.url));

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/** Waits for a condition, looking every `every` ms; an error names what was waited for. */
export async function until(what, condition, timeout = 20000, every = 20) {
  const end = Date.now() + timeout;
  for (;;) {
    const v = await condition();
    if (v) return v;
    if (Date.now() > end) throw new Error(`waited ${timeout} ms for: ${typeof what === "function" ? what() : what}`);
    await sleep(every);
  }
}

export class TestServer {
  constructor(args = []) {
    this.args = args;
    this.log = "";
  }

  async start() {
    const given = process.env.SERVER ? process.env.SERVER.trim().split(/\s+/) : [path.join(build, "tests/sio-testserver")];
    const argv = [...given, "--port", "0", ...this.args];
    this.process = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
    this.exit = new Promise((resolve) => {
      this.process.on("exit", (code, signal) => resolve((this.exited = { code, signal })));
      this.process.on("error", (e) => resolve((this.exited = { error: e.message })));
    });
    let out = "";
    this.process.stdout.on("data", (d) => (out += d));
    this.process.stderr.on("data", (d) => (this.log = (this.log + d).slice(-100000)));
    const m = await until("the line with the port", () => {
      if (this.exited) throw new Error(`${argv.join(" ")} ended: ${JSON.stringify(this.exited)}\n${this.log}`);
      return out.match(/^listening 127\.0\.0\.1:(\d+)$/m);
    });
    this.port = Number(m[1]);
    this.base = `http://127.0.0.1:${this.port}`;
    return this;
  }

  /** The workers that live now, in the order of their slots: [{ slot, pid }]. */
  workers() {
    const { pid } = this.process;
    const found = [];
    for (const child of fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean)) {
      let title = "";
      try {
        title = fs.readFileSync(`/proc/${child}/cmdline`, "latin1");
      } catch {
        continue; // ended since the list was read
      }
      const m = title.match(/^sio-testserver: worker (\d+)/);
      if (m) found.push({ number: Number(m[1]), pid: Number(child) });
    }
    found.sort((a, b) => a.number - b.number);
    return found.map((w, slot) => ({ slot, pid: w.pid }));
  }

  async stop() {
    if (!this.process || this.exited) return this.exited;
    this.process.kill("SIGTERM");
    const late = setTimeout(() => this.process.kill("SIGKILL"), 15000);
    const r = await this.exit;
    clearTimeout(late);
    return r;
  }
}
