// SPDX-License-Identifier: ISC
// Unmodified clients, old and new, in each mode against 4 workers: nothing is lost, doubled or
// out of order, no session ends, and each client reports refusals and kicks as it does with the
// reference.  FLEET_SECONDS (60; the older versions 5), FLEET_CLIENTS and FLEET_RATE change the load.
import assert from "node:assert";
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import test, { after, before } from "node:test";
import { manager, modes } from "./lib/client.mjs";
import { judgeFleet, runFleet, summary } from "./lib/fleet.mjs";
import { TestServer, until } from "./lib/testserver.mjs";

const require = createRequire(import.meta.url);
const here = (name) => fileURLToPath(new URL(name, import.meta.url));

const WORKERS = 4;
const SECONDS = process.env.FLEET_SECONDS ? Number(process.env.FLEET_SECONDS) : undefined;
const clients = Number(process.env.FLEET_CLIENTS || 200);
const rate = Number(process.env.FLEET_RATE || 2);
const python = process.env.CLIENTS_VENV ? `${process.env.CLIENTS_VENV}/bin/python` : here(".venv/bin/python");
const versions = { "4.8": "sio-client-4-8", "4.5": "sio-client-4-5", "4.0": "sio-client-4-0", "3.1": "sio-client-3-1" };
const DENIED = { message: "not authorized", data: { code: 401, hint: "no token" } };

let server;
before(async () => (server = await new TestServer(["--workers", String(WORKERS)]).start()));
after(() => server.stop());

/** A server of several processes must have sessions on `least` of them; the reference is one process. */
function judgeOwners(ids, least) {
  if (!process.env.SERVER) assert.equal(server.workers().length, WORKERS);
  if (server.workers().length < 2) return;
  const owners = new Set(ids.map((id) => id.slice(0, 2)));
  assert.ok(owners.size >= least && owners.size <= WORKERS, `sessions are on ${[...owners]}`);
}

for (const [version, client] of Object.entries(versions)) {
  for (const mode of Object.keys(modes)) {
    const seconds = SECONDS ?? (version === "4.8" ? 60 : 5);
    test(`client ${version}, ${mode}: ${clients} clients, ${seconds} s`, { timeout: (seconds + 240) * 1000 }, async (t) => {
      const reports = await runFleet({ base: server.base, client, mode, clients, seconds, rate });
      t.diagnostic(summary(reports));
      judgeFleet(reports, { clients, mode });
      judgeOwners(reports.map((r) => r.id), WORKERS);
      assert.equal(server.exited, undefined);
    });

    test(`client ${version}, ${mode}: a refused namespace`, { timeout: 30000 }, (t) => refusal(t, client, mode));
    test(`client ${version}, ${mode}: both kicks`, { timeout: 60000 }, (t) => kicks(t, client, mode));
    test(`client ${version}, ${mode}: rooms are left, and all are reached`, { timeout: 30000 }, (t) => rooms(t, client, mode));
  }
}

/** Opens a manager with these namespaces; what their sockets report goes to `said`. */
function open(t, client, mode, names) {
  const m = manager(client, server.base, mode, { reconnection: false });
  const said = [];
  const sockets = names.map((nsp) => {
    const s = m.socket(nsp);
    s.on("connect", () => said.push([nsp, "connect"]));
    s.on("connect_error", (e) => said.push([nsp, "connect_error", e instanceof Error, e.message, e.data]));
    s.on("disconnect", (reason) => said.push([nsp, "disconnect", reason]));
    s.open();
    return s;
  });
  m.open();
  t.after(() => {
    for (const s of sockets) s.close();
    m.engine.close();
  });
  return { m, said, sockets };
}

const call = (socket, ...args) => new Promise((resolve) => socket.emit(...args, (...back) => resolve(back)));

async function refusal(t, client, mode) {
  const { said, sockets } = open(t, client, mode, ["/", "/denied"]);
  await until("both answers", () => said.length >= 2);
  assert.deepEqual(said.sort(), [["/", "connect"], ["/denied", "connect_error", true, DENIED.message, DENIED.data]]);
  assert.equal(sockets[1].connected, false);
  assert.deepEqual(await call(sockets[0], "message-with-ack", "still here"), ["still here"]);
  assert.equal(said.length, 2, "nothing else was said");
}

async function kicks(t, client, mode) {
  const { m, said, sockets } = open(t, client, mode, ["/", "/custom"]);
  const [root, custom] = sockets;
  const joined = () => until("both joins", () => root.connected && custom.connected);
  await joined();
  const first = m.engine.id;
  said.length = 0;
  root.emit("kick", false);
  await until("the end of the one namespace", () => !root.connected);
  assert.deepEqual(said, [["/", "disconnect", "io server disconnect"]]);
  assert.deepEqual(await call(custom, "message-with-ack", 1), [1], "the other namespace goes on");
  root.connect();
  await joined();
  assert.equal(m.engine.id, first, "the join was on the same session");

  said.length = 0;
  const { engine } = m;
  custom.emit("kick", true);
  await until("the end of the connection", () => engine.readyState === "closed" && said.length >= 2);
  // which namespace ends first is not promised
  assert.deepEqual(said.sort(), [["/", "disconnect", "io server disconnect"], ["/custom", "disconnect", "io server disconnect"]]);
  for (const s of sockets) s.connect();
  await joined();
  assert.notEqual(m.engine.id, first);
  assert.deepEqual(await call(custom, "message-with-ack", "new"), ["new"]);
}

async function rooms(t, client, mode) {
  const all = Array.from({ length: 8 }, () => open(t, client, mode, ["/"]).sockets[0]);
  await until("every join", () => all.every((s) => s.connected));
  const heard = all.map(() => []);
  all.forEach((s, i) => {
    s.on("room-msg", (...args) => heard[i].push(["room", ...args]));
    s.on("all-msg", (...args) => heard[i].push(["all", ...args]));
  });
  for (const s of all) assert.deepEqual(await call(s, "join", "den"), ["joined"]);
  assert.deepEqual(await call(all[7], "leave", "den"), ["left"]);
  all[0].emit("to-room", "den", 1);
  all[0].emit("to-all", 2, Buffer.from([0, 1, 255]));
  await until("the message to all", () => heard.every((h) => h.some(([kind]) => kind === "all")));
  const everybody = ["all", 2, Buffer.from([0, 1, 255])];
  assert.deepEqual(heard, all.map((_, i) => (i === 0 || i === 7 ? [everybody] : [["room", "den", 1], everybody])));
}

for (const mode of Object.keys(modes)) {
  test(`client 2, ${mode}: is refused`, { timeout: 30000 }, async (t) => {
    const socket = require("sio-client-2")(server.base, { transports: modes[mode], reconnection: false, forceNew: true });
    t.after(() => socket.close());
    const said = [];
    for (const event of ["connect", "connect_error", "error", "disconnect"]) socket.on(event, (e) => said.push([event, e]));
    await until("an answer", () => said.length > 0, 10000);
    const [[event, error]] = said;
    assert.equal(event, "connect_error");
    assert.equal(error.type, "TransportError");
    assert.equal(error.message, mode === "websocket" ? "websocket error" : "xhr poll error");
    if (mode !== "websocket") assert.equal(error.description, 400);
    const raw = await fetch(`${server.base}/socket.io/?EIO=3&transport=polling`);
    assert.deepEqual([raw.status, await raw.json()], [400, { code: 5, message: "Unsupported protocol version" }]);
    assert.equal(said.length, 1, "that is all that it said");
    assert.equal(socket.connected, false);
  });
}

function runPython(mode, seconds) {
  const child = spawn(python, [here("fleet.py"), server.base, mode, "--clients", "20", "--seconds", String(seconds), "--rate", String(rate)], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.on("data", (d) => (out += d));
  child.stderr.on("data", (d) => (err += d));
  return new Promise((resolve, reject) => {
    child.on("error", (e) => reject(new Error(`${e.message}; run ./setup.sh first`)));
    child.on("close", (code) => (code === 0 ? resolve(JSON.parse(out)) : reject(new Error(`fleet.py: ${code}\n${err.slice(-3000)}`))));
  });
}

for (const mode of Object.keys(modes)) {
  const seconds = SECONDS ?? 5;
  test(`python-socketio, ${mode}: 20 clients, ${seconds} s`, { timeout: (seconds + 150) * 1000 }, async (t) => {
    const r = await runPython(mode, seconds);
    t.diagnostic(JSON.stringify(r.counts));
    assert.deepEqual(r.problems.slice(0, 20), []);
    assert.equal(new Set(r.sids).size, 20);
    judgeOwners(r.sids, 2); // 20 clients may miss one of four
    const transport = mode === "polling" ? "polling" : "websocket";
    assert.ok(r.transports.length === 20 && r.transports.every((name) => name === transport), String(r.transports));
    for (const kind of ["ack", "back", "toRoom", "ask", "binary"]) assert.ok(r.counts[kind] > 0, kind);
    assert.ok(r.heard.every((n) => n > 0), "every client heard its room");
    assert.deepEqual(r.threaded, { wrong: [], transport });
    assert.deepEqual(r.refusal.connect_error, [DENIED]);
    assert.deepEqual(r.kicks.soft, { events: [["/", "server disconnect"]], other: ["still", "here"], same: true });
    assert.deepEqual(r.kicks.hard, { events: [["/custom", "server disconnect"]], again: "new", fresh: true });
  });
}
