// SPDX-License-Identifier: ISC
// Every limit of the sections http, socketio and chat is reached on a running palaverd, with the
// exact answer; just below it all is well.  The limits are in palaver.conf(5).
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { Conn, head, message } from "../clients/lib/raw.mjs";
import { Ws } from "../clients/lib/raw-ws.mjs";
import { makeConversation, rest, restRetry, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

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
chat { max_text = 100 rate = 1 burst = 3 }`,
});

const conns = [];
const open = (port = server.port) => {
  const c = new Conn(port);
  conns.push(c);
  return c;
};
/** The state of the server's end of the connection from this port; "01" is established. */
function socketState(port) {
  const hex = (n) => n.toString(16).toUpperCase().padStart(4, "0");
  const lines = fs.readFileSync("/proc/net/tcp", "utf8").split("\n").map((l) => l.trim().split(/\s+/));
  return lines.find((l) => l[1]?.endsWith(`:${hex(server.port)}`) && l[2]?.endsWith(`:${hex(port)}`))?.[3];
}
const ask = async (bytes) => {
  const c = open();
  c.write(bytes);
  return c.response();
};
const code = (r) => JSON.parse(r.body.toString()).code;
const handshake = async () => JSON.parse((await ask(head("GET", POLL))).body.toString().slice(1)).sid;
const post = (sid, body) => ask(message("POST", `${POLL}&sid=${sid}`, { body }));
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
  const r = await ask(head("GET", target(301)));
  assert.equal(r.status, 414);
  assert.equal(code(r), "uri_too_long");
});

test("http.max_head", async () => {
  const filled = (n) => head("GET", "/", { A: "x".repeat(n - head("GET", "/", { A: "" }).length) });
  assert.equal(filled(1499).length, 1499);
  assert.equal((await ask(filled(1499))).status, 404);
  const r = await ask(filled(1501));
  assert.equal(r.status, 431);
  assert.equal(code(r), "head_too_large");
});

test("http.max_fields", async () => {
  const fields = (n) => head("GET", "/", Object.fromEntries(Array.from({ length: n - 1 }, (_, i) => [`A${i}`, "x"])));
  assert.equal((await ask(fields(10))).status, 404);
  const r = await ask(fields(11));
  assert.equal(r.status, 431);
  assert.equal(code(r), "too_many_fields");
});

test("http.head_timeout: a head that does not end, and a connection that says nothing", async () => {
  const slow = open();
  const silent = open();
  slow.write("GET / HTTP/1.1\r\nHost: x\r\n");
  const r = await slow.response();
  assert.equal(r.status, 408);
  assert.equal(code(r), "timeout");
  await closes(silent);
  assert.ok(silent.ended);
});

test("http.body_timeout", async () => {
  const c = open();
  c.write(`${head("POST", "/v1/auth/login", { "Content-Length": 10 })}{`);
  assert.equal((await c.response()).status, 408);
  const sid = await handshake();
  const p = open();
  p.write(`${head("POST", `${POLL}&sid=${sid}`, { "Content-Length": 10 })}4a`);
  assert.equal((await p.response()).status, 408);
  assert.equal(code(await ask(head("GET", `${POLL}&sid=${sid}`))), 1, "the session ends with it");
});

test("http.idle_timeout: after an answer", async () => {
  const c = open();
  c.write(head("GET", "/v1/health"));
  assert.equal((await c.response()).status, 200);
  await closes(c);
  assert.ok(c.ended);
});

test("http.write_timeout: who does not take an answer is cut", async () => {
  const c = open();
  await new Promise((r) => c.socket.once("connect", r));
  c.socket.pause();
  c.write(head("GET", "/big.bin"));
  const state = () => socketState(c.socket.localPort);
  await until("the server has the request", () => state() === "01");
  await until("the server has dropped the connection", () => state() !== "01", 10000);
  c.socket.resume();
  await closes(c, 10000);
  assert.ok(c.buffer.length < 15 << 20, "not all of it came");
  const whole = await ask(head("GET", "/big.bin"));
  assert.equal(whole.body.length, 15 << 20, "who takes it gets it");
});

test("http.max_body", async () => {
  const body = (n) => `{"username":"x","password":"${"y".repeat(n - 30)}"}`;
  assert.equal(body(2000).length, 2000);
  assert.notEqual((await ask(message("POST", "/v1/auth/login", { body: body(2000) }))).status, 413);
  const r = await ask(message("POST", "/v1/auth/login", { body: body(2001) }));
  assert.equal(r.status, 413);
  assert.equal(code(r), "too_large");
});

test("http.origins", async () => {
  const from = (origin) => ask(head("GET", POLL, { Origin: origin }));
  const foreign = await from("https://evil.example");
  assert.equal(foreign.status, 403);
  assert.equal(code(foreign), 4);
  assert.equal(foreign.headers["access-control-allow-origin"], undefined);
  const listed = await from("https://chat.example");
  assert.equal(listed.status, 200);
  assert.equal(listed.headers["access-control-allow-origin"], "https://chat.example");
  assert.equal(listed.headers["access-control-allow-credentials"], "true");
  assert.equal((await from("http://127.0.0.1")).status, 200, "its own");
  assert.match((await session("", { Origin: "https://evil.example" })).refused, /^refused 403/);
  assert.equal((await session("", { Origin: "https://chat.example" })).refused, null);
  const preflight = (origin) => ask(head("OPTIONS", "/v1/users/me", { Origin: origin, "Access-Control-Request-Method": "GET" }));
  assert.equal((await preflight("https://chat.example")).status, 204);
  assert.equal((await preflight("https://evil.example")).headers["access-control-allow-origin"], undefined);
});

test("http.json_depth and http.json_keys", async () => {
  const create = (body) => rest(server.base, "POST", "/v1/conversations", { token: ann.token, body });
  const nested = (n) => JSON.parse(`${"[".repeat(n)}${"]".repeat(n)}`);
  const keys = (n) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, 1]));
  assert.notEqual(JSON.stringify((await create({ type: "group", x: nested(4) })).body).includes("invalid_json"), true);
  assert.match(JSON.stringify((await create({ type: "group", x: nested(5) })).body), /invalid_json/);
  assert.equal(JSON.stringify((await create({ type: "x", ...keys(19) })).body).includes("invalid_json"), false);
  assert.match(JSON.stringify((await create({ type: "x", ...keys(20) })).body), /invalid_json/);
  for (const [good, bad] of [[nested(4), nested(5)], [keys(20), keys(21)]]) {
    const ws = await joined();
    ws.send(`421${JSON.stringify(["nothing", good])}`);
    assert.match(await ws.next(), /^431\[/);
    ws.send(`422${JSON.stringify(["nothing", bad])}`);
    assert.equal(await ws.next(), "closed 1005");
  }
});

test("socketio.max_payload", async () => {
  const sid = await handshake();
  assert.equal((await post(sid, `4${"x".repeat(2000)}`)).status, 413);
  assert.equal((await post(sid, "3")).status, 200, "the session lives");
  const ws = await joined();
  const event = (n) => `421["nothing","${"x".repeat(n - 17)}"]`;
  assert.equal(event(2000).length, 2000);
  ws.send(event(2000));
  assert.match(await ws.next(), /^431\[/);
  ws.send(event(2001));
  assert.equal(await ws.next(), "closed 1009");
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
  while (!closed() && sent < 2000) {
    await Promise.all(Array.from({ length: 50 }, () => restRetry(other.base, "POST", `/v1/conversations/${group.id}/messages`,
      { token: bob.token, body: { client_msg_id: randomUUID(), text: "x".repeat(16000) } })));
    sent += 50;
  }
  assert.equal(closed(), 1, `of ${sent} messages`);
  await fine.until("the other has them all", () => fine.received.length === sent, 10000);
  assert.equal(fine.closed, null);
  slow.conn.socket.resume();
  await closes(slow.conn, 10000);
  assert.ok(slow.received.length < sent, "and is told to resume by losing the connection");
  fine.drop();
});

test("socketio.ping_interval and ping_timeout: a silent client goes", async () => {
  const conn = open();
  conn.write(head("GET", WS, { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": 13, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" }));
  assert.equal((await conn.response()).status, 101);
  conn.write(Buffer.from([0x81, 0x80 | 2, 0, 0, 0, 0, 0x34, 0x30])); // 40: refused, but it is not an idle session
  await conn.until("the PING", () => (conn.buffer.includes(Buffer.from([0x81, 1, 0x32])) ? true : undefined));
  await closes(conn);
  assert.ok(conn.ended);
});

test("socketio.upgrade_timeout", async () => {
  const sid = await handshake();
  const ws = await Ws.open(open(), `${WS}&sid=${sid}`);
  assert.equal(ws.refused, null);
  assert.equal(await ws.end(), "closed 1005");
  assert.equal((await post(sid, "3")).status, 200, "the session stays on polling");
});

test("socketio.connect_timeout", async () => {
  const ws = await session();
  assert.equal(await ws.end(), "closed 1005");
});

test("chat.max_text", async () => {
  const group = await makeConversation(server.base, ann.token, { type: "group", name: "t", members: [] });
  const say = (text) => rest(server.base, "POST", `/v1/conversations/${group.id}/messages`,
    { token: ann.token, body: { client_msg_id: randomUUID(), text } });
  assert.equal((await say("x".repeat(100))).status, 201);
  const r = await say("x".repeat(101));
  assert.equal(r.status, 422);
  assert.match(JSON.stringify(r.body), /"pointer":"\/text"/);
});

test("chat.rate and chat.burst", async () => {
  const group = await makeConversation(server.base, ann.token, { type: "group", name: "r", members: [] });
  const ws = await joined();
  const answers = [];
  for (let i = 0; i < 5; i++) {
    ws.send(`42${i}${JSON.stringify(["message.send", { conversation_id: group.id, client_msg_id: randomUUID(), text: "x" }])}`);
  }
  await ws.until("five acks", () => {
    answers.push(...ws.received.splice(0).filter((m) => m.startsWith("43")));
    return answers.length >= 5;
  });
  assert.equal(answers.filter((m) => m.includes('"data"')).length, 3, answers.join(" "));
  assert.equal(answers.filter((m) => m.includes("rate_limited")).length, 2, answers.join(" "));
});
