// SPDX-License-Identifier: ISC
// Starts and stops the Socket.IO server under test.  SERVER is its command line (default: the
// sio-testserver of the build directory), WORKERS the number of workers.
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const build = process.env.PALAVER_BUILD || path.resolve(here, "../../../build");
export const command = process.env.SERVER || path.join(build, "tests/sio-testserver");
export const workers = Number(process.env.WORKERS || 1);

/** The process and all its descendants; only itself where /proc does not tell. */
function family(pid) {
  let children = [];
  try {
    children = fs.readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    // no such file: another system, or the process is gone
  }
  return [pid, ...children.flatMap(family)];
}

/** A zombie is dead: its state is the letter behind the name in parentheses. */
function runs(pid) {
  try {
    return !/\) [ZX] /.test(fs.readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return !fs.existsSync("/proc/self/stat");
  }
}

export class SioServer {
  /** Starts the server with `options` and waits until it says where it listens. */
  static async start(options) {
    const argv = [...command.split(/\s+/), "--port", "0", "--workers", String(workers), ...options];
    const server = new SioServer();
    server.process = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
    server.log = "";
    server.process.stderr.on("data", (d) => (server.log += d));
    server.exit = new Promise((resolve) => {
      server.process.on("error", (e) => resolve(e.message));
      server.process.on("exit", (code, signal) => resolve(`exit status ${code ?? signal}`));
    });
    server.exit.then((how) => (server.exited = how));
    server.port = await server.#listening();
    server.pids = family(server.process.pid);
    return server;
  }

  #listening() {
    return new Promise((resolve, reject) => {
      let out = "";
      this.process.stdout.on("data", (d) => {
        out += d;
        const m = out.match(/^listening 127\.0\.0\.1:(\d+)$/m);
        if (m) resolve(Number(m[1]));
      });
      this.exit.then((how) => reject(new Error(`${command}: ${how}\n${this.log}`)));
    });
  }

  /** Why the server is no longer what was started: it, or one of its processes, has ended. */
  trouble() {
    if (this.exited) return `the server has ended: ${this.exited}\n${this.log}`;
    const dead = this.pids.filter((pid) => !runs(pid));
    return dead.length ? `processes have ended: ${dead.join(" ")}\n${this.log}` : null;
  }

  async stop() {
    if (!this.exited) this.process.kill("SIGTERM");
    const timer = setTimeout(() => this.process.kill("SIGKILL"), 5000);
    await this.exit;
    clearTimeout(timer);
  }
}
