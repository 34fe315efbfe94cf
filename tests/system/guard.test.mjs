// SPDX-License-Identifier: ISC
// Guessing: who guesses passwords is slowed, by address and by account, on all workers together;
// nobody is locked out by strangers; and no answer tells which accounts exist.  The clients'
// addresses are those that a trusted proxy, this test, names.
import assert from "node:assert";
import test from "node:test";
import { Server, until } from "./lib/server.mjs";

const PASSWORD = "correct horse";
const ADDRESS = 6; // limits
const ACCOUNT = 4;
const SIGNUPS = 5;
const limits = (more = "") => `accounts { hash_cost = 1 lockout_window = 10m lockout_address = ${ADDRESS} lockout_account = ${ACCOUNT} signups_per_address = ${SIGNUPS} ${more} }`;
let many; // 4 workers
let one; // 1 worker: its counters are all

test.before(async () => {
  many = await new Server({ workers: 4, conf: limits() }).start();
  one = await new Server({ workers: 1, conf: limits() }).start();
});
test.after(() => Promise.all([many.remove(), one?.remove()]));

let last = 0;
/** An address that nobody has used yet. */
const stranger = () => `198.51.${++last >> 8}.${last & 255}`;

async function ask(server, method, target, { from, token, body } = {}) {
  const headers = { connection: "close", "content-type": "application/json" };
  if (from) headers["x-forwarded-for"] = from;
  if (token) headers.authorization = `Bearer ${token}`;
  const r = await fetch(`${server.base}/v1${target}`, { method, headers, body: body && JSON.stringify(body) });
  const text = await r.text();
  return { status: r.status, headers: r.headers, text, body: text ? JSON.parse(text) : null };
}

const login = (server, username, password, from) => ask(server, "POST", "/auth/login", { from, body: { username, password } });
const wrong = (server, username, from) => login(server, username, "not this one", from);
const signup = async (server, username, from = stranger()) => (await ask(server, "POST", "/auth/signup", { from, body: { username, password: PASSWORD } })).body;

function slowed(r) {
  assert.deepEqual([r.status, r.body.code], [429, "rate_limited"], r.text);
  const wait = Number(r.headers.get("retry-after"));
  assert.ok(wait >= 1);
  assert.equal(r.body.retry_after, wait);
  return wait;
}

function refused(r) {
  assert.deepEqual([r.status, r.body.code], [401, "bad_credentials"], r.text);
}

/** Does what Retry-After says. */
const paused = (seconds) => new Promise((f) => setTimeout(f, seconds * 1000));

/** All that a client sees, but for what is new in each answer. */
function seen(r) {
  const headers = [...r.headers].filter(([k]) => k !== "x-request-id").sort();
  return JSON.stringify([r.status, headers, r.text.replace(/"request_id":"[^"]*"/, "")]);
}

test("an address that guesses at many accounts is slowed, others are not", async () => {
  await signup(many, "ann");
  const from = stranger();
  for (let i = 0; i < ADDRESS; i++) refused(await wrong(many, `name${i}`, from));
  slowed(await login(many, "ann", PASSWORD, from));
  assert.equal((await login(many, "ann", PASSWORD, stranger())).status, 200);
  await paused(slowed(await wrong(many, "name9", from)));
  refused(await wrong(many, "name9", from));
  assert.ok(slowed(await wrong(many, "name10", from)) >= 2, "the pause grows");
});

test("an IPv6 client is its network", async () => {
  for (let i = 0; i < ADDRESS; i++) refused(await wrong(many, `six${i}`, `2001:db8:1:1::${i + 1}`));
  slowed(await wrong(many, "six9", "2001:db8:1:1:ffff::1"));
  refused(await wrong(many, "six9", "2001:db8:1:2::1"));
});

test("strangers who guess at an account do not keep its user out", async () => {
  const home = stranger();
  await signup(many, "bob", home);
  for (let i = 0; i < ACCOUNT; i++) refused(await wrong(many, "bob", stranger()));
  slowed(await login(many, "bob", PASSWORD, stranger()));
  assert.equal((await login(many, "bob", PASSWORD, home)).status, 200, "where bob is logged in");
  const wait = slowed(await wrong(many, "bob", stranger()));
  await paused(wait);
  assert.equal((await login(many, "bob", PASSWORD, stranger())).status, 200, "and elsewhere after the pause");
});

test("of many guesses at once no more are answered", async () => {
  const home = stranger();
  await signup(many, "cem", home);
  const all = await Promise.all(Array.from({ length: 60 }, () => wrong(many, "cem", stranger())));
  const told = all.filter((r) => r.status !== 429);
  for (const r of told) refused(r);
  assert.ok(told.length <= ACCOUNT, `${told.length} of 60 were told`);
});

test("where there is no proxy, its header is not believed", async () => {
  const server = await new Server({ workers: 1, conf: `${limits()}\nhttp { web_root = "" trusted_proxies = "" }` }).start();
  try {
    for (let i = 0; i < ADDRESS; i++) refused(await wrong(server, `name${i}`, stranger()));
    slowed(await wrong(server, "name9", stranger()));
  } finally {
    await server.remove();
  }
});

test("signing up has a limit for each address", async () => {
  const from = stranger();
  for (let i = 0; i < SIGNUPS; i++) assert.ok((await signup(many, `many${i}`, from)).user);
  const r = await ask(many, "POST", "/auth/signup", { from, body: { username: "more", password: PASSWORD } });
  assert.ok(slowed(r) > 3500);
  assert.ok((await signup(many, "more")).user, "from elsewhere");
});

test("whoever has a token guesses the password no faster", async () => {
  const { access_token: token } = await signup(many, "dee");
  const change = (current_password) => ask(many, "PUT", "/users/me/password", { token, from: stranger(), body: { current_password, new_password: "another horse" } });
  const remove = (password) => ask(many, "DELETE", "/users/me", { token, from: stranger(), body: { password } });
  for (let i = 0; i < ACCOUNT; i++) refused(await (i % 2 ? change : remove)("not this one"));
  slowed(await change(PASSWORD));
  slowed(await remove(PASSWORD));
});

test("logging in goes on while the hub is away", async () => {
  const from = stranger();
  for (let i = 0; i < ADDRESS; i++) refused(await wrong(many, `hub${i}`, from));
  slowed(await login(many, "ann", PASSWORD, from));
  const [hub] = many.processes("hub");
  process.kill(hub.pid, "SIGKILL");
  await until("another hub", async () => {
    const r = await login(many, "ann", PASSWORD, from);
    assert.equal(r.status, 200, r.text);
    return many.processes("hub").some((p) => p.pid !== hub.pid);
  });
  refused(await wrong(many, "ann", from));
});

// ---- which accounts exist ----

const hashes = () => JSON.parse(one.ctl(["--json", "stats"]).stdout).data.hashes;

/** What the answers look like, and how many passwords were hashed. */
async function observe(what) {
  const before = hashes();
  const answers = [];
  for (const r of await what()) answers.push(seen(r));
  return { answers, hashed: hashes() - before };
}

test("a login tells nothing of the account: not known, known, locked and deactivated look the same", async () => {
  for (const name of ["eve", "locked", "gone"]) await signup(one, name);
  assert.equal(one.ctl(["user", "lock", "locked"]).status, 0);
  const { access_token: token } = (await login(one, "gone", PASSWORD, stranger())).body;
  assert.equal((await ask(one, "DELETE", "/users/me", { token, body: { password: PASSWORD } })).status, 204);
  const guess = (name) => observe(async () => {
    const all = [];
    for (let i = 0; i < ACCOUNT; i++) all.push(await wrong(one, name, stranger()));
    return all.concat(await Promise.all([1, 2, 3].map(() => wrong(one, name, stranger())))); // within the pause
  });
  const unknown = await guess("nobody");
  assert.equal(unknown.hashed, ACCOUNT, "nothing is hashed in a pause");
  for (const name of ["eve", "locked", "gone", "EVE2"]) assert.deepEqual(await guess(name), unknown, name);
});

test("a refresh tells nothing of the token", async () => {
  const { refresh_token: ended } = await signup(one, "fay");
  assert.equal((await ask(one, "POST", "/auth/logout", { body: { refresh_token: ended } })).status, 204);
  const refresh = (refresh_token) => observe(async () => [await ask(one, "POST", "/auth/refresh", { body: { refresh_token } })]);
  const unknown = await refresh("x".repeat(ended.length));
  assert.equal(unknown.hashed, 0);
  for (const token of [ended, "x", "x".repeat(500)]) assert.deepEqual(await refresh(token), unknown);
});

test("a wrong password looks the same wherever it is asked for", async () => {
  const { access_token: token } = await signup(one, "gus");
  const asked = (method, target, body) => observe(async () => [await ask(one, method, target, { token, body })]);
  const change = await asked("PUT", "/users/me/password", { current_password: "not this one", new_password: "another horse" });
  const long = await asked("PUT", "/users/me/password", { current_password: "x".repeat(128), new_password: "another horse" });
  const remove = await asked("DELETE", "/users/me", { password: "not this one" });
  assert.equal(change.hashed, 1);
  assert.deepEqual(long, change);
  assert.deepEqual(remove, change);
});
