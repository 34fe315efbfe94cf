// SPDX-License-Identifier: ISC
// The disk is full under load: sends are refused with an error that says "try again", reading
// goes on, nothing that was acknowledged is lost, and it recovers by itself when there is space.
//
// The state directory is a tmpfs of a few megabytes in a mount namespace of the server's own.
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { check } from "../ledger/check.mjs";
import { readArchive } from "../ledger/ledger.mjs";
import { Device, history, makeConversation, rest, signup } from "./lib/client.mjs";
import { Server, sleep, until } from "./lib/server.mjs";

const UNSHARE = process.getuid() === 0 ? ["unshare", "-m"] : ["unshare", "-rm"];
const possible = () => spawnSync(UNSHARE[0], [...UNSHARE.slice(1), "sh", "-c", "mount -t tmpfs none /mnt"]).status === 0;

/** Writes into a file until there is no space for a single page any more. */
function fill(file) {
  const fd = fs.openSync(file, "a");
  for (let size = 1 << 20; size >= 4096; ) {
    try {
      fs.writeSync(fd, Buffer.alloc(size, "x"));
    } catch (e) {
      assert.equal(e.code, "ENOSPC");
      size /= 2;
    }
  }
  fs.closeSync(fd);
}

/** The archive, from a copy: sqlite3 does not look into another mount namespace. */
function archive(state, dir) {
  for (const name of ["palaver.db", "palaver.db-wal"]) fs.copyFileSync(path.join(state, name), path.join(dir, name));
  return readArchive(dir);
}

async function world(t) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), "palaver-full-"));
  fs.mkdirSync(path.join(dir, "state"));
  const server = new Server({
    dir, workers: 2, conf: "chat { rate = 1000 burst = 1000 }\nspool { segment = 1M }",
    wrapper: [...UNSHARE, "sh", "-c", 'mount -t tmpfs -o size=24m,mode=700 none "$0" && exec "$@"', path.join(dir, "state")],
  });
  const devices = [];
  t.after(async () => {
    for (const d of devices) d.close();
    await server.remove();
  });
  await server.start();
  const users = [];
  for (let i = 0; i < 6; i++) users.push(await signup(server.base, `user${i}`));
  const room = await makeConversation(server.base, users[0].token, { type: "group", name: "all", members: users.map((u) => u.id) });
  for (const u of users) devices.push(new Device(server.base, u, [room.id]));
  await until("all have synced", () => devices.every((d) => d.synced));
  return { server, devices, users, room, state: `/proc/${server.process.pid}/root${path.join(dir, "state")}` };
}

/** Keeps sending; each send is repeated until it is acknowledged. */
function flow(devices, room, ledger) {
  const all = [];
  let going = true, n = 0;
  const done = (async () => {
    while (going) {
      const d = devices[n % devices.length];
      all.push(d.send(room.id, `${n++} ${"long ".repeat(200)}`, Date.now() + 60000).then((e) => ledger.push(e)));
      await sleep(20);
    }
    await Promise.all(all);
  })();
  return () => {
    going = false;
    return done;
  };
}

test("disk full: refused and to be retried, readable, nothing lost, and it recovers", { timeout: 180000 }, async (t) => {
  if (!possible()) return t.skip("no mount namespaces here");
  const { server, devices, users, room, state } = await world(t);
  const ledger = [], ballast = path.join(state, "ballast");
  const stop = flow(devices, room, ledger);
  await until("messages flow", () => ledger.filter((e) => e.ack).length > 50);

  fill(ballast);
  const refusals = [];
  await until("sends are refused", async () => {
    fill(ballast);
    const body = { conversation_id: room.id, client_msg_id: randomUUID(), text: "is there space?" };
    const r = await devices[0].socket.timeout(8000).emitWithAck("message.send", body);
    if (r.data) ledger.push({ user: users[0].id, conversation: room.id, client_msg_id: body.client_msg_id, text: body.text, sent: Date.now(), ack: { ...r.data, at: Date.now() } });
    else {
      refusals.push(r.error);
      ledger.push({ user: users[0].id, conversation: room.id, client_msg_id: body.client_msg_id, text: body.text, sent: Date.now() });
    }
    return refusals.length >= 10;
  }, 60000, 50);
  assert.deepEqual([...new Set(refusals.map((e) => e.status))], [503], JSON.stringify(refusals[0]));
  assert.ok(refusals.every((e) => e.code === "storage_full"), JSON.stringify(refusals.map((e) => e.code)));

  fill(ballast);
  const upload = await fetch(`${server.base}/v1/files?name=x`, { method: "POST", headers: { authorization: `Bearer ${users[0].token}` }, body: Buffer.alloc(1 << 20) });
  assert.deepEqual([upload.status, (await upload.json()).code], [503, "storage_full"]);
  const left = fs.readdirSync(path.join(state, "files"), { recursive: true }).filter((name) => name.includes("fil_"));
  assert.deepEqual(left, [], "an upload that failed leaves nothing");

  const before = await history(server.base, users[1].token, room.id);
  assert.ok(before.length > 50, "the history can be read");
  const late = new Device(server.base, users[2], [room.id]);
  devices.push(late);
  await until("a client that comes now connects and syncs", () => late.synced, 15000);
  assert.equal((await rest(server.base, "GET", "/v1/conversations", { token: users[0].token })).status, 200);
  assert.ok(server.processes("worker").length === 2 && server.processes("hub").length === 1, "nobody died of it");
  assert.doesNotMatch(server.log, /proc\.killed|proc\.exit/);

  const from = Date.now();
  fs.unlinkSync(ballast);
  const again = await devices[3].send(room.id, "and now?", Date.now() + 30000);
  ledger.push(again);
  assert.ok(again.ack, "it recovers by itself");
  const recovery = Date.now() - from;
  await stop();
  assert.deepEqual(ledger.filter((e) => !e.ack && e.tries), [], "each send was acknowledged in the end");

  const full = await history(server.base, users[0].token, room.id);
  await until("the archive has everything", () => archive(state, server.dir).length >= full.length, 60000, 200);
  await until("every client has everything", () => devices.every((d) => d.last.get(room.id) >= full.at(-1).seq), 30000);
  const faults = check({
    ledger, history: new Map([[room.id, full]]), archive: archive(state, server.dir),
    streams: devices.map((d) => ({ name: d.user.username, conversation: room.id, events: d.streams.get(room.id) })),
    seen: devices.flatMap((d) => d.seen),
  });
  assert.deepEqual(faults.slice(0, 5), []);
  console.log(`# ${ledger.filter((e) => e.ack).length} acknowledged, ${refusals.length} probes refused, ${ledger.filter((e) => e.tries > 1).length} repeated; after ${recovery} ms it took messages again`);
});
