// The tree under trouble: a worker that is killed loses no queued connection and disturbs
// nobody else; the children do not outlive their master; TERM drains; HUP keeps what was.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import test from "node:test";
import { Server, palaverctl, sleep, until } from "./lib/server.mjs";
import { Device, history, makeConversation, signup } from "./lib/client.mjs";

async function world(t, { workers, clients, conf = "chat { rate = 100000 burst = 100000 }" }) {
  const server = new Server({ workers, conf });
  const devices = [];
  t.after(async () => {
    for (const d of devices) d.close();
    await server.remove();
  });
  await server.start();
  const users = [];
  for (let i = 0; i < clients; i++) users.push(await signup(server.base, `user${i}`));
  const room = clients > 1 && await makeConversation(server.base, users[0].token, { type: "group", name: "all", members: users.map((u) => u.id) });
  for (const u of users) devices.push(new Device(server.base, u, [room.id]));
  await until("all have synced", () => devices.every((d) => d.synced));
  return { server, devices, users, room };
}

const slotOf = (device) => {
  const sid = device.socket.io.engine.id;
  return (sid.charCodeAt(0) - 65) * 26 + sid.charCodeAt(1) - 65; // two letters name the owner
};

const processState = (pid) => fs.readFileSync(`/proc/${pid}/stat`, "utf8").match(/\) (\w)/)[1];

/** Connections that wait in the port's listen queues, from the kernel's own table. */
function queued(port) {
  const hex = port.toString(16).toUpperCase().padStart(4, "0");
  return fs.readFileSync("/proc/net/tcp", "utf8").split("\n").map((l) => l.trim().split(/\s+/))
    .filter((f) => f[1] === `0100007F:${hex}` && f[3] === "0A")
    .reduce((n, f) => n + parseInt(f[4].split(":")[1], 16), 0);
}

/** One request on a connection of its own; resolves to the status, or the error. */
function request(port, done) {
  return new Promise((resolve) => {
    const finish = (v) => {
      done(v);
      resolve(v);
    };
    http.get({ host: "127.0.0.1", port, path: "/v1/health", agent: false, timeout: 20000 }, (r) => {
      r.resume();
      r.on("end", () => finish(r.statusCode));
    }).on("timeout", function () {
      this.destroy(new Error("no answer"));
    }).on("error", (e) => finish(e.message));
  });
}

test("stats adds up what all workers say", { timeout: 60000 }, async (t) => {
  const { server, devices } = await world(t, { workers: 3, clients: 9 });
  const { workers, ...total } = JSON.parse(server.ctl(["--json", "stats"]).stdout).data;
  assert.deepEqual(workers.map((w) => w.slot).sort(), [0, 1, 2]);
  assert.equal(total.clients, devices.length);
  for (const [name, value] of Object.entries(total)) assert.equal(value, workers.reduce((n, w) => n + w[name], 0), name);
  for (const w of workers) assert.equal(w.clients, devices.filter((d) => slotOf(d) === w.slot).length, `worker ${w.slot}`);
  assert.match(server.ctl(["stats"]).stdout, /^workers +3\n/);
});

test("all workers killed at one moment do not take the master with them", { timeout: 60000 }, async (t) => {
  const server = new Server({ workers: 4 });
  t.after(() => server.remove());
  await server.start();
  const victims = server.processes("worker").map((w) => w.pid);
  for (const pid of victims) process.kill(pid, "SIGKILL");
  await until("each has a successor", () => {
    assert.equal(server.exited, null, server.log);
    const now = server.processes("worker");
    return now.length === 4 && now.every((w) => w.state === "ready" && !victims.includes(w.pid));
  });
});

for (const lived of ["less", "more"]) {
  test(`a killed worker loses no queued connection (it lived ${lived} than 10 s)`, { timeout: 60000 }, async (t) => {
    const server = new Server({ workers: 2 });
    t.after(() => server.remove());
    await server.start();
    const born = Date.now();
    if (lived === "more") await until("it counts as healthy", () => Date.now() - born > 10500, 15000, 100);
    const victim = server.processes("worker")[0].pid;
    process.kill(victim, "SIGSTOP");
    await until("it stands still", () => processState(victim) === "T");
    const N = 200, answers = [];
    const all = Array.from({ length: N }, () => request(server.port, (v) => answers.push(v)));
    await until("every request is answered or queued", () => answers.length + queued(server.port) === N);
    const waiting = N - answers.length;
    assert.ok(waiting > 20, `${waiting} of ${N} wait for the one that stands still`);
    process.kill(victim, "SIGKILL");
    assert.deepEqual((await Promise.all(all)).filter((a) => a !== 200), [], `${waiting} were queued`);
    await until("the log tells it", () => server.log.includes("proc.killed"));
    assert.match(server.log, new RegExp(`proc\\.killed role=worker slot=0 pid=${victim} signal=9`));
    if (lived === "less") assert.match(server.log, /proc\.lent slot=0 to=1/);
    await until("its successor is ready", () => /proc\.start role=worker slot=0 pid=\d+ generation=2/.test(server.log) && server.processes("worker").length === 2 && server.processes("worker").every((p) => p.state === "ready"));
  });
}

test("clients of other workers notice nothing of a kill; its own come back by themselves", { timeout: 60000 }, async (t) => {
  const { server, devices, users, room } = await world(t, { workers: 4, clients: 40 });
  const slots = devices.map(slotOf);
  const slot = slots[0];
  const others = devices.filter((_, i) => slots[i] !== slot), own = devices.filter((_, i) => slots[i] === slot);
  assert.ok(others.length > 10 && own.length > 0, `${own.length} of 40 clients are on worker ${slot}`);
  const late = [];
  for (const d of others) d.socket.on("message.created", (ev) => late.push(Date.now() - Number(ev.data.text)));

  let going = true;
  const sends = [];
  const senders = others.slice(0, 5).map(async (d) => {
    while (going) {
      sends.push(await d.send(room.id, String(Date.now()), Date.now() + 10000));
      await sleep(20);
    }
  });
  await until("messages flow", () => sends.length > 50);
  const victim = server.processes("worker").find((p) => p.slot === slot);
  process.kill(victim.pid, "SIGKILL");
  await until("its clients have noticed", () => own.every((d) => d.disconnects.length > 0), 5000);
  await until("its clients are back", () => own.every((d) => d.connects > 1 && d.synced));
  await until("its successor is ready", () => server.processes("worker").some((p) => p.slot === slot && p.pid !== victim.pid && p.state === "ready"));
  const before = sends.length;
  await until("messages still flow", () => sends.length > before + 50);
  going = false;
  await Promise.all(senders);

  assert.deepEqual(others.flatMap((d) => d.disconnects), [], "nobody else lost the connection");
  assert.deepEqual(others.filter((d) => d.connects !== 1 || d.syncs !== 1 || d.holes.length), [], "nobody else had to ask for what was missed");
  assert.deepEqual(sends.filter((s) => !s.ack || s.tries > 1), [], "nobody else had to send twice");
  const slowest = Math.max(...late), slowestAck = Math.max(...sends.map((s) => s.ack.at - s.sent));
  assert.ok(slowest < 1500 && slowestAck < 1500, `slowest delivery ${slowest} ms, slowest acknowledgement ${slowestAck} ms`);
  const full = (await history(server.base, users[0].token, room.id)).map((ev) => ev.id);
  await until("all have everything", () => devices.every((d) => d.streams.get(room.id).length === full.length));
  for (const d of devices) assert.deepEqual(d.streams.get(room.id).map((ev) => ev.id), full);
  console.log(`# ${sends.length} sent; slowest delivery ${slowest} ms, acknowledgement ${slowestAck} ms; ${own.length} clients came back`);
});

test("losing the master ends the children, and a new one finds everything", { timeout: 60000 }, async (t) => {
  const { server, devices, users, room } = await world(t, { workers: 2, clients: 4 });
  const sent = [];
  for (let i = 0; i < 20; i++) sent.push(await devices[i % 4].send(room.id, `${i}`, Date.now() + 10000));
  assert.equal(server.alive().length, 4);
  await server.killMaster();
  await until("the children have left", () => server.alive().length === 0, 10000);
  await server.start();
  await until("all are back", () => devices.every((d) => d.connects > 1 && d.synced));
  const full = await history(server.base, users[0].token, room.id);
  assert.deepEqual(full.slice(1).map((ev) => ev.id), sent.map((s) => s.ack.id));
  for (const d of devices) assert.deepEqual(d.streams.get(room.id).map((ev) => ev.id), full.map((ev) => ev.id));
});

test("TERM drains: what was acknowledged stays, nothing is doubled, exit status 0", { timeout: 60000 }, async (t) => {
  const { server, devices, users, room } = await world(t, { workers: 2, clients: 8 });
  const until30 = Date.now() + 30000;
  let started = 0;
  const all = [];
  for (let i = 0; i < 400; i++) {
    all.push(devices[i % 8].send(room.id, `${i}`, until30));
    started++;
  }
  const pidFile = path.join(server.runDir, "palaverd.pid"), socket = path.join(server.runDir, "palaverd.sock");
  assert.equal(Number(fs.readFileSync(pidFile, "utf8")), server.process.pid);
  const from = Date.now();
  const end = await server.stop();
  assert.deepEqual(end, { code: 0, signal: null });
  assert.ok(Date.now() - from < 15000, "in time");
  assert.match(server.log, /master\.stopping/);
  assert.match(server.log, /master\.stopped status=0/);
  assert.doesNotMatch(server.log, /master\.drain_timeout|proc\.killed/);
  assert.deepEqual(server.alive(), []);
  assert.ok(!fs.existsSync(pidFile) && !fs.existsSync(socket), "pid file and control socket are gone");

  await server.start();
  const entries = await Promise.all(all);
  assert.deepEqual(entries.filter((e) => !e.ack), [], "each was acknowledged in the end");
  const full = await history(server.base, users[0].token, room.id);
  assert.equal(full.length, started + 1);
  const byId = new Map(full.map((ev) => [ev.id, ev.seq]));
  for (const e of entries) assert.equal(byId.get(e.ack.id), e.ack.seq);
});

test("HUP with a broken file keeps the old configuration; with a good one it takes the new", { timeout: 30000 }, async (t) => {
  const { server, devices, room } = await world(t, { workers: 2, clients: 2 });
  const good = fs.readFileSync(server.confPath, "utf8");
  const socket = path.join(server.runDir, "palaverd.sock");
  const ctl = (...args) => spawnSync(palaverctl, ["-s", socket, ...args], { encoding: "utf8", timeout: 20000 });
  const text = () => JSON.parse(ctl("--json", "conf").stdout);
  const pids = () => JSON.parse(ctl("--json", "status").stdout).data.processes.map((p) => p.pid).sort();
  const before = pids();
  const conf = text();

  fs.writeFileSync(server.confPath, `${good}\nlog { level = "loud" }\n`);
  server.process.kill("SIGHUP");
  await until("the log names the place", () => server.log.includes("master.reload_failed"));
  const line = good.split("\n").length + 1;
  assert.match(server.log, new RegExp(`master\\.reload_failed .*palaver\\.conf:${line}: log\\.level: "loud" is not one of.*the old configuration stays`));
  assert.deepEqual(text(), conf);
  const r = ctl("reload");
  assert.notEqual(r.status, 0, "palaverctl reload fails as well");
  assert.match(r.stderr, /palaver\.conf:\d+: log\.level/);

  fs.writeFileSync(server.confPath, good.replace("workers = 2", "workers = 3") + '\nlog { level = "debug" }\n');
  server.process.kill("SIGHUP");
  await until("it is taken", () => server.log.includes("master.reloaded"));
  assert.match(server.log, /master\.reloaded wants_restart=.*workers/);
  assert.notDeepEqual(text(), conf);
  assert.deepEqual(pids(), before, "the same processes");
  assert.ok((await devices[0].send(room.id, "still here", Date.now() + 5000)).ack);
  assert.deepEqual(devices.flatMap((d) => d.disconnects), [], "nobody was disconnected");
});
