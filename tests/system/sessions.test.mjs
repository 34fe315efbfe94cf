// SPDX-License-Identifier: ISC
// Logins: tokens, their rotation, and how sessions end.
import assert from "node:assert";
import test from "node:test";
import { rest, signup } from "./lib/client.mjs";
import { Server } from "./lib/server.mjs";

const PASSWORD = "correct horse";
let server;

test.before(async () => {
  server = await new Server({ workers: 4 }).start();
});
test.after(() => server.remove());

const api = (method, path, options) => rest(server.base, method, `/v1${path}`, options);
const login = async (username) => (await api("POST", "/auth/login", { body: { username, password: PASSWORD } })).body;
const refresh = (refresh_token) => api("POST", "/auth/refresh", { body: { refresh_token } });
const logout = (refresh_token) => api("POST", "/auth/logout", { body: { refresh_token } });
const me = (token) => api("GET", "/users/me", { token });

test("a login gives two tokens in the body; the refresh token gives further access tokens until logout", async () => {
  const ann = await signup(server.base, "ann");
  const l = await login("ann");
  assert.equal(l.user.id, ann.id);
  assert.equal(l.token_type, "Bearer");
  assert.equal(l.expires_in, 900);
  assert.equal((await me(l.access_token)).body.id, ann.id);
  const r = await refresh(l.refresh_token);
  assert.equal(r.status, 200);
  assert.equal(r.body.user.id, ann.id);
  assert.equal((await me(r.body.access_token)).status, 200);
  assert.equal((await api("POST", "/auth/refresh", { body: { refresh_token: 1 } })).body.errors[0].pointer, "/refresh_token");
  assert.equal((await refresh("x".repeat(43))).body.code, "unauthorized");
  assert.equal((await refresh("x".repeat(1000))).body.code, "unauthorized");
  assert.equal((await api("POST", "/auth/refresh")).body.code, "unauthorized");
  assert.equal((await logout(r.body.refresh_token || l.refresh_token)).status, 204);
  assert.equal((await refresh(r.body.refresh_token || l.refresh_token)).status, 401);
});
