// SPDX-License-Identifier: ISC
// A child process of the fleet: carries some of its members, does what lib/fleet.mjs says.
import { Member } from "./member.mjs";
import { serve } from "./pool.mjs";
import { until } from "./testserver.mjs";

let members = [];

serve({
  async start({ indices, ...options }) {
    members = indices.map((i) => new Member(i, options));
    let done = false;
    const all = Promise.all(members.map((m) => m.start())).then(() => (done = true));
    await Promise.race([all, until(() => `every client to join: ${stuck()}`, () => done, 60000)]);
  },
  run() {
    for (const m of members) m.running = m.run();
  },
  async stop() {
    return (await Promise.all(members.map((m) => m.stop()))).flat();
  },
  async settle(totals) {
    await Promise.all(members.map((m) => m.settle(totals)));
    return members.map((m) => m.report());
  },
  close() {
    for (const m of members) m.close();
  },
});

function stuck() {
  return members.flatMap((m) => m.problems).slice(0, 10).join("; ") || "no client complains";
}
