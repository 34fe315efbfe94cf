// SPDX-License-Identifier: ISC
// The wall clock jumps an hour forth and two back, under load, with processes killed in between:
// order and numbers stay, nothing is lost or doubled, nobody is disconnected by it.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { check } from "../ledger/check.mjs";
import { readArchive } from "../ledger/ledger.mjs";
import { Device, history, makeConversation, signup } from "./lib/client.mjs";
import { Server, root, sleep, until } from "./lib/server.mjs";

/** A clock that the test sets, in seconds from the real one; the server's environment has it. */
function makeClock(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "palaver-clock-"));
  const library = path.join(dir, "clock_shim.so"), file = path.join(dir, "offset");
  const built = spawnSync(process.env.CC || "cc", ["-shared", "-fPIC", "-O1", "-o", library, path.join(root, "tests/system/lib/clock_shim.c")], { encoding: "utf8" });
  assert.equal(built.status, 0, built.stderr);
  const set = (seconds) => {
    const b = Buffer.alloc(8);
    b.writeBigInt64LE(BigInt(seconds));
    const fd = fs.openSync(file, "r+");
    fs.writeSync(fd, b, 0, 8, 0);
    fs.closeSync(fd);
  };
  fs.writeFileSync(file, Buffer.alloc(8));
  t.after(() => fs.rmSync(dir, { recursive: true }));
  return { set, wrapper: ["env", `LD_PRELOAD=${library}`, `CLOCK_FILE=${file}`] };
}

const shift = (iso) => Math.round((Date.parse(iso) - Date.now()) / 1000);

test("the clock jumps an hour forth and two back: no harm", { timeout: 180000 }, async (t) => {
  const clock = makeClock(t);
  const server = new Server({ workers: 2, wrapper: clock.wrapper, conf: 'chat { rate = 1000 burst = 1000 }\naccounts { access_ttl = "24h" }' });
  const devices = [], ledger = [];
  t.after(async () => {
    for (const d of devices) d.close();
    await server.remove();
  });
  await server.start();
  const users = [];
  for (let i = 0; i < 8; i++) users.push(await signup(server.base, `user${i}`));
  const room = await makeConversation(server.base, users[0].token, { type: "group", name: "all", members: users.map((u) => u.id) });
  for (const u of users) devices.push(new Device(server.base, u, [room.id]));
  await until("all have synced", () => devices.every((d) => d.synced));

  let going = true;
  const senders = devices.map(async (d, i) => {
    for (let n = 0; going; n++) {
      ledger.push(await d.send(room.id, `${i} says ${n}`, Date.now() + 60000));
      await sleep(20);
    }
  });
  const more = (n) => {
    const want = ledger.length + n;
    return until("messages flow", () => ledger.length >= want);
  };
  const killOne = async (role) => {
    const victim = server.processes(role)[0];
    process.kill(victim.pid, "SIGKILL");
    await until(`a new ${role}`, () => server.processes(role).some((p) => p.slot === victim.slot && p.pid !== victim.pid && p.state === "ready"));
    await more(100);
  };

  await more(100);
  for (const seconds of [3600, -3600]) {
    const connects = devices.map((d) => d.connects);
    clock.set(seconds);
    const probe = await devices[0].send(room.id, `it is another hour: ${seconds}`, Date.now() + 60000);
    ledger.push(probe);
    if (seconds > 0) assert.ok(Math.abs(shift(probe.ack.created_at) - seconds) < 60, `the server's clock is another: ${probe.ack.created_at}`);
    await more(300);
    await sleep(3000); // timers that hang on the wall clock would have fired or stalled by now
    await more(100);
    assert.deepEqual(devices.map((d) => d.connects), connects, "nobody was disconnected by the jump");
    for (const role of ["hub", "worker", "archiver"]) await killOne(role);
  }
  going = false;
  await Promise.all(senders);
  assert.deepEqual(ledger.filter((e) => !e.ack), []);

  const full = await history(server.base, users[0].token, room.id);
  await until("the archive has everything", () => readArchive(server.stateDir).length >= full.length, 60000, 200);
  await until("every client has everything", () => devices.every((d) => d.last.get(room.id) >= full.at(-1).seq), 30000);
  for (let i = 1; i < full.length; i++) {
    assert.equal(full[i].seq, full[i - 1].seq + 1, "the numbers have no holes");
    assert.ok(full[i].created_at >= full[i - 1].created_at, "the times never go back");
  }
  const faults = check({
    ledger, history: new Map([[room.id, full]]), archive: readArchive(server.stateDir),
    streams: devices.map((d) => ({ name: d.user.username, conversation: room.id, events: d.streams.get(room.id) })),
    seen: devices.flatMap((d) => d.seen),
  });
  assert.deepEqual(faults.slice(0, 5), []);
  console.log(`# ${ledger.length} messages, two jumps, 6 kills`);
});
