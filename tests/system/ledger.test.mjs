// SPDX-License-Identifier: ISC
// 100 clients, 20 conversations, 200 messages a second, and every 2 s a kill -9: nothing that
// was acknowledged is lost, doubled or out of order.  LEDGER_SECONDS and LEDGER_SEED change it.
import assert from "node:assert";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { build } from "./lib/server.mjs";
import { runLedger } from "../ledger/ledger.mjs";

const seconds = Number(process.env.LEDGER_SECONDS || 120);
const seed = Number(process.env.LEDGER_SEED || Date.now() % 1e6);

test(`ledger: ${seconds} s under kill -9, seed ${seed}`, { timeout: (seconds + 420) * 1000 }, async () => {
  const { report, faults } = await runLedger({ seconds, seed, clients: 60, rate: 100, load: { clients: 40, rate: 100 } });
  const text = JSON.stringify(report, null, 2);
  fs.writeFileSync(path.join(build, "ledger-report.json"), `${text}\n`);
  console.log(text);
  assert.ok(report.acknowledged >= 200 * seconds * 0.8, "the fleet sent too little for the run to mean something");
  assert.ok(Object.keys(report.kills).length >= 3, "too few kinds of processes were killed");
  assert.ok(report.kills.master === 1, "the master was not killed");
  assert.ok(Object.keys(report.changes).length === 4, "edits, deletions, reactions and their removal");
  assert.deepEqual(faults.slice(0, 5), []);
  assert.equal(report.refused, 0);
  assert.equal(report.unknown, 0, "each send was answered in the end");
});
