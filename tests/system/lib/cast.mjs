// The people of the security tests: a channel with an owner, an admin, a member and one who was
// removed, a stranger, and everything in it that may not get out.
import { createHmac, randomUUID } from "node:crypto";
import { io } from "socket.io-client";
import { operations } from "./contract.mjs";
import { rest } from "./client.mjs";
import { until } from "./server.mjs";

export const PASSWORD = "correct horse";
export const SECRET = `secret-${randomUUID()}`;
const has = (name) => operations.some((o) => o.name === name);

export async function person(server, username) {
  const r = await rest(server.base, "POST", "/v1/auth/signup", { body: { username, password: PASSWORD } });
  if (r.status !== 201) throw new Error(`${username}: ${JSON.stringify(r.body)}`);
  const p = { username, id: r.body.user.id, token: r.body.access_token, refresh: r.body.refresh_token, heard: [] };
  p.ask = (method, path, body) => rest(server.base, method, path, { token: p.token, body });
  p.must = async (method, path, body) => {
    const answer = await p.ask(method, path, body);
    if (answer.status >= 300) throw new Error(`${username}: ${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  return p;
}

/** Connects; everything that comes in is in p.heard.  Rejects with the refusal. */
export function connect(server, p, auth = { token: p.token }) {
  const socket = io(server.base, { transports: ["websocket"], auth, forceNew: true, reconnection: false });
  socket.onAny((name, event) => p.heard.push({ name, event }));
  p.socket = socket;
  return new Promise((resolve, reject) => {
    socket.on("connect", () => resolve(socket));
    socket.on("connect_error", reject);
  });
}

/** A file whose content is JSON, so that tests may read it like any answer. */
async function upload(server, p, name) {
  const headers = { authorization: `Bearer ${p.token}`, "content-type": "text/plain" };
  const r = await fetch(`${server.base}/v1/files?name=${name}`, { method: "POST", headers, body: JSON.stringify(SECRET) });
  return (await r.json()).id;
}

/** Everybody, the conversations, and their secrets. */
export async function cast(server) {
  const w = { server };
  for (const name of ["olga", "adam", "max", "rita", "sven"]) w[name] = await person(server, name);
  const { olga, adam, max, rita } = w;
  const room = await olga.must("POST", "/v1/conversations", { type: "channel", name: `room ${SECRET}`, topic: SECRET, members: [adam, max, rita].map((p) => p.id) });
  w.room = room.id;
  await olga.must("PATCH", `/v1/conversations/${w.room}/members/${adam.id}`, { role: "admin" });
  w.ritas = (await rita.must("POST", `/v1/conversations/${w.room}/messages`, { client_msg_id: randomUUID(), text: `${SECRET} by rita` })).id;
  w.direct = (await olga.must("POST", "/v1/conversations", { type: "direct", members: [max.id] })).id;
  w.file = await upload(server, olga, `of-the-room-${SECRET}`);
  w.loose = await upload(server, olga, `of-olga-${SECRET}`);
  for (const id of [w.room, w.direct])
    w[id] = await olga.must("POST", `/v1/conversations/${id}/messages`, { client_msg_id: randomUUID(), text: `${SECRET} in ${id}`, files: id === w.room ? [w.file] : [] });
  w.message = w[w.room].id;
  w.seq = w[w.room].seq;
  await max.must("PUT", `/v1/messages/${w.message}/reactions/${encodeURIComponent("👍")}`);
  if (has("PUT /v1/conversations/{id}/read")) await olga.must("PUT", `/v1/conversations/${w.room}/read`, { seq: w.seq });
  for (const name of ["olga", "max", "rita", "sven"]) await connect(server, w[name]);
  await olga.must("DELETE", `/v1/conversations/${w.room}/members/${rita.id}`);
  await until("rita hears that she was removed", () => rita.heard.find((h) => h.name === "member.left"));
  w.session = (await olga.must("GET", "/v1/users/me/sessions")).items[0].id;
  for (const name of ["max", "rita", "sven"]) w[name].heard.length = 0;
  return w;
}

/** What the owner and the member see: it must be the same after every attempt. */
export async function picture(w) {
  const state = {};
  const look = async (p, path) => {
    state[`${p.username} ${path}`] = (await p.must("GET", path));
  };
  for (const p of [w.olga, w.max])
    for (const path of ["/v1/users/me", "/v1/conversations", `/v1/conversations/${w.room}`, `/v1/conversations/${w.room}/members`,
      `/v1/conversations/${w.room}/messages`, `/v1/conversations/${w.direct}/messages`, `/v1/messages/${w.message}`, "/v1/users/me/sessions", `/v1/files/${w.file}`])
      await look(p, path);
  await look(w.olga, `/v1/files/${w.loose}`);
  return state;
}

/** Lists are a moment behind: waits until they show all that was said and read. */
export async function settled(w) {
  await until("the lists are up to date", async () => {
    const state = await picture(w), newest = (id) => state[`olga /v1/conversations/${id}/messages`].items.at(-1).seq;
    const mine = state["olga /v1/conversations"].items;
    return ["olga", "max"].every((p) => state[`${p} /v1/conversations`].items.every((c) => c.last_seq === undefined || c.last_seq === newest(c.id))) &&
      mine.every((c) => c.id !== w.room || c.read_seq === undefined || c.read_seq >= w.seq);
  });
  return picture(w);
}

/** Whatever is or may be forged: name -> token. */
export function forgeries(w) {
  const [header, payload, mac] = w.olga.token.split(".");
  const text = (o) => Buffer.from(JSON.stringify(o)).toString("base64url");
  const claims = JSON.parse(Buffer.from(payload, "base64url"));
  const [, othersPayload] = w.sven.token.split(".");
  const unsigned = { ...JSON.parse(Buffer.from(header, "base64url")), alg: "none" };
  const foreign = createHmac("sha256", Buffer.alloc(32, 7)).update(`${header}.${payload}`).digest("base64url");
  return {
    "a made-up token": randomUUID(),
    "an empty token": "",
    "the owner's claims with the signature of another token": `${header}.${payload}.${w.sven.token.split(".")[2]}`,
    "other claims with the owner's signature": `${header}.${othersPayload}.${mac}`,
    "a longer life": `${header}.${text({ ...claims, exp: claims.exp + 1 })}.${mac}`,
    "a token without signature": `${text(unsigned)}.${payload}.`,
    "the key of another server": `${header}.${payload}.${foreign}`,
    "an expired token": w.expired,
    "a token of a login that was ended": w.ended,
    "a refresh token": w.olga.refresh,
  };
}
