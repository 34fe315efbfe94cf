// SPDX-License-Identifier: ISC
// An Engine.IO client for the raw tests: polling sessions request by request, and WebSockets.
import { Conn, errorCode, message, show, within } from "./raw.mjs";
import { Ws } from "./raw-ws.mjs";

export const RS = "\x1e";
/** What a row accepts whose behaviour is left to the implementation. */
export const ANY = /^/;

/** Everything that one row opens on the server, so that all of it can be closed at its end. */
export class Client {
  constructor(port) {
    this.port = port;
    this.open = [];
  }

  conn() {
    const c = new Conn(this.port);
    this.open.push(c);
    return c;
  }

  /** One request on a connection of its own. */
  async request(method, target, options) {
    const c = this.conn();
    c.write(message(method, target, options));
    const r = await c.response(method);
    c.destroy();
    return r;
  }

  /** A new polling session on `path`. */
  async polling(path = "/engine.io/") {
    const r = await this.request("GET", `${path}?EIO=4&transport=polling`);
    if (r === null || r.status !== 200) throw new Error(`handshake: ${show(r)}`);
    return new Polling(this, path, JSON.parse(r.body.toString("utf8").slice(1)).sid);
  }

  /** A new polling session that has joined the root namespace and read what came of it. */
  async joined() {
    const p = await this.polling("/socket.io/");
    await p.post("40");
    await p.packets((all) => all.some((x) => x.startsWith('42["auth"')));
    return p;
  }

  /** A WebSocket; see Ws.open. */
  ws(target, options) {
    return Ws.open(this.conn(), target, options);
  }

  close() {
    for (const c of this.open) c.destroy();
  }
}

/** A session on the polling transport. */
export class Polling {
  constructor(client, path, sid) {
    this.client = client;
    this.path = path;
    this.sid = sid;
    this.opened = performance.now();
    this.target = `${path}?EIO=4&transport=polling&sid=${sid}`;
  }

  get(options) {
    return this.client.request("GET", this.target, options);
  }

  post(body, options) {
    return this.client.request("POST", this.target, { body, ...options });
  }

  /** Starts a GET and returns its connection, after two round trips of the session have shown
   * that the server is past it. */
  async park() {
    const c = this.client.conn();
    c.write(message("GET", this.target));
    await this.state();
    await this.state();
    return c;
  }

  /** A GET for which the heartbeat does not exist: PINGs are answered and asked past, three times. */
  async poll() {
    for (let pings = 0; ; pings++) {
      const r = await this.get();
      const packets = r === null ? [] : r.body.toString("utf8").split(RS);
      if (!packets.includes("2") || pings === 3) return r;
      await this.post("3");
      const rest = packets.filter((x) => x !== "2");
      if (rest.length) return { ...r, body: Buffer.from(rest.join(RS)) };
    }
  }

  /** Polls until `enough` of the packets so far is true; the packets. */
  async packets(enough) {
    const all = [];
    while (!enough(all)) {
      const r = await this.poll();
      const got = r !== null && r.status === 200 ? r.body.toString("utf8").split(RS) : ["2"];
      if (got.includes("2")) throw new Error(`poll: ${show(r)} after ${JSON.stringify(all)}`);
      all.push(...got);
    }
    return all;
  }

  /** What a NOOP packet says about the session. */
  async state() {
    const r = await this.post("6");
    if (r !== null && r.status === 200) return "session lives";
    return errorCode(r) === 1 ? "session gone (400 code 1)" : `session undecided: ${show(r)}`;
  }

  /** The state once the session is gone, but not later than the heartbeat could be the reason:
   * the loss of a connection is noticed by the server when it is noticed. */
  async stateAfterLoss() {
    await within(this.opened + 420 - performance.now(), async () => (await this.state()).startsWith("session gone"));
    return this.state().then((s) => (performance.now() - this.opened < 490 ? s : `${s}, perhaps by the heartbeat`));
  }

  /** Whether the server knows the sid, asked without any packet: a transport mismatch is error 3. */
  async known() {
    const r = await this.client.request("GET", `${this.path}?EIO=4&transport=websocket&sid=${this.sid}`);
    return errorCode(r) !== 1;
  }

  /** A WebSocket that may take this session over. */
  upgrade() {
    return this.client.ws(`${this.path}?EIO=4&transport=websocket&sid=${this.sid}`);
  }
}
