// SPDX-License-Identifier: ISC
// Turns the results of the benchmark into tables: medians, ratios, and which targets are met.
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import { GROWTH, GROWTH_MAX, METRICS, readCpu } from "./bench_plan.mjs";

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** The values of one metric on one server, the failed runs left out. */
function values(results, server, job, read) {
  return results.filter((r) => r.server === server && r.job === job && !r.result.failed)
    .map((r) => read(r.result)).filter((v) => v !== undefined);
}

function medianOf(results, server, job, read) {
  const all = values(results, server, job, read);
  return all.length ? median(all) : undefined;
}

function number(v) {
  if (v === undefined) return "–";
  if (Math.abs(v) >= 1000) return Math.round(v).toLocaleString("en-US").replaceAll(",", " ");
  return v.toFixed(Math.abs(v) >= 100 ? 0 : Math.abs(v) >= 10 ? 1 : 2);
}

/** Lays rows of strings out in columns: the first flush left, the others flush right. */
export function layOut(rows) {
  const width = rows[0].map((_, i) => Math.max(...rows.map((row) => (row[i] ?? "").length)));
  return rows.map((row) => row.map((cell, i) => (i ? cell.padStart(width[i]) : cell.padEnd(width[i]))).join("  ").trimEnd()).join("\n");
}

function verdict(met) {
  return met ? "met" : "NOT MET";
}

function spread(all) {
  return all.length > 1 && median(all) !== 0 ? `${Math.round((50 * (Math.max(...all) - Math.min(...all))) / median(all))} %` : "–";
}

/** The load tool was the limit in half the runs or more. */
function isSaturated(results, server, job) {
  const all = values(results, server, job, (o) => o.load_cpu);
  return all.length > 0 && median(all) >= 0.9;
}

function medianTable(results, servers) {
  const rows = [["", ...servers, "± palaver"]];
  for (const { job, name, read, rate } of METRICS) {
    const cells = servers.map((s) =>
      number(medianOf(results, s, job, read)) + (rate && isSaturated(results, s, job) ? "*" : " "));
    if (cells.some((c) => c.trim() !== "–")) rows.push([name, ...cells, spread(values(results, "palaver", job, read))]);
  }
  return layOut(rows);
}

/** The targets of one metric as [wording, met or undefined if it cannot be told]. */
function targets(metric, mine, median_) {
  const list = [];
  const compare = (text, other, holds) => list.push([text, mine === undefined || other === undefined ? undefined : holds(other)]);
  for (const [s, f] of Object.entries(metric.max ?? {})) compare(`≤ ${number(f)} × ${s}`, median_(s), (v) => mine <= f * v);
  for (const [s, f] of Object.entries(metric.min ?? {})) compare(`≥ ${number(f)} × ${s}`, median_(s), (v) => mine >= f * v);
  for (const s of metric.below ?? []) compare(`< ${s}`, median_(s), (v) => mine < v);
  if (metric.limit !== undefined) compare(`≤ ${metric.limit}`, 0, () => mine <= metric.limit);
  return list;
}

function ratioTable(results, servers) {
  const others = servers.filter((s) => s !== "palaver");
  const rows = [["palaver against", ...others, "targets"]];
  let missed = 0;
  for (const metric of METRICS) {
    const med = (s) => medianOf(results, s, metric.job, metric.read);
    const mine = med("palaver");
    if (mine === undefined || metric.own) continue;
    const ratio = (s) => (med(s) > 0 ? (mine / med(s)).toFixed(mine / med(s) < 0.1 ? 3 : 2) : "–");
    const known = targets(metric, mine, med).filter(([, met]) => met !== undefined);
    missed += known.filter(([, met]) => !met).length;
    rows.push([metric.name, ...others.map(ratio), known.map(([text, met]) => `${text}: ${verdict(met)}`).join(", ")]);
  }
  return { text: rows.length > 1 ? layOut(rows) : "", missed };
}

function growthTable(results, servers, connections) {
  const rows = [["growth with connections", "server", "1 000", number(connections), "factor", "target"]];
  let missed = 0;
  for (const [name, small, big] of GROWTH) {
    for (const server of servers) {
      const [a, b] = [small, big].map((job) => medianOf(results, server, job, readCpu));
      if (a === undefined || b === undefined) continue;
      const mine = server === "palaver", met = b < a * GROWTH_MAX;
      missed += mine && !met ? 1 : 0;
      rows.push([name, server, number(a), number(b), (b / a).toFixed(2), mine ? `< ${GROWTH_MAX}: ${verdict(met)}` : ""]);
    }
  }
  return { text: rows.length > 1 ? layOut(rows) : "", missed };
}

const firstLine = (argv) => (spawnSync(argv[0], argv.slice(1), { encoding: "utf8" }).stdout ?? "").split("\n")[0].trim();

function packageVersion(name) {
  const file = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")).version : "not installed";
}

export function describeMachine({ pinned, nofile }) {
  const cpus = os.cpus();
  const library = packageVersion("uws-pack");
  return [
    `CPU: ${cpus[0].model.trim()}, ${cpus.length} cores; memory ${Math.round(os.totalmem() / 2 ** 30)} GiB`,
    `kernel: ${os.type()} ${os.release()} ${os.arch()}; descriptors a process: ${nofile}`,
    `compiler: ${firstLine([process.env.CC || "cc", "--version"])}; ${firstLine(["openssl", "version"])}`,
    `peers: socket.io ${packageVersion("socket.io")} on Node ${process.version}; on uWebSockets.js of uws-pack ${library}`,
    pinned ? "server and load tool each on a core of their own" : "server and load tool share the cores (not bound)",
  ].join("\n");
}

/** The whole text, and how many targets were missed. */
export function report({ results, servers, rounds, seconds, connections, machine, notRun, minutes }) {
  const ratios = ratioTable(results, servers);
  const growth = growthTable(results, servers, connections);
  const failed = results.filter((r) => r.result.failed);
  const parts = [
    `make bench: medians of ${rounds} interleaved rounds, up to ${seconds} s a run, one worker; ${minutes.toFixed(1)} minutes`,
    machine,
    medianTable(results, servers) + "\n* the load tool was busy to 90 % or more: the server can do this or better",
    ratios.text, growth.text,
    rounds < 5 ? "Fewer than 5 rounds: no verdict is final." : "",
    notRun.map(([name, why]) => `${name}: not run here (${why})`).join("\n"),
    failed.map((r) => `FAILED: ${r.job} on ${r.server}, round ${r.round + 1}: ${r.result.failed.split("\n")[0]}`).join("\n"),
  ];
  return { text: parts.filter(Boolean).join("\n\n") + "\n", missed: ratios.missed + growth.missed, failed: failed.length };
}
