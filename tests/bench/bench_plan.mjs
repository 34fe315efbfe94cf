// SPDX-License-Identifier: ISC
// What the benchmark runs, what it reads from each run, and what the figures should be.
import { SERVERS, TLS_SERVERS } from "./bench_servers.mjs";

/**
 * The jobs of a round, in order.  `group` is what --only chooses; `args` go to the load tool; a job
 * with `fresh` gets a server of its own, the others share one a round, the TLS ones another.
 * The `big` jobs stand beside 14,000 further idle connections: `extra` of them.
 */
export function makePlan({ seconds, extra, pingInterval, tlsConnections, idleConnections }) {
  const time = (s) => ["--seconds", String(s)];
  const middle = time(Math.min(seconds, 2)), short = time(Math.min(seconds, 1.5));
  const idle = (n) => ["--connections", String(n)];
  const beside = ["--idle", String(extra)];
  const thousand = ["connects", "--connections", "1000", "--repeat", "3"];
  const big = { group: "big", servers: ["palaver", "raw"] };
  const tls = { group: "tls", servers: TLS_SERVERS, tls: true };
  const jobs = [
    { id: "fanout", args: ["fanout", ...time(seconds)] },
    { id: "big-fanout", ...big, args: ["fanout", ...short, ...beside] },
    { id: "acks", args: ["acks", ...time(seconds)] },
    { id: "big-acks", ...big, args: ["acks", ...short, ...beside] },
    { id: "rate", args: ["rate", ...middle] },
    { id: "rate-fanout", group: "rate", args: ["rate-fanout", ...middle] },
    { id: "connects", args: ["connects"] },
    { id: "small-connects", ...big, args: thousand },
    { id: "big-connects", ...big, args: [...thousand, ...beside] },
    { id: "tls-fanout", ...tls, args: ["fanout", "--tls", ...short] },
    { id: "tls-acks", ...tls, args: ["acks", "--tls", ...short] },
    { id: "tls-rate", ...tls, args: ["rate", "--tls", ...middle] },
    { id: "tls-connects", ...tls, args: ["connects", "--tls", ...idle(tlsConnections)] },
    // The heartbeat takes time to watch and hardly varies: only in the first round.
    { id: "idle", fresh: true, args: ["idle", ...idle(idleConnections)],
      firstRound: ["--ping-window", String((2 * pingInterval) / 1000)], pingInterval },
    { id: "tls-idle", ...tls, fresh: true, onlyFirst: true, args: ["idle", "--tls", ...idle(idleConnections)] },
  ];
  return jobs.map((job) => ({ group: job.id, servers: SERVERS, ...job }));
}

const perSecond = (o) => o.per_second;
const cpu = (o) => o.server_cpu_us_per_op;
// A core's share at the default interval of 25 s, from the interval that was measured.
const heartbeat = (o) => (o.pings > 0 ? (o.heartbeat_cpu * 100 * o.ping_interval) / 25000 : undefined);
const kept = (o) => (o.pss_left_again_kib - o.pss_left_kib) / o.connections;

/**
 * A metric: the job, its name, and how it is read; `rate` is one that a busy load tool limits, `own`
 * one that says nothing about the server.  Targets: `max` and `min`
 * compare palaver's median with that many times the other server's, `below` lists
 * servers that it must stay below, `limit` is absolute.
 */
export const METRICS = [
  { job: "fanout", name: "fan-out: deliveries/s", read: perSecond, rate: true },
  { job: "fanout", name: "fan-out: µs CPU a delivery", read: cpu, max: { raw: 1.25, node: 0.1 } },
  { job: "acks", name: "acks/s", read: perSecond, rate: true, min: { node: 2.5 } },
  { job: "acks", name: "acks: µs CPU an ack", read: cpu, max: { raw: 1.5, node: 1 / 3 } },
  { job: "rate", name: "acks at a fixed rate: p50 µs", read: (o) => o.p50_us },
  { job: "rate", name: "acks at a fixed rate: p99 µs", read: (o) => o.p99_us, below: ["node", "uws"] },
  { job: "rate", name: "acks at a fixed rate: p99.9 µs", read: (o) => o.p999_us, below: ["node", "uws"] },
  { job: "rate", name: "  of it the load tool's own delay: p99 µs", read: (o) => o.late_p99_us, own: true },
  { job: "rate-fanout", name: "fan-out at a fixed rate: p50 µs", read: (o) => o.p50_us },
  { job: "rate-fanout", name: "fan-out at a fixed rate: p99 µs", read: (o) => o.p99_us, below: ["node", "uws"] },
  { job: "rate-fanout", name: "fan-out at a fixed rate: p99.9 µs", read: (o) => o.p999_us, below: ["node", "uws"] },
  { job: "rate-fanout", name: "fan-out at a fixed rate: µs CPU a delivery", read: cpu },
  { job: "connects", name: "connects/s", read: perSecond, rate: true, min: { node: 4, uws: 2 } },
  { job: "connects", name: "connects: µs CPU a connect", read: cpu },
  { job: "idle", name: "idle: KiB a connection", read: (o) => o.kib_per_connection, limit: 3, below: ["node", "uws"] },
  { job: "idle", name: "idle: the same, second time", read: (o) => o.kib_per_connection_again },
  { job: "idle", name: "idle: KiB a connection that the second time left behind", read: kept, limit: 0.1 },
  { job: "idle", name: "idle: µs CPU a PING", read: (o) => (o.pings > 0 ? o.cpu_us_per_ping : undefined) },
  { job: "idle", name: "idle: heartbeat, % of a core at 25 s", read: heartbeat, limit: 2 },
  { job: "tls-fanout", name: "TLS fan-out: deliveries/s", read: perSecond, rate: true },
  { job: "tls-fanout", name: "TLS fan-out: µs CPU a delivery", read: cpu },
  { job: "tls-acks", name: "TLS acks/s", read: perSecond, rate: true },
  { job: "tls-acks", name: "TLS acks: µs CPU an ack", read: cpu },
  { job: "tls-rate", name: "TLS acks at a fixed rate: p50 µs", read: (o) => o.p50_us },
  { job: "tls-rate", name: "TLS acks at a fixed rate: p99 µs", read: (o) => o.p99_us },
  { job: "tls-rate", name: "TLS acks at a fixed rate: p99.9 µs", read: (o) => o.p999_us },
  { job: "tls-connects", name: "TLS connects/s", read: perSecond, rate: true },
  { job: "tls-connects", name: "TLS connects: µs CPU a connect", read: cpu },
  { job: "tls-idle", name: "TLS idle: KiB a connection", read: (o) => o.kib_per_connection, limit: 32, below: ["node", "uws"] },
];

/** What must hardly grow from 1,000 connections to many: [name, job with 1,000, job with many]. */
export const GROWTH = [
  ["µs CPU a connect", "small-connects", "big-connects"],
  ["µs CPU an ack", "acks", "big-acks"],
  ["µs CPU a delivery", "fanout", "big-fanout"],
];
export const GROWTH_MAX = 1.2;
export const readCpu = cpu;
