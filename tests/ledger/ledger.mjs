// The ledger: a fleet sends and records, a nemesis kills, the checker compares.
import { spawnSync } from "node:child_process";
import path from "node:path";
import { Server, sleep, until } from "../system/lib/server.mjs";
import { Device, history, makeConversation, signup } from "../system/lib/client.mjs";
import { check } from "./check.mjs";

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

export function readArchive(stateDir) {
  const r = spawnSync("sqlite3", ["-json", "-readonly", path.join(stateDir, "palaver.db"),
    "SELECT id, conversation, seq, sender, client_id, type, data FROM events ORDER BY conversation, seq"],
  { encoding: "utf8", maxBuffer: 1 << 30 });
  if (r.status !== 0) throw new Error(`sqlite3: ${r.stderr || r.error}`);
  return r.stdout.trim() ? JSON.parse(r.stdout) : [];
}

/** The fleet has clients of all kinds: the library's default, WebSocket alone, polling alone. */
const TRANSPORTS = [["polling", "websocket"], ["websocket"], ["polling"]];

const count = (list, of) => list.reduce((m, x) => ({ ...m, [of(x)]: (m[of(x)] || 0) + 1 }), {});

/** Kills a random child every `every` ms and the master once, in the middle. */
async function nemesis(server, rnd, seconds, every, kills) {
  const end = Date.now() + seconds * 1000;
  let masterAt = Date.now() + seconds * 500;
  while (Date.now() + every < end) {
    await sleep(every);
    if (masterAt && Date.now() >= masterAt) {
      masterAt = 0;
      kills.push({ role: "master", at: Date.now() });
      await server.killMaster();
      await server.start();
      continue;
    }
    const role = ["worker", "worker", "archiver", "hub"][Math.floor(rnd() * 4)];
    const all = server.processes(role);
    if (!all.length) continue; // waits for its restart
    const victim = all[Math.floor(rnd() * all.length)];
    kills.push({ role, at: Date.now() });
    try {
      process.kill(victim.pid, "SIGKILL");
    } catch {
      // it was gone already
    }
  }
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
    const p = device.send(conversation, `${device.user.username} says ${n++}`, end + 30000).then((e) => {
      ledger.push(e);
      under.splice(under.indexOf(p), 1);
    });
    under.push(p);
  }
  await Promise.all(under);
}

export async function runLedger({ clients = 50, conversations = 10, rate = 100, seconds = 60, every = 2000, seed = 1, workers = 4, kill = true }) {
  const rnd = random(seed);
  const server = new Server({ workers, conf: "chat { rate = 1000 burst = 1000 }" });
  const report = { seed, clients, conversations, rate, seconds };
  const devices = [];
  try {
    await server.start();
    const users = [];
    for (let i = 0; i < clients; i++) users.push(await signup(server.base, `user${i}`));
    const convs = [];
    for (let c = 0; c < conversations; c++) {
      const members = users.filter((_, i) => i % conversations === c || (i + 3) % conversations === c || (i * 7 + 1) % conversations === c);
      const conv = await makeConversation(server.base, members[0].token, { type: "group", name: `room ${c}`, members: members.map((u) => u.id) });
      convs.push({ id: conv.id, members });
    }
    users.forEach((u, i) => devices.push(new Device(server.base, u,
      convs.filter((c) => c.members.includes(u)).map((c) => c.id), TRANSPORTS[i % TRANSPORTS.length])));
    await until("all clients are connected and have synced", () => devices.every((d) => d.synced));

    const ledger = [];
    const kills = [];
    const outages = [];
    for (const d of devices) watchOutages(d, outages);
    const end = Date.now() + seconds * 1000;
    const gap = (1000 * clients) / rate;
    await Promise.all([
      ...devices.map((d) => sender(d, [...d.last.keys()], rnd, gap, end, ledger)),
      kill ? nemesis(server, rnd, seconds, every, kills) : null,
    ]);

    await until("all processes are ready", () => server.status()?.processes.every((p) => p.state === "ready"), 70000, 100);
    await until("all clients are connected and have synced", () => devices.every((d) => d.socket.connected && d.synced && !d.syncing), 30000);
    // Access tokens live 15 minutes; the run is shorter.
    const all = new Map();
    for (const c of convs) all.set(c.id, await history(server.base, c.members[0].token, c.id));
    const total = [...all.values()].reduce((n, l) => n + l.length, 0);
    const archiveFrom = Date.now();
    await until("the archive has everything", () => readArchive(server.stateDir).length >= total, 60000, 200);
    report.archive_ms = Date.now() - archiveFrom;
    const heads = new Map([...all].map(([id, l]) => [id, l[l.length - 1].seq]));
    await until("every client has the heads", () => devices.every((d) => [...d.last].every(([id, seq]) => seq >= heads.get(id))), 30000);

    const faults = check({
      ledger,
      history: all,
      archive: readArchive(server.stateDir),
      streams: devices.flatMap((d) => [...d.streams].map(([conversation, events]) => ({ name: d.user.username, conversation, events }))),
      seen: devices.flatMap((d) => d.seen),
    });
    const waits = ledger.filter((e) => e.ack).map((e) => e.ack.at - e.sent).sort((a, b) => a - b);
    outages.sort((a, b) => a - b);
    Object.assign(report, {
      sent: ledger.length,
      acknowledged: waits.length,
      unknown: ledger.filter((e) => !e.ack && !e.refused).length,
      refused: ledger.filter((e) => e.refused).length,
      retried: ledger.filter((e) => e.tries > 1).length,
      answered_as_duplicate: ledger.filter((e) => e.ack?.duplicate).length,
      kills: count(kills, (k) => k.role),
      ack_ms: { median: waits[waits.length >> 1], p99: waits[Math.floor(waits.length * 0.99)], max: waits[waits.length - 1] },
      outage_ms: { count: outages.length, median: outages[outages.length >> 1] ?? 0, max: outages.at(-1) ?? 0 },
      reconnects: devices.reduce((n, d) => n + d.connects - 1, 0),
      syncs: devices.reduce((n, d) => n + d.syncs, 0),
      holes_noticed: devices.reduce((n, d) => n + d.holes, 0),
      history: total,
      faults: count(faults, (f) => f.kind),
      first_faults: faults.slice(0, 20).map((f) => `${f.kind}: ${f.text}`),
    });
    report.refusals = count(ledger.filter((e) => e.refused), (e) => e.refused.code);
    return { report, faults, server };
  } catch (e) {
    console.error(server.log.split("\n").slice(-40).join("\n"));
    throw e;
  } finally {
    for (const d of devices) d.close();
    await server.remove();
  }
}
