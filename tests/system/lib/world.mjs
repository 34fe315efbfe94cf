// A server with four people in it, a group of three of them, and sockets that keep what they hear.
import assert from "node:assert";
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import path from "node:path";
import { io } from "socket.io-client";
import { history, makeConversation, rest, signup } from "./client.mjs";
import { Server, until } from "./server.mjs";

const TYPES = ["message.created", "message.updated", "message.deleted", "reaction.added", "reaction.removed", "read.updated", "mute.updated"];

/** A socket that keeps what it is sent. */
export class Peer {
  constructor(server, user) {
    this.events = [];
    this.socket = io(server.base, { transports: ["websocket"], auth: { token: user.token }, forceNew: true });
    for (const type of TYPES) this.socket.on(type, (ev) => this.events.push({ event: type, ...ev }));
  }

  connected() {
    return until("the socket is connected", () => this.socket.connected);
  }

  ask(name, body) {
    return this.socket.timeout(8000).emitWithAck(name, body);
  }

  heard(type, what) {
    return until(`${type}`, () => this.events.find((e) => e.event === type && what(e)));
  }
}

export async function world(t, options = {}) {
  const server = await new Server({ workers: 4, ...options }).start();
  const peers = [];
  t.after(async () => {
    peers.forEach((p) => p.socket.close());
    await server.remove();
  });
  const users = {};
  for (const name of ["ann", "bob", "cyd", "dan"]) users[name] = await signup(server.base, name);
  const peer = async (user) => {
    const p = new Peer(server, user);
    peers.push(p);
    await p.connected();
    return p;
  };
  const group = (await makeConversation(server.base, users.ann.token, { type: "group", name: "tea", members: [users.bob.id, users.cyd.id] })).id;
  const call = (user, method, where, body) => rest(server.base, method, `/v1${where}`, { token: user.token, body });
  const send = async (user, text, more = {}) => {
    const r = await call(user, "POST", `/conversations/${more.conversation ?? group}/messages`, { client_msg_id: randomUUID(), text, ...more });
    assert.equal(r.status, 201, JSON.stringify(r.body));
    return r.body.id;
  };
  const shown = async (user, id, conversation = group) => (await history(server.base, user.token, conversation)).find((e) => e.id === id).data;
  return { server, users, peer, group, call, send, shown };
}

export const code = (r) => r.body?.code ?? r.error?.code;

/** The archiver has taken everything: then the database has as many events as the history. */
export function stored(server, sql) {
  const db = path.join(server.stateDir, "palaver.db");
  return execFileSync("sqlite3", ["-readonly", "-cmd", ".timeout 5000", db, sql], { encoding: "utf8" }).trim();
}
