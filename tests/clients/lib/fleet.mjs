// SPDX-License-Identifier: ISC
// Runs a fleet of clients of one version in one mode, and demands that nothing went wrong.
import assert from "node:assert";
import { Pool } from "./pool.mjs";
import { sleep } from "./testserver.mjs";

const CHILDREN = 4;

/** options: base, client, mode, clients, seconds, rate; returns the members' reports */
export async function runFleet({ clients, seconds, ...options }) {
  const pool = new Pool("fleet-child.mjs", CHILDREN);
  try {
    const all = Array.from({ length: clients }, (_, i) => i);
    await pool.all("start", (k) => ({ ...options, indices: all.filter((i) => i % CHILDREN === k) }));
    await pool.all("run");
    await sleep(seconds * 1000); // how long the fleet is to talk
    const sent = (await pool.all("stop")).flat();
    const totals = {};
    for (const { room, nsp, sender, base, next } of sent) (totals[`${nsp} ${room}`] ||= {})[sender] = { base, next };
    const reports = (await pool.all("settle", totals)).flat();
    await pool.all("close");
    return reports;
  } finally {
    await pool.close();
  }
}

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** What every fleet must have done, whatever the client. */
export function judgeFleet(reports, { clients, mode }) {
  assert.deepEqual(reports.flatMap((r) => r.problems).slice(0, 20), []);
  assert.equal(reports.length, clients);
  assert.equal(new Set(reports.map((r) => r.id)).size, clients, "each client has a session of its own");
  const counts = reports.flatMap((r) => r.sides);
  for (const kind of ["ack", "back", "seq", "toRoom", "ask", "binary"]) {
    assert.ok(sum(counts.map((c) => c[kind])) > 0, `the fleet did no ${kind}`);
  }
  assert.ok(reports.every((r) => r.heard > 0), "every client heard its room");
  if (mode === "upgrade") return judgeUpgrades(reports);
  for (const r of reports) assert.deepEqual([r.transport, r.upgrades], [mode, []]);
  return null;
}

/** Every client did upgrade, once, and nearly all while they waited for answers. */
function judgeUpgrades(reports) {
  for (const r of reports) {
    assert.equal(r.transport, "websocket");
    assert.deepEqual(r.upgrades.map((u) => u.to), ["websocket"]);
  }
  const busy = reports.filter((r) => r.upgrades[0].inFlight > 0).length; // the rest had just been answered
  assert.ok(busy >= reports.length * 0.9, `only ${busy} clients waited for answers at the moment of the upgrade`);
  const joined = reports.filter((r) => r.upgrades[0].connected).length;
  assert.ok(joined >= reports.length / 10, `only ${joined} clients had joined, and so talked to the application, when they upgraded`);
}

export function summary(reports) {
  const counts = reports.flatMap((r) => r.sides);
  const total = (kind) => sum(counts.map((c) => c[kind]));
  const joined = reports.filter((r) => r.upgrades[0]?.connected).length;
  return `${total("ack")} acks, ${total("back")} answers, ${total("seq")} burst, ${total("ask")} questions, ${total("binary")} with binary; ` +
    `to rooms: ${total("toRoom")} sent, ${sum(reports.map((r) => r.heard))} received; upgraded after the join: ${joined}`;
}
