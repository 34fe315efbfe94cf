// SPDX-License-Identifier: ISC
// A child process of worker-kill.test.mjs: clients that talk in rooms, reconnect by themselves and
// keep a record of every session, every disconnect and every message.
import http from "node:http";
import { createRequire } from "node:module";
import { Streams, modes, random } from "./client.mjs";
import { ROOM } from "./member.mjs";
import { serve } from "./pool.mjs";
import { sleep, until } from "./testserver.mjs";

const { Manager } = createRequire(import.meta.url)("sio-client-4-8");

/** Knows the connections that it made and that are still open. */
class WatchedAgent extends http.Agent {
  constructor(options) {
    super(options);
    this.open = new Set();
  }

  createConnection(...args) {
    const socket = super.createConnection(...args);
    this.open.add(socket);
    socket.on("close", () => this.open.delete(socket));
    return socket;
  }

  /** The local ports, once those have one that are being connected. */
  async ports() {
    const now = [...this.open];
    await until("connections", () => now.every((s) => s.destroyed || !s.connecting));
    return now.filter((s) => !s.destroyed).map((s) => s.localPort);
  }
}

/** A client; `epoch` counts its sessions, and numbers and streams begin anew with each. */
class Client {
  constructor(index, base) {
    this.index = index;
    this.kind = index % 2 ? "websocket" : "polling";
    this.room = `room ${Math.floor(index / ROOM)}`;
    this.epoch = -1;
    this.disconnects = [];
    this.problems = [];
    this.rand = random(index + 1);
    // A connection for each request, as this client does by itself.  With kept ones it repeats a
    // request whose connection broke, never ends it, and notices nothing until the ping timeout.
    this.agent = new WatchedAgent();
    this.manager = new Manager(base, { transports: modes[this.kind], agent: this.agent, timeout: 60000, autoConnect: false });
    this.socket = this.manager.socket("/");
    this.socket.on("connect", () => this.connected());
    this.socket.on("disconnect", (reason, details) => {
      this.joined = false;
      if (!this.closing) this.disconnects.push(cause(reason, details));
    });
    this.socket.on("room-msg", (room, sender, epoch, n) => {
      if (room !== this.room) this.fail(`a message of ${room}`);
      else if (sender === this.index) this.fail("my own message");
      else this.streams.take(`${sender}.${epoch}`, n);
    });
    this.socket.open();
  }

  fail(what) {
    this.problems.push(`client ${this.index} (${this.kind}): ${what}`);
  }

  connected() {
    this.epoch++;
    this.id = this.manager.engine.id;
    this.next = 0;
    this.base = 0;
    this.streams = new Streams((what) => this.fail(what));
    this.socket.emit("join", this.room, (answer) => {
      if (answer !== "joined") this.fail(`join gave ${answer}`);
      this.joined = true;
    });
  }

  send() {
    if (this.joined) this.socket.emit("to-room", this.room, this.index, this.epoch, this.next++);
  }

  async talk(every) {
    await sleep(this.rand() * every); // so that the clients do not march in step
    while (!this.stopping) {
      this.send();
      await sleep(every * (0.5 + this.rand()));
    }
  }

  state() {
    const { index, kind, room, id, epoch, joined, base, next, disconnects, problems } = this;
    return { index, kind, room, id, epoch, joined, base, next, disconnects, problems, heard: this.streams?.count() ?? 0 };
  }

  /** totals: { sender.epoch: { base, next } } of its room, without its own */
  async settle(totals) {
    await until("messages", () => !this.streams.missing(totals).length, 30000).catch(() => {});
    for (const m of this.streams.missing(totals)) this.fail(m);
    let answered = false;
    this.socket.emit("message-with-ack", "last", () => (answered = true));
    await until("the last ack", () => answered, 20000).catch((e) => this.fail(e.message));
  }
}

/** The reason of a disconnect, and the HTTP status or the system's error if the client has it. */
function cause(reason, details) {
  const status = details?.context?.status;
  const text = details?.context?.responseText ?? details?.description?.message;
  return [reason, status, text?.split("\n")[0]].filter(Boolean).join(" ");
}

const clients = new Map();
const each = (f) => Promise.all([...clients.values()].map(f));

serve({
  async open({ indices, base }) {
    for (const i of indices) clients.set(i, new Client(i, base));
    await until("every join", () => [...clients.values()].every((c) => c.joined), 60000);
  },
  state: () => each((c) => c.state()),
  ports: () => each(async (c) => ({ index: c.index, ports: await c.agent.ports() })),
  talk({ every }) {
    for (const c of clients.values()) c.talking = c.talk(every);
  },
  /** From here a receiver that stays must get everything. */
  mark() {
    for (const c of clients.values()) c.base = c.next;
  },
  stop: () =>
    each(async (c) => {
      c.stopping = true;
      await c.talking;
      c.send();
      return c.state();
    }),
  async settle(totals) {
    await each((c) => c.settle(totals[c.index]));
    return each((c) => c.state());
  },
  close() {
    for (const c of clients.values()) {
      c.closing = true;
      c.socket.close();
    }
  },
});
