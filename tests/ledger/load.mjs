// SPDX-License-Identifier: ISC
// The load tool as part of the fleet: starts `load ledger` and reads the file that it wrote
// (its lines: tests/bench/load_ledger.c).
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { build } from "../system/lib/server.mjs";

/**
 * users: [{id, token, conversations: [id]}]; rate: messages a second of all together; careless: per
 * cent of messages that are sent once and not again.
 * Resolves to {summary, ledger, seen, faults}, of which the last three are as check.mjs wants them.
 */
export async function runLoad(server, users, { rate, seconds, seed, careless = 10 }) {
  const file = (name) => path.join(server.dir, name);
  fs.writeFileSync(file("load.tokens"), users.map((u) => `${u.token}\n`).join(""));
  fs.writeFileSync(file("load.plan"), users.map((u) => `${u.id} ${u.conversations.join(" ")}\n`).join(""));
  const child = spawn(path.join(build, "tests/bench/load"), ["ledger", "--port", String(server.port),
    "--connections", String(users.length), "--rate", String(rate), "--seconds", String(seconds), "--seed", String(seed), "--careless", String(careless),
    "--auth", file("load.tokens"), "--plan", file("load.plan"), "--out", file("load.ledger")], { stdio: ["ignore", "pipe", "pipe"] });
  let out = "", errors = "";
  child.stdout.on("data", (d) => (out += d));
  child.stderr.on("data", (d) => (errors += d));
  const [code, signal] = await once(child, "close");
  if (!out) throw new Error(`load ended with ${code ?? signal}: ${errors}`);
  return { summary: JSON.parse(out), ...readLedger(fs.readFileSync(file("load.ledger"), "utf8")) };
}

export function readLedger(text) {
  const ledger = [], seen = [], faults = [];
  for (const line of text.split("\n")) {
    const [kind, ...f] = line.split("\t");
    if (kind === "S") {
      ledger[f[0]] = { user: f[1], conversation: f[2], client_msg_id: f[3], sent: Number(f[4]), text: f[5], acks: [] };
    } else if (kind === "A") {
      const ack = { id: f[1], seq: Number(f[2]), duplicate: f[3] === "true", at: Number(f[4]) };
      ledger[f[0]].acks.push(ack);
      ledger[f[0]].ack ??= ack;
    } else if (kind === "R") {
      ledger[f[0]].refused = { status: Number(f[1]), code: f[2] };
    } else if (kind === "G") {
      ledger[f[0]].forgotten = true;
    } else if (kind === "V") {
      seen.push([f[2], f[0], Number(f[1])]);
    } else if (kind === "F") {
      faults.push({ kind: "client", text: f[0] });
    } else if (kind) {
      throw new Error(`not a line of the load tool: ${line}`);
    }
  }
  return { ledger: ledger.filter(Boolean), seen, faults };
}
