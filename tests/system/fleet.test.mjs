// Unmodified socket.io-client 4.8: 200 clients on 4 workers, each in 3 conversations, for a
// minute: none lost, none doubled, the same order for everybody.
import assert from "node:assert";
import test from "node:test";
import { Server, sleep, until } from "./lib/server.mjs";
import { Device, history, makeConversation, signup } from "./lib/client.mjs";

const seconds = Number(process.env.FLEET_SECONDS || 60);
const CLIENTS = 200;
const GROUPS = 60; // of 10 members each: 200 clients x 3

test(`fleet: ${CLIENTS} clients, 4 workers, ${seconds} s`, { timeout: (seconds + 120) * 1000 }, async (t) => {
  const server = await new Server({ workers: 4 }).start();
  const devices = [];
  t.after(async () => {
    for (const d of devices) d.close();
    await server.remove();
  });
  const users = [];
  for (let i = 0; i < CLIENTS; i++) users.push(await signup(server.base, `fleet${i}`));
  const groups = [];
  for (let g = 0; g < GROUPS; g++) {
    const members = Array.from({ length: 10 }, (_, k) => users[(g * 10 + k) % CLIENTS]);
    const c = await makeConversation(server.base, members[0].token, { type: "group", name: `group ${g}`, members: members.map((u) => u.id) });
    groups.push({ id: c.id, members });
  }
  for (const u of users) devices.push(new Device(server.base, u, groups.filter((g) => g.members.includes(u)).map((g) => g.id)));
  await until("200 clients have synced", () => devices.every((d) => d.synced));
  for (const d of devices) assert.equal(d.last.size, 3);

  const owners = new Set(devices.map((d) => d.socket.io.engine.id.slice(0, 2)));
  assert.ok(owners.size === 4, `sessions are on ${owners.size} of 4 workers`);

  const sends = [];
  const end = Date.now() + seconds * 1000;
  await Promise.all(devices.map(async (d, i) => {
    const mine = [...d.last.keys()];
    for (let n = 0; Date.now() < end; n++) {
      await sleep(1500 + Math.random() * 1000);
      sends.push(await d.send(mine[n % 3], `message ${n} of ${i}`, end + 10000));
    }
  }));
  const unanswered = sends.filter((s) => !s.ack);
  assert.deepEqual(unanswered, []);
  const byConversation = new Map(groups.map((g) => [g.id, sends.filter((s) => s.conversation === g.id)]));
  await until("everybody has everything", () => devices.every((d) =>
    [...d.streams].every(([id, s]) => s.length === byConversation.get(id).length + 1)), 15000);
  for (const g of groups) {
    const full = await history(server.base, g.members[0].token, g.id);
    const want = full.map((ev) => ev.id);
    assert.equal(new Set(want).size, byConversation.get(g.id).length + 1, "history: each send once, and the beginning");
    for (const s of byConversation.get(g.id)) assert.ok(want.includes(s.ack.id), "acknowledged and in history");
    for (const d of devices) if (d.streams.has(g.id)) assert.deepEqual(d.streams.get(g.id).map((ev) => ev.id), want);
  }
  assert.equal(devices.reduce((n, d) => n + d.disconnects.length, 0), 0, "nobody lost the connection");
  console.log(`# ${sends.length} sent and acknowledged`);
});
