// SPDX-License-Identifier: ISC
// What an idle client costs: 10,000 that are logged in, on WebSockets, 4 workers.
//
// Memory is the sum of the PSS of every palaverd process (what the kernel keeps for their
// sockets is not in it), less the same before the first client came.  It is back when, after
// another 10,000 came and went, no more is in use than after the first, but for LEFT_TOLERANCE.
//
// The heartbeat's CPU is that of every process over two whole ping intervals of 25 s, so each
// client is pinged twice and nothing is extrapolated.
import assert from "node:assert";
import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { build, Server } from "./lib/server.mjs";
import { makeConversation, signup } from "./lib/client.mjs";

const CLIENTS = 10000;
const USERS = 100;
const KIB_PER_CLIENT = 6;
const LEFT_TOLERANCE = 1 / 8; // of what the first took; over ten rounds it goes up and down by 2 MiB of 23
const PING_INTERVAL = 25;
const HEARTBEAT_CPU = 0.02; // of one core

function run(argv, options) {
  return new Promise((resolve, reject) => {
    const p = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "pipe"], ...options });
    let out = "";
    let err = "";
    p.stdout.on("data", (d) => (out += d));
    p.stderr.on("data", (d) => (err += d));
    p.on("error", reject);
    p.on("close", (code) => (code === 0 ? resolve(out) : reject(new Error(`${argv.join(" ")}: ${code}\n${out}${err}`))));
  });
}

async function makePeople(base) {
  const users = [];
  for (let i = 0; i < USERS; i++) users.push(await signup(base, `idle${i}`));
  for (let i = 0; i < USERS; i += 10) {
    const members = users.slice(i, i + 10);
    for (let k = 0; k < 3; k++) {
      await makeConversation(base, members[k].token, { type: "group", name: `group ${i} ${k}`, members: members.map((u) => u.id) });
    }
  }
  return users;
}

test(`memory: ${CLIENTS} idle clients, 4 workers`, { timeout: 240000 }, async (t) => {
  await run(["make", "-C", build, "tests/bench/load"]);
  // The clients come from 16 addresses; the limits of an address are on, but out of their way.
  const server = await new Server({
    workers: 4,
    conf: `http { max_connections = 10500 max_connections_per_address = 1000 sessions_per_address = 1000 }
socketio { ping_interval = ${PING_INTERVAL}s }`,
  }).start();
  t.after(() => server.remove());
  const users = await makePeople(server.base);
  const tokens = path.join(server.dir, "tokens");
  fs.writeFileSync(tokens, users.map((u) => `${u.token}\n`).join(""), { mode: 0o600 });

  const processes = server.status().processes.filter((p) => p.pid > 0);
  assert.equal(processes.filter((p) => p.role === "worker").length, 4);
  const pids = [server.process.pid, ...processes.map((p) => p.pid)];
  const argv = [path.join(build, "tests/bench/load"), "idle", "--port", server.port, "--connections", CLIENTS, "--auth", tokens];
  for (const pid of new Set(pids)) argv.push("--pid", pid);
  argv.push("--ping-window", 2 * PING_INTERVAL);
  const r = JSON.parse(await run(argv.map(String)));
  for (const [k, v] of Object.entries(r)) console.log(`# ${k} ${v}`);

  assert.equal(r.errors, 0);
  // The first clients are pinged while the last still arrive: up to one ping each is outside.
  assert.ok(r.pings >= CLIENTS && r.pings <= 2 * CLIENTS, `${r.pings} pings in two intervals`);
  assert.ok(r.heartbeat_cpu < HEARTBEAT_CPU, `heartbeats take ${100 * r.heartbeat_cpu} % of a core`);
  assert.ok(r.kib_per_connection <= KIB_PER_CLIENT, `${r.kib_per_connection} KiB a client`);
  assert.ok(r.kib_per_connection_again <= KIB_PER_CLIENT, `${r.kib_per_connection_again} KiB a client, the second time`);
  const grown = r.pss_left_again_kib - r.pss_left_kib;
  assert.ok(grown <= LEFT_TOLERANCE * (r.pss_full_kib - r.pss_empty_kib), `after the second leave ${grown} KiB more than after the first`);
});
