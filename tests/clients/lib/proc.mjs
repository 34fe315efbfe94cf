// SPDX-License-Identifier: ISC
// What the kernel knows of a process: its state, and the TCP connections that it has accepted.
import fs from "node:fs";

/** R, S, T (stopped), Z …; null when there is no such process */
export function processState(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 2)[0];
  } catch {
    return null;
  }
}

/**
 * The peers' ports of the connections to 127.0.0.1:port that this process holds.  One that waits
 * in a listening queue belongs to nobody yet and is not among them.
 */
export function acceptedPeers(pid, port) {
  const inodes = new Set();
  for (const fd of fs.readdirSync(`/proc/${pid}/fd`)) {
    let target;
    try {
      target = fs.readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      continue; // closed since the list was read
    }
    const m = target.match(/^socket:\[(\d+)\]$/);
    if (m) inodes.add(m[1]);
  }
  const peers = new Set();
  for (const line of fs.readFileSync(`/proc/${pid}/net/tcp`, "latin1").split("\n").slice(1)) {
    const [, local, remote, , , , , , , inode] = line.trim().split(/\s+/);
    if (!local || !inodes.has(inode)) continue;
    const peer = parseInt(remote.split(":")[1], 16);
    if (parseInt(local.split(":")[1], 16) === port && peer !== 0) peers.add(peer);
  }
  return peers;
}
