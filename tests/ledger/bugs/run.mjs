// SPDX-License-Identifier: ISC
// make seeded-bugs: each *.patch beside this file is put into a copy of the source, which is built
// in a temporary directory; the ledger must find it, and find nothing without it.
//
//   node run.mjs [NAME…]     with PALAVER_BUILD: the build of the source as it is
//   BUG_SECONDS (40), BUG_SEED (1), BUG_JOBS (2): of make
//
// Prints a line of HACKING.md's table for each, and ends with 1 if one was not found.
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";

const here = path.dirname(fileURLToPath(import.meta.url));
const source = path.resolve(here, "../../..");
const seconds = Number(process.env.BUG_SECONDS || 40), seed = Number(process.env.BUG_SEED || 1);

/** What each bug is most at home with; all is found by longer runs of the usual mixture, too. */
const usual = { seconds, seed, every: 1500, clients: 20, rate: 40, load: { clients: 40, rate: 160, careless: 10 } };
const runs = {
  "ack-before-durable": usual,
  "no-deduplication": usual,
  "no-replay": { ...usual, roles: ["worker"], load: { clients: 40, rate: 160, careless: 50 } },
  "archiver-commits-early": { ...usual, roles: ["archiver", "archiver", "worker"] },
  "number-used-twice": usual,
  "gap-not-noticed": { ...usual, load: null, rate: 100, roles: ["hub"], quiet: true },
};

function run(argv, cwd) {
  const r = spawnSync(argv[0], argv.slice(1), { cwd, encoding: "utf8", maxBuffer: 1 << 28 });
  if (r.status !== 0) throw new Error(`${argv.join(" ")}: ${r.error ?? `${r.stdout}${r.stderr}`.slice(-3000)}`);
  return r.stdout;
}

const tree = fs.mkdtempSync(path.join(os.tmpdir(), "palaver-bugs-")), build = path.join(tree, "b");

function make() {
  run(["make", `-j${process.env.BUG_JOBS || 2}`, "palaverd", "palaverctl"], build);
}

/** A copy of the source, built once; a patch needs only its own files built again. */
function prepare() {
  const files = run(["git", "-C", source, "ls-files", "-co", "--exclude-standard", "-z"]).split("\0").filter((f) => f && fs.existsSync(path.join(source, f)));
  for (const f of files) fs.cpSync(path.join(source, f), path.join(tree, f));
  run(["autoreconf", "-i"], tree);
  fs.mkdirSync(path.join(build, "tests/bench"), { recursive: true });
  fs.cpSync(path.join(process.env.PALAVER_BUILD, "tests/bench/load"), path.join(build, "tests/bench/load"));
  run(["../configure", "CFLAGS=-O1"], build);
}

async function ledgerWith(name) {
  const patch = path.join(here, `${name}.patch`);
  run(["patch", "-p1", "-s", "-i", patch], tree);
  try {
    make();
    return await ledger(build, runs[name]);
  } finally {
    run(["patch", "-p1", "-s", "-R", "-i", patch], tree);
  }
}

async function ledger(build, options) {
  const program = `import { runLedger } from ${JSON.stringify(path.join(here, "../ledger.mjs"))};
    const { report } = await runLedger(${JSON.stringify(options)}); process.stdout.write(JSON.stringify(report));`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", program], { env: { ...process.env, PALAVER_BUILD: build }, stdio: ["ignore", "pipe", "pipe"] });
  let out = "", errors = "";
  child.stdout.on("data", (d) => (out += d));
  child.stderr.on("data", (d) => (errors += d));
  await once(child, "close");
  return out ? JSON.parse(out) : { faults: {}, failed: errors.slice(-1500) };
}

const total = (o) => Object.values(o ?? {}).reduce((n, x) => n + x, 0);

async function one(name) {
  const bad = await ledgerWith(name);
  make();
  const good = await ledger(build, runs[name]);
  const found = total(bad.faults) > 0 && !good.failed && total(good.faults) === 0;
  const kinds = Object.entries(bad.faults).map(([k, n]) => `${n} ${k}`).join(", ");
  console.log(`| ${name} | ${bad.sent ?? "-"} | ${total(bad.kills)} | ${kinds || "none"} | ${total(good.kills)} | ${good.failed ? "failed" : total(good.faults)} |`);
  if (!found) console.error(JSON.stringify({ bad, good }, null, 1));
  return found;
}

const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(runs);
const missed = [];
try {
  prepare();
  console.log("| bug | sent | kills | found | kills without it | found |\n|---|---|---|---|---|---|");
  for (const name of names) if (!(await one(name))) missed.push(name);
} finally {
  fs.rmSync(tree, { recursive: true, force: true });
}
if (missed.length) console.error(`not found: ${missed.join(", ")}`);
process.exitCode = missed.length ? 1 : 0;
