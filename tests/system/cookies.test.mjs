// SPDX-License-Identifier: ISC
// Logins in cookies: what they look like, which requests may use them, and sockets; over HTTP, over
// TLS, and behind a proxy that ends TLS.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import https from "node:https";
import path from "node:path";
import test from "node:test";
import { io } from "socket.io-client";
import WebSocket from "ws";
import { freePort, Server, until } from "./lib/server.mjs";

const PASSWORD = "correct horse";
const LISTED = "https://chat.example";
const EVIL = "https://evil.example";
const WORKERS = 4;
let server;
let secure; // base of the TLS listener
let open; // a server with http.origins = *

test.before(async () => {
  server = new Server({ workers: WORKERS });
  const cert = path.join(server.dir, "cert.pem");
  const key = path.join(server.dir, "key.pem");
  const made = spawnSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
    "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]);
  assert.equal(made.status, 0, String(made.stderr));
  fs.chmodSync(key, 0o600);
  const port = await freePort();
  secure = `https://127.0.0.1:${port}`;
  server.options.conf = `listen { address = "127.0.0.1" port = ${port} certificate = "${cert}" key = "${key}" }
http { web_root = "" origins = "${LISTED}" }
accounts { hash_cost = 1 access_ttl = 90s refresh_ttl = 2h }`;
  await server.start();
  open = await new Server({ workers: 1, conf: 'http { web_root = "" origins = "*" }' }).start();
});
test.after(() => Promise.all([server.remove(), open?.remove()]));

/** One request on a connection of its own. */
function ask(base, method, target, { headers = {}, body } = {}) {
  const text = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = (base.startsWith("https") ? https : http).request(base + target, {
      method,
      agent: false,
      rejectUnauthorized: false,
      headers: { ...(text && { "content-type": "application/json", "content-length": Buffer.byteLength(text) }), ...headers },
    }, (r) => {
      let all = "";
      r.on("data", (d) => (all += d));
      r.on("end", () => resolve({ status: r.statusCode, headers: r.headers, set: r.headers["set-cookie"] || [], body: all ? JSON.parse(all) : null }));
    });
    request.on("error", reject);
    request.end(text);
  });
}

const page = (origin) => ({ origin, "x-palaver-csrf": "1" });
const jar = (set) => set.map((c) => c.split(";")[0]).join("; ");
const code = (r) => [r.status, r.body?.code];

/** Signs up as a page of this origin does. */
async function person(base, username, { origin = base, headers = {} } = {}) {
  const r = await ask(base, "POST", "/v1/auth/signup", { headers: { ...page(origin), ...headers }, body: { username, password: PASSWORD, cookies: true } });
  assert.equal(r.status, 201, JSON.stringify(r.body));
  return { id: r.body.user.id, set: r.set, cookie: jar(r.set), body: r.body };
}

// ---- what they look like ----

test("with cookies the tokens are nowhere else; without, there are none", async () => {
  const ann = await person(server.base, "ann");
  assert.deepEqual(ann.set.map((c) => c.replace(/=[^;]+/, "=")), [
    "palaver_access=; Path=/; Max-Age=90; HttpOnly; SameSite=Lax",
    "palaver_refresh=; Path=/; Max-Age=7200; HttpOnly; SameSite=Lax",
  ]);
  assert.deepEqual(Object.keys(ann.body).sort(), ["expires_in", "user"]);
  for (const kind of ["login", "signup"]) {
    const body = { username: kind === "login" ? "ann" : "ann2", password: PASSWORD };
    const plain = await ask(server.base, "POST", `/v1/auth/${kind}`, { body });
    assert.deepEqual(plain.set, []);
    assert.ok(plain.body.access_token && plain.body.refresh_token);
  }
});

test("over TLS they are tied to the host and to TLS", async () => {
  const cy = await person(secure, "cy");
  assert.deepEqual(cy.set.map((c) => c.replace(/=[^;]+/, "=")), [
    "__Host-palaver_access=; Path=/; Max-Age=90; Secure; HttpOnly; SameSite=Lax",
    "__Host-palaver_refresh=; Path=/; Max-Age=7200; Secure; HttpOnly; SameSite=Lax",
  ]);
  assert.equal((await ask(secure, "GET", "/v1/users/me", { headers: { cookie: cy.cookie } })).body.username, "cy");
  const unsafe = cy.cookie.replaceAll("__Host-", "");
  assert.equal((await ask(secure, "GET", "/v1/users/me", { headers: { cookie: unsafe } })).status, 401, "another host may have set this");
  const changed = await ask(secure, "PATCH", "/v1/users/me", { headers: { cookie: cy.cookie, ...page(secure) }, body: { bio: "x" } });
  assert.equal(changed.status, 200);
  const plain = await ask(secure, "PATCH", "/v1/users/me", { headers: { cookie: cy.cookie, ...page(secure.replace("https", "http")) }, body: { bio: "x" } });
  assert.deepEqual(code(plain), [403, "csrf"], "the scheme is part of the origin");
});

test("behind a proxy that ends TLS they are the same, and its word is taken from nobody else", async () => {
  const told = { host: "chat.proxied", "x-forwarded-proto": "https" };
  const dee = await person(server.base, "dee", { origin: "https://chat.proxied", headers: told });
  assert.ok(dee.set.every((c) => c.startsWith("__Host-") && c.includes("; Secure;")));
  const headers = { ...told, cookie: dee.cookie, ...page("https://chat.proxied") };
  assert.equal((await ask(server.base, "PATCH", "/v1/users/me", { headers, body: { bio: "x" } })).status, 200);
  const last = { ...headers, "x-forwarded-proto": "https, http" };
  assert.equal((await ask(server.base, "PATCH", "/v1/users/me", { headers: last, body: { bio: "x" } })).status, 401, "the last element is the proxy's");
  const other = await new Server({ workers: 1, conf: 'http { web_root = "" trusted_proxies = "" }' }).start();
  try {
    const r = await person(other.base, "dee", { headers: { "x-forwarded-proto": "https" } });
    assert.ok(r.set.every((c) => c.startsWith("palaver_")), "a stranger is not believed");
  } finally {
    await other.remove();
  }
});

// ---- what may use them ----

test("a request that may change something needs the header and an origin that is ours", async () => {
  const { cookie } = await person(server.base, "eve");
  const me = (method, headers) => ask(server.base, method, "/v1/users/me", { headers: { cookie, ...headers }, body: method === "PATCH" ? { bio: "x" } : undefined });
  const own = server.base;
  assert.equal((await me("GET", {})).status, 200);
  assert.equal((await me("GET", { origin: EVIL })).status, 200, "reading: CORS keeps it from the page");
  for (const headers of [page(own), page(LISTED), page(own.toUpperCase())]) assert.equal((await me("PATCH", headers)).status, 200, JSON.stringify(headers));
  const refused = [{}, { origin: own }, { "x-palaver-csrf": "1" }, page(EVIL), page("null"), page(""), page("*"), page(own + "/"), page(own + "0"),
    page(own.replace("http:", "https:")), page("http://127.0.0.1"), page("http://localhost:" + server.port), { ...page(own), "x-palaver-csrf": "0" }, { ...page(own), "x-palaver-csrf": "" }];
  for (const headers of refused) assert.deepEqual(code(await me("PATCH", headers)), [403, "csrf"], JSON.stringify(headers));
  assert.deepEqual(code(await me("DELETE", {})), [403, "csrf"]);
  const post = await ask(server.base, "POST", "/v1/conversations", { headers: { cookie }, body: { type: "group", name: "x", members: [] } });
  assert.deepEqual(code(post), [403, "csrf"]);
});

test("a star in http.origins is nobody's right to use cookies", async () => {
  const { cookie } = await person(open.base, "ann");
  const r = await ask(open.base, "PATCH", "/v1/users/me", { headers: { cookie, ...page(EVIL) }, body: { bio: "x" } });
  assert.deepEqual(code(r), [403, "csrf"]);
  assert.equal((await ask(open.base, "PATCH", "/v1/users/me", { headers: { cookie, ...page(open.base) }, body: { bio: "x" } })).status, 200);
});

test("a token in Authorization needs neither, and wins over a cookie", async () => {
  const fay = await person(server.base, "fay");
  const { access_token: token, user } = (await ask(server.base, "POST", "/v1/auth/signup", { body: { username: "gus", password: PASSWORD } })).body;
  const authorization = `Bearer ${token}`;
  assert.equal((await ask(server.base, "PATCH", "/v1/users/me", { headers: { authorization }, body: { bio: "x" } })).status, 200);
  assert.equal((await ask(server.base, "PATCH", "/v1/users/me", { headers: { authorization, cookie: fay.cookie }, body: { bio: "y" } })).body.id, user.id);
  for (const bad of ["Bearer x", "Bearer ", "Basic eDp5", token]) {
    assert.equal((await ask(server.base, "GET", "/v1/users/me", { headers: { authorization: bad, cookie: fay.cookie } })).status, 401, bad);
  }
});

test("identity is in no query", async () => {
  const { body } = await ask(server.base, "POST", "/v1/auth/login", { body: { username: "ann", password: PASSWORD } });
  for (const name of ["token", "access_token", "palaver_access", "auth"]) {
    assert.equal((await ask(server.base, "GET", `/v1/users/me?${name}=${body.access_token}`)).status, 401, name);
  }
});

test("no other page can log its visitor in", async () => {
  for (const kind of ["login", "signup"]) {
    for (const headers of [{}, { origin: server.base }, page(EVIL), { "x-palaver-csrf": "1" }]) {
      const r = await ask(server.base, "POST", `/v1/auth/${kind}`, { headers, body: { username: "ann", password: PASSWORD, cookies: true } });
      assert.deepEqual(code(r), [403, "csrf"]);
      assert.deepEqual(r.set, []);
    }
  }
});

// ---- refresh and logout ----

test("refresh by cookie gives new cookies, logout takes them away", async () => {
  const hal = await person(server.base, "hal");
  const refresh = (cookie, headers = page(server.base)) => ask(server.base, "POST", "/v1/auth/refresh", { headers: { cookie, ...headers } });
  assert.deepEqual(code(await refresh(hal.cookie, {})), [403, "csrf"]);
  assert.deepEqual(code(await refresh(hal.cookie, page(EVIL))), [403, "csrf"]);
  const first = await refresh(hal.cookie);
  assert.equal(first.status, 200, JSON.stringify(first.body));
  assert.equal(first.body.user.username, "hal");
  assert.equal(first.body.access_token, undefined);
  assert.match(jar(first.set), /palaver_access=/);
  const now = /palaver_refresh=/.test(jar(first.set)) ? jar(first.set) : hal.cookie;
  const logout = (headers) => ask(server.base, "POST", "/v1/auth/logout", { headers: { cookie: now, ...headers } });
  assert.deepEqual(code(await logout({})), [403, "csrf"]);
  const out = await logout(page(server.base));
  assert.equal(out.status, 204);
  const cleared = ["palaver_access=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax", "palaver_refresh=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"];
  assert.deepEqual(out.set, cleared);
  const late = await refresh(now);
  assert.equal(late.status, 401);
  assert.deepEqual(late.set, cleared, "a login that is over leaves no cookies");
});

test("a wrong password takes nobody's cookies away", async () => {
  const ida = await person(server.base, "ida");
  const r = await ask(server.base, "POST", "/v1/auth/login", { headers: { cookie: ida.cookie, ...page(server.base) }, body: { username: "ida", password: "not this one", cookies: true } });
  assert.equal(r.status, 401);
  assert.deepEqual(r.set, []);
});

// ---- sockets ----

/** Connects with these headers: the user's id, or why not. */
function connect(base, transport, headers, auth) {
  const socket = io(base, { transports: [transport], extraHeaders: headers, auth, forceNew: true, reconnection: false, rejectUnauthorized: false });
  return new Promise((resolve) => {
    socket.on("connect", () => resolve("joined"));
    socket.on("connect_error", (e) => resolve(e.data?.code || "not opened"));
  }).finally(() => socket.close());
}

test("a socket is who the cookie says, where the page may use it", async () => {
  const { cookie } = await person(server.base, "jan");
  const by = (transport, headers, auth) => connect(server.base, transport, { cookie, ...headers }, auth);
  for (const transport of ["polling", "websocket"]) {
    assert.equal(await by(transport, { origin: server.base }), "joined");
    assert.equal(await by(transport, { origin: LISTED }), "joined");
    assert.equal(await by(transport, { origin: EVIL }), "not opened");
    assert.equal(await by(transport, { origin: server.base.replace("http:", "https:") }), "unauthorized");
    assert.equal(await by(transport, { origin: server.base }, { token: "x" }), "unauthorized", "the token wins");
    assert.equal(await by(transport, { origin: server.base }, { token: 5 }), "unauthorized");
    assert.equal(await by(transport, { origin: server.base, cookie: "palaver_access=x" }), "unauthorized");
    assert.equal(await by(transport, { origin: server.base, cookie: cookie.replaceAll("palaver_", "__Host-palaver_") }), "unauthorized");
  }
  // A browser sends no Origin with a GET to the page's own server; with a WebSocket it always does.
  assert.equal(await by("polling", {}), "joined");
  assert.equal(await by("websocket", {}), "unauthorized");
});

test("a socket over TLS", async () => {
  const { cookie } = await person(secure, "kim");
  for (const transport of ["polling", "websocket"]) {
    assert.equal(await connect(secure, transport, { cookie, origin: secure }), "joined");
    assert.equal(await connect(secure, transport, { cookie: cookie.replaceAll("__Host-", ""), origin: secure }), "unauthorized");
  }
});

test("where any page may connect, none may use cookies but the server's own", async () => {
  const { cookie } = await person(open.base, "lea");
  for (const transport of ["polling", "websocket"]) {
    assert.equal(await connect(open.base, transport, { cookie, origin: EVIL }), "unauthorized");
    assert.equal(await connect(open.base, transport, { cookie, origin: open.base }), "joined");
  }
});

/** Opens by polling, changes to a WebSocket, and only then joins: what the server answered. */
async function joinAfterUpgrade(base, headers) {
  const opened = await new Promise((resolve, reject) => {
    http.get(`${base}/socket.io/?EIO=4&transport=polling`, { agent: false, headers }, (r) => {
      let text = "";
      r.on("data", (d) => (text += d));
      r.on("end", () => resolve(text));
    }).on("error", reject);
  });
  const { sid } = JSON.parse(opened.slice(1));
  const ws = new WebSocket(`${base.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket&sid=${sid}`, { headers: { origin: base } });
  return new Promise((resolve, reject) => {
    ws.on("error", reject);
    ws.on("open", () => ws.send("2probe"));
    ws.on("message", (data) => {
      const text = String(data);
      if (text === "3probe") {
        ws.send("5");
        ws.send("40");
      } else if (text.startsWith("4")) {
        resolve(text.slice(0, 2));
        ws.close();
      }
    });
  });
}

test("who opened a session is known on the worker that it moves to", async () => {
  const { cookie } = await person(server.base, "max");
  const moved = () => {
    const s = JSON.parse(server.ctl(["--json", "stats"]).stdout).data;
    return s.moved_in + s.moved_out;
  };
  const before = moved();
  const answers = await Promise.all(Array.from({ length: 40 }, () => joinAfterUpgrade(server.base, { cookie, origin: server.base })));
  assert.deepEqual([...new Set(answers)], ["40"]);
  assert.ok(moved() > before, "some have moved");
  assert.deepEqual([...new Set(await Promise.all(Array.from({ length: 8 }, () => joinAfterUpgrade(server.base, { origin: server.base }))))], ["44"]);
});
