// Daemon mode: the command returns when the server is ready, or says why it is not; root gives
// its privileges up.  And the systemd unit is one that systemd takes.
import assert from "node:assert";
import { spawnSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import test from "node:test";
import { build, palaverd, Server, until } from "./lib/server.mjs";

const root = process.getuid() === 0;

test("the command returns when the daemon is ready, and a refused one tells its status", { timeout: 60000 }, async (t) => {
  const server = new Server({ user: root ? "nobody" : "" });
  fs.chmodSync(server.dir, 0o755);
  await server.writeConf();
  const run = () => spawnSync(palaverd, ["-c", server.confPath], { encoding: "utf8", timeout: 20000, stdio: ["ignore", "ignore", "pipe"] });
  const first = run();
  t.after(async () => {
    server.ctl(["shutdown"]);
    await until("the daemon is gone", () => server.status() === null, 20000);
    fs.rmSync(server.dir, { recursive: true, force: true });
  });
  assert.equal(first.status, 0, first.stderr);
  assert.equal(first.error, undefined, "nobody holds the caller's standard error open");
  assert.ok(await server.healthy(), "it serves when the command returns");
  const processes = server.status().processes;
  assert.equal(Number(fs.readFileSync(path.join(server.runDir, "palaverd.pid"), "utf8")), processes[0].pid);
  for (const p of processes) {
    const status = fs.readFileSync(`/proc/${p.pid}/status`, "utf8");
    if (root) assert.match(status, /^Uid:\t65534\t65534\t65534\t65534$/m);
    assert.match(status, /^NoNewPrivs:\t1$/m);
  }
  const second = run();
  assert.equal(second.status, 71);
  assert.match(second.stderr, /cannot listen on 127\.0\.0\.1:\d+: Address already in use/);
  assert.ok(await server.healthy(), "the first one goes on");
});

test("the systemd unit is valid and confined", (t) => {
  if (spawnSync("systemd-analyze", ["--version"]).status !== 0) return t.skip("no systemd-analyze here");
  assert.equal(spawnSync("make", ["-C", build, "palaver.service"]).status, 0);
  const unit = path.join(build, "palaver-check.service");
  const text = fs.readFileSync(path.join(build, "palaver.service"), "utf8");
  fs.writeFileSync(unit, text.replace(/=\S*palaverd /g, `=${palaverd} `));
  const verify = spawnSync("systemd-analyze", ["verify", "--man=no", unit], { encoding: "utf8" });
  assert.equal(verify.stdout + verify.stderr, "");
  const security = spawnSync("systemd-analyze", ["security", "--offline=true", "--threshold=25", unit], { encoding: "utf8" });
  assert.equal(security.status, 0, security.stdout.split("\n").slice(-3).join("\n"));
});
