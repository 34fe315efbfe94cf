// SPDX-License-Identifier: ISC
// The ledger: a fleet sends and records, a nemesis kills, the checker compares.
//
// The fleet is `clients` devices of socket.io-client (Device: it keeps what it has received and
// syncs as the protocol's manual says) and, if `load` says so, clients of the load tool.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { Server, sleep, until } from "../system/lib/server.mjs";
import { Device, history, makeConversation, signup } from "../system/lib/client.mjs";
import { check } from "./check.mjs";
import { runLoad } from "./load.mjs";
import { nemesis, random } from "./nemesis.mjs";

export function readArchive(stateDir) {
  const r = spawnSync("sqlite3", ["-json", "-readonly", path.join(stateDir, "palaver.db"),
    "SELECT id, conversation, seq, sender, client_id, type, data FROM events ORDER BY conversation, seq"],
  { encoding: "utf8", maxBuffer: 1 << 30 });
  if (r.status !== 0) throw new Error(`sqlite3: ${r.stderr || r.error}`);
  return r.stdout.trim() ? JSON.parse(r.stdout) : [];
}

function countArchive(stateDir) {
  const r = spawnSync("sqlite3", ["-readonly", path.join(stateDir, "palaver.db"), "SELECT count(*) FROM events"], { encoding: "utf8" });
  return r.status === 0 ? Number(r.stdout) : 0;
}

/** The fleet has clients of all kinds: the library's default, WebSocket alone, polling alone. */
const TRANSPORTS = [["polling", "websocket"], ["websocket"], ["polling"]];

const count = (list, of) => list.reduce((m, x) => ({ ...m, [of(x)]: (m[of(x)] || 0) + 1 }), {});

/** median, p99 and max of numbers, in ms */
function spread(list) {
  const v = [...list].sort((a, b) => a - b);
  return v.length ? { count: v.length, median: v[v.length >> 1], p99: v[Math.floor(v.length * 0.99)], max: v[v.length - 1] } : { count: 0 };
}

/** How long each client was without its connection, in ms, into the list. */
function watchOutages(device, outages) {
  let since = 0;
  device.socket.on("disconnect", () => {
    since = Date.now();
  });
  device.socket.on("connect", () => {
    if (since) outages.push(Date.now() - since);
    since = 0;
  });
}

async function sender(device, mine, rnd, gap, end, ledger) {
  const under = [];
  let n = 0;
  while (Date.now() < end) {
    await sleep(gap * (0.5 + rnd()));
    if (under.length > 50) await Promise.race(under);
    const conversation = mine[Math.floor(rnd() * mine.length)];
    const p = device.send(conversation, `${device.user.username} says ${n++}`, end + 150000).then((e) => {
      ledger.push(e);
      under.splice(under.indexOf(p), 1);
    });
    under.push(p);
  }
  await Promise.all(under);
}

/** Users and conversations: everybody is in up to three. */
async function makeWorld(server, people, conversations) {
  const users = [], convs = [];
  for (let i = 0; i < people; i++) users.push(await signup(server.base, `user${i}`));
  for (let c = 0; c < conversations; c++) {
    const members = users.filter((_, i) => i % conversations === c || (i + 3) % conversations === c || (i * 7 + 1) % conversations === c);
    const conv = await makeConversation(server.base, members[0].token, { type: "group", name: `room ${c}`, members: members.map((u) => u.id) });
    convs.push({ id: conv.id, members });
  }
  for (const u of users) u.conversations = convs.filter((c) => c.members.includes(u)).map((c) => c.id);
  return { users, convs };
}

/** After the last kill: everything up, every client has everything, the archive too. */
async function settle(server, devices, convs, report) {
  await until("all processes are ready", () => server.status()?.processes.every((p) => p.state === "ready"), 70000, 100);
  await until("all clients are connected and have synced", () => devices.every((d) => d.socket.connected && d.synced && !d.syncing), 60000);
  const all = new Map();
  for (const c of convs) all.set(c.id, await history(server.base, c.members[0].token, c.id));
  const total = [...all.values()].reduce((n, l) => n + l.length, 0);
  const from = Date.now();
  // More than history has is as wrong as less; the checker says so.
  await until("the archive has everything", () => countArchive(server.stateDir) >= total, 60000, 200).catch(() => {});
  report.archive_ms = Date.now() - from;
  report.history = total;
  const heads = new Map([...all].map(([id, l]) => [id, l[l.length - 1].seq]));
  await until("every client has the heads", () => devices.every((d) => [...d.last].every(([id, seq]) => seq >= heads.get(id))), 30000).catch(() => {});
  return all;
}

function summary(ledger, kills, outages, devices, load) {
  const acked = ledger.filter((e) => e.ack);
  return {
    sent: ledger.length,
    acknowledged: acked.length,
    unknown: ledger.filter((e) => !e.ack && !e.refused).length,
    refused: ledger.filter((e) => e.refused).length,
    refusals: count(ledger.filter((e) => e.refused), (e) => e.refused.code),
    retried: ledger.filter((e) => e.tries > 1).length + (load?.summary.resent ?? 0),
    answered_as_duplicate: acked.filter((e) => e.ack.duplicate).length,
    kills: count(kills, (k) => k.role),
    recovery_ms: Object.fromEntries([...new Set(kills.map((k) => k.role))].map((role) => [role, spread(kills.filter((k) => k.role === role).map((k) => k.recovery))])),
    ack_ms: spread(acked.map((e) => e.ack.at - e.sent)),
    outage_ms: spread(outages),
    reconnects: devices.reduce((n, d) => n + d.connects - 1, 0) + (load?.summary.reopened ?? 0),
    syncs: devices.reduce((n, d) => n + d.syncs, 0),
    holes_noticed: devices.reduce((n, d) => n + d.holes, 0),
  };
}

/**
 * clients, rate: of socket.io-client, messages a second of all together; load: {clients, rate}
 * of the load tool; every: ms between kills on average.  Resolves to {report, faults}.
 */
export async function runLedger({ clients = 100, conversations = 20, rate = 200, seconds = 120, every = 2000, seed = 1, workers = 4, kill = true, load = null }) {
  const rnd = random(seed);
  const server = new Server({ workers, conf: "chat { rate = 1000 burst = 1000 }\naccounts { access_ttl = \"24h\" }" });
  const report = { seed, clients, conversations, rate, seconds, every_ms: every, ...(load && { load }) };
  const devices = [], ledger = [], outages = [];
  try {
    await server.start();
    const { users, convs } = await makeWorld(server, clients + (load?.clients ?? 0), conversations);
    users.slice(0, clients).forEach((u, i) => devices.push(new Device(server.base, u, u.conversations, TRANSPORTS[i % TRANSPORTS.length])));
    await until("all clients are connected and have synced", () => devices.every((d) => d.synced), 60000);

    for (const d of devices) watchOutages(d, outages);
    const end = Date.now() + seconds * 1000;
    const [kills, loaded] = await Promise.all([
      kill ? nemesis(server, rnd, { seconds, every }) : [],
      load ? runLoad(server, users.slice(clients), { rate: load.rate, seconds, seed }) : null,
      ...devices.map((d) => sender(d, d.user.conversations, rnd, (1000 * clients) / rate, end, ledger)),
    ]);
    if (loaded) ledger.push(...loaded.ledger);

    const all = await settle(server, devices, convs, report);
    const faults = check({
      ledger,
      history: all,
      archive: readArchive(server.stateDir),
      streams: devices.flatMap((d) => [...d.streams].map(([conversation, events]) => ({ name: d.user.username, conversation, events }))),
      seen: [...devices.flatMap((d) => d.seen), ...(loaded?.seen ?? [])],
    });
    faults.push(...(loaded?.faults ?? []));
    Object.assign(report, summary(ledger, kills, outages, devices, loaded), {
      faults: count(faults, (f) => f.kind),
      first_faults: faults.slice(0, 20).map((f) => `${f.kind}: ${f.text}`),
    });
    return { report, faults, server };
  } catch (e) {
    console.error(server.log.split("\n").slice(-40).join("\n"));
    throw e;
  } finally {
    for (const d of devices) d.close();
    await server.remove();
  }
}
