// SPDX-License-Identifier: ISC
// Accounts: who may sign up, invitations, profiles and their versions, the end of an account.
import assert from "node:assert";
import test from "node:test";
import { rest, signup } from "./lib/client.mjs";
import { Server, until } from "./lib/server.mjs";

const PASSWORD = "correct horse";
let server;

test.before(async () => {
  server = await new Server().start();
});
test.after(() => server.remove());

const api = (method, path, options) => rest(server.base, method, `/v1${path}`, options);
const login = (username, password = PASSWORD) => api("POST", "/auth/login", { body: { username, password } });

/** The same with headers of its own; the answer's body as text. */
async function ask(method, path, token, headers, body) {
  const r = await fetch(`${server.base}/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${token}`, ...headers },
    body: body && JSON.stringify(body),
  });
  return { status: r.status, etag: r.headers.get("etag"), text: await r.text() };
}

/** Changes accounts.signup in the running server. */
async function signupMode(mode) {
  server.options.conf = `accounts { hash_cost = 1 signup = ${mode} }`;
  await server.writeConf();
  assert.equal(server.ctl(["reload"]).status, 0);
}

function invite(...args) {
  const r = server.ctl(["--json", "invite", "add", ...args]);
  assert.equal(r.status, 0, r.stderr);
  return JSON.parse(r.stdout).data;
}

// ---- profiles ----

test("a profile is changed field by field, and shown to others without what is private", async () => {
  const ann = await signup(server.base, "ann");
  const bob = await signup(server.base, "bob");
  const first = await api("GET", "/users/me", { token: ann.token });
  assert.equal(first.body.version, 1);
  assert.equal(first.headers.get("etag"), '"1"');
  const changed = await api("PATCH", "/users/me", {
    token: ann.token,
    body: { name: "Ann Smith", bio: "hello", avatar: "https://example.org/a.png", time_zone: "Europe/Vienna", id: "usr_x", locked: true },
  });
  assert.equal(changed.status, 200);
  assert.equal(changed.headers.get("etag"), '"2"');
  assert.equal(changed.body.id, ann.id);
  await api("PATCH", "/users/me", { token: ann.token, body: { bio: "" } });
  const own = (await api("GET", "/users/me", { token: ann.token })).body;
  assert.deepEqual([own.name, own.bio, own.avatar, own.time_zone, own.version], ["Ann Smith", "", "https://example.org/a.png", "Europe/Vienna", 3]);
  const seen = (await api("GET", `/users/${ann.id}`, { token: bob.token })).body;
  assert.deepEqual(Object.keys(seen), ["id", "username", "name", "avatar", "bio", "time_zone", "active", "created_at"]);
  assert.equal(seen.name, "Ann Smith");
});

test("what is no profile is refused with the field at fault", async () => {
  const { token } = await signup(server.base, "wrong");
  const refused = async (body) => {
    const r = await api("PATCH", "/users/me", { token, body });
    assert.equal(r.status, 422, JSON.stringify(body));
    return `${r.body.errors[0].pointer} ${r.body.errors[0].code}`;
  };
  assert.equal(await refused({ name: "" }), "/name empty");
  assert.equal(await refused({ name: "x".repeat(129) }), "/name too_long");
  assert.equal(await refused({ name: 5 }), "/name wrong_type");
  assert.equal(await refused({ bio: "x".repeat(1025) }), "/bio too_long");
  assert.equal(await refused({ avatar: "x".repeat(513) }), "/avatar too_long");
  assert.equal(await refused({ avatar: "javascript:alert(1)" }), "/avatar invalid");
  assert.equal(await refused({ avatar: 'https://x/"onload=' }), "/avatar invalid");
  for (const zone of ["Mars/Olympus", "../../etc/passwd", "posix/UTC", "zone.tab", "Europe"]) {
    assert.equal(await refused({ time_zone: zone }), "/time_zone invalid", zone);
  }
  assert.equal((await api("PATCH", "/users/me", { token, body: { time_zone: "UTC" } })).status, 200);
  assert.equal((await api("PATCH", "/users/me", { token, body: { time_zone: "" } })).status, 200);
  assert.equal((await api("GET", "/users/me", { token })).body.version, 3);
});

test("If-Match lets nobody write over what he has not read; If-None-Match saves the body", async () => {
  const { token } = await signup(server.base, "versions");
  const json = { "content-type": "application/json" };
  assert.equal((await ask("PATCH", "/users/me", token, { ...json, "if-match": '"1"' }, { bio: "one" })).etag, '"2"');
  for (const tag of ['"1"', 'W/"2"', '"x"', "2", '"2", "3"', '"99"']) {
    const late = await ask("PATCH", "/users/me", token, { ...json, "if-match": tag }, { bio: "late" });
    assert.equal(late.status, 412, tag);
    assert.equal(JSON.parse(late.text).code, "precondition_failed");
  }
  assert.equal((await ask("PATCH", "/users/me", token, { ...json, "if-match": "*" }, { bio: "any" })).etag, '"3"');
  for (const tag of ['"3"', 'W/"3"', '"1", "3"', "*"]) {
    const same = await ask("GET", "/users/me", token, { "if-none-match": tag });
    assert.deepEqual(same, { status: 304, etag: '"3"', text: "" }, tag);
  }
  assert.equal((await ask("GET", "/users/me", token, { "if-none-match": '"2"' })).status, 200);
});

test("of two devices that change two fields at the same moment both win", async () => {
  const { token } = await signup(server.base, "twice");
  const done = await Promise.all(["bio", "avatar", "name", "time_zone"].map((field) => api("PATCH", "/users/me", { token, body: { [field]: "UTC" } })));
  assert.deepEqual(done.map((r) => r.status), [200, 200, 200, 200]);
  const own = (await api("GET", "/users/me", { token })).body;
  assert.deepEqual([own.bio, own.avatar, own.name, own.time_zone, own.version], ["UTC", "UTC", "UTC", "UTC", 5]);
});

// ---- the end of an account ----

test("who deactivates the account keeps the name, and the administrator brings it back", async () => {
  const gone = await signup(server.base, "gone");
  const other = await signup(server.base, "other");
  const wrong = await api("DELETE", "/users/me", { token: gone.token, body: { password: "not this one" } });
  assert.deepEqual([wrong.status, wrong.body.code], [401, "bad_credentials"]);
  assert.equal((await api("DELETE", "/users/me", { token: gone.token, body: {} })).status, 422);
  assert.equal((await api("DELETE", "/users/me", { token: gone.token, body: { password: PASSWORD } })).status, 204);
  assert.deepEqual(await login("gone", "not this one").then((r) => [r.status, r.body.code]), [401, "bad_credentials"]);
  assert.deepEqual(await login("gone").then((r) => [r.status, r.body.code]), [403, "user_deactivated"]);
  assert.equal((await api("POST", "/auth/signup", { body: { username: "gone", password: PASSWORD } })).body.code, "username_taken");
  assert.equal((await api("GET", `/users/${gone.id}`, { token: other.token })).body.active, false);
  assert.equal((await api("GET", "/users?q=gone", { token: other.token })).body.items.length, 0);
  const shown = JSON.parse(server.ctl(["--json", "user", "show", "gone"]).stdout).data;
  assert.match(shown.deactivated_at, /^\d{4}-\d\d-\d\dT/);
  assert.match(server.ctl(["user", "show", "gone"]).stdout, /deactivated_at\s+\d{4}-/);
  assert.equal(server.ctl(["user", "unlock", "gone"]).status, 0);
  assert.equal((await login("gone")).status, 200);
  assert.equal((await api("GET", `/users/${gone.id}`, { token: other.token })).body.active, true);
});

test("user show of nobody says so", () => {
  const r = server.ctl(["user", "show", "nobody-there"]);
  assert.equal(r.status, 67);
  assert.match(r.stderr, /no such thing/);
});

// ---- signing up ----

test("an invitation is good for its uses; unknown, used up and expired look the same", async () => {
  await signupMode("invite");
  const signUp = (username, invitation) => api("POST", "/auth/signup", { body: { username, password: PASSWORD, invitation } });
  const two = invite("--uses", "2", "--days", "3", "for two");
  assert.equal(two.invitation.uses_left, 2);
  assert.equal(two.invitation.note, "for two");
  assert.match(two.code, /^[\w-]{20}$/);
  await until("the workers take the new mode", async () => (await signUp("early", undefined)).status === 422);
  assert.deepEqual((await signUp("early", undefined)).body.errors, [{ pointer: "/invitation", code: "required" }]);
  const unknown = await signUp("ann", "no-such-code");
  assert.deepEqual([unknown.status, unknown.body.code], [403, "invitation_invalid"]);
  assert.equal((await signUp("ann", two.code)).body.code, "username_taken"); // which uses nothing up
  assert.equal((await signUp("guest1", two.code)).status, 201);
  assert.equal((await signUp("guest2", two.code)).status, 201);
  const used = await signUp("guest3", two.code);
  const strip = (r) => JSON.stringify({ ...r.body, request_id: 0 });
  assert.equal(strip(used), strip(unknown));
  const removed = invite();
  assert.equal(server.ctl(["invite", "remove", removed.invitation.id]).status, 0);
  assert.equal(server.ctl(["invite", "remove", removed.invitation.id]).status, 67);
  assert.equal(strip(await signUp("guest3", removed.code)), strip(unknown));
  const list = JSON.parse(server.ctl(["--json", "invite", "list"]).stdout).data.invitations;
  assert.deepEqual(list.map((i) => [i.id, i.uses_left]), [[two.invitation.id, 0]]);
  assert.doesNotMatch(JSON.stringify(list), new RegExp(two.code));
  assert.match(server.ctl(["invite", "list"]).stdout, /for two/);
});

test("of many who come at once with an invitation for three, three get in", async () => {
  const { code } = invite("--uses", "3");
  const all = await Promise.all(Array.from({ length: 10 }, (_, i) => api("POST", "/auth/signup", { body: { username: `crowd${i}`, password: PASSWORD, invitation: code } })));
  assert.equal(all.filter((r) => r.status === 201).length, 3);
  assert.equal(all.filter((r) => r.body.code === "invitation_invalid").length, 7);
});

test("invite add refuses what makes no sense", () => {
  for (const args of [["--uses", "0"], ["--days", "9999"], ["--uses", "x"], ["a".repeat(129)]]) {
    assert.equal(server.ctl(["invite", "add", ...args]).status, 65, args.join(" "));
  }
  for (const args of [["--uses"], ["--colour", "red"], ["one", "two"]]) {
    assert.equal(server.ctl(["invite", "add", ...args]).status, 64, args.join(" "));
  }
});

test("where signing up is closed an invitation does not help, and the administrator adds users", async () => {
  const { code } = invite();
  await signupMode("closed");
  await until("the workers take the new mode", async () => {
    const r = await api("POST", "/auth/signup", { body: { username: "late", password: PASSWORD, invitation: code } });
    return r.status === 403 && r.body.code === "signup_closed";
  });
  assert.equal(server.ctl(["user", "add", "late"], `${PASSWORD}\n`).status, 0);
  assert.equal((await login("late")).status, 200);
});
