// SPDX-License-Identifier: ISC
// The nemesis: kill -9 of random processes at random moments, some while the hub stands still, and
// how long each recovery took.
import { sleep, until } from "../system/lib/server.mjs";

/** mulberry32: the same seed gives the same choices. */
export function random(seed) {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Resolves to the ms until the log says that the successor is ready. */
async function recovery(server, { role, slot, log, from }) {
  const name = role === "worker" ? `proc\\.ready role=worker slot=${slot} ` : `proc\\.ready role=${role} `;
  const ready = new RegExp(name);
  await until(`a new ${role}`, () => server.log !== "" && (!server.log.startsWith(log.slice(0, 200)) || ready.test(server.log.slice(log.length))), 90000, 10)
    .catch(() => {});
  return Date.now() - from;
}

async function killMaster(server, kills) {
  const from = Date.now();
  await server.killMaster();
  await server.start();
  kills.push({ role: "master", at: from, recovery: Date.now() - from });
}

/**
 * The hub stands still for a moment: what workers have asked of it meanwhile is done although the
 * one that dies never hears of it.
 */
async function freezeHub(server, rnd) {
  const [hub] = server.processes("hub");
  if (!hub) return () => {};
  const signal = (name) => {
    try {
      process.kill(hub.pid, name);
    } catch {
      // it is gone
    }
  };
  signal("SIGSTOP");
  await sleep(50 + 250 * rnd());
  return () => signal("SIGCONT");
}

/** One child of the server, if there is one of the role that is alive. */
async function killOne(server, rnd, role, kills, under) {
  const all = server.processes(role);
  const which = rnd(), frozen = rnd() < 0.3;
  if (!all.length) return; // waits for its restart
  const victim = all[Math.floor(which * all.length)];
  const thaw = role === "worker" && frozen ? await freezeHub(server, rnd) : () => {};
  const kill = { role, slot: victim.slot, at: Date.now() };
  const log = server.log;
  try {
    process.kill(victim.pid, "SIGKILL");
  } catch {
    return; // it was gone already
  } finally {
    thaw();
  }
  kills.push(kill);
  under.push(recovery(server, { role, slot: victim.slot, log, from: kill.at }).then((ms) => {
    kill.recovery = ms;
  }));
}

/**
 * Kills a random child every `every` ms on average for `seconds`, and the master once, in the
 * middle.  Resolves to [{role, at, recovery}], recovery in ms, when all have recovered.
 */
export async function nemesis(server, rnd, { seconds, every, roles = ["worker", "worker", "archiver", "hub"], master = true }) {
  const kills = [], under = [];
  const end = Date.now() + seconds * 1000;
  let masterAt = master ? Date.now() + seconds * 500 : Infinity;
  for (;;) {
    const wait = every * (0.5 + rnd());
    const role = roles[Math.floor(rnd() * roles.length)];
    if (Date.now() + wait >= end) break;
    await sleep(wait);
    if (Date.now() >= masterAt) {
      masterAt = Infinity;
      await killMaster(server, kills);
    } else {
      await killOne(server, rnd, role, kills, under);
    }
  }
  await Promise.all(under);
  return kills;
}
