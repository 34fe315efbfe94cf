// SPDX-License-Identifier: ISC
// make bench: runs the load tool on sio-testserver and its peers in turn, prints medians and ratios.
//
//   node bench.mjs [--build DIR] [--palaver FILE] [--raw FILE] [--load FILE] [--out FILE]
//                  [--only GROUP,…] [--servers NAME,…]
//
// Groups: fanout, acks, rate, connects, idle, big, tls, durable (palaverd itself, bench_durable.mjs).  Servers: palaver, raw, node, uws.
// BENCH_ROUNDS (5) and BENCH_SECONDS (3) change the length, BENCH_PING_MS (5000) the interval
// at which the heartbeat is watched.  The table goes to --out (DIR/bench.txt), every run's
// figures beside it (.json).  The exit status says whether all runs succeeded,
// not whether the targets were met.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { makePlan } from "./bench_plan.mjs";
import { durableText, runDurable } from "./bench_durable.mjs";
import { makeCertificate, pinned, runLoad, Server, SERVERS } from "./bench_servers.mjs";
import { describeMachine, report } from "./bench_table.mjs";

const { values: option } = parseArgs({
  options: Object.fromEntries(["build", "palaver", "raw", "load", "out", "only", "servers"].map((n) => [n, { type: "string" }])),
});
const build = option.build ?? process.env.PALAVER_BUILD ?? ".";
const binaries = {
  palaver: option.palaver ?? path.join(build, "tests/sio-testserver"),
  raw: option.raw ?? path.join(build, "tests/bench/raw"),
  load: option.load ?? path.join(build, "tests/bench/load"),
};
const out = option.out ?? path.join(build, "bench.txt");
const list = (text, all) => {
  const chosen = text ? text.split(",") : all;
  const unknown = chosen.filter((name) => !all.includes(name));
  if (unknown.length) throw new Error(`unknown: ${unknown.join(", ")}; there are ${all.join(", ")}`);
  return chosen;
};
const positive = (name, standard) => {
  const value = Number(process.env[name] ?? standard);
  if (!(value > 0)) throw new Error(`${name}: a positive number, not ${process.env[name]}`);
  return value;
};
const rounds = Math.round(positive("BENCH_ROUNDS", 5));
const seconds = positive("BENCH_SECONDS", 3);
const pingInterval = positive("BENCH_PING_MS", 5000);
const nofile = Number(execFileSync("sh", ["-c", "ulimit -Hn"], { encoding: "utf8" }).replace("unlimited", "1000000"));
const extra = Math.min(14000, nofile - 2000);
const idleConnections = Math.min(10000, nofile - 200);

const plan = makePlan({ seconds, extra, pingInterval, tlsConnections: 1000, idleConnections });
const groups = list(option.only, [...new Set(plan.map((job) => job.group)), "durable"]);
// The growth of a delivery and an ack is reckoned from the runs with 1,000.
const needed = (job) => groups.includes(job.group) || (groups.includes("big") && ["fanout", "acks"].includes(job.id));
const jobs = plan.filter(needed);
const results = [], notRun = [];

const rotated = (all, by) => all.map((_, i) => all[(i + by) % all.length]);

async function run(job, server, round) {
  const args = [...job.args, ...(round === 0 ? job.firstRound ?? [] : [])];
  const result = await runLoad(binaries.load, server, args);
  if (job.pingInterval) result.ping_interval = job.pingInterval;
  results.push({ round, job: job.id, server: server.name, result });
  const figures = Object.entries(result).filter(([k]) => /failed|per_second|per_op|p99_us|kib_per|load_cpu/.test(k));
  process.stderr.write(`round ${round + 1}/${rounds} ${job.id} ${server.name}: ${figures.map(([k, v]) => `${k} ${v}`).join(", ")}\n`);
}

/** Starts a server; one that does not start fails the jobs it was for, and null is returned. */
async function startFor(all, name, options, round) {
  const server = new Server(name, binaries, options);
  try {
    await server.start();
    return server;
  } catch (e) {
    process.stderr.write(`${e.message}\n`);
    for (const job of all) results.push({ round, job: job.id, server: name, result: { failed: e.message } });
    return null;
  }
}

/** One job on each server in turn; the order moves on with the rounds. */
async function runJob(job, servers, running, round, tls) {
  for (const name of rotated(servers.filter((s) => job.servers.includes(s)), round)) {
    const options = { tls: job.tls && tls, pingInterval: job.pingInterval };
    const server = job.fresh ? await startFor([job], name, options, round) : running.get(name);
    if (!server) continue;
    try {
      await run(job, server, round);
    } finally {
      if (job.fresh) await server.stop();
    }
  }
}

async function runShared(all, servers, round, tls) {
  const running = new Map();
  try {
    for (const name of servers) {
      const wanted = all.filter((job) => job.servers.includes(name));
      const server = wanted.length ? await startFor(wanted, name, { tls }, round) : null;
      if (server) running.set(name, server);
    }
    for (const job of all) await runJob(job, servers, running, round, tls);
  } finally {
    for (const server of running.values()) await server.stop();
  }
}

async function runRound(servers, round, tls) {
  const now = jobs.filter((job) => round === 0 || !job.onlyFirst);
  await runShared(now.filter((job) => !job.tls && !job.fresh), servers, round, null);
  await runShared(now.filter((job) => job.tls && !job.fresh), servers, round, tls);
  for (const job of now.filter((j) => j.fresh)) await runJob(job, servers, null, round, tls);
}

/** Those of the servers that can be started here; the others are named in the report. */
async function usable(names) {
  const good = [];
  for (const name of names) {
    const server = new Server(name, binaries);
    try {
      await server.start();
      await server.stop();
      good.push(name);
    } catch (e) {
      const [line] = e.message.split("\n").filter((l) => /Error|ENOENT|cannot|not found/i.test(l));
      notRun.push([name, line ?? e.message]);
      process.stderr.write(`${name} is left out: ${e.message}\n`);
    }
  }
  return good;
}

async function main() {
  const began = Date.now();
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "palaver-bench-"));
  try {
    const tls = makeCertificate(dir);
    const durable = groups.includes("durable") ? await runDurable({ load: binaries.load, rounds, seconds: 3 * seconds }) : [];
    const servers = jobs.length ? await usable(list(option.servers, SERVERS)) : [];
    for (let round = 0; round < rounds; round++) await runRound(servers, round, tls);
    const machine = describeMachine({ pinned, nofile });
    const { text: table, missed, failed } = report({
      results, servers, rounds, seconds, connections: extra + 1000, machine, notRun,
      minutes: (Date.now() - began) / 60000,
    });
    const text = durable.length ? `${table}\n${durableText(durable)}\n` : table;
    fs.writeFileSync(out, text);
    fs.writeFileSync(out.replace(/(\.txt)?$/, ".json"), JSON.stringify({ machine, rounds, seconds, results, durable }, null, 1));
    process.stdout.write(`${text}\n${missed} targets missed, ${failed} runs failed; written to ${out}\n`);
    process.exitCode = failed || (jobs.length && !servers.length) ? 1 : 0;
  } finally {
    fs.rmSync(dir, { recursive: true, force: true });
  }
}

await main();
