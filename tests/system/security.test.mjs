// Who may not, may not: every REST route and every event, tried without a login, with forged
// tokens, with the cookie of a victim from a foreign page, by a stranger, by a removed member
// and by a member whose role is too small.  Each attempt must be refused as it should, change
// nothing that the owner sees, and bring the intruder no word of what is inside.
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import test, { after, before } from "node:test";
import WebSocket from "ws";
import { events, openapi, operations } from "./lib/contract.mjs";
import { rest } from "./lib/client.mjs";
import { PASSWORD, SECRET, cast, connect, forgeries, person, picture, settled } from "./lib/cast.mjs";
import { Server, until } from "./lib/server.mjs";

let server, w, clean;
const emoji = encodeURIComponent("👍");
const id = () => randomUUID();

// ---- the table ----

const NOT_FOUND = [404, "not_found"], FORBIDDEN = [403, "forbidden"], UNAUTHORIZED = [401, "unauthorized"];
/** Strangers and removed members are told that there is no such thing. */
const hidden = { stranger: NOT_FOUND, removed: NOT_FOUND };
/** Whoever calls acts on himself; what others have is out of reach. */
const own = { stranger: [200], removed: [200] };

/**
 * One row an attempt: route, path and body; what the stranger, the removed member, the member and
 * the admin are answered ([status, code]; left out: allowed).  `control`: who may do just this, with
 * what answer (olga and 2xx if left out): so a refusal is not one of a malformed request.
 * `nobody`: for routes that need no login.  The controls run in this order at the end.
 */
const ROUTES = [
  { route: "GET /v1/health", nobody: [200] },
  { route: "POST /v1/auth/signup", body: () => ({ username: "olga", password: PASSWORD }), nobody: [409, "username_taken"], control: false },
  { route: "POST /v1/auth/login", body: () => ({ username: "olga", password: "wrong horse" }), nobody: [401, "bad_credentials"], control: false },
  { route: "POST /v1/auth/refresh", body: () => ({ refresh_token: randomUUID() }), nobody: UNAUTHORIZED, control: false },
  { route: "POST /v1/auth/logout", body: () => ({ refresh_token: randomUUID() }), nobody: [204], control: false },
  { route: "GET /v1/users/me", ...own },
  { route: "PATCH /v1/users/me", body: () => ({ bio: "changed" }), ...own },
  { route: "DELETE /v1/users/me", body: () => ({ password: "wrong horse" }), stranger: [401, "bad_credentials"], removed: [401, "bad_credentials"], control: () => [w.leaver, { password: PASSWORD }] },
  { route: "PUT /v1/users/me/password", body: () => ({ current_password: "wrong horse", new_password: "another horse" }), stranger: [401, "bad_credentials"], removed: [401, "bad_credentials"], control: () => [w.sven, { current_password: PASSWORD, new_password: "another horse" }] },
  { route: "GET /v1/users/me/sessions", ...own },
  { route: "DELETE /v1/users/me/sessions/{id}", params: () => ({ id: w.session }), ...hidden, member: NOT_FOUND, admin: NOT_FOUND, control: () => [w.olga, undefined, { id: w.spare }] },
  { route: "DELETE /v1/users/me/sessions", stranger: [204], removed: [204] },
  { route: "GET /v1/users", ...own },
  { route: "GET /v1/users/{id}", params: () => ({ id: w.olga.id }), ...own },
  { route: "GET /v1/presence", query: () => `?users=${w.olga.id},${w.max.id}`, stranger: [200], removed: [200], reveals: (body) => body.items.length === 0 },
  { route: "GET /v1/conversations", ...own },
  { route: "GET /v1/conversations", query: () => "?public=true", ...own },
  { route: "POST /v1/conversations", body: () => ({ type: "group", name: "mine", members: [] }), stranger: [201], removed: [201] },
  { route: "GET /v1/conversations/{id}", ...hidden },
  { route: "GET /v1/conversations/{id}/members", ...hidden },
  { route: "GET /v1/conversations/{id}/messages", ...hidden },
  { route: "GET /v1/conversations/{id}/messages", query: () => `?around=${w.seq}`, ...hidden },
  { route: "GET /v1/conversations/{id}/messages", params: () => ({ id: w.direct }), ...hidden, admin: NOT_FOUND },
  { route: "POST /v1/conversations/{id}/messages", body: () => ({ client_msg_id: id(), text: "let me in" }), ...hidden },
  { route: "POST /v1/sync", body: () => ({ conversations: { [w.room]: 0, [w.direct]: 0 } }), stranger: [200], removed: [200], reveals: (b) => b.events.length === 0 && b.gone.length === 2 },
  { route: "PUT /v1/conversations/{id}/read", body: () => ({ seq: w.seq }), ...hidden },
  { route: "POST /v1/files", query: () => "?name=x", body: () => ({ mine: true }), stranger: [201], removed: [201] },
  { route: "GET /v1/files/{id}", params: () => ({ id: w.file }), ...hidden },
  { route: "GET /v1/files/{id}/content", params: () => ({ id: w.file }), ...hidden },
  { route: "GET /v1/files/{id}", params: () => ({ id: w.loose }), ...hidden, member: NOT_FOUND, admin: NOT_FOUND },
  { route: "GET /v1/files/{id}/content", params: () => ({ id: w.loose }), ...hidden, member: NOT_FOUND, admin: NOT_FOUND },
  { route: "DELETE /v1/files/{id}", params: () => ({ id: w.file }), ...hidden, member: NOT_FOUND, admin: NOT_FOUND, control: false },
  { route: "DELETE /v1/files/{id}", params: () => ({ id: w.loose }), ...hidden, member: NOT_FOUND, admin: NOT_FOUND },
  { route: "GET /v1/messages/{id}", params: () => ({ id: w.message }), ...hidden },
  { route: "PUT /v1/messages/{id}/reactions/{emoji}", params: () => ({ id: w.message, emoji }), ...hidden },
  { route: "DELETE /v1/messages/{id}/reactions/{emoji}", params: () => ({ id: w.message, emoji }), ...hidden },
  { route: "PATCH /v1/messages/{id}", params: () => ({ id: w.message }), body: () => ({ text: "changed" }), ...hidden, member: FORBIDDEN, admin: FORBIDDEN },
  { route: "DELETE /v1/messages/{id}", params: () => ({ id: w.message }), ...hidden, member: FORBIDDEN, control: () => [w.adam] },
  { route: "PATCH /v1/messages/{id}", params: () => ({ id: w.ritas }), body: () => ({ text: "changed" }), ...hidden, member: FORBIDDEN, admin: FORBIDDEN, control: false },
  { route: "DELETE /v1/messages/{id}", params: () => ({ id: w.ritas }), ...hidden, member: FORBIDDEN, control: () => [w.adam] },
  { route: "PATCH /v1/conversations/{id}", body: () => ({ name: "changed" }), ...hidden, member: FORBIDDEN, control: () => [w.adam, { name: "changed" }] },
  { route: "POST /v1/conversations/{id}/members", body: () => ({ user_ids: [w.sven.id] }), ...hidden, member: FORBIDDEN },
  { route: "POST /v1/conversations/{id}/members", body: () => ({ user_ids: [w.rita.id], role: "owner" }), ...hidden, member: FORBIDDEN, admin: FORBIDDEN },
  { route: "PATCH /v1/conversations/{id}/members/{user}", params: () => ({ id: w.room, user: w.max.id }), body: () => ({ role: "owner" }), ...hidden, member: FORBIDDEN, admin: FORBIDDEN, control: () => [w.olga, { role: "member" }] },
  { route: "PATCH /v1/conversations/{id}/members/{user}", params: () => ({ id: w.room, user: "me" }), body: () => ({ role: "owner" }), ...hidden, member: FORBIDDEN, admin: FORBIDDEN },
  { route: "DELETE /v1/conversations/{id}/members/{user}", params: () => ({ id: w.room, user: w.olga.id }), ...hidden, member: FORBIDDEN, admin: FORBIDDEN, control: false },
  { route: "DELETE /v1/conversations/{id}/members/{user}", params: () => ({ id: w.room, user: w.max.id }), ...hidden, control: () => [w.adam] },
];

const room = () => ({ conversation_id: w.room });
/** The same for events; an answer is "data" or a code. */
const gone = { stranger: "not_found", removed: "not_found" };
const EVENTS = [
  { event: "message.send", body: () => ({ ...room(), client_msg_id: id(), text: "let me in" }), ...gone },
  { event: "message.edit", body: () => ({ message_id: w.message, text: "changed" }), ...gone, member: "forbidden" },
  { event: "message.delete", body: () => ({ message_id: w.message }), ...gone, member: "forbidden" },
  { event: "message.edit", body: () => ({ message_id: w.ritas, text: "changed" }), ...gone, member: "forbidden" },
  { event: "message.delete", body: () => ({ message_id: w.ritas }), ...gone, member: "forbidden" },
  { event: "reaction.add", body: () => ({ message_id: w.message, emoji: "👍" }), ...gone },
  { event: "reaction.remove", body: () => ({ message_id: w.message, emoji: "👍" }), ...gone },
  { event: "read.set", body: () => ({ ...room(), seq: w.seq }), ...gone },
  { event: "typing.set", body: () => ({ ...room(), typing: true }), ...gone },
  { event: "presence.set", body: () => ({ status: "away" }), stranger: "data", removed: "data" },
  { event: "presence.get", body: () => ({ user_ids: [w.olga.id, w.max.id] }), stranger: "data", removed: "data", reveals: (d) => d.items.length === 0 },
  { event: "sync", body: () => ({ conversations: { [w.room]: 0, [w.direct]: 0 } }), stranger: "data", removed: "data", reveals: (d) => d.events.length === 0 && d.gone.length === 2 },
];

const needsLogin = (row) => (operations.find((o) => o.name === row.route).doc.security ?? openapi.security).length > 0;
const closed = () => ROUTES.filter((row) => !row.nobody);

// ---- attempts ----

function target(row, params = row.params?.() ?? { id: w.room }) {
  const [method, path] = row.route.split(" ");
  return [method, path.replace(/\{(\w+)\}/g, (_, name) => params[name]) + (row.query?.() ?? "")];
}

async function attempt(row, options, path = target(row)[1]) {
  const [method] = target(row), headers = { ...options.headers }, body = row.body?.();
  if (body) headers["content-type"] = "application/json";
  const answer = await fetch(server.base + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await answer.text();
  return { status: answer.status, text, body: text ? JSON.parse(text) : null, headers: answer.headers };
}

const bearer = (token) => ({ headers: { authorization: `Bearer ${token}` } });

/** The answer is as wanted, tells nothing, and nothing has changed. */
async function harmless(what, answer, [status, code], unchanged = true) {
  assert.equal(answer.status, status, `${what}: ${answer.text}`);
  if (code) assert.equal(answer.body.code, code, what);
  assert.ok(!answer.text.includes(SECRET), `${what} leaks: ${answer.text}`);
  if (unchanged) assert.deepEqual(await picture(w), clean, `${what} had an effect`);
}

function heardNothing(p) {
  const leak = p.heard.filter((h) => JSON.stringify(h).includes(SECRET) || JSON.stringify(h).includes(w.room));
  assert.deepEqual(leak, [], `${p.username} heard of the room`);
}

/** The kernel chooses the worker of each connection, so several show what all of them say. */
async function refusedOnNewConnections(token) {
  const headers = { authorization: `Bearer ${token}`, connection: "close" };
  const all = await Promise.all(Array.from({ length: 20 }, () => fetch(`${server.base}/v1/users/me`, { headers })));
  return all.every((r) => r.status === 401);
}

/** A token that lives for a second, and one of a login that was ended. */
async function oldTokens() {
  const login = () => rest(server.base, "POST", "/v1/auth/login", { body: { username: "olga", password: PASSWORD } });
  const life = async (ttl, seconds) => {
    server.options.conf = `accounts { access_ttl = "${ttl}" }`;
    await server.writeConf();
    assert.equal(server.ctl(["reload"]).status, 0);
    return until(`tokens live ${ttl}`, async () => {
      const both = [await login(), await login(), await login(), await login()];
      return both.every((r) => r.body.expires_in === seconds) && both[0].body;
    });
  };
  w.expired = (await life("1s", 1)).access_token;
  const other = await life("15m", 900);
  w.ended = other.access_token;
  const r = await rest(server.base, "POST", "/v1/auth/logout", { body: { refresh_token: other.refresh_token } });
  assert.equal(r.status, 204);
  const spare = (await w.olga.must("GET", "/v1/users/me/sessions")).items.find((s) => !s.current);
  w.spare = spare.id;
  for (const token of [w.expired, w.ended]) await until("the token is refused", () => refusedOnNewConnections(token));
}

before(async () => {
  server = await new Server({ workers: 2, conf: "chat { rate = 10000 burst = 10000 }" }).start();
  w = await cast(server);
  w.leaver = await person(server, "leaver");
  await oldTokens();
  clean = await settled(w);
});

after(async () => {
  for (const p of Object.values(w ?? {})) p?.socket?.close();
  await server.remove();
});

test("the table has every route and every event, and no others", () => {
  assert.deepEqual([...new Set(ROUTES.map((r) => r.route))].sort(), operations.map((o) => o.name).sort());
  assert.deepEqual([...new Set(EVENTS.map((e) => e.event))].sort(), Object.keys(events.properties.client.properties).sort());
  for (const row of ROUTES) if (!row.nobody) assert.ok(needsLogin(row), row.route);
});

test("nobody: REST without a token", async () => {
  for (const row of ROUTES) await harmless(row.route, await attempt(row, {}), row.nobody ?? UNAUTHORIZED);
});

test("nobody: identity is not taken from the query", async () => {
  for (const row of closed()) {
    const [, path] = target(row), query = `token=${w.olga.token}&access_token=${w.olga.token}`;
    await harmless(row.route, await attempt(row, {}, `${path}${path.includes("?") ? "&" : "?"}${query}`), UNAUTHORIZED, false);
  }
  assert.deepEqual(await picture(w), clean);
});

test("forged tokens: REST", async (t) => {
  for (const [what, token] of Object.entries(forgeries(w)))
    await t.test(what, async () => {
      for (const row of closed()) await harmless(row.route, await attempt(row, bearer(token)), UNAUTHORIZED, false);
      assert.deepEqual(await picture(w), clean);
    });
});

test("forged tokens: sockets are refused before any event", async (t) => {
  for (const [what, token] of [["no token", undefined], ...Object.entries(forgeries(w))])
    await t.test(what, async () => {
      const intruder = { username: what, heard: [] };
      await assert.rejects(connect(server, intruder, { token }), (e) => e.message === "unauthorized");
      intruder.socket.close();
      assert.deepEqual(intruder.heard, []);
    });
});

/** Sends a frame of its own making after the handshake of Engine.IO; what came until a packet or the end. */
function raw(frame, headers = {}) {
  return new Promise((resolve) => {
    const ws = new WebSocket(`ws://127.0.0.1:${server.port}/socket.io/?EIO=4&transport=websocket`, { headers }), got = [];
    const end = () => {
      resolve(got.join("\n"));
      ws.terminate();
    };
    ws.on("error", end);
    ws.on("close", end);
    ws.on("message", (m) => {
      got.push(String(m));
      if (got.length === 1) ws.send(frame);
      else if (got.at(-1).startsWith("4")) end();
    });
  });
}

test("nobody: an event before the login ends the connection", async () => {
  for (const row of EVENTS) {
    const got = await raw(`420${JSON.stringify([row.event, row.body()])}`);
    assert.ok(!got.includes("430[") && !got.includes(SECRET), `${row.event}: ${got}`);
    assert.deepEqual(await picture(w), clean, row.event);
  }
});

// ---- with the victim's cookie ----

test("a foreign page with the owner's cookie", async (t) => {
  const cookie = `palaver_access=${w.olga.token}`, ours = new URL(server.base).origin;
  const pages = {
    "without the header": { cookie, origin: ours },
    "of another origin": { cookie, origin: "https://evil.example", "x-palaver-csrf": "1" },
    "without an origin": { cookie, "x-palaver-csrf": "1" },
    "of no origin": { cookie, origin: "null", "x-palaver-csrf": "1" },
  };
  for (const [what, headers] of Object.entries(pages))
    await t.test(what, async () => {
      for (const row of closed().filter((r) => !r.route.startsWith("GET "))) await harmless(row.route, await attempt(row, { headers }), [403, "csrf"], false);
      assert.deepEqual(await picture(w), clean);
    });
  await t.test("on a socket", async () => {
    const joined = '40{"sid"';
    assert.ok((await raw("40", { cookie, origin: ours })).includes(joined), "control: our own page");
    for (const origin of ["https://evil.example", "null"]) assert.ok(!(await raw("40", { cookie, origin })).includes(joined), origin);
  });
  await t.test("may not read what GET answers", async () => {
    for (const row of closed().filter((r) => r.route.startsWith("GET "))) {
      const answer = await attempt(row, { headers: pages["of another origin"] });
      assert.equal(answer.headers.get("access-control-allow-origin"), null, row.route);
    }
  });
});

// ---- with a login of one's own ----

for (const [kind, who] of [["stranger", "sven"], ["removed", "rita"], ["member", "max"], ["admin", "adam"]]) {
  test(`${kind}: REST`, async () => {
    for (const row of closed().filter((r) => r[kind])) {
      const p = w[who], answer = await attempt(row, bearer(p.token));
      await harmless(`${row.route} by ${who}`, kind === "member" || kind === "admin" ? { ...answer, text: answer.text.replaceAll(SECRET, "") } : answer, row[kind]);
      if (row.reveals) assert.ok(row.reveals(answer.body), `${row.route} reveals: ${answer.text}`);
    }
  });
}

for (const [kind, who] of [["stranger", "sven"], ["removed", "rita"], ["member", "max"]]) {
  test(`${kind}: events`, async () => {
    for (const row of EVENTS.filter((r) => r[kind])) {
      const answer = await w[who].socket.timeout(10000).emitWithAck(row.event, row.body());
      assert.equal(answer.error?.code ?? "data", row[kind], `${row.event}: ${JSON.stringify(answer)}`);
      if (kind !== "member") assert.ok(!JSON.stringify(answer).includes(SECRET), row.event);
      if (row.reveals) assert.ok(row.reveals(answer.data), `${row.event} reveals: ${JSON.stringify(answer)}`);
      assert.deepEqual(await picture(w), clean, `${row.event} had an effect`);
    }
  });
}

test("what goes on in the room is heard by its members alone", async () => {
  const text = `${SECRET} live`;
  const sent = await w.olga.must("POST", `/v1/conversations/${w.room}/messages`, { client_msg_id: id(), text });
  await w.olga.socket.timeout(10000).emitWithAck("typing.set", { ...room(), typing: true });
  await until("max hears it", () => w.max.heard.some((h) => h.event?.id === sent.id));
  await until("max hears the typing", () => w.max.heard.some((h) => h.name === "typing.started"));
  for (const p of [w.sven, w.rita]) {
    await p.socket.timeout(10000).emitWithAck("presence.set", { status: "online" }); // what came before it has arrived
    heardNothing(p);
  }
});

// ---- what a member may not see ----

test("a newcomer to a conversation with history for those who were there", async () => {
  const { olga, max } = w, nina = await person(server, "nina");
  const room = await olga.must("POST", "/v1/conversations", { type: "channel", name: "later", history: "joined", members: [max.id] });
  const at = `/v1/conversations/${room.id}/messages`;
  const past = await olga.must("POST", at, { client_msg_id: id(), text: SECRET });
  await olga.must("POST", `/v1/conversations/${room.id}/members`, { user_ids: [nina.id] });
  await connect(server, nina);
  const before = await olga.must("GET", `/v1/messages/${past.id}`);
  const asked = [
    ["GET", at, undefined, 200], ["GET", `${at}?after=0`, undefined, 200], ["GET", `${at}?before=${past.seq + 1}`, undefined, 200], ["GET", `${at}?around=${past.seq}`, undefined, 200],
    ["POST", "/v1/sync", { conversations: { [room.id]: 0 } }, 200], ["GET", "/v1/conversations", undefined, 200], ["GET", `/v1/messages/${past.id}`, undefined, 404],
    ["PATCH", `/v1/messages/${past.id}`, { text: "changed" }, 404], ["DELETE", `/v1/messages/${past.id}`, undefined, 404],
    ["PUT", `/v1/messages/${past.id}/reactions/${emoji}`, undefined, 404], ["DELETE", `/v1/messages/${past.id}/reactions/${emoji}`, undefined, 404],
    ["POST", at, { client_msg_id: id(), text: "what was that?", reply_to: past.id }, 422],
  ];
  for (const [method, path, body, status] of asked) {
    const r = await nina.ask(method, path, body), text = JSON.stringify(r.body);
    assert.equal(r.status, status, `${method} ${path}: ${text}`);
    assert.ok(!text.includes(SECRET), `${method} ${path} leaks`);
  }
  const synced = await nina.socket.timeout(10000).emitWithAck("sync", { conversations: { [room.id]: 0 } });
  assert.ok(synced.data.events.length > 0 && synced.data.events.every((e) => e.seq > past.seq), JSON.stringify(synced));
  for (const [event, body] of [["message.edit", { text: "changed" }], ["message.delete", {}], ["reaction.add", { emoji: "👍" }]])
    assert.equal((await nina.socket.timeout(10000).emitWithAck(event, { message_id: past.id, ...body })).error?.code, "not_found", event);
  assert.deepEqual(await olga.must("GET", `/v1/messages/${past.id}`), before);
  nina.socket.close();
});

test("a stranger sees of a public channel what it is, and nothing in it", async () => {
  const { olga, max, sven } = w;
  const room = await olga.must("POST", "/v1/conversations", { type: "channel", name: "square", public: true, members: [max.id] });
  const at = `/v1/conversations/${room.id}`, told = await olga.must("POST", `${at}/messages`, { client_msg_id: id(), text: SECRET });
  const shown = await sven.must("GET", at);
  assert.deepEqual([shown.name, shown.members], ["square", undefined]);
  for (const [method, path, body] of [["GET", `${at}/members`], ["GET", `${at}/messages`], ["POST", `${at}/messages`, { client_msg_id: id(), text: "hello" }], ["GET", `/v1/messages/${told.id}`],
    ["PATCH", at, { name: "mine" }], ["POST", `${at}/members`, { user_ids: [w.rita.id] }], ["POST", `${at}/members`, { user_ids: [sven.id, w.rita.id] }]])
    await harmless(`${method} ${path}`, await sven.ask(method, path, body).then((r) => ({ ...r, text: JSON.stringify(r.body) })), NOT_FOUND, false);
  const owner = await sven.ask("POST", `${at}/members`, { user_ids: [sven.id], role: "owner" });
  assert.ok(owner.status >= 400, `joined as owner: ${JSON.stringify(owner.body)}`);
  heardNothing(sven);
});

// ---- the same requests by those who may ----

test("control: each request is taken from who may make it", async () => {
  for (const row of ROUTES.filter((r) => r.control !== false && r.route !== "GET /v1/health")) {
    const [p, body = row.body?.(), params] = row.control?.() ?? [w.olga];
    const [method, path] = target(row, params);
    const answer = await p.ask(method, path, body);
    assert.ok(answer.status < 300, `${row.route} by ${p.username}: ${answer.status} ${JSON.stringify(answer.body)}`);
  }
});
