// SPDX-License-Identifier: ISC
// A worker of four is killed among 400 polling and 400 websocket clients that talk in rooms: its
// own clients reconnect by themselves, all the others notice nothing.
//
// One exception is not a fault.  A polling request may be carried by a worker that does not own
// its session; the request's connection breaks with that worker, and a client whose request fails
// gives its session up.  So that these clients are known, and not guessed, the worker is stopped
// before it is killed: it then accepts nothing more, and the kernel's tables tell exactly which
// connections die with it.  A client of another worker without such a connection has no excuse,
// nor one whose connection still waits in the listening queue of the worker.
import assert from "node:assert";
import test from "node:test";
import { Pool } from "./lib/pool.mjs";
import { acceptedPeers, processState } from "./lib/proc.mjs";
import { TestServer, until } from "./lib/testserver.mjs";

const WORKERS = 4;
const CHILDREN = 4;
const EACH = 400; // clients of either kind; even numbers poll, odd ones use WebSocket
const OWNED = 100; // of either kind by the worker to kill
const EVERY = Number(process.env.KILL_EVERY_MS || 4000); // a client's time between two messages

/** The slot is told by the first two letters of a session id: AA is 0, AB is 1. */
function slotOf(id) {
  const m = id.match(/^A([A-D])/);
  assert.ok(m, `the session id ${id} names no slot below ${WORKERS}`);
  return m[1].charCodeAt(0) - 65;
}

const states = async (pool) => (await pool.all("state")).flat();

/** Waits until something is true of every client; an error shows some of the rest. */
function untilAll(pool, what, predicate) {
  let rest;
  const look = async () => {
    rest = (await states(pool)).filter((c) => !predicate(c));
    return rest.length === 0;
  };
  return until(() => `${what}; not so: ${rest.length}, as ${JSON.stringify(rest.slice(0, 3))}`, look, 60000, 200);
}

async function open(pool, base, from, count) {
  const indices = Array.from({ length: count }, (_, i) => from + i);
  await pool.all("open", (k) => ({ base, indices: indices.filter((i) => Math.floor(i / 2) % CHILDREN === k) }));
}

/** Opens clients until one slot owns enough of both kinds; returns that slot. */
async function openClients(pool, base) {
  await open(pool, base, 0, 2 * EACH);
  for (let count = 2 * EACH; ; count += 40) {
    const all = await states(pool);
    const own = (slot, kind) => all.filter((c) => c.kind === kind && slotOf(c.id) === slot).length;
    for (let slot = 0; slot < WORKERS; slot++) {
      if (own(slot, "polling") >= OWNED && own(slot, "websocket") >= OWNED) return slot;
    }
    assert.ok(count < 4 * EACH, "sessions are spread so that no slot gets enough of both kinds");
    await open(pool, base, count, 40);
  }
}

/** Stops the worker, notes whose sessions and connections it has, kills it. */
async function killWorker(pool, server, slot) {
  const { pid } = server.workers()[slot];
  const before = await states(pool);
  process.kill(pid, "SIGSTOP");
  await until("the worker is stopped", () => processState(pid) === "T", 5000, 1);
  const broken = acceptedPeers(pid, server.port);
  const ports = new Map((await pool.all("ports")).flat().map((p) => [p.index, p.ports]));
  const now = await states(pool);
  process.kill(pid, "SIGKILL");
  assert.deepEqual(now.map((c) => c.id), before.map((c) => c.id), "nobody lost a session before the kill");
  const clients = now.map((c) => ({
    index: c.index,
    kind: c.kind,
    owned: slotOf(c.id) === slot,
    carried: ports.get(c.index).some((p) => broken.has(p)),
  }));
  for (const c of clients.filter((x) => x.kind === "websocket")) {
    assert.equal(c.carried, c.owned, `websocket client ${c.index}: the slot in its id is that of the worker with its connection`);
  }
  await until("a new worker", () => server.workers().length === WORKERS && !server.workers().some((w) => w.pid === pid));
  return clients;
}

/** What each receiver must have got; one that stayed gets all, another what came after the recovery. */
function expectations(sent, stayed, firstBase) {
  const totals = {};
  for (const receiver of sent) {
    const mine = (totals[receiver.index] = {});
    for (const s of sent) {
      if (s.room !== receiver.room || s.index === receiver.index) continue;
      const whole = stayed.has(s.index) ? firstBase.get(s.index) : 0;
      mine[`${s.index}.${s.epoch}`] = { base: stayed.has(receiver.index) ? whole : s.base, next: s.next };
    }
  }
  return totals;
}

function judge(t, clients, after) {
  const byIndex = new Map(after.map((c) => [c.index, c]));
  const hit = (c) => byIndex.get(c.index).disconnects.length > 0;
  const owned = clients.filter((c) => c.owned);
  const excused = clients.filter((c) => !c.owned && c.carried);
  const others = clients.filter((c) => !c.owned && !c.carried);
  const polling = others.filter((c) => c.kind === "polling");
  const reasons = new Set(owned.flatMap((c) => byIndex.get(c.index).disconnects));
  t.diagnostic(`owned: ${owned.length} (${[...reasons]}); other polling clients: ${excused.length} had a connection on the worker, ` +
    `${excused.filter(hit).length} of them lost a request; ${polling.length} had none; other websocket clients: ${others.length - polling.length}`);
  assert.deepEqual(owned.filter((c) => !hit(c)), [], "who was owned and noticed nothing");
  assert.deepEqual(others.filter(hit).map((c) => [c, byIndex.get(c.index).disconnects]), [], "who was disturbed without a reason");
  assert.ok(polling.length >= OWNED, "the test says something of polling clients");
  for (const c of after) {
    assert.ok(c.disconnects.length <= 1 && c.epoch === c.disconnects.length && c.joined, `client ${c.index} is back: ${JSON.stringify(c)}`);
  }
  assert.deepEqual(after.flatMap((c) => c.problems).slice(0, 20), []);
}

test(`kill -9 of a worker among ${2 * EACH} clients`, { timeout: 240000 }, async (t) => {
  const server = await new TestServer(["--workers", String(WORKERS)]).start();
  const pool = new Pool("kill-child.mjs", CHILDREN);
  t.after(async () => {
    await pool.close();
    await server.stop();
  });
  assert.equal(server.workers().length, WORKERS);
  const slot = await openClients(pool, server.base);
  await pool.all("talk", { every: EVERY });
  await pool.all("mark");
  await untilAll(pool, "every client has heard its room", (c) => c.heard > 0);
  const firstBase = new Map((await states(pool)).map((c) => [c.index, c.base]));

  const clients = await killWorker(pool, server, slot);
  const ownedIndices = new Set(clients.filter((c) => c.owned).map((c) => c.index));
  await untilAll(pool, "every client is back", (c) => c.joined && (c.epoch > 0 || !ownedIndices.has(c.index)));
  await pool.all("mark");
  await untilAll(pool, "every client has sent again", (c) => c.next >= c.base + 2);

  const sent = (await pool.all("stop")).flat();
  const stayed = new Set(sent.filter((c) => c.epoch === 0).map((c) => c.index));
  const after = (await pool.all("settle", expectations(sent, stayed, firstBase))).flat();
  await pool.all("close");
  judge(t, clients, after);
});
