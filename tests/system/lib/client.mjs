// A client as the protocol's manual describes it, on unmodified socket.io-client.
import { randomUUID } from "node:crypto";
import { io } from "socket.io-client";

export async function rest(base, method, path, { token, body, cookie } = {}) {
  const headers = {};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (token) headers.authorization = `Bearer ${token}`;
  if (cookie) headers.cookie = cookie;
  const r = await fetch(base + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  const text = await r.text();
  return { status: r.status, headers: r.headers, body: text ? JSON.parse(text) : null };
}

/** Repeats while the server is away or says that trying again helps. */
export async function restRetry(base, method, path, options, until = Date.now() + 30000) {
  for (;;) {
    let r;
    try {
      r = await rest(base, method, path, options);
    } catch (e) {
      r = { status: 0, error: e };
    }
    const again = r.status === 0 || r.status === 429 || r.status === 503;
    if (!again || Date.now() > until) return r;
    await new Promise((f) => setTimeout(f, 100));
  }
}

export async function signup(base, username) {
  const r = await restRetry(base, "POST", "/v1/auth/signup", { body: { username, password: "correct horse" } });
  if (r.status !== 201) throw new Error(`signup of ${username}: ${r.status} ${JSON.stringify(r.body)}`);
  return { id: r.body.user.id, username, token: r.body.access_token, refresh: r.body.refresh_token };
}

export async function makeConversation(base, token, body) {
  const r = await restRetry(base, "POST", "/v1/conversations", { token, body });
  if (r.status !== 201 && r.status !== 200) throw new Error(`conversation: ${r.status} ${JSON.stringify(r.body)}`);
  return r.body;
}

/** The whole history of a conversation, oldest first. */
export async function history(base, token, id) {
  const all = [];
  let after = 0;
  for (;;) {
    const r = await restRetry(base, "GET", `/v1/conversations/${id}/messages?limit=200&after=${after}`, { token });
    if (r.status !== 200) throw new Error(`history of ${id}: ${r.status} ${JSON.stringify(r.body)}`);
    all.push(...r.body.items);
    if (!r.body.has_more) return all;
    after = all[all.length - 1].seq;
  }
}

/** The events that have a number in their conversation. */
const NUMBERED = ["message.created", "message.updated", "message.deleted", "reaction.added", "reaction.removed",
  "conversation.created", "conversation.updated", "member.joined", "member.left", "member.updated"];

/**
 * One device.  Keeps for each conversation the stream it has taken, by the client rule: an
 * event with the next number is taken, an older one ignored, and a hole means sync.
 */
export class Device {
  constructor(base, user, conversations, transports = ["websocket"]) {
    this.base = base;
    this.user = user;
    this.streams = new Map(conversations.map((id) => [id, []]));
    this.last = new Map(conversations.map((id) => [id, 0]));
    this.seen = []; // every observation of (id, seq), also repeated ones
    this.connects = 0;
    this.disconnects = [];
    this.syncs = 0;
    this.holes = []; // what it was not shown in time while it was connected and had everything
    this.synced = false;
    this.socket = io(base, { transports, auth: { token: user.token }, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 1000 });
    this.socket.on("connect", () => {
      this.connects++;
      this.synced = false;
      this.sync();
    });
    this.socket.on("disconnect", (reason) => {
      this.synced = false;
      this.disconnects.push({ reason, at: Date.now() });
    });
    for (const type of NUMBERED) this.socket.on(type, (ev) => this.event(ev));
    this.socket.on("sync.required", () => this.sync());
  }

  take(ev) {
    const id = ev.conversation_id;
    if (ev.seq <= this.last.get(id)) return;
    this.last.set(id, ev.seq);
    this.streams.get(id).push(ev);
  }

  event(ev) {
    this.seen.push([ev.id, ev.conversation_id, ev.seq]);
    if (!this.streams.has(ev.conversation_id)) return;
    const last = this.last.get(ev.conversation_id);
    if (this.synced && ev.seq === last + 1) this.take(ev);
    else if (ev.seq > last) {
      if (this.synced && !this.syncing) this.holes.push({ conversation: ev.conversation_id, last, seq: ev.seq, at: Date.now() });
      this.sync();
    }
  }

  /** One at a time; asked for again while it runs, it runs once more. */
  async sync() {
    if (this.syncing) {
      this.syncAgain = true;
      return;
    }
    this.syncing = true;
    do {
      this.syncAgain = false;
      this.syncs++;
      const ok = await this.syncOnce().catch(() => false);
      if (!ok && this.socket.connected) {
        await new Promise((f) => setTimeout(f, 50));
        this.syncAgain = true;
      }
    } while (this.syncAgain && this.socket.connected);
    this.syncing = false;
  }

  async syncOnce() {
    for (;;) {
      const r = await this.socket.timeout(5000).emitWithAck("sync", { conversations: Object.fromEntries(this.last) });
      if (r.error) return false;
      for (const ev of r.data.events) {
        this.seen.push([ev.id, ev.conversation_id, ev.seq]);
        this.take(ev);
      }
      if (!r.data.more) {
        this.synced = true;
        return true;
      }
    }
  }

  /** Sends until it is acknowledged or `until`; resolves to the ledger entry. */
  send(conversation, text, until) {
    return this.request("message.send", { conversation, text }, { conversation_id: conversation, text }, until);
  }

  /**
   * The same for a change of a message: name is message.edit, message.delete, reaction.add or
   * reaction.remove, type that of the event it makes.  entry.nothing: there was nothing to do.
   */
  change(name, type, conversation, message, more, until) {
    return this.request(name, { conversation, type, message, ...more }, { message_id: message, ...more }, until);
  }

  async request(name, what, body, until) {
    const entry = { user: this.user.id, client_msg_id: randomUUID(), ...what, sent: Date.now(), tries: 0 };
    while (!entry.ack && !entry.refused && !entry.nothing) {
      entry.tries++;
      try {
        const r = await this.socket.timeout(8000).emitWithAck(name, { ...body, client_msg_id: entry.client_msg_id });
        if (r.data && !r.data.id) entry.nothing = true;
        else if (r.data) entry.ack = { ...r.data, at: Date.now() };
        else if (r.error.status !== 503 && r.error.status !== 429) entry.refused = r.error;
      } catch {
        // no answer in time, or the connection went: unknown, so send it again
      }
      if (entry.ack || entry.refused || entry.nothing || Date.now() > until) break;
      await new Promise((f) => setTimeout(f, 100));
    }
    return entry;
  }

  close() {
    this.socket.close();
  }
}
