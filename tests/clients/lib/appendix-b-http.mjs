// SPDX-License-Identifier: ISC
// Appendix B of the protocol specification, the sections over HTTP.  A row is its text, what is
// accepted as its answer, and a function that gets the answer from the server.
import { randomUUID } from "node:crypto";
import { contentType, message, show, within } from "./raw.mjs";
import { ANY, RS } from "./raw-client.mjs";

const PATH = "/engine.io/";
const POLLING = "EIO=4&transport=polling";
const MAX_PAYLOAD = 1000000;
const ORIGIN = { Origin: "http://a.example" };

/** A request without a session, shown. */
const ask = (method, query, options) => async (c) => show(await c.request(method, `${PATH}?${query}`, options));
/** A handshake of which only the kind of success is shown. */
const opens = (r) => (/^0\{"sid":"[\w-]{20,}"/.test(r.body) ? "200 new session" : show(r));

export const handshake = [
  ["GET without transport", /^400 .*\\"code\\":0/, ask("GET", "EIO=4")],
  ["GET transport=abc", /^400 .*\\"code\\":0/, ask("GET", "EIO=4&transport=abc")],
  ["GET transport=__proto__", /^400 .*\\"code\\":0/, ask("GET", "EIO=4&transport=__proto__")],
  ["GET transport=constructor", /^400 .*\\"code\\":0/, ask("GET", "EIO=4&transport=constructor")],
  ["GET transport=webtransport", /^400 .*\\"code\\":0/, ask("GET", "EIO=4&transport=webtransport")],
  ["GET transport=POLLING", /^400 .*\\"code\\":0/, ask("GET", "EIO=4&transport=POLLING")],
  ["GET without EIO", /^400 .*\\"code\\":5/, ask("GET", "transport=polling")],
  ["GET EIO=3", /^400 .*\\"code\\":5/, ask("GET", "EIO=3&transport=polling")],
  ["GET EIO=2", /^400 .*\\"code\\":5/, ask("GET", "EIO=2&transport=polling")],
  ["GET EIO=5", /^400 .*\\"code\\":5/, ask("GET", "EIO=5&transport=polling")],
  ["GET EIO=abc", /^400 .*\\"code\\":5/, ask("GET", "EIO=abc&transport=polling")],
  ["GET EIO=04", /^400 .*\\"code\\":5/, ask("GET", "EIO=04&transport=polling")],
  ["GET EIO=4.0", /^400 .*\\"code\\":5/, ask("GET", "EIO=4.0&transport=polling")],
  ["GET EIO=3&EIO=4 (last one wins)", /^(200|400)/, ask("GET", "EIO=3&EIO=4&transport=polling")],
  ["GET with an empty sid (`sid=`): a new session", /^200 new session/,
    async (c) => opens(await c.request("GET", `${PATH}?${POLLING}&sid=`))],
  ["POST without sid", /^400 .*\\"code\\":2/, ask("POST", POLLING, { body: "4a" })],
  ["PUT without sid", /^400 .*\\"code\\":2/, ask("PUT", POLLING, { body: "4a" })],
  ["DELETE without sid", /^400 .*\\"code\\":2/, ask("DELETE", POLLING)],
  ["PATCH without sid", /^400 .*\\"code\\":2/, ask("PATCH", POLLING, { body: "4a" })],
  ["HEAD without sid", /^400/, ask("HEAD", POLLING)],
  ["GET transport=websocket without Upgrade header", /^400 .*\\"code\\":3/, ask("GET", "EIO=4&transport=websocket")],
  ["GET unknown sid", /^400 .*\\"code\\":1/, ask("GET", `${POLLING}&sid=${randomUUID()}`)],
  ["GET sid=__proto__", /^400 .*\\"code\\":1/, ask("GET", `${POLLING}&sid=__proto__`)],
  ["POST unknown sid", /^400 .*\\"code\\":1/, ask("POST", `${POLLING}&sid=${randomUUID()}`, { body: "4a" })],
  ["allowRequest refuses with a text", /^403 .*code\\":4/, ask("GET", POLLING, { headers: { "x-deny": "go away" } })],
  ["allowRequest refuses without a text", /^403 .*code\\":4/, ask("GET", POLLING, { headers: { "x-deny": "" } })],
  ["path without trailing slash", /^404/, async (c) => show(await c.request("GET", `/engine.io?${POLLING}`))],
  ["longer path (prefix match)", /^(200|404)/, async (c) => show(await c.request("GET", `${PATH}longer/?${POLLING}`))],
  ["two handshakes give different sids of >= 20 characters [A-Za-z0-9_-]", /^true true$/, async (c) => {
    const [a, b] = [await c.polling(), await c.polling()];
    return `${a.sid !== b.sid} ${[a, b].every((p) => /^[A-Za-z0-9_-]{20,}$/.test(p.sid))}`;
  }],
];

/** A request of another method in a session, and what is left of the session. */
const inSession = (method, options) => async (c) => {
  const p = await c.polling();
  return `${show(await c.request(method, p.target, options))}; ${await p.state()}`;
};

async function secondGet(c) {
  const p = await c.polling();
  const first = await p.park();
  const second = await p.get();
  const answers = [show(await first.response()), show(second)];
  if (answers[1].startsWith("200")) answers.reverse(); // the other one came in first
  return `1st ${answers[0]}; 2nd ${answers[1]}; ${await p.state()}`;
}

/** A POST of which the server has the head and a part of the body. */
function halfPost(p) {
  const c = p.client.conn();
  c.write(message("POST", p.target, { body: "4".padEnd(100, "x") }).subarray(0, -50));
  return c;
}

async function secondPost(c) {
  const p = await c.polling();
  const first = halfPost(p);
  let second;
  // until the first one's head has come in, a second one is no second one
  await within(400, async () => (second = await p.post("4b")).status !== 200);
  first.write(Buffer.alloc(50, "x"));
  return `1st ${show(await first.response("POST"))}; 2nd ${show(second)}; ${await p.state()}`;
}

async function cutPost(c) {
  const p = await c.polling();
  const post = halfPost(p);
  post.end();
  return p.stateAfterLoss();
}

async function cutGet(c, cut) {
  const p = await c.polling();
  cut(await p.park());
  return p.stateAfterLoss();
}

export const session = [
  ["PUT with a sid", /^(400|405|500) /, inSession("PUT", { body: "4a" })],
  ["DELETE with a sid", /^(400|405|500) /, inSession("DELETE")],
  ["PATCH with a sid", /^(400|405|500) /, inSession("PATCH", { body: "4a" })],
  ["HEAD with a sid", /^(400|405|500) /, inSession("HEAD")],
  ["GET with a sid but without EIO", /^(400|200)/, async (c) => {
    const p = await c.polling();
    return `${show(await c.request("GET", `${PATH}?transport=polling&sid=${p.sid}`))}; ${await p.state()}`;
  }],
  ["GET with the sid of a polling session and transport=websocket, no Upgrade", /^400 .*; session lives/, async (c) => {
    const p = await c.polling();
    return `${show(await c.request("GET", `${PATH}?EIO=4&transport=websocket&sid=${p.sid}`))}; ${await p.state()}`;
  }],
  ["second GET while one is pending", /^1st 200 \S+ "1"; 2nd (400|500) .*; session gone/, secondGet],
  ["second POST while the first is still being sent", /2nd (400|500) .*; session gone/, secondPost],
  ["pending GET cut off by the client", /^session gone/, (c) => cutGet(c, (get) => get.destroy())],
  ["POST cut off by the client in mid-body", /^session gone/, cutPost],
  ["client half-closes (FIN) right after the GET, server has nothing to send", /session gone|session lives/,
    (c) => cutGet(c, (get) => get.end())],
];

/** POSTs a body; the answer and the session's state. */
const posts = (body, options) => async (c) => {
  const p = await c.polling();
  return `${show(await p.post(body, options))}; ${await p.state()}`;
};

/** POSTs several bodies, each in a session of its own; the worst answer is the last word. */
const eachPosts = (...bodies) => async (c) => {
  const all = [];
  for (const body of bodies) all.push(await posts(body)(c));
  return all.find((a) => !/; session gone/.test(a)) || all[0];
};

/** POSTs a body and shows the next poll. */
const echo = (body) => async (c) => {
  const p = await c.polling();
  await p.post(body);
  return show(await p.poll());
};

async function inOrder(c) {
  const p = await c.polling();
  const sent = Array.from({ length: 200 }, (_, i) => `4${i}`);
  const r = await p.post(sent.join(RS));
  const back = await p.packets((all) => all.length >= sent.length);
  return `${r.status} ${back.join() === sent.join() ? "in order" : back.join()}`;
}

async function closeWhilePending(c) {
  const p = await c.polling();
  const get = await p.park();
  await p.post("1");
  return `${show(await get.response())}; ${await p.state()}`;
}

/** The bytes behind the head up to the end of the connection, beside what the head promises. */
async function countedBytes(c) {
  const p = await c.polling();
  await p.post("4é€😀xy");
  const conn = c.conn();
  conn.write(message("GET", p.target, { headers: { Connection: "close" } }));
  await conn.until("the end of the connection", () => undefined);
  const [headPart, body] = conn.buffer.toString("latin1").split("\r\n\r\n");
  return `${/^content-length: *(\d+)$/im.exec(headPart)?.[1]} ${body.length}`;
}

export const postBody = [
  ['"4hello"', /^200 \S+ "ok"; session lives/, posts("4hello")],
  ["empty", /; session gone/, posts("")],
  ['"abc" (unknown packet type)', /; session gone/, posts("abc")],
  ['"7x" / "9"', /; session gone/, eachPosts("7x", "9")],
  ['"4a" RS (trailing separator: an empty packet)', ANY, posts(`4a${RS}`)],
  ['"4a" RS RS "4b"', ANY, posts(`4a${RS}${RS}4b`)],
  ['"0" / "5" / "6" RS-joined (OPEN, UPGRADE, NOOP from a client)', /^200.*session lives/, posts(["0", "5", "6"].join(RS))],
  ['"2" (PING from a v4 client)', /; session gone/, posts("2")],
  ['"2probe" over polling', /; session gone/, posts("2probe")],
  ['"3" (PONG nobody asked for)', /^200.*session lives/, posts("3")],
  ['"1" (CLOSE)', /^200.*; session gone/, posts("1")],
  ['"1" RS "4x" (packets after CLOSE)', /session gone/, posts(`1${RS}4x`)],
  ['"1" while a GET is pending: the GET', /^200 \S+ "6"; session gone/, closeWhilePending],
  ['echo of "4a" RS "4b" in one poll', /^200 \S+ "4a\\u001e4b"/, echo(`4a${RS}4b`)],
  ['echo of binary "bAQIDBA=="', /"bAQIDBA=="/, echo("bAQIDBA==")],
  ['echo of base64 without padding "bAQIDBA"', ANY, echo("bAQIDBA")],
  ['echo of url-safe base64 "b-_8="', ANY, echo("b-_8=")],
  ['echo of broken base64 "b!!!!"', ANY, echo("b!!!!")],
  ['echo of "b" (empty binary)', ANY, echo("b")],
  ['echo of "4" (message without data)', ANY, echo("4")],
  ["echo of UTF-8 (2, 3 and 4 byte characters), byte-exact", /^true/, async (c) => {
    const p = await c.polling();
    await p.post("4é€😀");
    const r = await p.poll();
    return `${r.body.equals(Buffer.from("34c3a9e282acf09f9880", "hex"))}`;
  }],
  ["echo of invalid UTF-8 (4 FF 61)", ANY, echo(Buffer.from([0x34, 0xff, 0x61]))],
  ["chunked transfer-encoding", /^(200|411)/, posts("4hello", { chunks: true })],
  ["Content-Type: application/octet-stream", /^400 .*session gone/,
    posts("4hello", { headers: { "Content-Type": "application/octet-stream" } })],
  ["no Content-Type at all", /^200/, posts("4hello", { headers: { "Content-Type": undefined } })],
  ["exactly maxPayload bytes (1000000)", /^200.*session lives/, posts("4".padEnd(MAX_PAYLOAD, "x"))],
  ["maxPayload + 1 bytes", /^(413|400|connection closed)/, posts("4".padEnd(MAX_PAYLOAD + 1, "x"))],
  ["maxPayload + 1 bytes, chunked", /^(413|400|connection closed)/, posts("4".padEnd(MAX_PAYLOAD + 1, "x"), { chunks: true })],
  ["big answer with Accept-Encoding: gzip", /^200/, async (c) => {
    const p = await c.polling();
    await p.post("4".padEnd(5000, "x"));
    const r = await p.get({ headers: { "Accept-Encoding": "gzip" } });
    return `${r.status} ${r.headers["content-encoding"] || "-"}`;
  }],
  ['echo of binary whose base64 starts with "4" ("b4AAA")', /"b4AAA"/, echo("b4AAA")],
  ["200 packets in one POST: all come back, in order", /^200 in order/, inOrder],
  ["Content-Length of an answer counts bytes", /^(\d+) \1$/, countedBytes],
  ["JSONP: GET j=0", ANY, ask("GET", `${POLLING}&j=0`)],
];

/** A handshake, a POST and a GET on one connection. */
const onOneConnection = (pipelined) => async (c) => {
  const conn = c.conn();
  conn.write(message("GET", `${PATH}?${POLLING}`));
  const open = await conn.response();
  const target = `${PATH}?${POLLING}&sid=${JSON.parse(open.body.toString("utf8").slice(1)).sid}`;
  const [post, get] = [message("POST", target, { body: "4hi" }), message("GET", target)];
  conn.write(pipelined ? Buffer.concat([post, get]) : post);
  const ok = await conn.response("POST");
  if (!pipelined) conn.write(get);
  const answers = [ok, await conn.response()].map((r) => (r === null ? "connection closed" : `${r.status}:${r.body}`));
  return [open.status, ...answers].join(" ");
};

export const keepAlive = [
  ["handshake, POST and GET one after the other on one TCP connection", /^200 200:ok 200:4hi$/, onOneConnection(false)],
  ["the same with POST and GET pipelined", ANY, onOneConnection(true)],
];

const header = (r, name) => r.headers[name] ?? "-";
const PREFLIGHT = { ...ORIGIN, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-foo" };

export const headers = [
  ["polling answer headers", /^text\/plain;charset=utf-8 no-store/, async (c) => {
    const r = await c.request("GET", `${PATH}?${POLLING}`);
    return `${contentType(r)} ${header(r, "cache-control")} ${r.headers["content-length"] ? "content-length" : "-"}`;
  }],
  ["CORS on a GET with Origin", /^(http:\/\/a\.example|\*)/, async (c) => {
    const r = await c.request("GET", `${PATH}?${POLLING}`, { headers: ORIGIN });
    return ["access-control-allow-origin", "access-control-allow-credentials", "vary"].map((n) => header(r, n)).join(" ");
  }],
  ["CORS headers also on an error answer", /^400 (http:\/\/a\.example|\*)/, async (c) => {
    const r = await c.request("GET", `${PATH}?EIO=4&transport=abc`, { headers: ORIGIN });
    return `${r.status} ${header(r, "access-control-allow-origin")}`;
  }],
  ["OPTIONS preflight", /^20[04] (http:\/\/a\.example|\*) .*POST/, async (c) => {
    const r = await c.request("OPTIONS", `${PATH}?${POLLING}`, { headers: PREFLIGHT });
    const names = ["origin", "methods", "headers", "credentials"].map((n) => header(r, `access-control-allow-${n}`));
    return `${r.status} ${names.join(" ")} ${JSON.stringify(r.body.toString())} content-length=${header(r, "content-length")}`;
  }],
  ["OPTIONS preflight with an unknown sid", /^20[04]$/, async (c) => {
    const r = await c.request("OPTIONS", `${PATH}?${POLLING}&sid=${randomUUID()}`, { headers: PREFLIGHT });
    return String(r.status);
  }],
];

async function missingPong(c) {
  const p = await c.polling();
  await within(1500, async () => !(await p.known()));
  return `gone after about ${Math.round((performance.now() - p.opened) / 100) * 100} ms`;
}

export const heartbeat = [
  ["polling: PONG missing", /^gone after about [56]00/, missingPong],
  ["polling: what the pending GET shows when the PONG is missing", /^(200 \S+ "1"|400)/, async (c) => {
    const p = await c.polling();
    const ping = await p.get();
    return ping.body.toString() === "2" ? show(await p.get()) : `no PING: ${show(ping)}`;
  }],
];

/** POSTs into a session; the POST's answer, the next GET's, and the state after. */
const postThenGet = (start, body) => async (c) => {
  const p = await start(c);
  const post = await p.post(body);
  return `POST ${show(post)}; GET ${show(await p.poll())}; ${await p.state()}`;
};
const joined = (c) => c.joined();
const fresh = (c) => c.polling("/socket.io/");

async function closedWhilePending(c) {
  const p = await joined(c);
  const get = await p.park();
  const post = await p.post("4abc");
  return `POST ${show(post)}; GET ${show(await get.response())}; ${await p.state()}`;
}

async function abandoned(c) {
  const all = [];
  for (let i = 0; i < 100; i++) {
    all.push(await c.polling("/socket.io/"));
    await all[i].post("40");
  }
  let left = all;
  await within(800, async () => {
    const still = [];
    for (const p of left) if (await p.known()) still.push(p);
    left = still;
    return left.length === 0;
  });
  return `${all.length - left.length} gone`;
}

const CLOSED = /(GET 200 \S+ "(6\\u001e)?1"|GET 400).*; session gone/;

export const pollingClose = [
  ['"4abc" with no GET pending: the next GET carries NOOP and CLOSE', CLOSED, postThenGet(joined, "4abc")],
  ['"4abc" with a GET pending', /GET 200 \S+ "1"; session gone/, closedWhilePending],
  ['"40" sent a second time', CLOSED, postThenGet(joined, "40")],
  ['"40" RS "42[…]" in one POST (an impatient client)', ANY, postThenGet(fresh, `40${RS}42["message",1]`)],
  ["100 polling sessions, joined and then abandoned: all gone after pingInterval + pingTimeout", /^100 gone/, abandoned],
  ['"42[…]" before CONNECT', CLOSED, postThenGet(fresh, '42["message",1]')],
];
