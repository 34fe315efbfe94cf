// SPDX-License-Identifier: ISC
// Files: uploading, attaching them to messages, reading them, who may, and what becomes of
// them when messages are deleted, users leave, processes die and clients give up half-way.
import assert from "node:assert";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import fs from "node:fs";
import net from "node:net";
import path from "node:path";
import test from "node:test";
import { makeConversation } from "./lib/client.mjs";
import { until } from "./lib/server.mjs";
import { code, world } from "./lib/world.mjs";

const MIB = 1 << 20;
const bearer = (user) => ({ authorization: `Bearer ${user.token}` });
const json = async (r) => ({ status: r.status, body: await r.json().catch(() => null), headers: r.headers });

/** What files.test needs beside a world. */
async function filesWorld(t, options) {
  const w = await world(t, options), { server } = w;
  w.put = async (user, body, name = "tea.png", type = "image/png") =>
    json(await fetch(`${server.base}/v1/files?name=${encodeURIComponent(name)}`, { method: "POST", headers: { ...bearer(user), "content-type": type }, body }));
  w.upload = async (...args) => {
    const r = await w.put(...args);
    assert.equal(r.status, 201, JSON.stringify(r.body));
    return r.body;
  };
  w.content = (user, id, headers = {}) => fetch(`${server.base}/v1/files/${id}/content`, { headers: { ...bearer(user), ...headers } });
  w.bytes = async (user, id, headers) => {
    const r = await w.content(user, id, headers);
    return { status: r.status, headers: r.headers, data: Buffer.from(await r.arrayBuffer()) };
  };
  w.sees = async (user, id) => {
    const r = await w.content(user, id);
    await r.arrayBuffer();
    return r.status;
  };
  const dir = path.join(server.stateDir, "files");
  /** The names of all contents, those that are being written too. */
  w.onDisk = () => fs.readdirSync(dir, { recursive: true, withFileTypes: true }).filter((e) => e.isFile()).map((e) => e.name);
  return w;
}

test("a file of any size comes back as it was, and its parts", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann } = w.users;
  for (const size of [0, 1, 65536, 128 * 1024 + 1, 5 * MIB, 10 * MIB]) {
    const body = randomBytes(size), f = await w.upload(ann, body, `of ${size} bytes`, "Application/X-Own; a=b");
    assert.deepEqual(f, { id: f.id, name: `of ${size} bytes`, type: "application/x-own", size });
    const back = await w.bytes(ann, f.id);
    assert.deepEqual([back.status, back.headers.get("content-type"), back.data.length], [200, "application/octet-stream", size]);
    assert.ok(back.data.equals(body), `${size} bytes`);
    const known = await w.call(ann, "GET", `/files/${f.id}`);
    assert.deepEqual(known.body, { ...f, owner_id: ann.id, created_at: known.body.created_at, conversation_id: null, message_id: null });
    if (size < 65536) continue;
    for (const [range, from, to] of [["bytes=0-0", 0, 1], ["bytes=1000-70000", 1000, Math.min(70001, size)], [`bytes=${size - 1}-`, size - 1, size], ["bytes=-5000", size - 5000, size]]) {
      const part = await w.bytes(ann, f.id, { range });
      assert.deepEqual([part.status, part.headers.get("content-range")], [206, `bytes ${from}-${to - 1}/${size}`], range);
      assert.ok(part.data.equals(body.subarray(from, to)), range);
    }
    const all = await w.bytes(ann, f.id, { range: "bytes=0-1", "if-range": '"another"' });
    assert.deepEqual([all.status, all.data.length], [200, size], "the range is of another version");
    const no = await w.content(ann, f.id, { range: `bytes=${size}-` });
    assert.deepEqual([no.status, no.headers.get("content-range"), (await no.json()).code], [416, `bytes */${size}`, "range_not_satisfiable"]);
    const head = await fetch(`${w.server.base}/v1/files/${f.id}/content`, { method: "HEAD", headers: { ...bearer(ann), range: "bytes=0-1" } });
    assert.deepEqual([head.status, head.headers.get("content-length"), (await head.arrayBuffer()).byteLength], [200, `${size}`, 0]);
    const same = await w.content(ann, f.id, { "if-none-match": back.headers.get("etag") });
    assert.equal(same.status, 304);
  }
});

test("a chunked upload, and one of several at once", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann } = w.users;
  const pieces = Array.from({ length: 40 }, () => randomBytes(50000));
  async function* stream() {
    for (const p of pieces) yield p;
  }
  const r = await json(await fetch(`${w.server.base}/v1/files?name=chunks`, { method: "POST", headers: bearer(ann), body: stream(), duplex: "half" }));
  assert.equal(r.status, 201, JSON.stringify(r.body));
  assert.equal(r.body.type, "application/octet-stream");
  assert.ok((await w.bytes(ann, r.body.id)).data.equals(Buffer.concat(pieces)));
  const people = Object.values(w.users), bodies = Array.from({ length: 16 }, () => randomBytes(MIB));
  const all = await Promise.all(bodies.map((b, i) => w.upload(people[i % 4], b)));
  const back = await Promise.all(all.map((f, i) => w.bytes(people[i % 4], f.id)));
  back.forEach((b, i) => assert.ok(b.data.equals(bodies[i]), `file ${i}`));
});

test("what a message has, all who may read the message may read, and no one else", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann, bob, cyd, dan } = w.users, peer = await w.peer(bob);
  const body = randomBytes(1000), f = await w.upload(ann, body, "plan \"B\" é.pdf", "application/pdf"), g = await w.upload(ann, "text", "t.txt", "text/plain");
  assert.equal(await w.sees(bob, f.id), 404, "nobody but its owner, while no message has it");
  assert.equal((await w.call(bob, "GET", `/files/${f.id}`)).status, 404);
  const id = await w.send(ann, "", { files: [f.id, g.id] });
  const event = await peer.heard("message.created", (e) => e.id === id);
  assert.deepEqual(event.data.files, [f, g]);
  assert.equal(event.data.text, "");
  for (const user of [ann, bob, cyd]) assert.equal(await w.sees(user, f.id), 200, user.username);
  assert.equal(await w.sees(dan, f.id), 404);
  assert.deepEqual((await w.shown(bob, id)).files, [f, g]);
  const known = (await w.call(bob, "GET", `/files/${f.id}`)).body;
  assert.deepEqual([known.message_id, known.conversation_id, known.owner_id], [id, w.group, ann.id]);
  const pdf = await w.content(bob, f.id), txt = await w.content(bob, g.id);
  assert.equal(pdf.headers.get("content-disposition"), "attachment; filename=\"plan _B_ __.pdf\"; filename*=UTF-8''plan%20%22B%22%20%C3%A9.pdf");
  assert.match(txt.headers.get("content-disposition"), /^inline;/);
  assert.equal(txt.headers.get("content-type"), "text/plain; charset=utf-8");
  assert.equal(pdf.headers.get("content-type"), "application/octet-stream", "nothing that a page could take for a script or a style");
  for (const r of [pdf, txt]) {
    assert.equal(r.headers.get("content-security-policy"), "default-src 'none'; sandbox");
    assert.equal(r.headers.get("x-content-type-options"), "nosniff");
    await r.arrayBuffer();
  }
  assert.equal((await w.call(ann, "PATCH", `/messages/${id}`, { text: "with words" })).status, 200);
  assert.deepEqual((await w.shown(bob, id)).files, [f, g], "an edit leaves them");

  assert.equal((await w.call(ann, "DELETE", `/conversations/${w.group}/members/${cyd.id}`)).status, 204);
  assert.equal(await w.sees(cyd, f.id), 404, "who is a member no more");
});

test("who may not read so far back does not read the files there", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann, bob, dan } = w.users;
  const room = (await makeConversation(w.server.base, ann.token, { type: "group", name: "later", history: "joined", members: [bob.id] })).id;
  const f = await w.upload(ann, "early"), g = await w.upload(ann, "late");
  await w.send(ann, "early", { conversation: room, conversation_id: room, files: [f.id] });
  assert.equal((await w.call(ann, "POST", `/conversations/${room}/members`, { user_ids: [dan.id] })).status, 201);
  await w.send(ann, "late", { conversation: room, conversation_id: room, files: [g.id] });
  assert.deepEqual([await w.sees(bob, f.id), await w.sees(dan, f.id), await w.sees(dan, g.id)], [200, 404, 200]);
});

test("a file is for one message, and a retry is the same message", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 4 }), { ann, bob } = w.users, peer = await w.peer(ann);
  const f = await w.upload(ann, "one"), id = randomUUID();
  const body = { conversation_id: w.group, client_msg_id: id, text: "here", files: [f.id] };
  const answers = await Promise.all(Array.from({ length: 8 }, (_, i) => (i % 2
    ? peer.ask("message.send", body).then((r) => r.data)
    : w.call(ann, "POST", `/conversations/${w.group}/messages`, body).then((r) => r.body))));
  assert.equal(new Set(answers.map((a) => `${a.id} ${a.seq}`)).size, 1, JSON.stringify(answers));
  assert.equal(answers.filter((a) => !a.duplicate).length, 1, "seven of them are told that it is one");
  const why = async (more, user = ann) => {
    const r = await w.call(user, "POST", `/conversations/${w.group}/messages`, { client_msg_id: randomUUID(), text: "x", ...more });
    return `${r.status} ${r.body.errors?.[0].pointer} ${r.body.errors?.[0].code}`;
  };
  assert.equal(await why({ files: [f.id] }), "422 /files in_use");
  const other = await w.upload(bob, "bob's"), mine = await w.upload(ann, "mine");
  assert.equal(await why({ files: [mine.id, other.id] }), "422 /files no_such_file");
  assert.equal(await why({ files: [mine.id, mine.id] }), "422 /files invalid");
  assert.equal(await why({ files: ["none"] }), "422 /files invalid");
  assert.equal(await why({ files: [7] }), "422 /files wrong_type");
  assert.equal(await why({ files: Array(11).fill(0).map((_, i) => `fil_${String(i).padStart(26, "0")}`) }), "422 /files too_many");
  assert.equal(await why({ text: "", files: [] }), "422 /text empty");
  assert.equal(await why({ text: undefined, files: [mine.id], mentions: ["none"] }), "422 /mentions invalid");
  assert.equal((await w.call(ann, "POST", `/conversations/${w.group}/messages`, { ...body, files: [mine.id] })).body.code, "client_msg_id_reused");
  await w.send(ann, "x", { files: [mine.id] }); // what was refused has not taken it away
});

test("a deleted message takes its files along; others the owner deletes", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann, bob } = w.users;
  const f = await w.upload(ann, randomBytes(100000)), loose = await w.upload(ann, "loose"), kept = await w.upload(ann, "kept");
  const id = await w.send(ann, "look", { files: [f.id] });
  await w.send(ann, "stays", { files: [kept.id] });
  assert.equal(code(await w.call(ann, "DELETE", `/files/${f.id}`)), "file_in_use");
  assert.equal(code(await w.call(bob, "DELETE", `/files/${loose.id}`)), "not_found");
  assert.equal((await w.call(ann, "DELETE", `/files/${loose.id}`)).status, 204);
  assert.equal(await w.sees(ann, loose.id), 404);
  assert.equal((await w.call(ann, "DELETE", `/messages/${id}`)).status, 200);
  assert.deepEqual([await w.sees(ann, f.id), await w.sees(bob, f.id)], [404, 404], "at once");
  assert.equal((await w.shown(bob, id)).files, undefined);
  await until("only what is kept is on the disk", () => w.onDisk().join() === kept.id, 15000);
  assert.equal(await w.sees(bob, kept.id), 200);
});

test("what no message has is removed in time, what one has is not", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2, conf: "files { keep = 10s }" }), { ann } = w.users;
  const loose = await w.upload(ann, "loose"), kept = await w.upload(ann, "kept");
  await w.send(ann, "look", { files: [kept.id] });
  assert.deepEqual(w.onDisk().sort(), [loose.id, kept.id].sort());
  await until("it is gone", () => w.onDisk().join() === kept.id, 40000);
  assert.equal(await w.sees(ann, loose.id), 404);
  const r = await w.call(ann, "POST", `/conversations/${w.group}/messages`, { client_msg_id: randomUUID(), text: "x", files: [loose.id] });
  assert.equal(r.body.errors[0].code, "no_such_file");
  assert.equal(await w.sees(ann, kept.id), 200);
});

test("files.max_size and files.quota, also after a reload", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 1, conf: "files { max_size = 1M quota = 2M }" }), { ann, bob } = w.users;
  const one = await w.upload(ann, randomBytes(MIB));
  const large = await w.put(ann, randomBytes(MIB + 1));
  assert.equal(large.status, 413);
  assert.equal(large.body.code, "too_large");
  async function* endless() {
    for (;;) yield randomBytes(65536);
  }
  const stream = await fetch(`${w.server.base}/v1/files?name=x`, { method: "POST", headers: bearer(ann), body: endless(), duplex: "half" }).catch((e) => ({ status: e.message }));
  assert.ok(stream.status === 413 || typeof stream.status === "string", `${stream.status}`);
  await w.upload(ann, randomBytes(MIB - 10));
  assert.deepEqual(await w.put(ann, "eleven bytes").then((r) => [r.status, r.body.code]), [507, "quota_exceeded"]);
  await w.upload(bob, "bob has his own");
  await w.call(ann, "DELETE", `/files/${one.id}`);
  await w.upload(ann, "eleven bytes");
  w.server.options.conf = "files { max_size = 0 }";
  await w.server.writeConf();
  assert.equal(w.server.ctl(["reload"]).status, 0);
  await until("there are no uploads", async () => code(await w.put(ann, "x")) === "forbidden");
});

test("an upload whose content cannot be kept does not count in the quota", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 1, conf: "files { quota = 1K }" }), { ann } = w.users;
  const letters = [..."0123456789abcdefghjkmnpqrstvwxyz"], dir = path.join(w.server.stateDir, "files");
  const folders = letters.flatMap((a) => letters.map((b) => path.join(dir, a + b)));
  for (const f of folders) fs.writeFileSync(f, ""); // where its folder should be
  for (let i = 0; i < 3; i++) assert.equal((await w.put(ann, randomBytes(1024))).status, 503);
  for (const f of folders) fs.unlinkSync(f);
  await until("all of the quota is free", async () => (await w.put(ann, randomBytes(1024))).status === 201);
  assert.equal(w.onDisk().length, 1);
});

test("an upload is refused before its body is read", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 1 }), { ann } = w.users;
  const say = (target, headers) => new Promise((resolve, reject) => {
    const s = net.connect(w.server.port, "127.0.0.1");
    let text = "";
    s.on("data", (d) => (text += d));
    s.on("end", () => resolve(text.split("\r\n\r\n")));
    s.on("error", reject);
    s.write(`POST ${target} HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n${headers}\r\n`);
  });
  const codeOf = async (...args) => JSON.parse((await say(...args))[1]).code;
  const login = `Authorization: Bearer ${ann.token}\r\n`;
  assert.equal(await codeOf("/v1/files?name=x", ""), "unauthorized");
  assert.equal(await codeOf("/v1/files?name=x", "Authorization: Bearer x\r\n"), "unauthorized");
  assert.equal(await codeOf("/v1/files", login), "invalid_field");
  assert.equal(await codeOf("/v1/files?name=a%2Fb", login), "invalid_field");
  assert.equal(await codeOf("/v1/files?name=x", `${login}Content-Type: nonsense\r\n`), "invalid_field");
  assert.deepEqual(w.onDisk(), []);
});

test("who goes in the middle of an upload leaves nothing, and neither does a killed worker", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann, bob, cyd } = w.users;
  const begin = async (n) => {
    const s = net.connect(w.server.port, "127.0.0.1"), user = [ann, bob, cyd][n % 3];
    s.on("error", () => {});
    s.write(`POST /v1/files?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${user.token}\r\nContent-Length: 5000000\r\n\r\n`);
    s.write(randomBytes(300000));
    await until("some of it is on the disk", () => w.onDisk().length === n);
    return s;
  };
  const first = await begin(1);
  first.destroy();
  await until("it is gone", () => w.onDisk().length === 0);
  const sockets = [];
  for (let i = 1; i <= 6; i++) sockets.push(await begin(i));
  for (const p of w.server.processes("worker")) process.kill(p.pid, "SIGKILL");
  await until("their successors have removed it", () => w.onDisk().length === 0);
  sockets.forEach((s) => s.destroy());
});

test("of more than four uploads of a user at a worker the next is refused, until one has ended", { timeout: 60000 }, async (t) => {
  const w = await filesWorld(t, { workers: 1 }), { ann, bob } = w.users, open = [];
  for (let i = 1; i <= 4; i++) {
    const s = net.connect(w.server.port, "127.0.0.1");
    s.on("error", () => {});
    s.write(`POST /v1/files?name=x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${ann.token}\r\nContent-Length: 100\r\n\r\nsome`);
    await until(`${i} are under way`, () => w.onDisk().length === i);
    open.push(s);
  }
  const fifth = await w.put(ann, "one more");
  assert.deepEqual([fifth.status, fifth.body.code, fifth.headers.get("retry-after")], [429, "rate_limited", "1"]);
  await w.upload(bob, "another user's");
  open[0].destroy();
  await until("there is room for another", async () => (await w.put(ann, "one more")).status === 201);
  open.forEach((s) => s.destroy());
});

test("what was answered with 201 is there, whatever is killed", { timeout: 120000 }, async (t) => {
  const w = await filesWorld(t, { workers: 2 }), { ann, bob } = w.users, sums = new Map(), sent = new Map();
  let going = true;
  const uploads = Array.from({ length: 4 }, async () => {
    while (going) {
      const body = randomBytes(200000);
      const r = await w.put(ann, body).catch(() => null);
      if (r?.status !== 201) continue;
      sums.set(r.body.id, createHash("sha256").update(body).digest("hex"));
      const id = randomUUID();
      const message = { client_msg_id: id, text: "", files: [r.body.id] };
      for (;;) {
        const a = await w.call(ann, "POST", `/conversations/${w.group}/messages`, message).catch(() => null);
        if (a?.status === 200 || a?.status === 201) {
          sent.set(a.body.id, r.body.id);
          break;
        }
        assert.ok(!a || a.status >= 500 || a.status === 429, JSON.stringify(a?.body));
      }
    }
  });
  for (let i = 0; i < 12 || sent.size < 20; i++) {
    await new Promise((f) => setTimeout(f, 400));
    const role = ["worker", "hub", "archiver"][i % 3], [victim] = w.server.processes(role);
    if (victim?.pid) process.kill(victim.pid, "SIGKILL");
  }
  going = false;
  await Promise.all(uploads);
  await until("all processes are ready", () => w.server.status()?.processes.every((p) => p.state === "ready"), 60000, 100);
  for (const [message, file] of sent) {
    assert.equal((await w.shown(bob, message)).files[0].id, file);
    const got = await w.bytes(bob, file);
    assert.equal(createHash("sha256").update(got.data).digest("hex"), sums.get(file), file);
  }
});
