// Starts and stops a palaverd of its own: private port, temporary directories.
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), "../../..");
export const build = process.env.PALAVER_BUILD || path.join(root, "build");
export const palaverd = path.join(build, "palaverd");
export const palaverctl = path.join(build, "palaverctl");

export const sleep = (ms) => new Promise((r) => setTimeout(r, ms));

/** Waits for a condition, looking every `every` ms; an error names what was waited for. */
export async function until(what, condition, timeout = 20000, every = 20) {
  const end = Date.now() + timeout;
  for (;;) {
    const v = await condition();
    if (v) return v;
    if (Date.now() > end) throw new Error(`waited ${timeout} ms for: ${what}`);
    await sleep(every);
  }
}

export function freePort() {
  return new Promise((resolve, reject) => {
    const s = net.createServer();
    s.on("error", reject);
    s.listen(0, "127.0.0.1", () => {
      const { port } = s.address();
      s.close(() => resolve(port));
    });
  });
}

/**
 * The kernel's word for the server's end of a loopback connection: "01" is established, undefined
 * means there is none.
 */
export function socketState(serverPort, clientPort) {
  const hex = (n) => `:${n.toString(16).toUpperCase().padStart(4, "0")}`;
  const lines = fs.readFileSync("/proc/net/tcp", "utf8").split("\n").map((l) => l.trim().split(/\s+/));
  return lines.find((l) => l[1]?.endsWith(hex(serverPort)) && l[2]?.endsWith(hex(clientPort)))?.[3];
}

export class Server {
  /** options: workers, port, dir, conf (text appended), hashCost, stateDir, wrapper (argv prefix) */
  constructor(options = {}) {
    this.options = { workers: 2, ...options };
    this.dir = options.dir || fs.mkdtempSync(path.join(os.tmpdir(), "palaver-test-"));
    this.stateDir = options.stateDir || path.join(this.dir, "state");
    this.runDir = path.join(this.dir, "run");
    this.confPath = path.join(this.dir, "palaver.conf");
    this.log = "";
    this.everStarted = [];
  }

  async writeConf() {
    if (!this.port) this.port = this.options.port || (await freePort());
    fs.writeFileSync(
      this.confPath,
      `state_dir = "${this.stateDir}"
run_dir = "${this.runDir}"
user = "${this.options.user || ""}"
workers = ${this.options.workers}
listen { address = "127.0.0.1" port = ${this.port} }
http { web_root = "${path.join(root, "src/web/plain")}" }
accounts { hash_cost = 1 }
${this.options.conf || ""}
`,
    );
    this.base = `http://127.0.0.1:${this.port}`;
  }

  async start({ wait = true } = {}) {
    await this.writeConf();
    this.log = "";
    this.exited = null;
    const argv = [...(this.options.wrapper || []), palaverd, "-f", "-c", this.confPath];
    this.process = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "ignore", "pipe"] });
    const mine = this.process;
    mine.stderr.on("data", (d) => {
      this.log += d;
      for (const m of String(d).matchAll(/proc\.start .*?pid=(\d+)/g)) this.everStarted.push(Number(m[1]));
    });
    this.exit = new Promise((resolve) => {
      mine.on("exit", (code, signal) => {
        if (this.process === mine) this.exited = { code, signal };
        resolve({ code, signal });
      });
    });
    if (wait) {
      await until("the server answers /v1/health", async () => {
        if (this.exited) throw new Error(`palaverd ended: ${JSON.stringify(this.exited)}\n${this.log}`);
        return this.log.includes("master.ready") && (await this.healthy());
      });
    }
    return this;
  }

  async healthy() {
    try {
      return (await fetch(`${this.base}/v1/health`)).ok;
    } catch {
      return false;
    }
  }

  ctl(args, input) {
    return spawnSync(palaverctl, ["-c", this.confPath, ...args], { input, encoding: "utf8", timeout: 20000 });
  }

  status() {
    const r = this.ctl(["--json", "status"]);
    return r.status === 0 ? JSON.parse(r.stdout).data : null;
  }

  /** role: hub, archiver, worker; only processes that are alive */
  processes(role) {
    const s = this.status();
    return s ? s.processes.filter((p) => p.role === role && p.pid > 0) : [];
  }

  async stop() {
    if (!this.process || this.exited) return this.exited;
    this.process.kill("SIGTERM");
    const late = setTimeout(() => this.process.kill("SIGKILL"), 25000);
    const r = await this.exit;
    clearTimeout(late);
    return r;
  }

  /** Kills the master alone; its children end by themselves. */
  async killMaster() {
    this.process.kill("SIGKILL");
    await this.exit;
  }

  alive() {
    return this.everStarted.filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").startsWith("palaverd: ");
      } catch {
        return false;
      }
    });
  }

  async remove() {
    await this.stop();
    for (const pid of this.alive()) process.kill(pid, "SIGKILL");
    if (!process.env.KEEP) fs.rmSync(this.dir, { recursive: true, force: true });
  }
}
