// SPDX-License-Identifier: ISC
// From send to acknowledgement through the durable journal: 500 clients, 500 messages a second,
// palaverd as it is installed; beside it a bare fdatasync of 4 KiB in the same directory.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { Server } from "../system/lib/server.mjs";
import { layOut, median } from "./bench_table.mjs";

const CLIENTS = 500, RATE = 500, ROOM = 10;

async function post(base, where, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const r = await fetch(base + where, { method: "POST", headers, body: JSON.stringify(body) });
  if (!r.ok) throw new Error(`${where}: ${r.status} ${await r.text()}`);
  return r.json();
}

/** Clients in groups of ten; the files that `load ledger` reads. */
async function makeWorld(server) {
  const users = [];
  for (let i = 0; i < CLIENTS; i++) {
    const r = await post(server.base, "/v1/auth/signup", { username: `user${i}`, password: "correct horse" });
    users.push({ id: r.user.id, token: r.access_token });
  }
  for (let i = 0; i < CLIENTS; i += ROOM) {
    const members = users.slice(i, i + ROOM);
    const conv = await post(server.base, "/v1/conversations", { type: "group", name: `room ${i}`, members: members.map((u) => u.id) }, members[0].token);
    for (const u of members) u.room = conv.id;
  }
  fs.writeFileSync(path.join(server.dir, "tokens"), users.map((u) => `${u.token}\n`).join(""));
  fs.writeFileSync(path.join(server.dir, "plan"), users.map((u) => `${u.id} ${u.room}\n`).join(""));
}

async function run(argv) {
  const child = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
  let out = "", errors = "";
  child.stdout.on("data", (d) => (out += d));
  child.stderr.on("data", (d) => (errors += d));
  const [code] = await once(child, "close");
  if (code !== 0) throw new Error(`${argv[1]}: ${errors || out || code}`);
  return JSON.parse(out);
}

/** Resolves to the figures of all rounds: [{sends, sync}]. */
export async function runDurable({ load, rounds, seconds }) {
  const server = new Server({ workers: 1, conf: 'accounts { access_ttl = "24h" }' });
  const results = [];
  try {
    await server.start();
    await makeWorld(server);
    const file = (name) => path.join(server.dir, name);
    for (let round = 0; round < rounds; round++) {
      const sync = await run([load, "fdatasync", "--port", "1", "--seconds", String(Math.min(seconds, 2)), "--out", file("state/sync.test")]);
      const sends = await run([load, "ledger", "--port", String(server.port), "--connections", String(CLIENTS), "--rate", String(RATE),
        "--seconds", String(seconds), "--seed", String(round + 1), "--careless", "0",
        "--auth", file("tokens"), "--plan", file("plan"), "--out", file("ledger")]);
      if (sends.acknowledged !== sends.sent || sends.faults) throw new Error(`not all was acknowledged: ${JSON.stringify(sends)}`);
      process.stderr.write(`round ${round + 1}/${rounds} durable: p99 ${sends.p99_us} us, bare fdatasync ${sync.p99_us} us\n`);
      results.push({ sends, sync });
    }
  } finally {
    await server.remove();
  }
  return results;
}

export function durableText(results) {
  const of = (kind, field) => (median(results.map((r) => r[kind][field])) / 1000).toFixed(2);
  const row = (name, kind) => [name, of(kind, "p50_us"), of(kind, "p99_us"), of(kind, "p999_us")];
  return layOut([
    [`durable journal, medians of ${results.length} rounds`, "p50 ms", "p99 ms", "p99.9 ms"],
    row(`send to acknowledgement, ${RATE} messages/s of ${CLIENTS} clients`, "sends"),
    row("a bare write of 4 KiB and fdatasync in the same directory", "sync"),
  ]);
}
