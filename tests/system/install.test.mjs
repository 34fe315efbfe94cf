// What a packager and an administrator do: make install into an empty root, look at what is
// there, run it from there, add a user, stop it.
import assert from "node:assert";
import { spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { build, freePort, root, until } from "./lib/server.mjs";

const dir = fs.mkdtempSync(path.join(os.tmpdir(), "palaver-install-"));
const dest = path.join(dir, "root");
test.after(() => fs.rmSync(dir, { recursive: true, force: true }));

function run(argv, options = {}) {
  const r = spawnSync(argv[0], argv.slice(1), { encoding: "utf8", timeout: 120000, ...options });
  assert.equal(r.status, 0, `${argv.join(" ")}\n${r.stdout}${r.stderr}`);
  return r.stdout;
}

/** A directory that configure chose, as make sees it. */
function variable(name) {
  const makefile = fs.readFileSync(path.join(build, "Makefile"), "utf8");
  const value = (n) => makefile.match(new RegExp(`^${n} = (.*)$`, "m"))[1].replace(/\$[({](\w+)[)}]/g, (_, v) => value(v));
  return value(name);
}
const installed = (dirName, name) => path.join(dest, variable(dirName), name);

/** The files that Makefile.am names in a variable, without the primary's folder. */
function filesOf(name) {
  const text = fs.readFileSync(path.join(root, "Makefile.am"), "utf8").replace(/\\\n/g, " ");
  return text.match(new RegExp(`^${name} = (.*)$`, "m"))[1].split(/\s+/).filter(Boolean).map((f) => path.basename(f));
}

test("make install DESTDIR puts everything in its place", () => {
  run(["make", "-C", build, "install", `DESTDIR=${dest}`]);
  for (const program of [installed("sbindir", "palaverd"), installed("bindir", "palaverctl")]) fs.accessSync(program, fs.constants.X_OK);
  for (const page of ["palaverd.8", "palaverctl.8", "palaver.conf.5", "palaver-protocol.7"]) {
    const file = path.join(dest, variable("mandir"), `man${page.at(-1)}`, page);
    assert.ok(fs.statSync(file).size > 0, `${page} is empty`);
  }
  assert.match(fs.readFileSync(installed("docdir", "palaver.conf.example"), "utf8"), /state_dir/);
});

test("every file that the page asks for is installed", () => {
  const web = installed("pkgdatadir", "web");
  for (const file of filesOf("dist_web_DATA")) assert.ok(fs.statSync(path.join(web, file)).size > 0, `${file} is empty`);
  const page = fs.readFileSync(path.join(web, "index.html"), "utf8");
  for (const [, file] of page.matchAll(/(?:src|href)="([^"]+)"/g)) assert.ok(fs.existsSync(path.join(web, file)), `index.html asks for ${file}`);
});

test("the installed programs say their version", () => {
  const version = variable("PACKAGE_VERSION");
  assert.ok(run([installed("sbindir", "palaverd"), "-V"]).includes(version));
  assert.ok(run([installed("bindir", "palaverctl"), "-V"]).includes(version));
});

test("the installed example is a valid configuration", () => {
  run([installed("sbindir", "palaverd"), "-t", "-c", installed("docdir", "palaver.conf.example")]);
});

test("a wrong configuration is refused with file and line", () => {
  const file = path.join(dir, "wrong.conf");
  fs.writeFileSync(file, 'workers = 1\nworkerz = 2\n');
  const r = spawnSync(installed("sbindir", "palaverd"), ["-t", "-c", file], { encoding: "utf8" });
  assert.notEqual(r.status, 0);
  assert.match(r.stderr, /wrong\.conf:2/);
});

test("the installed server runs, takes a user and stops", async (t) => {
  const port = await freePort();
  const conf = path.join(dir, "palaver.conf");
  fs.writeFileSync(conf, `state_dir = "${dir}/state"
run_dir = "${dir}/run"
user = ""
workers = 2
listen { address = "127.0.0.1" port = ${port} }
http { web_root = "${installed("pkgdatadir", "web")}" }
accounts { hash_cost = 1 }
`);
  run([installed("sbindir", "palaverd"), "-t", "-c", conf]);
  const server = spawn(installed("sbindir", "palaverd"), ["-f", "-c", conf], { stdio: ["ignore", "ignore", "pipe"] });
  let log = "";
  server.stderr.on("data", (d) => (log += d));
  const ended = new Promise((resolve) => server.on("exit", (code, signal) => resolve({ code, signal })));
  t.after(async () => {
    if (server.exitCode === null && server.signalCode === null) server.kill("SIGKILL");
    await ended;
  });
  const base = `http://127.0.0.1:${port}`;
  await until("the installed server answers", async () => {
    if (server.exitCode !== null) throw new Error(log);
    return fetch(`${base}/v1/health`).then((r) => r.ok, () => false);
  });
  assert.match(await (await fetch(`${base}/`)).text(), /<title>Palaver<\/title>/);

  const ctl = (args, input) => run([installed("bindir", "palaverctl"), "-c", conf, ...args], { input });
  const status = await until("all processes are ready", () => {
    const s = JSON.parse(ctl(["--json", "status"])).data;
    return s.processes.length >= 5 && s.processes.every((p) => p.pid > 0) && s;
  });
  assert.deepEqual(status.processes.map((p) => p.role).sort(), ["archiver", "hub", "master", "worker", "worker"]);
  ctl(["user", "add", "ann", "Ann Example"], "correct horse\n");
  assert.match(ctl(["user", "list"]), /ann/);
  const login = await fetch(`${base}/v1/auth/login`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ username: "ann", password: "correct horse" }),
  });
  assert.equal(login.status, 200);
  ctl(["shutdown"]);
  assert.deepEqual(await ended, { code: 0, signal: null });
});

test("make uninstall leaves nothing behind", () => {
  run(["make", "-C", build, "uninstall", `DESTDIR=${dest}`]);
  const left = fs.readdirSync(dest, { recursive: true, withFileTypes: true }).filter((e) => !e.isDirectory()).map((e) => e.name);
  assert.deepEqual(left, []);
});
