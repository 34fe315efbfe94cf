// SPDX-License-Identifier: ISC
// Starts and stops the servers of the benchmark, and finds their processes.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
export const SERVERS = ["palaver", "raw", "node", "uws"];
export const TLS_SERVERS = ["palaver", "node", "uws"]; // the raw one has no TLS

const haveTaskset = spawnSync("taskset", ["--version"]).status === 0;
const cores = fs.readFileSync("/proc/self/status", "utf8").match(/^Cpus_allowed_list:\s*(.*)$/m)[1];

/** The cores this process may use, as numbers. */
function allowedCores() {
  return cores.split(",").flatMap((part) => {
    const [from, to = from] = part.split("-").map(Number);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
}

export const pinned = haveTaskset && allowedCores().length >= 2;

/** A command line bound to one core: the servers to the first allowed one, the load tool to the second. */
export function onCore(index, argv) {
  return pinned ? ["taskset", "-c", String(allowedCores()[index]), ...argv] : argv;
}

/** The process and all its descendants. */
function family(pid) {
  const children = fs.readdirSync(`/proc/${pid}/task`).flatMap((tid) =>
    fs.readFileSync(`/proc/${pid}/task/${tid}/children`, "utf8").split(" ").filter(Boolean).map(Number));
  return [pid, ...children.flatMap(family)];
}

export class Server {
  constructor(name, binaries, { tls = null, pingInterval = 25000 } = {}) {
    this.name = name;
    const commands = {
      palaver: [binaries.palaver, "--workers", "1"],
      raw: [binaries.raw],
      node: [process.execPath, path.join(here, "peer-node.mjs")],
      uws: [process.execPath, path.join(here, "peer-uws.mjs")],
    };
    this.argv = onCore(0, [...commands[name], "--port", "0", "--ping-interval", String(pingInterval),
      ...(tls ? ["--tls-cert", tls.cert, "--tls-key", tls.key] : [])]);
  }

  async start() {
    this.child = spawn(this.argv[0], this.argv.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
    let errors = "";
    this.child.stderr.on("data", (data) => (errors = (errors + data).slice(-4000)));
    this.exited = once(this.child, "exit").catch((e) => (errors += e.message));
    const port = new Promise((resolve) => createInterface(this.child.stdout).on("line", (line) => {
      const match = /^listening 127\.0\.0\.1:(\d+)$/.exec(line);
      if (match) resolve(Number(match[1]));
    }));
    const timeout = new Promise((resolve) => (this.timer = setTimeout(resolve, 15000)));
    this.port = await Promise.race([port, this.exited.then(() => 0), timeout]);
    clearTimeout(this.timer);
    if (!this.port) {
      await this.stop();
      throw new Error(`${this.name} did not start: ${errors.trim()}`);
    }
  }

  pids() {
    return family(this.child.pid);
  }

  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode !== null || !this.child.pid) return;
    this.child.kill("SIGTERM");
    const timer = setTimeout(() => this.child.kill("SIGKILL"), 5000);
    await this.exited;
    clearTimeout(timer);
  }
}

/** A key and a certificate for it, made for this run. */
export function makeCertificate(dir) {
  const tls = { cert: path.join(dir, "cert.pem"), key: path.join(dir, "key.pem") };
  const made = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
    "-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", tls.key, "-out", tls.cert], { encoding: "utf8" });
  if (made.status !== 0) throw new Error(`openssl: ${made.error?.message ?? made.stderr}`);
  return tls;
}

/** Runs the load tool once; resolves to its JSON object, or to `{ failed }`. */
export async function runLoad(load, server, args) {
  const argv = onCore(1, [load, args[0], "--port", String(server.port),
    ...server.pids().flatMap((pid) => ["--pid", String(pid)]), ...args.slice(1)]);
  const child = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), 180000);
  let out = "", errors = "";
  child.stdout.on("data", (data) => (out += data));
  child.stderr.on("data", (data) => (errors += data));
  const [code, signal] = await once(child, "close");
  clearTimeout(timer);
  if (code !== 0) return { failed: errors.trim() || out.trim() || `status ${code} ${signal ?? ""}` };
  return JSON.parse(out);
}
