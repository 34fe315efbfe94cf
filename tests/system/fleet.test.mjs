// SPDX-License-Identifier: ISC
// Unmodified socket.io-client 4.8: 200 clients on 4 workers, each in 3 conversations, for
// FLEET_SECONDS of each kind: none lost, none doubled, the same order for everybody.
//
// The kinds: as the client comes (polling, then the upgrade), polling alone, WebSocket alone.
// Everybody sends from the moment of joining on, so in the first kind across the upgrade.
import assert from "node:assert";
import test from "node:test";
import { Server, sleep, until } from "./lib/server.mjs";
import { Device, history, makeConversation, signup } from "./lib/client.mjs";

const seconds = Number(process.env.FLEET_SECONDS || 60);
const WORKERS = 4;
const CLIENTS = 200;
const GROUPS = 60; // of 10 members each: 200 clients x 3
const EVENTS = ["message.created", "conversation.created", "member.joined"];

const kinds = [
  { name: "polling, then upgrade", transports: ["polling", "websocket"], ends: "websocket" },
  { name: "polling only", transports: ["polling"], ends: "polling" },
  { name: "websocket only", transports: ["websocket"], ends: "websocket" },
];

async function makeGroups(base) {
  const users = [];
  for (let i = 0; i < CLIENTS; i++) users.push(await signup(base, `fleet${i}`));
  const groups = [];
  for (let g = 0; g < GROUPS; g++) {
    const members = Array.from({ length: 10 }, (_, k) => users[(g * 10 + k) % CLIENTS]);
    const c = await makeConversation(base, members[0].token, { type: "group", name: `group ${g}`, members: members.map((u) => u.id) });
    groups.push({ id: c.id, members });
  }
  return { users, groups };
}

/**
 * A device that notes what the rule of clients would hide: what was sent live is without a
 * hole and nothing is in it twice, from the first event on, and the engine id stays.
 */
class Member {
  constructor(base, user, groups, transports) {
    this.device = new Device(base, user, groups.filter((g) => g.members.includes(user)).map((g) => g.id), transports);
    this.sids = new Set();
    this.live = new Map(); // conversation -> seq of the last
    this.faults = [];
    this.required = 0;
    const { socket } = this.device;
    this.joined = new Promise((resolve) => socket.once("connect", resolve));
    socket.on("connect", () => this.sids.add(this.engine.id));
    socket.io.engine.once("upgrade", () => (this.upgradedAt = Date.now()));
    socket.on("sync.required", () => this.required++);
    for (const type of EVENTS) socket.on(type, (ev) => this.event(ev));
  }

  get engine() {
    return this.device.socket.io.engine;
  }

  event(ev) {
    const last = this.live.get(ev.conversation_id);
    if (last !== undefined && ev.seq !== last + 1) this.faults.push(`${ev.conversation_id}: ${ev.seq} after ${last}`);
    this.live.set(ev.conversation_id, ev.seq);
  }

  async talk(i, end) {
    const mine = [...this.device.last.keys()];
    const sends = [];
    await this.joined;
    for (let n = 0; Date.now() < end; n++) {
      const transport = this.engine.transport.name;
      const entry = await this.device.send(mine[n % 3], `message ${n} of ${i}`, end + 10000);
      entry.transport = transport;
      sends.push(entry);
      await sleep(this.device.synced ? 1500 + Math.random() * 1000 : 10);
    }
    this.sids.add(this.engine.id);
    return sends;
  }
}

/** Every member took exactly what the history has, in its order, and each send is in it once. */
async function checkStreams(base, groups, members, sends) {
  const byConversation = new Map(groups.map((g) => [g.id, sends.filter((s) => s.conversation === g.id)]));
  const missing = () => members.flatMap(({ device: d, live }) => [...d.streams]
    .filter(([id, s]) => s.length !== byConversation.get(id).length + 1)
    .map(([id, s]) => `${d.user.username} has ${s.length} of ${byConversation.get(id).length + 1} in ${id}, up to ` +
      `${s.at(-1)?.seq}, live ${live.get(id)}, ${d.syncs} syncs, synced ${d.synced}, syncing ${d.syncing}`));
  await until("everybody has everything", () => missing().length === 0, 15000).catch(() => assert.deepEqual(missing(), []));
  for (const g of groups) {
    const full = await history(base, g.members[0].token, g.id);
    const want = full.map((ev) => ev.id);
    assert.equal(new Set(want).size, byConversation.get(g.id).length + 1, "history: each send once, and the beginning");
    for (const s of byConversation.get(g.id)) assert.ok(want.includes(s.ack.id), "acknowledged and in history");
    for (const { device: d } of members) if (d.streams.has(g.id)) assert.deepEqual(d.streams.get(g.id).map((ev) => ev.id), want);
  }
}

/** Nobody lost the connection, missed anything live, got it twice, or was told to ask again. */
function checkMembers(members) {
  assert.deepEqual(members.flatMap((m) => m.device.disconnects), []);
  assert.deepEqual(members.flatMap((m) => m.faults), []);
  assert.deepEqual(members.filter((m) => m.sids.size !== 1).map((m) => [...m.sids]), [], "the engine id stays");
  assert.equal(members.reduce((n, m) => n + m.required, 0), 0, "sync.required");
}

/** Where the sessions are; the counters are those of all workers together. */
function checkPlaces(server, kind, members, sends) {
  const born = new Set(members.map((m) => m.engine.id.slice(0, 2)));
  const stats = JSON.parse(server.ctl(["--json", "stats"]).stdout).data;
  const moved = stats.moved_in + stats.moved_out;
  const early = sends.filter((s) => s.transport === "polling");

  console.log(`# ${kind.name}: all workers: ${stats.relayed} relayed, ${stats.moved_in} moved in, ${stats.moved_out} out`);
  assert.equal(born.size, WORKERS, "sessions are on every worker");
  for (const m of members) assert.equal(m.engine.transport.name, kind.ends);
  assert.equal(moved > 0, kind.transports.length === 2, `${moved} moved`);
  assert.equal(stats.relayed > 0, kind.transports[0] === "polling", `${stats.relayed} relayed`);
  if (kind.transports.length === 2) {
    const upgraded = new Map(members.map((m) => [m.device.user.id, m.upgradedAt]));
    const across = early.filter((s) => s.sent <= upgraded.get(s.user) && s.ack.at >= upgraded.get(s.user));
    console.log(`# ${early.length} sent by polling, ${across.length} under way across the upgrade`);
    assert.ok(early.length > 0 && across.length > 0, "messages were under way across the upgrade");
  }
}

for (const kind of kinds) {
  test(`fleet: ${kind.name}, ${CLIENTS} clients, ${WORKERS} workers, ${seconds} s`, { timeout: (seconds + 120) * 1000 }, async (t) => {
    const server = await new Server({ workers: WORKERS }).start();
    const members = [];
    t.after(async () => {
      for (const m of members) m.device.close();
      await server.remove();
    });
    const { users, groups } = await makeGroups(server.base);
    const end = Date.now() + seconds * 1000;
    for (const u of users) members.push(new Member(server.base, u, groups, kind.transports));
    const talks = Promise.all(members.map((m, i) => m.talk(i, end)));
    await until(`${CLIENTS} clients have synced`, () => members.every((m) => m.device.synced));
    for (const m of members) assert.equal(m.device.last.size, 3);

    const sends = (await talks).flat();
    assert.deepEqual(sends.filter((s) => !s.ack), []);
    await checkStreams(server.base, groups, members, sends);
    checkMembers(members);
    checkPlaces(server, kind, members, sends);
    console.log(`# ${sends.length} sent and acknowledged`);
  });
}
