// SPDX-License-Identifier: ISC
// TLS: listen sections with a certificate, what is offered, renewal by reload, what is refused.
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import test from "node:test";
import tls from "node:tls";
import { io } from "socket.io-client";
import { makeConversation, signup } from "./lib/client.mjs";
import { freePort, palaverd, Server, until } from "./lib/server.mjs";

function makeCertificate(dir, name) {
  const cert = path.join(dir, `${name}.pem`);
  const key = path.join(dir, `${name}.key`);
  const r = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
    "-keyout", key, "-out", cert, "-days", "30", "-subj", `/CN=${name}`, "-addext", "subjectAltName=IP:127.0.0.1"]);
  assert.equal(r.status, 0, String(r.stderr));
  fs.chmodSync(key, 0o600);
  return { cert, key };
}

/** One TLS connection; resolves when the handshake is done. */
function dial(port, options = {}) {
  return new Promise((resolve, reject) => {
    const c = tls.connect({ port, host: "127.0.0.1", rejectUnauthorized: false, ...options }, () => resolve(c));
    c.on("error", reject);
  });
}

const nameOf = (c) => c.getPeerCertificate().subject.CN;

async function get(c, target = "/v1/health") {
  const got = new Promise((resolve, reject) => {
    let text = "";
    c.on("data", (d) => {
      text += d;
      if (text.includes("\r\n\r\n")) resolve(text);
    });
    c.on("close", () => reject(new Error("closed")));
  });
  c.write(`GET ${target} HTTP/1.1\r\nHost: x\r\n\r\n`);
  return got;
}

const refused = (port, options) => dial(port, options).then((c) => { c.destroy(); return "accepted"; }, (e) => e.code || e.message);
const closed = (c) => new Promise((resolve) => c.on("close", resolve));

let server;
let port;
let one;
let two;

test.before(async () => {
  server = new Server({ workers: 4 });
  port = await freePort();
  one = makeCertificate(server.dir, "one");
  two = makeCertificate(server.dir, "two");
  for (const k of ["cert", "key"]) fs.copyFileSync(one[k], path.join(server.dir, `live.${k}`));
  fs.chmodSync(path.join(server.dir, "live.key"), 0o600);
  server.options.conf = `listen { address = "127.0.0.1" port = ${port} certificate = "${server.dir}/live.cert" key = "${server.dir}/live.key" }
http { hsts = 180d head_timeout = 1s trusted_proxies = "127.0.0.1" }
socketio { ping_interval = 1500ms ping_timeout = 1500ms }`;
  await server.start();
});
test.after(() => server.remove());

test("HTTP over TLS beside HTTP, and HSTS only there", async () => {
  const c = await dial(port, { ALPNProtocols: ["h2", "http/1.1"] });
  assert.equal(c.alpnProtocol, "http/1.1");
  assert.match(await get(c), /^HTTP\/1\.1 200[^]*Strict-Transport-Security: max-age=15552000\r\n/);
  c.destroy();
  const plain = await fetch(`${server.base}/v1/health`);
  assert.equal(plain.headers.get("strict-transport-security"), null);
});

test("1.2 and 1.3 with forward secrecy, nothing older or weaker", async () => {
  assert.equal((await dial(port, { minVersion: "TLSv1.3" })).getProtocol(), "TLSv1.3");
  assert.equal((await dial(port, { maxVersion: "TLSv1.2" })).getProtocol(), "TLSv1.2");
  assert.notEqual(await refused(port, { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" }), "accepted");
  for (const ciphers of ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"]) {
    assert.notEqual(await refused(port, { maxVersion: "TLSv1.2", ciphers }), "accepted", ciphers);
  }
  const c = await dial(port, { maxVersion: "TLSv1.2" });
  const r = await new Promise((resolve) => {
    c.on("error", (e) => resolve(e.code));
    c.on("close", () => resolve("closed"));
    c.renegotiate({}, (e) => resolve(e ? e.code : "renegotiated"));
  });
  assert.notEqual(r, "renegotiated");
});

test("a ticket of one worker is good on all", async () => {
  const first = await dial(port);
  const session = await new Promise((resolve) => {
    first.on("session", resolve);
    first.write("GET /v1/health HTTP/1.1\r\nHost: x\r\n\r\n");
  });
  first.destroy();
  for (let i = 0; i < 12; i++) { // four workers by the hash of the port
    const c = await dial(port, { session });
    assert.ok(c.isSessionReused(), `connection ${i}`);
    c.destroy();
  }
});

test("Socket.IO over TLS: polling, upgrade, messages of maxPayload, beyond the handshake's time", { timeout: 30000 }, async (t) => {
  const ann = await signup(server.base, "ann");
  const group = await makeConversation(server.base, ann.token, { type: "group", name: "g", members: [] });
  const sockets = Array.from({ length: 8 }, () =>
    io(`https://127.0.0.1:${port}`, { forceNew: true, rejectUnauthorized: false, auth: { token: ann.token } }));
  t.after(() => sockets.forEach((s) => s.close()));
  const lost = [];
  const got = new Map(sockets.map((s) => [s, 0]));
  for (const s of sockets) {
    s.on("disconnect", (r) => lost.push(r));
    s.on("message.created", () => got.set(s, got.get(s) + 1));
  }
  await until("all are connected and upgraded", () => sockets.every((s) => s.connected && s.io.engine.transport.name === "websocket"));
  const text = "x".repeat(16000);
  const from = Date.now();
  let sent = 0;
  while (Date.now() - from < 4000) { // head_timeout is 1 s
    const ack = await sockets[sent % 8].timeout(5000).emitWithAck("message.send",
      { conversation_id: group.id, client_msg_id: randomUUID(), text });
    assert.ok(ack.data, JSON.stringify(ack));
    sent++;
  }
  await until("all have all", () => sockets.every((s) => got.get(s) === sent));
  assert.deepEqual(lost, []);
  const big = await sockets[0].timeout(5000).emitWithAck("message.send", { pad: "y".repeat(999000) });
  assert.ok(big.error, "a packet of nearly maxPayload came through");
});

test("reload: new connections get the new certificate, open ones live on", async () => {
  const old = await dial(port);
  assert.equal(nameOf(old), "one");
  for (const k of ["cert", "key"]) fs.copyFileSync(two[k], path.join(server.dir, `live.${k}`));
  assert.equal(server.ctl(["reload"]).status, 0);
  for (let i = 0; i < 8; i++) {
    await until("the new certificate", async () => {
      const c = await dial(port);
      const name = nameOf(c);
      c.destroy();
      return name === "two";
    });
  }
  assert.match(await get(old), /^HTTP\/1\.1 200/);
  old.destroy();
});

test("reload with files that cannot be used: the old certificate stays, and the answer says why", async () => {
  fs.copyFileSync(one.cert, path.join(server.dir, "live.cert")); // not for the key
  const r = server.ctl(["reload"]);
  assert.match(r.stdout + r.stderr, /listen\.certificate: .*live\.cert: is not for this key/);
  const c = await dial(port);
  assert.equal(nameOf(c), "two");
  c.destroy();
  fs.copyFileSync(two.cert, path.join(server.dir, "live.cert"));
});

test("refused at the start and by -t: name of the setting, the file, what is wrong", () => {
  const conf = (cert, key) => {
    const file = path.join(server.dir, "bad.conf");
    fs.writeFileSync(file, `state_dir = "${server.dir}/bad"\nrun_dir = "${server.dir}/badrun"\nlisten { port = 0 certificate = "${cert}" key = "${key}" }\n`);
    return file;
  };
  const open = path.join(server.dir, "open.key");
  fs.copyFileSync(one.key, open);
  fs.chmodSync(open, 0o644);
  const garbage = path.join(server.dir, "garbage");
  fs.writeFileSync(garbage, "not a certificate, but long enough to be read", { mode: 0o600 });
  for (const [cert, key, text] of [
    ["/none.pem", one.key, /listen\.certificate: \/none\.pem: cannot be read: No such file/],
    [garbage, one.key, /listen\.certificate: .*garbage: holds no certificate in PEM/],
    [one.cert, "/none.key", /listen\.key: \/none\.key: cannot be read/],
    [one.cert, open, /listen\.key: .*open\.key: may be read or written by others .*chmod 600/],
    [one.cert, garbage, /listen\.certificate: .*one\.pem: its key file holds no private key/],
    [one.cert, two.key, /listen\.certificate: .*one\.pem: is not for this key/],
    [one.cert, "", /bad\.conf:3: listen: certificate and key belong together; key is missing/],
  ]) {
    for (const argv of [["-t"], ["-f"]]) {
      const r = spawnSync(palaverd, [...argv, "-c", conf(cert, key)], { encoding: "utf8", timeout: 10000 });
      assert.notEqual(r.status, 0);
      assert.match(r.stderr, text);
    }
    assert.ok(!fs.existsSync(path.join(server.dir, "bad")), "nothing was made");
  }
});

test("who speaks no TLS, or begins and stops, is closed", async () => {
  const plain = net.connect(port, "127.0.0.1");
  plain.on("error", () => {});
  plain.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await closed(plain.resume());
  const silent = net.connect(port, "127.0.0.1");
  silent.on("error", () => {});
  const half = net.connect(port, "127.0.0.1");
  half.on("error", () => {});
  half.write(Buffer.from("16030100c4010000c0", "hex"));
  await Promise.all([closed(silent.resume()), closed(half.resume())]);
  const c = await dial(port); // the handshake, and then nothing
  await closed(c.resume());
  assert.ok(await server.healthy());
});

test("a killed worker under TLS: its clients come back by themselves", { timeout: 40000 }, async (t) => {
  const bob = await signup(server.base, "bob");
  const sockets = Array.from({ length: 20 }, () => io(`https://127.0.0.1:${port}`,
    { forceNew: true, rejectUnauthorized: false, auth: { token: bob.token }, transports: ["websocket"], reconnectionDelay: 100 }));
  t.after(() => sockets.forEach((s) => s.close()));
  await until("all are there", () => sockets.every((s) => s.connected));
  const lost = new Set();
  for (const s of sockets) s.on("disconnect", () => lost.add(s));
  const slot = sockets[0].io.engine.id.slice(0, 2);
  const owned = sockets.filter((s) => s.io.engine.id.startsWith(slot));
  const worker = server.processes("worker").find((p) => p.slot === slot.charCodeAt(1) - 65);
  process.kill(worker.pid, "SIGKILL");
  await until("its clients have noticed", () => owned.every((s) => lost.has(s)));
  await until("all are there again", () => sockets.every((s) => s.connected));
  assert.equal(lost.size, owned.length);
});

test("openssl's own client, as an administrator would try it", async () => {
  const c = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${port}`, "-brief"], { stdio: ["pipe", "pipe", "pipe"] });
  let text = "";
  c.stderr.on("data", (d) => (text += d));
  c.stdout.on("data", (d) => (text += d));
  c.stdin.write("GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  await until("the answer", () => /HTTP\/1\.1 200/.test(text));
  c.kill();
  assert.match(text, /Protocol version: TLSv1\.3/);
});
