// SPDX-License-Identifier: ISC
// Every row of Appendix B of the protocol specification (malformed input and edge cases), against
// the server named by SERVER with WORKERS workers; the tables are in lib/appendix-b-*.mjs.
import assert from "node:assert";
import { after, describe, it } from "node:test";
import { heartbeat, handshake, headers, keepAlive, pollingClose, postBody, session } from "./lib/appendix-b-http.mjs";
import { binary, connect, packet } from "./lib/appendix-b-packets.mjs";
import { upgrade, wsFrame, wsHandshake } from "./lib/appendix-b-ws.mjs";
import { ANY, Client } from "./lib/raw-client.mjs";
import { SioServer, workers } from "./lib/sio-server.mjs";

const ROWS = 239;
const OPTIONS = ["--ping-interval", "300", "--ping-timeout", "200", "--upgrade-timeout", "1000", "--connect-timeout", "1000",
  "--max-payload", "1000000", "--cors", "--deny"];

/** Sections in the order of the specification; how many rows run at a time. */
const SECTIONS = [
  ["handshake (HTTP)", handshake, 4],
  ["session (HTTP polling)", session, 4],
  ["POST body (HTTP polling)", postBody, 4],
  ["keep-alive (HTTP polling)", keepAlive, 2],
  ["headers (HTTP)", headers, 4],
  ["ws handshake (WebSocket handshake)", wsHandshake, 4],
  ["ws frame (WebSocket)", wsFrame, 4],
  ["upgrade (polling + WebSocket)", upgrade, 4],
  ["heartbeat (HTTP polling)", heartbeat, 1],
  ["connect (WebSocket)", connect, 4],
  ["packet (WebSocket)", packet, 4],
  ["binary (WebSocket)", binary, 4],
  ["polling close (HTTP polling)", pollingClose, 1],
];

const server = await SioServer.start(OPTIONS);

/** Another client, with nothing wrong about it, is served on both transports. */
async function healthy(c) {
  const p = await c.joined();
  await p.post('42["message","well"]');
  assert.deepEqual(await p.packets((all) => all.length > 0), ['42["message-back","well"]']);
  const ws = await c.ws("/socket.io/?EIO=4&transport=websocket");
  await ws.openPacket();
  ws.send("40/custom,");
  assert.match(await ws.next(), /^40\/custom,\{"sid"/);
}

async function run(accepts, row, t) {
  const c = new Client(server.port);
  try {
    const answer = await row(c);
    t.diagnostic(answer.length > 300 ? `${answer.slice(0, 300)}…` : answer);
    assert.match(answer, accepts);
    if (accepts === ANY) await healthy(c);
    assert.equal(server.trouble(), null);
  } finally {
    c.close();
  }
}

after(async () => {
  await server.stop();
  assert.doesNotMatch(server.log, /Sanitizer|runtime error|assert/i);
});

describe(`Appendix B, ${workers} worker${workers === 1 ? "" : "s"}`, () => {
  for (const [section, rows, concurrency] of SECTIONS) {
    describe(section, { concurrency }, () => {
      for (const [name, accepts, row] of rows) it(`${section}: ${name}`, { timeout: 15000 }, (t) => run(accepts, row, t));
    });
  }

  it("the table is whole", () => {
    const names = SECTIONS.flatMap(([section, rows]) => rows.map(([name]) => `${section}: ${name}`));
    assert.equal(new Set(names).size, ROWS);
  });
});
