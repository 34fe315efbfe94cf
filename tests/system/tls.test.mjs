// SPDX-License-Identifier: ISC
// TLS: listen sections with a certificate, what is offered, renewal by reload, what is refused.
import assert from "node:assert";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import test from "node:test";
import tls from "node:tls";
import { io } from "socket.io-client";
import { makeConversation, signup } from "./lib/client.mjs";
import { freePort, palaverd, Server, socketState, until } from "./lib/server.mjs";

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
const REQUEST = "GET /v1/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const tool = (...argv) => spawnSync(argv[0], argv.slice(1), { input: REQUEST, encoding: "utf8", timeout: 10000 });

/** A whole answer of openssl's own client, with what it says about the connection. */
function sClient(...args) {
  const r = tool("openssl", "s_client", "-connect", `127.0.0.1:${port}`, "-ign_eof", ...args);
  return r.stdout + r.stderr;
}

const raw = (options = {}) => {
  const c = net.connect({ port, host: "127.0.0.1", ...options });
  c.on("error", () => {});
  return c;
};

/** Puts a pair where the configuration looks for it. */
function install({ cert, key }) {
  fs.copyFileSync(cert, live.cert);
  fs.copyFileSync(key, live.key);
  fs.chmodSync(live.key, 0o600);
}

/** Each of the workers shows this certificate: so many connections in a row that none is left out. */
const showsEverywhere = (name) => until(`the certificate of ${name} on all workers`, async () => {
  for (let i = 0; i < 12; i++) {
    const c = await dial(port);
    const shown = nameOf(c);
    c.destroy();
    if (shown !== name) return false;
  }
  return true;
});

const big = randomBytes(15 << 20);
let server;
let port;
let second;
let live;
let one;
let two;

test.before(async () => {
  server = new Server({ workers: 4 });
  port = await freePort();
  second = await freePort();
  one = makeCertificate(server.dir, "one");
  two = makeCertificate(server.dir, "two");
  live = { cert: path.join(server.dir, "live.cert"), key: path.join(server.dir, "live.key") };
  install(one);
  const web = path.join(server.dir, "web");
  fs.mkdirSync(web);
  fs.writeFileSync(path.join(web, "big.bin"), big);
  server.options.conf = `listen { address = "127.0.0.1" port = ${port} certificate = "${live.cert}" key = "${live.key}" }
listen { address = "127.0.0.1" port = ${second} certificate = "${two.cert}" key = "${two.key}" }
http {
  web_root = "${web}" hsts = 180d head_timeout = 1s write_timeout = 1s
  trusted_proxies = "127.0.0.1" max_connections_per_address = 30
}
socketio { ping_interval = 1500ms ping_timeout = 1500ms }
chat { max_text = 128K rate = 100000 burst = 100000 }`;
  await server.start();
});
test.after(() => server.remove());
test.afterEach(async () => {
  assert.ok(await server.healthy(), "the server still serves");
});

test("HTTP over TLS beside HTTP, and HSTS only there", async () => {
  const c = await dial(port, { ALPNProtocols: ["h2", "http/1.1"] });
  assert.equal(c.alpnProtocol, "http/1.1");
  assert.match(await get(c), /^HTTP\/1\.1 200[^]*Strict-Transport-Security: max-age=15552000\r\n/);
  c.destroy();
  for (const target of ["/v1/health", "/none", "/socket.io/?EIO=4&transport=polling"]) {
    const plain = await fetch(server.base + target);
    assert.equal(plain.headers.get("strict-transport-security"), null);
    const t = await dial(port);
    assert.match(await get(t, target), /\r\nStrict-Transport-Security: max-age=15552000\r\n/);
    t.destroy();
  }
  const other = await dial(second);
  assert.equal(nameOf(other), "two", "each section has its own certificate");
  other.destroy();
});

test("curl: HTTP/1.1, also when it would rather have HTTP/2", () => {
  for (const version of ["--http1.1", "--http2"]) {
    const r = tool("curl", "-sS", "--cacert", one.cert, version, "-w", " %{http_version} %{http_code}", `https://127.0.0.1:${port}/v1/health`);
    assert.equal(r.stdout, '{"status":"ok"} 1.1 200', r.stderr);
  }
  assert.match(sClient("-alpn", "h2,http/1.1"), /^ALPN protocol: http\/1\.1$/m);
  assert.doesNotMatch(sClient("-alpn", "h2"), /^ALPN protocol: h2$/m);
});

test("1.2 and 1.3 with forward secrecy, nothing older or weaker", async () => {
  assert.equal((await dial(port, { minVersion: "TLSv1.3" })).getProtocol(), "TLSv1.3");
  assert.equal((await dial(port, { maxVersion: "TLSv1.2" })).getProtocol(), "TLSv1.2");
  assert.notEqual(await refused(port, { minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" }), "accepted");
  for (const ciphers of ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384"]) {
    assert.notEqual(await refused(port, { maxVersion: "TLSv1.2", ciphers }), "accepted", ciphers);
  }
  assert.match(sClient("-tls1_2"), /^New, TLSv1\.2, Cipher is ECDHE-/m);
  for (const args of [["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], ["-tls1_2", "-cipher", "AES128-GCM-SHA256"],
    ["-tls1_2", "-cipher", "AES128-SHA@SECLEVEL=0"]]) {
    const text = sClient(...args);
    assert.match(text, /alert (protocol version|handshake failure)/, args.join(" "));
    assert.match(text, /Cipher is \(NONE\)/);
  }
});

/** Has openssl's client ask for new keys within a connection of TLS 1.2; what it printed. */
async function renegotiate(to) {
  const c = spawn("openssl", ["s_client", "-connect", `127.0.0.1:${to}`, "-tls1_2"], { stdio: ["pipe", "pipe", "pipe"] });
  let text = "";
  for (const out of [c.stdout, c.stderr]) out.on("data", (d) => (text += d));
  await until("the handshake", () => /Verify return code/.test(text));
  c.stdin.write("R\n");
  await until("what comes of it", () => /RENEGOTIATING[^]*(error|verify return)/.test(text));
  c.kill();
  return text.slice(text.indexOf("RENEGOTIATING"));
}

test("renegotiation is refused", async (t) => {
  const willing = spawn("openssl", ["s_server", "-accept", "127.0.0.1:0", "-cert", one.cert, "-key", one.key, "-client_renegotiation"]);
  t.after(() => willing.kill());
  let text = "";
  willing.stdout.on("data", (d) => (text += d));
  const [, other] = await until("openssl's server", () => /^ACCEPT .*:(\d+)$/m.exec(text));
  assert.match(await renegotiate(other), /verify return/, "the client can");
  assert.match(await renegotiate(port), /no renegotiation/);
});

/** How many of a few connections, over all workers, were resumed with the session in the file. */
function resumed(version, file) {
  const all = Array.from({ length: 10 }, () => sClient(version, "-sess_in", file));
  for (const text of all) assert.match(text, /HTTP\/1\.1 200/);
  return all.filter((text) => /^Reused, TLS/m.test(text)).length;
}

test("a ticket of one worker is good on all, also on one that was started again", async () => {
  for (const version of ["-tls1_2", "-tls1_3"]) {
    const file = path.join(server.dir, `session${version}`);
    assert.match(sClient(version, "-sess_out", file), /^New, TLS/m);
    assert.equal(resumed(version, file), 10);
  }
  const victim = server.processes("worker")[0];
  process.kill(victim.pid, "SIGKILL");
  await until("its successor", () => server.processes("worker").some((p) => p.slot === victim.slot && p.pid !== victim.pid && p.state === "ready"));
  assert.equal(resumed("-tls1_3", path.join(server.dir, "session-tls1_3")), 10);
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
  const pad = await sockets[0].timeout(5000).emitWithAck("message.send", { pad: "y".repeat(999000) });
  assert.equal(pad.error.code, "invalid_field", "a packet of nearly maxPayload came through");
  const long = Array.from({ length: 12 }, () => randomBytes(48 << 10).toString("hex"));
  const acks = [];
  for (const [i, txt] of long.entries()) {
    acks.push((await sockets[i % 8].timeout(5000).emitWithAck("message.send",
      { conversation_id: group.id, client_msg_id: randomUUID(), text: txt })).data);
  }
  const texts = [];
  for (let last = acks[0].seq - 1, more = true; more;) { // half a megabyte and one message at a time
    const r = (await sockets[7].timeout(5000).emitWithAck("sync", { conversations: { [group.id]: last } })).data;
    texts.push(...r.events.map((e) => e.data.text));
    last = r.events.at(-1).seq;
    more = r.more;
  }
  assert.deepEqual(texts, long, "long answers come back whole");
  assert.deepEqual(lost, []);
});

const askBig = (c) => c.write("GET /big.bin HTTP/1.1\r\nHost: x\r\n\r\n");

test("a slow reader gets all of a big answer, one that does not read is cut", { timeout: 30000 }, async () => {
  const slow = await dial(port);
  const stuck = await dial(port);
  for (const c of [slow, stuck]) {
    c.pause();
    askBig(c);
  }
  const cut = until("the other is cut", () => socketState(port, stuck.localPort) !== "01");
  const parts = [];
  const size = () => parts.reduce((n, d) => n + d.length, 0);
  await until("the slow one has all", () => {
    const d = slow.read(300000) || slow.read();
    if (d) parts.push(d);
    return size() > big.length;
  }, 20000, 30);
  const all = Buffer.concat(parts);
  const body = all.subarray(all.indexOf("\r\n\r\n") + 4);
  const sum = (b) => createHash("sha256").update(b).digest("hex");
  assert.equal(sum(body), sum(big));
  slow.destroy();
  await cut;
  stuck.resume();
  await closed(stuck);
});

test("reload: new connections get the new certificate and no old ticket, open ones live on", async (t) => {
  const carl = await signup(server.base, "carl");
  const socket = io(`https://127.0.0.1:${port}`, { forceNew: true, rejectUnauthorized: false, auth: { token: carl.token }, transports: ["websocket"] });
  t.after(() => socket.close());
  const lost = [];
  socket.on("disconnect", (r) => lost.push(r));
  await until("a WebSocket", () => socket.connected);
  const file = path.join(server.dir, "session-old");
  assert.match(sClient("-tls1_3", "-sess_out", file), /^New, [^]*CN = one/m);
  const old = await dial(port);
  assert.equal(nameOf(old), "one");
  install(two);
  const r = server.ctl(["reload"]);
  assert.equal(r.status, 0);
  assert.doesNotMatch(r.stdout, /listen/);
  await showsEverywhere("two");
  assert.equal(resumed("-tls1_3", file), 0);
  assert.match(await get(old), /^HTTP\/1\.1 200/);
  old.destroy();
  assert.equal((await socket.timeout(5000).emitWithAck("nothing", {})).error.code, "unknown_event");
  assert.deepEqual(lost, []);
});

test("reload with files that cannot be used: the old certificate stays, and the answer says why", async () => {
  const bad = [
    [() => fs.rmSync(live.cert), /listen\.certificate: .*live\.cert: cannot be read: No such file/],
    [() => fs.rmSync(live.key), /listen\.key: .*live\.key: cannot be read: No such file/],
    [() => fs.writeFileSync(live.cert, "not a certificate at all, but long enough"), /listen\.certificate: .*live\.cert: holds no certificate in PEM/],
    [() => fs.copyFileSync(one.cert, live.cert), /listen\.certificate: .*live\.cert: is not for this key/],
    [() => fs.chmodSync(live.key, 0o644), /listen\.key: .*live\.key: may be read or written by others \(mode 0644\); chmod 600 it/],
  ];
  for (const [spoil, why] of bad) {
    install(two);
    spoil();
    const from = server.log.length;
    const r = server.ctl(["reload"]);
    assert.match(r.stdout + r.stderr, why);
    await until("the log says so", () => /master\.certificate_kept .*; the old certificate stays/.test(server.log.slice(from)));
    assert.match(server.log.slice(from), why);
    await showsEverywhere("two");
  }
  const victim = server.processes("worker")[0];
  process.kill(victim.pid, "SIGKILL");
  await until("its successor", () => server.processes("worker").some((p) => p.slot === victim.slot && p.pid !== victim.pid && p.state === "ready"));
  await showsEverywhere("two");
  install(one);
  assert.equal(server.ctl(["reload"]).status, 0);
  await showsEverywhere("one");
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
  const locked = path.join(server.dir, "locked.key");
  assert.equal(tool("openssl", "pkey", "-in", one.key, "-aes128", "-passout", "pass:word", "-out", locked).status, 0);
  fs.chmodSync(locked, 0o600);
  for (const [cert, key, text] of [
    ["/none.pem", one.key, /listen\.certificate: \/none\.pem: cannot be read: No such file/],
    [garbage, one.key, /listen\.certificate: .*garbage: holds no certificate in PEM/],
    [one.cert, "/none.key", /listen\.key: \/none\.key: cannot be read/],
    [one.cert, open, /listen\.key: .*open\.key: may be read or written by others .*chmod 600/],
    [one.cert, garbage, /listen\.certificate: .*one\.pem: its key file holds no private key/],
    [one.cert, locked, /listen\.certificate: .*one\.pem: its key file holds no private key in PEM, or one with a passphrase/],
    [one.cert, two.key, /listen\.certificate: .*one\.pem: is not for this key/],
    [one.cert, "", /bad\.conf:3: listen: certificate and key belong together; key is missing/],
  ]) {
    for (const argv of [["-t"], ["-f"]]) {
      const r = spawnSync(palaverd, [...argv, "-c", conf(cert, key)], { encoding: "utf8", timeout: 10000 });
      assert.ok(r.status === 77 || r.status === 78, `status ${r.status}`); // sysexits.h: NOPERM, CONFIG
      assert.match(r.stderr, text);
    }
    assert.ok(!fs.existsSync(path.join(server.dir, "bad")), "nothing was made");
  }
});

test("who speaks no TLS is closed at once, who begins and stops is closed by head_timeout", { timeout: 10000 }, async () => {
  const silent = raw();
  const gone = closed(silent.resume());
  const plain = raw();
  plain.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  let text = "";
  plain.on("data", (d) => (text += d));
  await closed(plain);
  assert.equal(text, "");
  assert.equal(silent.closed, false, "long before one that says nothing");
  const hello = Buffer.from("16030100c4010000c0", "hex");
  const half = raw();
  half.write(hello);
  const drops = raw();
  let sent = 0;
  const timer = setInterval(() => drops.write(sent < hello.length ? hello.subarray(sent, ++sent) : Buffer.from([0])), 50);
  const c = await dial(port); // the handshake, and then nothing
  await Promise.all([gone, closed(half.resume()), closed(drops.resume()).finally(() => clearInterval(timer)), closed(c.resume())]);
});

test("an address is limited over TLS too, and failed handshakes leave nothing behind", async (t) => {
  const localAddress = "127.0.0.9";
  for (let i = 0; i < 40; i++) {
    const c = raw({ localAddress });
    c.write("GET / HTTP/1.1\r\n\r\n");
    await closed(c.resume());
    assert.notEqual(await refused(port, { localAddress, minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" }), "accepted");
  }
  const kept = [];
  t.after(() => kept.forEach((c) => c.destroy()));
  for (let i = 0; i < 30; i++) kept.push(await dial(port, { localAddress }));
  for (let i = 0; i < 6; i++) assert.notEqual(await refused(port, { localAddress }), "accepted");
  assert.equal(await refused(port, { localAddress: "127.0.0.10" }), "accepted", "another address");
  kept.pop().destroy();
  await until("there is room for one", async () => (await refused(port, { localAddress })) === "accepted");
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

test("a key that others may read has the exit status of a secret, as palaverd(8) says", () => {
  const file = path.join(server.dir, "bad.conf");
  const key = path.join(server.dir, "open.key");
  fs.copyFileSync(one.key, key);
  fs.chmodSync(key, 0o644);
  fs.writeFileSync(file, `state_dir = "${server.dir}/bad"\nrun_dir = "${server.dir}/badrun"\nlisten { port = 0 certificate = "${one.cert}" key = "${key}" }\n`);
  for (const argv of [["-t"], ["-f"]]) assert.equal(spawnSync(palaverd, [...argv, "-c", file], { timeout: 10000 }).status, 77);
});

test("a failed handshake is no lack of descriptors", async () => {
  for (let i = 0; i < 20; i++) await refused(port, { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT:@SECLEVEL=0" });
  assert.doesNotMatch(server.log, /LimitNOFILE/);
});

test("reload: a certificate that cannot be used keeps no other one back, and wants no restart", async () => {
  const names = async (p) => {
    const c = await dial(p);
    const name = nameOf(c);
    c.destroy();
    return name;
  };
  install(two);
  assert.equal(server.ctl(["reload"]).status, 0);
  await showsEverywhere("two");
  install(one);
  const away = `${two.key}.away`;
  fs.renameSync(two.key, away); // of the other section
  const r = server.ctl(["reload"]);
  fs.renameSync(away, two.key);
  assert.match(r.stdout + r.stderr, /listen\.key: .*two\.key/);
  assert.doesNotMatch(r.stdout + r.stderr, /want a restart/);
  assert.equal(await names(second), "two");
  await showsEverywhere("one");
});
