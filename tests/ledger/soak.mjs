// SPDX-License-Identifier: ISC
// make soak: the ledger for long.  Runs seeds, each with a server and a fleet of its own, and
// writes one report with the totals.
//
//   SOAK_SEEDS (20) from SOAK_FIRST (1) on, SOAK_SECONDS (600) each, SOAK_JOBS (1) at a time,
//   SOAK_EVERY (5000) ms between kills, SOAK_RATE (100) messages a second of a seed;
//   SOAK_OUT ($PALAVER_BUILD/soak-report.json).  With these 1.2 million messages and 2,400 kills.
//
// A run of one seed is bounded: it is ended after twice its time and five minutes, and has then
// failed.  The exit status is 0 if every seed ran and found no fault.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "../system/lib/server.mjs";
import { runLedger } from "./ledger.mjs";

const number = (name, standard) => Number(process.env[name] || standard);
const seeds = number("SOAK_SEEDS", 20), first = number("SOAK_FIRST", 1), seconds = number("SOAK_SECONDS", 600);
const jobs = number("SOAK_JOBS", 1), every = number("SOAK_EVERY", 5000), rate = number("SOAK_RATE", 100);
const out = process.env.SOAK_OUT || path.join(build, "soak-report.json");
const self = fileURLToPath(import.meta.url);

/** Three tenths of the messages, all changes, following and syncing by socket.io-client; the rest by the load tool. */
async function one(seed) {
  const { report } = await runLedger({
    clients: 20, conversations: 20, rate: (rate * 3) / 10, seconds, every, seed, load: { clients: 80, rate: (rate * 7) / 10 },
  });
  process.stdout.write(JSON.stringify(report));
}

async function runSeed(seed) {
  const child = spawn(process.execPath, [self, "--one", String(seed)], { stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGTERM"), (2 * seconds + 300) * 1000);
  let text = "", errors = "";
  child.stdout.on("data", (d) => (text += d));
  child.stderr.on("data", (d) => (errors += d));
  const [code, signal] = await once(child, "close");
  clearTimeout(timer);
  let report;
  try {
    report = JSON.parse(text);
  } catch {
    report = { seed, failed: `ended with ${code ?? signal}`, errors: errors.split("\n").slice(-60) };
  }
  const said = report.failed ?? `${report.acknowledged} acknowledged, kills ${JSON.stringify(report.kills)}, faults ${JSON.stringify(report.faults)}`;
  process.stderr.write(`seed ${seed}: ${said}\n`);
  return report;
}

const sum = (list, of) => list.reduce((n, x) => n + of(x), 0);

function totals(reports) {
  const good = reports.filter((r) => !r.failed);
  const kills = {}, faults = {};
  for (const r of good) {
    for (const [role, n] of Object.entries(r.kills)) kills[role] = (kills[role] ?? 0) + n;
    for (const [kind, n] of Object.entries(r.faults)) faults[kind] = (faults[kind] ?? 0) + n;
  }
  const total = (field) => sum(good, (r) => r[field]);
  return {
    seeds_run: good.length, seeds_failed: reports.length - good.length,
    sent: total("sent"), acknowledged: total("acknowledged"), unknown: total("unknown"), forgotten: total("forgotten"), refused: total("refused"),
    retried: total("retried"), answered_as_duplicate: total("answered_as_duplicate"), history: total("history"),
    kills_total: sum(Object.values(kills), (n) => n), kills, faults_total: sum(Object.values(faults), (n) => n), faults,
    changes: sum(good, (r) => sum(Object.values(r.changes), (n) => n)), reconnects: total("reconnects"), syncs: total("syncs"),
    worst_recovery_ms: Math.max(0, ...good.flatMap((r) => Object.values(r.recovery_ms).map((s) => s.max))),
    worst_ack_ms: Math.max(0, ...good.map((r) => r.ack_ms.max)),
  };
}

function write(reports, began) {
  reports.sort((a, b) => a.seed - b.seed);
  const commit = spawnSync("git", ["-C", path.dirname(self), "log", "-1", "--format=%h"], { encoding: "utf8" }).stdout?.trim();
  const report = {
    commit, began: new Date(began).toISOString(), minutes: Math.round((Date.now() - began) / 6000) / 10,
    wanted: { seeds, seconds, jobs, every_ms: every, rate }, totals: totals(reports), seeds: reports,
  };
  fs.writeFileSync(out, `${JSON.stringify(report, null, 1)}\n`);
  return report;
}

async function soak() {
  const began = Date.now(), reports = [];
  let next = first;
  await Promise.all(Array.from({ length: jobs }, async () => {
    while (next < first + seeds) {
      reports.push(await runSeed(next++));
      write(reports, began);
    }
  }));
  const { totals: t } = write(reports, began);
  process.stdout.write(`${JSON.stringify(t, null, 1)}\nwritten to ${out}\n`);
  process.exitCode = t.seeds_failed || t.faults_total || t.unknown ? 1 : 0;
}

if (process.argv[2] === "--one") await one(Number(process.argv[3]));
else await soak();
