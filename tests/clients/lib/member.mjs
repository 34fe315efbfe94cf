// SPDX-License-Identifier: ISC
// One client of the fleet: it talks on one or two namespaces and checks everything it hears.
import { isDeepStrictEqual } from "node:util";
import { manager, pattern, random, Streams } from "./client.mjs";
import { sleep, until } from "./testserver.mjs";

export const ROOM = 10; // members of a room
const BIG = 40000;

/**
 * A member's conversation on one namespace.  What the server answers by itself (acks,
 * message-back, seq) is expected in exactly the order of the requests: `expected` is that queue.
 */
class Side {
  constructor(member, nsp, auth) {
    this.member = member;
    this.nsp = nsp;
    this.room = `room ${Math.floor(member.index / ROOM)}`;
    this.fail = (what) => member.fail(`${nsp} ${what}`);
    this.streams = new Streams(this.fail);
    this.expected = [];
    this.counts = { ack: 0, back: 0, seq: 0, toRoom: 0, ask: 0, binary: 0 };
    this.next = 0; // number of the next message to the room
    this.serial = 0;
    this.asking = new Set();
    this.socket = member.manager.socket(nsp, auth ? { auth } : {});
    this.listen(auth || {});
  }

  listen(auth) {
    const { socket } = this;
    this.auths = 0;
    socket.on("auth", (got) => {
      this.auths++;
      if (!isDeepStrictEqual(got, auth)) this.fail(`auth was ${JSON.stringify(got)}`);
    });
    socket.on("connect_error", (e) => this.fail(`connect_error ${e.message}`));
    socket.on("disconnect", (reason) => this.member.closing || this.fail(`disconnect: ${reason}`));
    socket.on("message-back", (...args) => this.answered("back", args));
    socket.on("seq", (...args) => this.answered("seq", args));
    socket.on("room-msg", (...args) => this.roomMessage(args));
    socket.on("question", (x, ack) => {
      if (!this.asking.has(x)) this.fail(`a question of somebody else: ${JSON.stringify(x)}`);
      ack({ answer: x });
    });
  }

  answered(kind, args) {
    const want = this.expected.shift();
    if (!want || want.kind !== kind || !isDeepStrictEqual(args, want.args)) {
      this.fail(`${kind} ${brief(args)} instead of ${want ? `${want.kind} ${brief(want.args)}` : "nothing"}`);
    }
    this.counts[kind]++;
    want?.done?.();
  }

  roomMessage([room, nsp, sender, n, ...rest]) {
    if (room !== this.room || nsp !== this.nsp) return this.fail(`a message of ${room} on ${nsp}`);
    if (sender === this.member.index) return this.fail(`my own message ${n}`);
    if (!isDeepStrictEqual(rest, roomBinary(sender, n))) this.fail(`message ${n} of ${sender} has ${brief(rest)}`);
    this.streams.take(sender, n);
  }

  args(rand) {
    const args = [this.serial++, `text ${[..."é€😀"][this.serial % 3]}`];
    if (rand() < 0.25) {
      args.push(Buffer.alloc(rand() < 0.04 ? BIG : 1 + Math.floor(rand() * 500), this.serial & 255));
      if (rand() < 0.3) args.push({ deep: [pattern(this.member.index, this.serial), null] });
      this.counts.binary++;
    }
    return args;
  }

  /** Resolves when the ack came (in its turn, or a failure is noted). */
  messageWithAck(rand) {
    const args = this.args(rand);
    return new Promise((done) => {
      this.expected.push({ kind: "ack", args, done });
      this.socket.emit("message-with-ack", ...args, (...back) => this.answered("ack", back));
    });
  }

  message(rand) {
    const args = this.args(rand);
    this.expected.push({ kind: "back", args });
    this.socket.emit("message", ...args);
  }

  burst(count) {
    for (let i = 0; i < count; i++) this.expected.push({ kind: "seq", args: [i] });
    this.socket.emit("burst", count);
  }

  toRoom() {
    const n = this.next++;
    this.counts.toRoom++;
    this.socket.emit("to-room", this.room, this.nsp, this.member.index, n, ...roomBinary(this.member.index, n));
  }

  ask() {
    const x = `${this.nsp} ${this.member.index} ${this.serial++}`;
    this.asking.add(x);
    this.socket.emit("ask-me", x, (back) => {
      if (!this.asking.delete(x) || !isDeepStrictEqual(back, { answer: x })) this.fail(`ask-me gave ${JSON.stringify(back)}`);
      this.counts.ask++;
    });
  }

  join() {
    return new Promise((resolve) => {
      this.socket.emit("join", this.room, (answer) => {
        if (answer !== "joined") this.fail(`join gave ${JSON.stringify(answer)}`);
        resolve();
      });
    });
  }

  act(rand) {
    const r = rand();
    if (r < 0.5) this.messageWithAck(rand);
    else if (r < 0.75) this.message(rand);
    else if (r < 0.9) this.toRoom();
    else if (r < 0.97) this.ask();
    else this.burst(10);
  }
}

const roomBinary = (sender, n) => (n % 4 === 3 ? [pattern(sender, n)] : []);
const brief = (args) => JSON.stringify(args).slice(0, 80);

export class Member {
  /** options: base, client (module), mode, rate (operations a second) */
  constructor(index, options) {
    this.index = index;
    this.options = options;
    this.problems = [];
    this.rand = random(index + 1);
    this.opens = 0;
    this.upgrades = [];
    this.manager = manager(options.client, options.base, options.mode, { keep: index % 2 === 1 });
    this.manager.on("open", () => this.opened());
    this.manager.on("reconnect_attempt", () => this.fail("reconnect_attempt"));
    this.manager.on("error", (e) => this.fail(`manager: ${e.message}`));
    this.sides = [new Side(this, "/", index % 4 === 0 ? null : { client: index, token: "t" })];
    if (index % 3 === 0) this.sides.push(new Side(this, "/custom", { custom: index }));
  }

  fail(what) {
    this.problems.push(`client ${this.index}: ${what}`);
  }

  opened() {
    if (++this.opens > 1) return this.fail("a second session");
    this.id = this.manager.engine.id;
    this.manager.engine.on("upgrade", (transport) => {
      const inFlight = this.sides.reduce((sum, s) => sum + s.expected.length, 0);
      this.upgrades.push({ to: transport.name, inFlight, connected: this.sides[0].socket.connected });
    });
    return null;
  }

  /** Opens, talks without a pause until the upgrade is done, joins the rooms. */
  async start() {
    for (const side of this.sides) side.socket.open();
    this.manager.open();
    await Promise.all([this.talk(), ...this.sides.map((s) => s.join())]);
    for (const side of this.sides) if (side.auths !== 1) this.fail(`${side.nsp}: ${side.auths} auth events`);
  }

  async talk() {
    const [side] = this.sides;
    const upgraded = () => this.options.mode !== "upgrade" || this.upgrades.length > 0;
    for (let round = 0; round < 3 || (!upgraded() && round < 5000); round++) {
      side.message(this.rand);
      side.burst(5); // so that messages of the server, too, are under way at the upgrade
      if (round % 3 === 1 && side.socket.connected) side.toRoom();
      await side.messageWithAck(this.rand);
    }
  }

  /** Everybody has joined: from here each receiver must get everything. */
  async run() {
    for (const side of this.sides) side.base = side.next;
    const gap = 1000 / this.options.rate;
    await sleep(this.rand() * gap); // so that the clients do not march in step
    while (!this.stopping) {
      this.sides[this.sides.length > 1 && this.rand() < 0.33 ? 1 : 0].act(this.rand);
      await sleep(gap * (0.5 + this.rand()));
    }
  }

  /** No more requests; waits for every answer; returns what it sent to the rooms. */
  async stop() {
    this.stopping = true;
    await this.running;
    const sent = [];
    for (const side of this.sides) {
      side.toRoom();
      side.toRoom(); // at least two after the base, for each receiver to miss
      await until(`answers to client ${this.index}`, () => !side.expected.length && !side.asking.size, 30000).catch((e) => side.fail(e.message));
      sent.push({ room: side.room, nsp: side.nsp, sender: this.index, base: side.base, next: side.next });
    }
    return sent;
  }

  /** Waits for what others sent, then for one more answer, after which nothing may come late. */
  async settle(totals) {
    for (const side of this.sides) {
      const mine = { ...totals[`${side.nsp} ${side.room}`] };
      delete mine[this.index];
      await until("the rooms' messages", () => !side.streams.missing(mine).length, 30000).catch(() => {});
      for (const m of side.streams.missing(mine)) side.fail(m);
      let answered = false;
      side.messageWithAck(this.rand).then(() => (answered = true));
      await until("the last ack", () => answered, 20000).catch((e) => side.fail(e.message));
      for (const sender of side.streams.seen.keys()) if (!(sender in mine)) side.fail(`messages of ${sender}`);
    }
  }

  report() {
    const { engine } = this.manager;
    if (engine.id !== this.id) this.fail("another engine id");
    const heard = this.sides.reduce((sum, s) => sum + s.streams.count(), 0);
    return { id: this.id, transport: engine.transport.name, upgrades: this.upgrades, heard, problems: this.problems, sides: this.sides.map((s) => s.counts) };
  }

  close() {
    this.closing = true;
    for (const side of this.sides) side.socket.close();
    this.manager.engine?.close();
  }
}
