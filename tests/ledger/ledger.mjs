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

function query(stateDir, sql) {
  const r = spawnSync("sqlite3", ["-json", "-readonly", "-cmd", ".timeout 5000", path.join(stateDir, "palaver.db"), sql], { encoding: "utf8", maxBuffer: 1 << 30 });
  if (r.status !== 0) throw new Error(`sqlite3: ${r.stderr || r.error}`);
  return r.stdout.trim() ? JSON.parse(r.stdout) : [];
}

export function readArchive(stateDir) {
  return query(stateDir, "SELECT id, conversation, seq, sender, client_id, type, data FROM events ORDER BY conversation, seq");
}

/** What the store says has become of messages: {edits: Map id -> seq, deletions: Set, reactions: Map id -> Set}. */
export function readState(stateDir) {
  const reactions = new Map();
  for (const r of query(stateDir, "SELECT message, user, emoji FROM reactions WHERE present")) {
    if (!reactions.has(r.message)) reactions.set(r.message, new Set());
    reactions.get(r.message).add(`${r.emoji} ${r.user}`);
  }
  return {
    edits: new Map(query(stateDir, "SELECT message, seq FROM edits").map((r) => [r.message, r.seq])),
    deletions: new Set(query(stateDir, "SELECT message FROM deletions").map((r) => r.message)),
    reactions,
  };
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
  device.connectedAt = Date.now();
  device.socket.on("connect", () => {
    device.connectedAt = Date.now();
    if (since) outages.push(Date.now() - since);
    since = 0;
  });
}

/** With `quiet`, nobody sends in the last 4 of each 10 s. */
const isQuiet = (quiet, end) => quiet && (end - Date.now()) % 10000 < 4000;

/** A random change of a random message: own ones are edited and deleted, any is reacted to. */
function change(device, conversation, rnd, n, until) {
  const recent = device.streams.get(conversation).slice(-200);
  const all = recent.filter((ev) => ev.type === "message.created");
  const own = all.filter((ev) => ev.data.sender_id === device.user.id);
  const dice = rnd(), pick = rnd(), emoji = ["+1", "heart", "tea"][Math.floor(rnd() * 3)];
  const list = dice < 0.55 ? own : all;
  if (!list.length) return null;
  const { id } = list[Math.floor(pick * list.length)];
  if (dice < 0.4) return device.change("message.edit", "message.updated", conversation, id, { text: `${device.user.username} says rather ${n}` }, until);
  if (dice < 0.55) return device.change("message.delete", "message.deleted", conversation, id, {}, until);
  if (dice < 0.85) return device.change("reaction.add", "reaction.added", conversation, id, { emoji }, until);
  const mine = recent.filter((ev) => ev.type === "reaction.added" && ev.data.sender_id === device.user.id).at(-1)?.data;
  return device.change("reaction.remove", "reaction.removed", conversation, mine?.message_id ?? id, { emoji: mine?.emoji ?? emoji }, until);
}

async function sender(device, mine, rnd, gap, end, ledger, quiet) {
  const under = [];
  let n = 0;
  while (Date.now() < end) {
    await sleep(gap * (0.5 + rnd()));
    if (isQuiet(quiet, end)) continue;
    if (under.length > 50) await Promise.race(under);
    const conversation = mine[Math.floor(rnd() * mine.length)];
    const changed = rnd() < 0.3 ? change(device, conversation, rnd, n++, end + 150000) : null;
    const p = (changed ?? device.send(conversation, `${device.user.username} says ${n++}`, end + 150000)).then((e) => {
      ledger.push(e);
      under.splice(under.indexOf(p), 1);
    });
    under.push(p);
  }
  await Promise.all(under);
}

/**
 * At the end of each quiet time who has been connected for 2.5 s and has synced must have
 * everything that was acknowledged before: without a next message, only the server can notice
 * that one was missed.
 */
async function watchQuiet(devices, ledger, end, faults) {
  while (Date.now() < end - 4000) {
    await sleep((end - Date.now()) % 10000 || 10000);
    const heads = new Map();
    for (const e of ledger) if (e.ack && e.ack.at < Date.now() - 2500) heads.set(e.conversation, Math.max(e.ack.seq, heads.get(e.conversation) ?? 0));
    for (const d of devices) {
      if (!d.socket.connected || !d.synced || d.syncing || Date.now() - d.connectedAt < 2500) continue;
      for (const [id, seq] of d.last) {
        if (seq < (heads.get(id) ?? 0)) faults.push({ kind: "stale", text: `${d.user.username} has ${seq} of ${id}, acknowledged long ago is ${heads.get(id)}` });
      }
    }
  }
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
    unknown: ledger.filter((e) => !e.ack && !e.refused && !e.forgotten && !e.nothing).length,
    forgotten: ledger.filter((e) => !e.ack && e.forgotten).length,
    changes: count(acked.filter((e) => e.type), (e) => e.type),
    // Somebody else's deletion may come first: then a change is refused, and rightly.
    refused: ledger.filter((e) => e.refused && !(e.type && e.refused.code === "message_deleted")).length,
    refusals: count(ledger.filter((e) => e.refused), (e) => e.refused.code),
    retried: ledger.filter((e) => e.tries > 1).length + (load?.summary.resent ?? 0),
    answered_as_duplicate: acked.filter((e) => e.ack.duplicate).length,
    kills: count(kills, (k) => k.role),
    recovery_ms: Object.fromEntries([...new Set(kills.map((k) => k.role))].map((role) => [role, spread(kills.filter((k) => k.role === role).map((k) => k.recovery))])),
    ack_ms: spread(acked.map((e) => e.ack.at - e.sent)),
    outage_ms: spread(outages),
    reconnects: devices.reduce((n, d) => n + d.connects - 1, 0) + (load?.summary.reopened ?? 0),
    syncs: devices.reduce((n, d) => n + d.syncs, 0),
  };
}

/**
 * clients, rate: of socket.io-client, messages a second of all together; load: {clients, rate}
 * of the load tool; every: ms between kills on average, of roles, the master once if `master`;
 * quiet: see watchQuiet().  Resolves to {report, faults}.
 */
export async function runLedger({ clients = 100, conversations = 20, rate = 200, seconds = 120, every = 2000, seed = 1, workers = 4, kill = true, load = null, quiet = false, roles, master = true }) {
  const rnd = random(seed);
  const server = new Server({ workers, conf: "chat { rate = 1000 burst = 1000 }\naccounts { access_ttl = \"24h\" }" });
  const report = { seed, clients, conversations, rate, seconds, every_ms: every, ...(load && { load }) };
  const devices = [], ledger = [], outages = [], stale = [];
  try {
    await server.start();
    const { users, convs } = await makeWorld(server, clients + (load?.clients ?? 0), conversations);
    users.slice(0, clients).forEach((u, i) => devices.push(new Device(server.base, u, u.conversations, TRANSPORTS[i % TRANSPORTS.length])));
    await until("all clients are connected and have synced", () => devices.every((d) => d.synced), 60000);

    for (const d of devices) watchOutages(d, outages);
    const end = Date.now() + seconds * 1000;
    const [kills, loaded] = await Promise.all([
      kill ? nemesis(server, rnd, { seconds, every, roles, master }) : [],
      load ? runLoad(server, users.slice(clients), { ...load, seconds, seed }) : null,
      ...devices.map((d) => sender(d, d.user.conversations, rnd, (1000 * clients) / rate, end, ledger, quiet)),
      quiet ? watchQuiet(devices, ledger, end, stale) : null,
    ]);
    if (loaded) ledger.push(...loaded.ledger);

    const all = await settle(server, devices, convs, report);
    const faults = check({
      ledger,
      history: all,
      archive: readArchive(server.stateDir),
      state: readState(server.stateDir),
      streams: devices.flatMap((d) => [...d.streams].map(([conversation, events]) => ({ name: d.user.username, conversation, events }))),
      seen: [...devices.flatMap((d) => d.seen), ...(loaded?.seen ?? [])],
      holes: devices.flatMap((d) => d.holes.map((h) => ({ name: d.user.username, ...h }))),
    });
    faults.push(...stale, ...(loaded?.faults ?? []));
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
