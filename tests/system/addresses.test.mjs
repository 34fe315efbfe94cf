// SPDX-License-Identifier: ISC
// Limits of one client address, over all workers together; and of connections altogether.
import assert from "node:assert";
import test from "node:test";
import { Conn, head } from "../clients/lib/raw.mjs";
import { Server, until } from "./lib/server.mjs";

const POLL = "/socket.io/?EIO=4&transport=polling";
const HANDSHAKE = { Upgrade: "websocket", Connection: "Upgrade", "Sec-WebSocket-Version": 13, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==" };

async function start(t, conf, workers = 4) {
  const server = await new Server({ workers, conf }).start();
  server.conns = [];
  t.after(async () => {
    for (const c of server.conns) c.destroy();
    await server.remove();
  });
  return server;
}

function open(server, localAddress) {
  const c = new Conn(server.port, { localAddress });
  server.conns.push(c);
  return c;
}

async function ask(c, bytes) {
  c.write(bytes);
  const r = await c.response();
  return r ? r.status : "closed";
}

/** The status that a new connection of the address gets for its first request. */
const knock = (server, address) => ask(open(server, address), head("GET", "/v1/health"));

test("http.max_connections_per_address counts over all workers, and a killed worker's are gone", { timeout: 60000 }, async (t) => {
  const server = await start(t, 'http { max_connections_per_address = 40 trusted_proxies = "" idle_timeout = 60s }');
  const far = "127.0.0.9";
  const kept = [];
  for (let i = 0; i < 40; i++) {
    const c = open(server, far);
    assert.equal(await ask(c, head("GET", "/v1/health")), 200, `connection ${i + 1}`);
    kept.push(c);
  }
  for (let i = 0; i < 8; i++) {
    const c = open(server, far);
    c.write(head("GET", "/v1/health"));
    const r = await c.response();
    assert.equal(r.status, 429);
    assert.equal(r.headers["retry-after"], "10");
    await c.until("the end of the connection", () => undefined);
    assert.ok(c.ended);
  }
  assert.equal(await knock(server, "127.0.0.10"), 200, "another address");
  kept.pop().destroy();
  await until("there is room for one", async () => (await knock(server, far)) === 200);
  const worker = server.processes("worker").find((p) => p.slot === 0) || server.processes("worker")[0];
  process.kill(worker.pid, "SIGKILL");
  await until("its connections are broken", () => kept.some((c) => c.ended));
  const broken = kept.filter((c) => c.ended).length;
  let got = 0;
  await until("their places are free", async () => {
    const c = open(server, far);
    if ((await ask(c, head("GET", "/v1/health"))) === 200) got++;
    return got >= broken;
  });
});

test("a killed worker's connections do not count while its successor waits", { timeout: 60000 }, async (t) => {
  const server = await start(t, 'http { max_connections_per_address = 40 trusted_proxies = "" idle_timeout = 60s }', 2);
  const far = "127.0.0.16";
  const kept = [];
  for (let i = 0; i < 40; i++) {
    const c = open(server, far);
    assert.equal(await ask(c, head("GET", "/v1/health")), 200);
    kept.push(c);
  }
  process.kill(server.processes("worker")[0].pid, "SIGKILL");
  await until("it is not started again at once", () => /proc\.backoff role=worker/.test(server.log));
  await until("its connections are broken", () => kept.some((c) => c.ended));
  assert.equal(await knock(server, far), 200, "the other worker serves the address");
});

test("http.trusted_proxies are not limited", { timeout: 60000 }, async (t) => {
  const server = await start(t, 'http { max_connections_per_address = 5 trusted_proxies = "127.0.0.9" }', 2);
  for (let i = 0; i < 20; i++) assert.equal(await knock(server, "127.0.0.9"), 200);
  for (let i = 0; i < 20; i++) assert.equal(await knock(server, "127.0.0.11"), i < 5 ? 200 : 429);
});

test("http.sessions_per_address: both transports, by address or by what a trusted proxy says", { timeout: 60000 }, async (t) => {
  const server = await start(t, 'http { sessions_per_address = 2 trusted_proxies = "127.0.0.9" }');
  const polling = (address, headers) => ask(open(server, address), head("GET", POLL, headers));
  const first = [];
  for (let i = 0; i < 24; i++) first.push(await polling("127.0.0.12"));
  assert.ok(first.slice(0, 20).every((s) => s === 200), "ten seconds' worth at once");
  assert.equal(first.at(-1), 429);
  assert.equal(await ask(open(server, "127.0.0.12"), head("GET", POLL.replace("polling", "websocket"), HANDSHAKE)), 429);
  const whole = open(server, "127.0.0.12");
  whole.write(head("GET", POLL));
  assert.equal((await whole.response()).headers["retry-after"], "1");
  assert.equal(await ask(whole, head("GET", "/v1/health")), 200, "other requests are served");
  const sockets = [];
  for (let i = 0; i < 24; i++) sockets.push(await ask(open(server, "127.0.0.15"), head("GET", POLL.replace("polling", "websocket"), HANDSHAKE)));
  assert.ok(sockets.slice(0, 20).every((s) => s === 101));
  assert.equal(sockets.at(-1), 429, "WebSockets count the same");
  assert.equal(await polling("127.0.0.15"), 429);
  assert.equal(await polling("127.0.0.13"), 200);
  const by = (client) => polling("127.0.0.9", { "X-Forwarded-For": `10.9.9.9, ${client}` });
  const forwarded = [];
  for (let i = 0; i < 24; i++) forwarded.push(await by("192.0.2.1"));
  assert.equal(forwarded.at(-1), 429);
  assert.equal(await by("192.0.2.2"), 200, "another client of the proxy");
  const added = () => polling("127.0.0.9", { "X-Forwarded-For": `10.9.9.${forwarded.length}\r\nX-Forwarded-For: 192.0.2.3` });
  for (let i = 0; i < 24; i++) forwarded.push(await added());
  assert.equal(forwarded.at(-1), 429, "a proxy may add a field of its own: the client's comes before it");
  assert.equal(await polling("127.0.0.14", { "X-Forwarded-For": "192.0.2.1" }), 200, "who is no proxy is not believed");
  await until("two more after a second", async () => (await polling("127.0.0.12")) === 200);
});

test("http.max_connections: the next wait until one leaves", { timeout: 60000 }, async (t) => {
  const server = await start(t, "http { max_connections = 16 idle_timeout = 60s head_timeout = 60s }", 1);
  const all = Array.from({ length: 30 }, () => {
    const c = open(server);
    c.write(head("GET", "/v1/health"));
    return c;
  });
  const served = () => all.filter((c) => c.buffer.length > 0);
  await until("some are served", () => served().length > 0);
  const inside = served()[0];
  await inside.response();
  for (let i = 0; i < 20; i++) {
    assert.equal(await ask(inside, head("GET", "/v1/health")), 200, "those inside are served");
  }
  const count = served().length;
  assert.ok(count <= 16, `${count} are served`);
  const waiting = all.find((c) => c !== inside && c.buffer.length === 0);
  for (const c of served()) c.destroy();
  assert.equal((await waiting.response()).status, 200, "and the next when one has left");
});
