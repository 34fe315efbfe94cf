// SPDX-License-Identifier: ISC
// Malformed input of every kind, against the server named by SERVER with WORKERS workers.  Each row
// of lib/malformed-*.mjs has one right answer, and after each of them two sessions with nothing
// wrong about them must still be served.
import assert from "node:assert";
import { after, describe, it } from "node:test";
import { Healthy, OPTIONS } from "./lib/malformed.mjs";
import { engine, upgrades } from "./lib/malformed-eio.mjs";
import { fields, framing, handshakes, requestLine, slow, targets } from "./lib/malformed-http.mjs";
import { binary, json, packets } from "./lib/malformed-sio.mjs";
import { closes, cuts, framesOf, utf8 } from "./lib/malformed-ws.mjs";
import { Client } from "./lib/raw-client.mjs";
import { SioServer, workers } from "./lib/sio-server.mjs";

const ROWS_MIN = 200;
const SECTIONS = { "request line": requestLine, target: targets, fields, framing, "WebSocket handshake": handshakes,
  "WebSocket frames": framesOf, "WebSocket close": closes, "UTF-8": utf8, "cut frames": cuts, "Engine.IO": engine,
  upgrade: upgrades, "Socket.IO": packets, attachments: binary, JSON: json };

const server = await SioServer.start(OPTIONS);
const healthy = await Healthy.start(server.port);
const patient = new Client(server.port);
const begun = slow.map(([name, expected, begin]) => [name, expected, begin(patient)]);

async function served() {
  assert.equal(server.trouble(), null);
  assert.equal(await healthy.trouble(), null, "another client's service");
}

async function run(expected, row) {
  const c = new Client(server.port);
  c.healthy = healthy;
  try {
    assert.equal(await row(c, expected), expected);
  } finally {
    c.close();
    await served();
  }
}

after(async () => {
  patient.close();
  healthy.stop();
  const said = new Promise((resolve) => server.process.stderr.once("close", resolve));
  await server.stop();
  await said;
  assert.equal(server.exited, "exit status 0");
  assert.doesNotMatch(server.log, /Sanitizer|runtime error|assert|worker \d+ ended/i);
});

describe(`malformed input, ${workers} worker${workers === 1 ? "" : "s"}`, () => {
  for (const [section, rows] of Object.entries(SECTIONS)) {
    describe(section, () => {
      for (const [name, expected, row] of rows) it(`${section}: ${name}`, { timeout: 20000 }, () => run(expected, row));
    });
  }

  describe("too slow", () => {
    for (const [name, expected, result] of begun) {
      it(`too slow: ${name}`, { timeout: 40000 }, async () => {
        assert.equal(await result, expected);
        await served();
      });
    }
  });

  it("the tables are whole, and no name is there twice", () => {
    const names = Object.entries(SECTIONS).flatMap(([section, rows]) => rows.map(([name]) => `${section}: ${name}`));
    assert.deepEqual(names.filter((n, i) => names.indexOf(n) !== i), []);
    assert.ok(names.length >= ROWS_MIN, `${names.length} rows`);
  });
});
