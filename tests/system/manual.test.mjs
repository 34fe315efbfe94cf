// palaver-protocol(7) against the server: the session that it shows is played, the client that it
// shows is run, and it names every route, event and error.
import assert from "node:assert";
import { randomUUID } from "node:crypto";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { io } from "socket.io-client";
import { history, makeConversation, restRetry, signup } from "./lib/client.mjs";
import { events, serverTable } from "./lib/contract.mjs";
import { Meaning, Player, program, steps } from "./lib/manual.mjs";
import { Server, root, sleep, until } from "./lib/server.mjs";

const page = fs.readFileSync(path.join(root, "man/palaver-protocol.7"), "utf8");
const items = (macro) => new Set([...page.matchAll(new RegExp(`^\\.It ${macro} (.*)$`, "gm"))].flatMap((m) => m[1].split(" , ").map((s) => s.trim())));

test("the session of the manual goes as it is shown", async () => {
  const server = await new Server({ workers: 2 }).start(), player = new Player(server.base);
  try {
    const list = steps();
    assert.ok(list.length > 20, "the page shows a session");
    await player.play(list);
  } finally {
    player.close();
    await server.remove();
  }
});

test("the client of the manual misses nothing and doubles nothing, whatever worker dies", async () => {
  const server = await new Server({ workers: 2 }).start(), shown = [];
  const ann = await signup(server.base, "ann"), bob = await signup(server.base, "bob");
  const { id } = await makeConversation(server.base, ann.token, { type: "direct", members: [bob.id] });
  const names = ["io", "show", "currentToken", "allConversations", "sleep"];
  const code = program().replaceAll("http://localhost:8080", server.base);
  const run = new Function(...names, `${code}\nreturn { socket, send };`);
  const mine = async () => (await restRetry(server.base, "GET", "/v1/conversations", { token: ann.token })).body.items;
  const kill = async (n) => {
    const workers = await until("both workers run", () => server.processes("worker").length === 2 && server.processes("worker"));
    process.kill(workers[n].pid, "SIGKILL");
  };
  const client = run(io, (e) => shown.push(e), async () => ann.token, mine, sleep);
  let connects = 0;
  client.socket.on("connect", () => connects++);
  try {
    const sent = [];
    for (let i = 0; i < 40; i++) {
      if (i % 20 === 10) await kill(i < 20 ? 0 : 1);
      sent.push((await client.send(id, `ann ${i}`)).id);
      const body = { client_msg_id: randomUUID(), text: `bob ${i}` };
      sent.push((await restRetry(server.base, "POST", `/v1/conversations/${id}/messages`, { token: bob.token, body })).body.id);
    }
    assert.ok(connects > 1, "its worker died");
    await until("all are shown", () => sent.every((m) => shown.some((e) => e.id === m)));
    const all = await history(server.base, ann.token, id), texts = all.filter((e) => e.type === "message.created").map((e) => e.data.text);
    assert.deepEqual(shown.map((e) => e.seq), all.map((e) => e.seq));
    assert.equal(new Set(texts).size, texts.length, "one of them is there twice");
  } finally {
    client.socket.close();
    await server.remove();
  }
});

test("the manual has every route and no others", () => {
  const written = [...items("Li")].filter((s) => / \/v1\//.test(s));
  assert.deepEqual(written.sort(), serverTable().route.sort());
});

test("the manual has every event and no others", () => {
  const written = [...items("Ic")].filter((s) => /^[a-z]+(\.[a-z]+)?$/.test(s));
  const known = Object.values(events.properties).flatMap((side) => Object.keys(side.properties));
  assert.deepEqual(written.sort(), known.sort());
});

test("the manual has every error with its status, and says which may be tried again", () => {
  const [once, again] = page.split(/^Trying again helps/m);
  for (const { code, status, retryable } of serverTable().error) {
    const line = `.It Li ${code} Pq ${status}`;
    assert.ok((retryable ? again : once).includes(`${line}\n`), line);
  }
  assert.equal([...page.matchAll(/^\.It Li \w+ Pq \d{3}$/gm)].length, serverTable().error.length);
});

test("steps: marked lines, and what goes on with them", () => {
  const list = steps(["text", "> POST /v1/x", "> A: b", '> {"a":', ">   1}", "< 201", '< {"b":2}', "ann> connects", 'ann< 42["x",', "ann<   1]", "> GET /v1/y", "< 204"].join("\n"));
  assert.deepEqual(list, [
    { who: "", way: ">", text: 'POST /v1/x\nA: b\n{"a":\n  1}' },
    { who: "", way: "<", text: '201\n{"b":2}' },
    { who: "ann", way: ">", text: "connects" },
    { who: "ann", way: "<", text: '42["x",1]' },
    { who: "", way: ">", text: "GET /v1/y" },
    { who: "", way: "<", text: "204" },
  ]);
});

test("what does not fit the page is found", () => {
  const m = new Meaning(), time = "2026-11-24T09:28:35.124Z";
  assert.ok(m.fits({ id: "usr_ANN", at: time, seq: 1795512515124 }, { id: "usr_01", at: "2030-01-01T00:00:00.000Z", seq: 1800000000007 }));
  assert.equal(m.said("usr_ANN"), "usr_01");
  const wrong = [
    [{ id: "usr_ANN" }, { id: "usr_02" }],
    [{ id: "cnv_X" }, { id: "usr_02" }],
    [{ seq: 1795512515125 }, { seq: 1800000000009 }],
    [{ at: time }, { at: "now" }],
    [{ a: 1 }, { a: 1, b: 2 }],
    [{ a: 1, b: 2 }, { a: 1 }],
    [[1], [1, 2]],
    [{ a: true }, { a: "true" }],
    [{ a: "text" }, { a: "other" }],
  ];
  for (const [wanted, value] of wrong) assert.ok(!m.tries(wanted, value), JSON.stringify(wanted));
  assert.ok(m.fits({ seq: 1795512515125 }, { seq: 1800000000008 }));
});
