// SPDX-License-Identifier: ISC
// The upgrade under heavy traffic: a session often moves to another worker with it, and what
// is published meanwhile is neither lost nor doubled.
//
// One socket sends RATE messages a second to a conversation that 10 users share.  CLIENTS
// devices, by socket.io-client as it comes, connect, sync once, upgrade, listen to AFTER more
// messages and leave; the next takes the place at once, for MOVE_SECONDS.  What a device was
// sent live must have every number once and in order, and join on to its one sync.
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import test from "node:test";
import { io } from "socket.io-client";
import { Server, sleep, until } from "./lib/server.mjs";
import { makeConversation, signup } from "./lib/client.mjs";
import { Client } from "../clients/lib/raw-client.mjs";

const seconds = Number(process.env.MOVE_SECONDS || 20);
const WORKERS = 4;
const CLIENTS = 100;
const USERS = 10;
const RATE = 200;
const AFTER = 50; // messages after the upgrade
const TURN_MS = 20;
const ROUNDS = 10; // of the short tests, with AT_ONCE upgrades each
const AT_ONCE = 50;

class Sender {
  constructor(base, user, conversation) {
    this.conversation = conversation;
    this.head = 0; // seq of the last that is acknowledged
    this.acked = 0;
    this.sent = 0;
    this.errors = [];
    this.socket = io(base, { transports: ["websocket"], auth: { token: user.token }, forceNew: true, reconnection: false });
  }

  send() {
    const message = { conversation_id: this.conversation, client_msg_id: randomUUID(), text: `message ${this.sent++}` };
    this.socket.emit("message.send", message, (r) => {
      this.acked++;
      if (r.error) this.errors.push(r.error);
      else this.head = Math.max(this.head, r.data.seq);
    });
  }

  /** Keeps to the rate over time: after a pause of this process it sends what is due. */
  async run(end) {
    const start = Date.now();
    while (Date.now() < end) {
      for (const due = ((Date.now() - start) * RATE) / 1000; this.sent < due; ) this.send();
      await sleep(TURN_MS);
    }
    await until("every message is acknowledged", () => this.acked === this.sent);
  }

  close() {
    this.socket.close();
  }
}

/** One device's life; `faults` is what was wrong with it. */
class Life {
  constructor(base, user, sender, transports) {
    this.sender = sender;
    this.conversation = sender.conversation;
    this.live = []; // seq, in order of arrival
    this.synced = [];
    this.faults = [];
    this.socket = io(base, { transports, auth: { token: user.token }, forceNew: true, reconnection: false });
    this.socket.io.engine.once("upgrade", () => (this.upgradedAfter = this.live.length));
    this.socket.io.engine.on("upgradeError", (e) => this.faults.push(`upgrade: ${e.message}`));
    this.socket.on("connect", () => this.connected().catch((e) => this.faults.push(`sync: ${e.message}`)));
    this.socket.on("message.created", (ev) => this.live.push(ev.seq));
    this.socket.on("sync.required", () => this.faults.push("sync.required"));
    this.socket.on("disconnect", (reason, why) => this.closing || this.faults.push(`disconnect: ${reason} ${why?.message} ${why?.description?.message || why?.description}, ${this.where()}`));
    this.socket.on("connect_error", (e) => this.faults.push(`connect_error: ${e.message}, ${e.description}, ${e.context?.responseText}`));
  }

  get engine() {
    return this.socket.io.engine;
  }

  async connected() {
    if (this.sid) return;
    this.sid = this.engine.id;
    let from = this.sender.head;
    this.from = from;
    for (let more = true; more; ) {
      const r = await this.socket.emitWithAck("sync", { conversations: { [this.conversation]: from } });
      if (r.error) return this.faults.push(`sync: ${r.error.code}`);
      this.synced.push(...r.data.events.filter((ev) => ev.conversation_id === this.conversation).map((ev) => ev.seq));
      from = Math.max(from, ...this.synced);
      more = r.data.more;
    }
    this.syncEnd = from;
    this.complete = true;
  }

  /** Has it seen what it is to see? */
  done() {
    if (this.faults.length > 0) return true;
    if (!this.complete || this.upgradedAfter === undefined) return false;
    return this.live.length >= this.upgradedAfter + AFTER && this.live.at(-1) > this.syncEnd;
  }

  where() {
    const { engine, socket, complete, upgradedAfter, live } = this;
    return `not done: ${engine.id} ${engine.readyState} on ${engine.transport.name}, connected ${socket.connected}, ` +
      `synced ${complete}, upgraded after ${upgradedAfter}, ${live.length} live, the last ${live.at(-1)}`;
  }

  check() {
    const { from, synced, syncEnd: end, live, faults } = this;
    const first = live.findIndex((seq) => seq > end);

    for (let i = 0; i < synced.length; i++) if (synced[i] !== from + 1 + i) faults.push(`sync: ${synced[i]} at ${from + 1 + i}`);
    for (let i = 1; i < live.length; i++) {
      if (live[i] !== live[i - 1] + 1) faults.push(`live: ${live[i]} after ${live[i - 1]}, upgraded after ${live[this.upgradedAfter - 1]}`);
    }
    if (live[first] !== end + 1) faults.push(`live goes on at ${live[first]}, sync ended at ${end}`);
    if (this.engine.id !== this.sid) faults.push(`engine id ${this.engine.id}, was ${this.sid}`);
  }

  close() {
    this.closing = true;
    this.socket.close();
  }
}

/** One place: a life after the other; resolves to their ends. */
async function occupy(base, users, sender, place, end, open) {
  const lives = [];
  while (Date.now() < end && !lives.at(-1)?.faults.length) {
    const life = new Life(base, users[(place + lives.length) % USERS], sender, ["polling", "websocket"]);
    open.add(life);
    await until("a client is done", () => life.done(), 15000).catch(() => life.faults.push(life.where()));
    if (life.complete) life.check();
    life.close();
    open.delete(life);
    lives.push({ faults: life.faults, before: life.upgradedAfter });
  }
  return lives;
}

/** The server with everything a test of this file needs; it is removed with the test. */
async function begin(t) {
  const server = await new Server({ workers: WORKERS, conf: "chat { rate = 1000 burst = 1000 }\nhttp { sessions_per_address = 0 }" }).start();
  const users = [];
  t.after(() => server.remove());
  for (let i = 0; i < USERS; i++) users.push(await signup(server.base, `move${i}`));
  const c = await makeConversation(server.base, users[0].token, { type: "group", name: "all", members: users.map((u) => u.id) });
  return { server, users, conversation: c.id };
}

/** The processes that run are those that were started; the counters of all workers. */
function checkServer(server) {
  assert.deepEqual(server.log.match(/.*proc\.(killed|exit).*/g), null, "a process ended");
  return JSON.parse(server.ctl(["--json", "stats"]).stdout).data;
}

test(`move: upgrades under ${RATE} messages/s to ${CLIENTS} clients, ${WORKERS} workers, ${seconds} s`, { timeout: (seconds + 90) * 1000 }, async (t) => {
  const open = new Set();
  t.after(() => [...open].forEach((life) => life.close()));
  const { server, users, conversation } = await begin(t);
  const sender = new Sender(server.base, users[0], conversation);
  open.add(sender);
  await until("the sender is there", () => sender.socket.connected);

  const end = Date.now() + seconds * 1000;
  const sending = sender.run(end + 5000); // the last lives want their messages too
  const lives = (await Promise.all(Array.from({ length: CLIENTS }, (_, place) => occupy(server.base, users, sender, place, end, open)))).flat();
  await sending;

  const stats = checkServer(server);
  console.log(`# ${lives.length} upgrades, ${lives.filter((l) => l.before > 0).length} with messages before; ${sender.sent} messages`);
  console.log(`# all workers: ${stats.relayed} relayed, ${stats.moved_in} sessions moved in, ${stats.moved_out} out`);
  assert.deepEqual(lives.flatMap((l) => l.faults), []);
  assert.deepEqual(sender.errors, []);
  assert.ok(lives.length > CLIENTS, `${lives.length} upgrades`);
  assert.ok(stats.moved_in > 0 && stats.moved_out > 0, "sessions moved");
});

/**
 * Upgrades at once after `packets`, whose last answer begins with `answer`.  A session that has
 * an answer to give stays until then, and the answer arrives on the WebSocket.
 */
async function upgradeAfter(port, packets, answer) {
  const client = new Client(port);
  try {
    const p = await client.polling("/socket.io/");
    const ws = await client.ws(`/socket.io/?EIO=4&transport=websocket&sid=${p.sid}`);
    ws.send("2probe");
    await ws.until("3probe", () => ws.received.includes("3probe"));
    for (const packet of packets) {
      await p.post(packet);
      if (packet !== packets.at(-1)) await p.packets((all) => all.some((x) => x.startsWith("40{")));
    }
    ws.send("5");
    const came = await ws.until("the answer", () => ws.received.some((x) => x.startsWith(answer)), 5000).catch(() => false);
    return came ? null : `no ${answer}: ${ws.text()}`;
  } finally {
    client.close();
  }
}

for (const what of ["joining", "a request"]) {
  test(`move: the upgrade while ${what} is under way`, { timeout: 90000 }, async (t) => {
    const { server, users, conversation } = await begin(t);
    const faults = [];
    for (let round = 0; round < ROUNDS && faults.length === 0; round++) {
      const tries = users.flatMap((u) => Array.from({ length: AT_ONCE / USERS }, () => {
        const join = `40${JSON.stringify({ token: u.token })}`;
        const sync = `421${JSON.stringify(["sync", { conversations: { [conversation]: 0 } }])}`;
        return what === "joining" ? upgradeAfter(server.port, [join], "40{") : upgradeAfter(server.port, [join, sync], "431[");
      }));
      faults.push(...(await Promise.all(tries)).filter((f) => f));
    }
    const stats = checkServer(server);
    assert.deepEqual(faults, []);
    assert.ok(stats.moved_in > 0 && stats.moved_out > 0, "sessions moved");
  });
}
