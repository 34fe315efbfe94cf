// SPDX-License-Identifier: ISC
// Every limit of the sections http, socketio and chat is reached on a running palaverd, with the
// exact answer; just below it all is well.  The limits are in palaver.conf(5).
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { Conn, head, LIMIT, message } from "../clients/lib/raw.mjs";
import { Ws } from "../clients/lib/raw-ws.mjs";
import { makeConversation, rest, restRetry, signup } from "./lib/client.mjs";
import { Server, socketState, until } from "./lib/server.mjs";

const POLL = "/socket.io/?EIO=4&transport=polling";
const WS = "/socket.io/?EIO=4&transport=websocket";

const server = new Server({
  workers: 2,
  conf: `http {
  web_root = "WEBROOT" max_url = 300 max_head = 1500 max_fields = 10 max_body = 2000
  head_timeout = 600ms body_timeout = 600ms idle_timeout = 900ms write_timeout = 800ms
  origins = "https://chat.example" json_depth = 5 json_keys = 20
}
socketio {
  max_payload = 2000 max_packets = 16 max_attachments = 2 max_queue = 64K
  ping_interval = 1500ms ping_timeout = 500ms upgrade_timeout = 500ms connect_timeout = 700ms
}
chat { max_text = 100 }`,
});

const conns = [];
const open = (port = server.port) => {
  const c = new Conn(port);
  conns.push(c);
  return c;
};
const ask = async (bytes) => {
  const c = open();
  c.write(bytes);
  return c.response();
};
const code = (r) => JSON.parse(r.body.toString()).code;
/** The refusal of a request that cannot be trusted any further: a problem, and the connection ends. */
function refused(r, status, name) {
  assert.equal(r?.status, status);
  assert.equal(r.headers["content-type"], "application/problem+json");
  const { title, ...problem } = JSON.parse(r.body.toString());
  assert.deepEqual(problem, { type: "about:blank", status, code: name });
  assert.ok(title);
  assert.equal(r.headers.connection, "close");
}
/** A client that sends a little of what is due again and again; `stop` ends that. */
function trickle(c, first, more) {
  c.write(first);
  const timer = setInterval(() => c.write(more), 50);
  return { stop: () => clearInterval(timer) };
}
const handshake = async () => JSON.parse((await ask(head("GET", POLL))).body.toString().slice(1)).sid;
const post = (sid, body) => ask(message("POST", `${POLL}&sid=${sid}`, { body }));
const join = async (sid) => {
  await post(sid, `40${JSON.stringify({ token: ann.token })}`);
  assert.match((await ask(head("GET", `${POLL}&sid=${sid}`))).body.toString(), /^40\{"sid"/);
  return sid;
};
const closes = (c, ms) => c.until("the server closes the connection", () => undefined, ms);
const session = async (query = "", headers = {}) => {
  const ws = await Ws.open(open(), WS + query, { headers });
  if (!ws.refused) await ws.openPacket();
  return ws;
};
let ann;
const joined = async () => {
  const ws = await session();
  ws.send(`40${JSON.stringify({ token: ann.token })}`);
  assert.match(await ws.next(), /^40\{"sid"/);
  return ws;
};

test.before(async () => {
  const web = path.join(server.dir, "web");
  fs.mkdirSync(web);
  fs.writeFileSync(path.join(web, "big.bin"), Buffer.alloc(15 << 20));
  server.options.conf = server.options.conf.replace("WEBROOT", web);
  await server.start();
  ann = await signup(server.base, "ann");
});
test.after(async () => {
  for (const c of conns) c.destroy();
  await server.remove();
});
test.afterEach(async () => {
  assert.ok(await server.healthy(), "the server still serves");
});

test("http.max_url", async () => {
  const target = (n) => `/${"x".repeat(n - 1)}`;
  assert.equal((await ask(head("GET", target(300)))).status, 404);
  refused(await ask(head("GET", target(301))), 414, "uri_too_long");
  refused(await ask(`GET ${target(400)}`), 414, "uri_too_long"); // of a line that does not end
});

test("http.max_head", async () => {
  const filled = (n) => head("GET", "/", { A: "x".repeat(n - head("GET", "/", { A: "" }).length) });
  assert.equal(filled(1500).length, 1500);
  assert.equal((await ask(filled(1500))).status, 404);
  refused(await ask(filled(1501)), 431, "head_too_large");
  refused(await ask(filled(1600).slice(0, 1500)), 431, "head_too_large"); // of a head that does not end
});

test("http.max_fields", async () => {
  const fields = (n) => head("GET", "/", Object.fromEntries(Array.from({ length: n - 1 }, (_, i) => [`A${i}`, "x"])));
  assert.equal((await ask(fields(10))).status, 404);
  refused(await ask(fields(11)), 431, "too_many_fields");
});

test("http.head_timeout: a head that does not end, and a connection that says nothing", async () => {
  const silent = open();
  const slow = open();
  const drops = trickle(slow, "GET / HTTP/1.1\r\nHost: x\r\nA: ", "x");
  refused(await slow.response().finally(drops.stop), 408, "timeout");
  await closes(slow);
  assert.ok(slow.ended);
  await closes(silent);
  assert.ok(silent.ended);
  assert.equal(silent.buffer.length, 0, "nothing was asked, so nothing is answered");
  const second = open();
  second.write(head("GET", "/v1/health"));
  assert.equal((await second.response()).status, 200);
  second.write("GET /v1/health HTTP/1.1\r\n");
  refused(await second.response(), 408, "timeout");
});

test("http.body_timeout", async () => {
  const c = open();
  const drops = trickle(c, `${head("POST", "/v1/auth/login", { "Content-Length": 1000 })}{`, " ");
  refused(await c.response().finally(drops.stop), 408, "timeout");
  const sid = await handshake();
  const p = open();
  p.write(`${head("POST", `${POLL}&sid=${sid}`, { "Content-Length": 10 })}4a`);
  refused(await p.response(), 408, "timeout");
  assert.equal(code(await ask(head("GET", `${POLL}&sid=${sid}`))), 1, "the session ends with it");
  const q = open();
  q.write(`${head("POST", "/v1/auth/login", { "Transfer-Encoding": "chunked" })}5\r\n{`);
  refused(await q.response(), 408, "timeout");
});

test("http.idle_timeout: after an answer; who goes on asking stays", async () => {
  const [idle, busy] = [open(), open()];
  for (const c of [idle, busy]) {
    c.write(head("GET", "/v1/health"));
    assert.equal((await c.response()).status, 200);
  }
  const end = performance.now() + LIMIT;
  while (!idle.ended) {
    assert.ok(performance.now() < end, "the idle one is still open");
    busy.write(head("GET", "/v1/health"));
    assert.equal((await busy.response()).status, 200);
  }
  assert.equal(idle.buffer.length, 0);
  busy.write(head("GET", "/v1/health"));
  assert.equal((await busy.response()).status, 200);
});

test("http.write_timeout: who does not take an answer is cut", async () => {
  const c = open();
  await new Promise((r) => c.socket.once("connect", r));
  c.socket.pause();
  c.write(head("GET", "/big.bin"));
  const state = () => socketState(server.port, c.socket.localPort);
  await until("the server has the request", () => state() === "01");
  await until("the server has dropped the connection", () => state() !== "01", 10000);
  c.socket.resume();
  await closes(c, 10000);
  assert.ok(c.buffer.length < 15 << 20, "not all of it came");
  const whole = await ask(head("GET", "/big.bin"));
  assert.equal(whole.body.length, 15 << 20, "who takes it gets it");
});

test("http.write_timeout: who takes a little all the time is not cut", { timeout: 30000 }, async () => {
  const c = open();
  await new Promise((r) => c.socket.once("connect", r));
  c.socket.removeAllListeners("data");
  c.socket.pause();
  c.write(head("GET", "/big.bin"));
  let got = 0;
  await until("five times write_timeout's worth", () => {
    const d = c.socket.read(50000);
    if (d) got += d.length;
    if (got) assert.equal(socketState(server.port, c.socket.localPort), "01", `cut after ${got} bytes, of which some went every 50 ms`);
    return got >= 4000000;
  }, 25000, 50);
});

test("http.max_body", async () => {
  const body = (n) => `{"username":"x","password":"${"y".repeat(n - 30)}"}`;
  const login = (options) => ask(message("POST", "/v1/auth/login", options));
  assert.equal(body(2000).length, 2000);
  for (const chunks of [false, true]) {
    assert.equal((await login({ body: body(2000), chunks })).status, 401);
    refused(await login({ body: body(2001), chunks }), 413, "too_large");
  }
});

/** What is in force now; the settings of `was` come back with a second call. */
async function reconfigure(was, is) {
  server.options.conf = server.options.conf.replace(was, is);
  await server.writeConf();
  const r = server.ctl(["reload"]);
  assert.equal(r.status, 0, r.stderr);
}

test("http.origins: own, listed and foreign ones", async () => {
  const from = (origin) => ask(head("GET", POLL, { Origin: origin }));
  for (const origin of ["https://evil.example", "null", "https://chat.example.evil.example", "https://chat.example:444"]) {
    const r = await from(origin);
    assert.equal(r.status, 403, origin);
    assert.deepEqual(JSON.parse(r.body), { code: 4, message: "Forbidden" });
    assert.equal(r.headers["access-control-allow-origin"], undefined);
    assert.match((await session("", { Origin: origin })).refused, /^refused 403/);
  }
  const listed = await from("https://chat.example");
  assert.equal(listed.status, 200);
  assert.equal(listed.headers["access-control-allow-origin"], "https://chat.example");
  assert.equal(listed.headers["access-control-allow-credentials"], "true");
  assert.equal(listed.headers.vary, "Origin");
  assert.equal((await from("http://127.0.0.1")).status, 200, "its own");
  for (const origin of ["https://chat.example", "http://127.0.0.1"]) assert.equal((await session("", { Origin: origin })).refused, null);
  const preflight = (origin) => ask(head("OPTIONS", "/v1/users/me",
    { Origin: origin, "Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization" }));
  const allowed = await preflight("https://chat.example");
  assert.equal(allowed.status, 204);
  assert.match(allowed.headers["access-control-allow-methods"], /\bPOST\b/);
  assert.equal(allowed.headers["access-control-allow-headers"], "authorization");
  const not = await preflight("https://evil.example");
  assert.notEqual(not.status, 204);
  assert.equal(not.headers["access-control-allow-origin"], undefined);
});

test("http.origins = *, by a reload, and back", async () => {
  const evil = { Origin: "https://evil.example" };
  await reconfigure('"https://chat.example"', '"*"');
  const r = await until("it is in force", async () => {
    const a = await ask(head("GET", POLL, evil));
    return a.status === 200 && a;
  });
  assert.equal(r.headers["access-control-allow-origin"], "*");
  assert.equal(r.headers["access-control-allow-credentials"], undefined, "no cookies for everybody");
  await until("in all workers", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => session("", evil)));
    return all.every((ws) => ws.refused === null);
  });
  await reconfigure('"*"', '"https://chat.example"');
  await until("it is over in all workers", async () => {
    const all = await Promise.all(Array.from({ length: 12 }, () => ask(head("GET", POLL, evil))));
    return all.every((a) => a.status === 403);
  });
});

test("http.json_depth and http.json_keys", async () => {
  const create = (body) => rest(server.base, "POST", "/v1/conversations", { token: ann.token, body });
  const nested = (n) => JSON.parse(`${"[".repeat(n)}${"]".repeat(n)}`);
  const keys = (n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, 1]));
  for (const good of [{ type: "x", x: nested(4) }, { type: "x", ...keys(19) }]) assert.equal((await create(good)).body.code, "invalid_field");
  for (const bad of [{ type: "x", x: nested(5) }, { type: "x", ...keys(20) }]) {
    const r = await create(bad);
    assert.equal(r.status, 400);
    assert.equal(r.body.code, "bad_request");
    assert.deepEqual(r.body.errors, [{ pointer: "", code: "invalid_json" }]);
  }
  for (const [good, bad] of [[nested(4), nested(5)], [keys(20), keys(21)]]) {
    const ws = await joined();
    ws.send(`421${JSON.stringify(["nothing", good])}`);
    assert.match(await ws.next(), /^431\[/);
    ws.send(`422${JSON.stringify(["nothing", bad])}`);
    assert.equal(await ws.next(), "closed 1005");
  }
});

test("socketio.max_payload", async () => {
  const sid = await join(await handshake());
  const event = (n) => `421["nothing","${"x".repeat(n - 17)}"]`;
  assert.equal(event(2000).length, 2000);
  for (const chunks of [false, true]) {
    const send = (n) => ask(message("POST", `${POLL}&sid=${sid}`, { body: event(n), chunks }));
    assert.equal((await send(2000)).status, 200);
    const r = await send(2001);
    assert.equal(r.status, 413);
    assert.equal(r.body.length, 0);
    assert.equal((await post(sid, "3")).status, 200, "the session lives");
  }
  const ws = await joined();
  ws.send(event(2000));
  assert.match(await ws.next(), /^431\[/);
  ws.frame(1, event(2000).slice(0, 1500), { fin: false });
  ws.frame(0, event(2000).slice(1500));
  assert.match(await ws.next(), /^431\[/);
  ws.send(event(2001));
  assert.equal(await ws.next(), "closed 1009");
  const pieces = await joined();
  pieces.frame(1, event(2001).slice(0, 1500), { fin: false });
  pieces.frame(0, event(2001).slice(1500));
  assert.equal(await pieces.next(), "closed 1009");
});

test("socketio.max_packets", async () => {
  const sid = await handshake();
  const packets = (n) => Array(n).fill("3").join("\x1e");
  assert.equal((await post(sid, packets(16))).status, 200);
  assert.equal((await post(sid, packets(17))).status, 400);
  assert.equal(code(await ask(head("GET", `${POLL}&sid=${sid}`))), 1);
});

test("socketio.max_attachments", async () => {
  const ws = await joined();
  ws.send('452-1["nothing",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  ws.send(Buffer.from("a"));
  ws.send(Buffer.from("b"));
  assert.match(await ws.next(), /^431\[/);
  ws.send('453-["nothing"]');
  assert.equal(await ws.next(), "closed 1005");
});

test("socketio.max_queue: who does not read is closed, others are served", { timeout: 60000 }, async (t) => {
  const other = await new Server({ workers: 1, conf: "socketio { max_queue = 64K }" }).start();
  t.after(() => other.remove());
  const bob = await signup(other.base, "bob");
  const group = await makeConversation(other.base, bob.token, { type: "group", name: "g", members: [] });
  const [slow, fine] = await Promise.all([0, 1].map(async () => {
    const ws = await Ws.open(new Conn(other.port), WS);
    await ws.openPacket();
    ws.send(`40${JSON.stringify({ token: bob.token })}`);
    assert.match(await ws.next(), /^40\{"sid"/);
    return ws;
  }));
  slow.conn.socket.pause();
  const closed = () => Number(/"slow_closed": ?(\d+)/.exec(other.ctl(["--json", "stats"]).stdout)[1]);
  let sent = 0;
  let worst = 0;
  const say = async () => {
    const from = performance.now();
    await restRetry(other.base, "POST", `/v1/conversations/${group.id}/messages`,
      { token: bob.token, body: { client_msg_id: randomUUID(), text: "x".repeat(16000) } });
    worst = Math.max(worst, performance.now() - from);
  };
  while (!closed() && sent < 2000) {
    for (let i = 0; i < 50; i++) await say(); // a burst is another matter, see below
    sent += 50;
  }
  t.diagnostic(`the slowest of ${sent} messages by others took ${Math.round(worst)} ms`);
  assert.equal(closed(), 1, `of ${sent} messages`);
  await fine.until("the other has them all", () => fine.received.length === sent, 10000);
  assert.equal(fine.closed, null);
  slow.conn.socket.resume();
  await closes(slow.conn, 10000);
  assert.ok(slow.received.length < sent, "and is told to resume by losing the connection");
  fine.drop();
});

test("socketio.max_queue: a session that polls no more", { timeout: 60000 }, async (t) => {
  const other = await new Server({ workers: 1, conf: "socketio { max_queue = 64K }" }).start();
  t.after(() => other.remove());
  const bob = await signup(other.base, "bob");
  const group = await makeConversation(other.base, bob.token, { type: "group", name: "g", members: [] });
  const sidOf = (r) => JSON.parse(r.body.toString().slice(1)).sid;
  const request = async (bytes) => {
    const c = open(other.port);
    c.write(bytes);
    return c.response();
  };
  const sid = sidOf(await request(head("GET", POLL)));
  await request(message("POST", `${POLL}&sid=${sid}`, { body: `40${JSON.stringify({ token: bob.token })}` }));
  assert.match((await request(head("GET", `${POLL}&sid=${sid}`))).body.toString(), /^40\{"sid"/);
  const say = () => rest(other.base, "POST", `/v1/conversations/${group.id}/messages`,
    { token: bob.token, body: { client_msg_id: randomUUID(), text: "x".repeat(16000) } });
  const lives = async () => (await request(message("POST", `${POLL}&sid=${sid}`, { body: "3" }))).status === 200;
  for (let i = 0; i < 3; i++) assert.equal((await say()).status, 201);
  assert.ok(await lives(), "48K wait");
  for (let i = 0; i < 2; i++) assert.equal((await say()).status, 201);
  await until("80K cannot wait for more than a second", async () => {
    assert.equal((await say()).status, 201);
    return !(await lives());
  }, 10000, 300);
  assert.equal(code(await request(head("GET", `${POLL}&sid=${sid}`))), 1);
  assert.match(other.ctl(["--json", "stats"]).stdout, /"slow_closed": ?1\b/);
});

/** A server with a short queue and one conversation; `member` opens a WebSocket that has joined. */
async function shortQueue(t, workers) {
  const other = await new Server({ workers, conf: "socketio { max_queue = 64K }" }).start();
  t.after(() => other.remove());
  const bob = await signup(other.base, "bob");
  const group = await makeConversation(other.base, bob.token, { type: "group", name: "g", members: [] });
  const member = async () => {
    const ws = await Ws.open(open(other.port), WS);
    ws.slot = (await ws.openPacket()).charCodeAt(1) - 65;
    ws.send(`40${JSON.stringify({ token: bob.token })}`);
    assert.match(await ws.next(), /^40\{"sid"/);
    return ws;
  };
  const fields = (i) => ({ conversation_id: group.id, client_msg_id: randomUUID(), text: `${i} ${"x".repeat(16000)}` });
  return { other, group, member, fields };
}

test("socketio.max_queue: an answer that is larger than the queue reaches a client that reads", { timeout: 30000 }, async (t) => {
  const { group, member, fields } = await shortQueue(t, 1);
  const ws = await member();
  for (let i = 1; i <= 6; i++) {
    ws.send(`42${i}${JSON.stringify(["message.send", fields(i)])}`);
    await ws.until("the ack", () => ws.received.some((m) => m.startsWith(`43${i}[`)));
  }
  ws.send(`427${JSON.stringify(["sync", { conversations: { [group.id]: 0 } }])}`);
  await ws.until("the answer", () => ws.received.some((m) => m.startsWith("437[")));
  assert.equal(ws.closed, null, "this client can never resume");
});

test("socketio.max_queue: a burst does not close a client that reads", { timeout: 30000 }, async (t) => {
  const { other, member, fields } = await shortQueue(t, 2);
  const sender = await member();
  const reader = await until("a member on the other worker", async () => {
    const ws = await member();
    return ws.slot !== sender.slot && ws;
  });
  const { pid } = other.processes("worker").find((p) => p.slot === reader.slot);
  process.kill(pid, "SIGSTOP");
  for (let i = 1; i <= 20; i++) {
    sender.send(`42${i}${JSON.stringify(["message.send", fields(i)])}`);
    await sender.until("the ack", () => sender.received.some((m) => m.startsWith(`43${i}[`)));
  }
  process.kill(pid, "SIGCONT");
  await reader.until("all messages", () => reader.received.filter((m) => m.includes("message.created")).length === 20);
  assert.equal(reader.closed, null);
});

test("socketio.ping_interval and ping_timeout: a silent client goes, one that answers stays", async () => {
  const [silent, fine] = [await joined(), await joined()];
  const unsent = [];
  silent.send = (packet) => unsent.push(packet);
  assert.equal(await silent.end(), "closed 1005");
  assert.deepEqual(unsent, ["3"], "it was asked once");
  await fine.roundTrip();
  assert.equal(fine.closed, null);
});

test("socketio.ping_interval and ping_timeout by polling", async () => {
  const sid = await join(await handshake());
  const get = async () => (await ask(head("GET", `${POLL}&sid=${sid}`))).body.toString();
  assert.equal(await get(), "2");
  await post(sid, "3");
  assert.equal(await get(), "2");
  assert.equal(await get(), "1", "without a PONG the session ends");
  assert.equal(code(await ask(head("GET", `${POLL}&sid=${sid}`))), 1);
});

test("socketio.upgrade_timeout: on the session's worker and on another", async () => {
  const sids = await Promise.all(Array.from({ length: 10 }, async () => join(await handshake())));
  const late = await Promise.all(sids.map((sid) => Ws.open(open(), `${WS}&sid=${sid}`)));
  for (const ws of late.slice(5)) ws.send("2probe"); // half of them get further, but not to the end
  for (const [i, ws] of late.entries()) {
    assert.equal(ws.refused, null);
    assert.equal(await ws.end(), i < 5 ? "closed 1005" : "3probe | closed 1005");
  }
  for (const sid of sids) assert.equal((await post(sid, "3")).status, 200, "the session stays on polling");
  const again = await Promise.all(sids.map((sid) => Ws.open(open(), `${WS}&sid=${sid}`)));
  for (const ws of again) {
    ws.send("2probe");
    assert.equal(await ws.next(), "3probe");
    ws.send("5");
    await ws.roundTrip();
    assert.equal(ws.closed, null, "who hurries gets there");
    ws.drop();
  }
});

test("socketio.connect_timeout", async () => {
  const fine = await joined();
  const sid = await handshake();
  const parked = ask(head("GET", `${POLL}&sid=${sid}`));
  assert.equal(await (await session()).end(), "closed 1005");
  assert.equal((await parked).body.toString(), "1");
  assert.equal(code(await ask(head("GET", `${POLL}&sid=${sid}`))), 1);
  await fine.roundTrip();
  assert.equal(fine.closed, null, "who has joined stays");
});

test("chat.max_text: bytes, by both ways in", async () => {
  const group = await makeConversation(server.base, ann.token, { type: "group", name: "t", members: [] });
  const fields = (text) => ({ client_msg_id: randomUUID(), text });
  const say = (text) => rest(server.base, "POST", `/v1/conversations/${group.id}/messages`, { token: ann.token, body: fields(text) });
  const fault = [{ pointer: "/text", code: "too_long" }];
  for (const text of ["x".repeat(100), "é".repeat(50)]) assert.equal((await say(text)).status, 201);
  for (const text of ["x".repeat(101), `${"é".repeat(50)}x`]) {
    const r = await say(text);
    assert.equal(r.status, 422);
    assert.equal(r.body.code, "invalid_field");
    assert.deepEqual(r.body.errors, fault);
  }
  const ws = await joined();
  const ack = async (id, text) => {
    ws.send(`42${id}${JSON.stringify(["message.send", { conversation_id: group.id, ...fields(text) }])}`);
    await ws.until("the ack", () => ws.received.some((m) => m.startsWith(`43${id}[`)));
    return JSON.parse(ws.received.find((m) => m.startsWith(`43${id}[`)).slice(3))[0];
  };
  assert.ok((await ack(1, "x".repeat(100))).data);
  assert.deepEqual((await ack(2, "x".repeat(101))).error.errors, fault);
});

test("chat.rate and chat.burst", async (t) => {
  const other = await new Server({ workers: 1, conf: "chat { rate = 1 burst = 3 }" }).start();
  t.after(() => other.remove());
  const [owner, bob] = [await signup(other.base, "owner"), await signup(other.base, "bob")];
  const group = await makeConversation(other.base, owner.token, { type: "group", name: "r", members: [bob.id] });
  const ws = await Ws.open(open(other.port), WS);
  await ws.openPacket();
  ws.send(`40${JSON.stringify({ token: bob.token })}`);
  assert.match(await ws.next(), /^40\{"sid"/);
  let last = 0;
  const acks = async (n) => {
    const first = last + 1;
    for (let i = 0; i < n; i++) {
      ws.send(`42${++last}${JSON.stringify(["message.send", { conversation_id: group.id, client_msg_id: randomUUID(), text: "x" }])}`);
    }
    const got = () => ws.received.map((m) => /^43(\d+)(\[.*)/s.exec(m)).filter((m) => m && m[1] >= first);
    await ws.until(`${n} acks`, () => got().length === n);
    return got().map((m) => JSON.parse(m[2])[0]);
  };
  const five = await acks(5);
  assert.equal(five.filter((a) => a.data).length, 3, "the burst");
  for (const a of five.filter((x) => x.error)) {
    assert.equal(a.error.code, "rate_limited");
    assert.equal(a.error.status, 429);
    assert.equal(a.error.retry_after, 1);
  }
  await until("one more after a second", async () => (await acks(1))[0].data, 5000, 100);
  assert.equal((await acks(1))[0].error.code, "rate_limited", "and no more than one");
});
