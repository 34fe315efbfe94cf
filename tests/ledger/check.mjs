// SPDX-License-Identifier: ISC
// The ledger's checker: what must be true of sends, acknowledgements, history, archive and
// the streams of clients.  Pure: takes plain data, returns a list of faults.

import { CHANGES, difference, fold, shown } from "./fold.mjs";

/** Of the store's file; the others are not the ledger's. */
const TYPES = { 1: "message.created", 4: "message.updated", 5: "message.deleted", 6: "reaction.added", 7: "reaction.removed" };
const byClients = (type) => type === "message.created" || CHANGES.includes(type);

/**
 * ledger: [{conversation, client_msg_id, text, user, ack?: {id, seq}, acks?: [ack]}]; acks: every
 *   answer to the send and its repetitions; of a change also type and message (its id)
 * history: Map conversation -> [event], over the API
 * archive: [{id, conversation, seq, sender, client_id, type, data}] from the store's file
 * streams: [{name, conversation, events: [event]}]
 * state: what the store's file says of changed messages (readState()); undefined: not looked at
 * seen: [[id, conversation, seq]] every observation of every client
 * holes: [{name, conversation, last, seq}] events that came to a client that was connected and had
 *   synced, and had not been shown what is between: its worker did not notice that it missed some
 */
export function check({ ledger, history, archive, streams, seen, holes = [], state }) {
  const faults = [];
  const fault = (kind, text) => faults.push({ kind, text });
  const sends = new Map(ledger.map((e) => [`${e.conversation} ${e.user} ${e.client_msg_id}`, e]));

  checkList("history", [...history].flatMap(([conversation, events]) => events.map((ev) => ({
    id: ev.id, conversation, seq: ev.seq, type: ev.type, sender: ev.data.sender_id, client_id: ev.data.client_msg_id || "", data: ev.data,
  }))));
  checkList("archive", archive.map((row) => ({
    id: row.id, conversation: row.conversation, seq: row.seq, type: TYPES[row.type], sender: row.sender, client_id: row.client_id, data: JSON.parse(row.data),
  })));
  const expected = foldLedger();
  checkHistoryState();
  checkStoreState();
  sameEverywhere();
  for (const s of streams) checkStream(s);
  for (const e of ledger) oneAnswer(e);
  oneNumberEach();
  allSeenStays();
  for (const h of holes) fault("hole", `${h.name} was connected, had ${h.last} of ${h.conversation} and was shown ${h.seq}`);
  return faults;

  /** Every acknowledged send once, in its place; nothing that nobody sent; order strict. */
  function checkList(where, rows) {
    const byClient = new Map();
    const ids = new Set();
    const last = new Map();
    for (const r of rows) {
      if (ids.has(r.id)) fault("doubled", `${where}: ${r.id} twice`);
      ids.add(r.id);
      if (where === "history" && r.seq <= (last.get(r.conversation) || 0)) fault("order", `history of ${r.conversation}: seq ${r.seq} after ${last.get(r.conversation)}`);
      last.set(r.conversation, r.seq);
      if (!byClients(r.type)) continue;
      const key = `${r.conversation} ${r.sender} ${r.client_id}`;
      if (byClient.has(key)) fault("doubled", `${where}: send ${r.client_id} is ${byClient.get(key).id} and ${r.id}`);
      byClient.set(key, r);
      const send = sends.get(key);
      if (!send) fault("foreign", `${where}: ${r.id} was sent by nobody`);
      else if ((send.type ?? "message.created") !== r.type) fault("changed", `${where}: ${r.id} is ${r.type}, sent was ${send.type}`);
      else if (send.message !== r.data.message_id || send.emoji !== r.data.emoji) fault("changed", `${where}: ${r.id} is about ${r.data.message_id} ${r.data.emoji}, sent was ${send.message} ${send.emoji}`);
      else if (send.refused && send.tries === 1) fault("refused", `${where}: ${r.id} is there, and was refused`);
    }
    for (const [key, e] of sends) {
      if (!e.ack) continue;
      const r = byClient.get(key);
      if (!r) fault("lost", `${where}: acknowledged ${e.ack.id} (seq ${e.ack.seq}, ${e.conversation}) is missing`);
      else if (r.id !== e.ack.id || r.seq !== e.ack.seq) fault("moved", `${where}: acknowledged as ${e.ack.id}/${e.ack.seq}, is ${r.id}/${r.seq}`);
    }
  }

  /** What every message must be now, from what was sent and the numbers it has got. */
  function foldLedger() {
    const states = new Map();
    for (const [conversation, events] of history) {
      for (const ev of events) {
        const text = sends.get(`${conversation} ${ev.data.sender_id} ${ev.data.client_msg_id}`)?.text;
        const data = ev.type === "message.created" ? { text } : ev.data;
        fold(states, { ...ev, data }, text);
      }
    }
    return states;
  }

  function checkHistoryState() {
    for (const [conversation, events] of history) {
      for (const ev of events.filter((e) => e.type === "message.created")) {
        const d = difference(expected.get(ev.id), shown(ev.data));
        if (d) fault("state", `history of ${conversation}: ${ev.id} ${d}`);
      }
    }
  }

  /** The store keeps the newest text where it came, in the message or in its last edit. */
  function checkStoreState() {
    if (!state) return;
    const texts = new Map(archive.map((r) => [`${r.conversation} ${r.seq}`, JSON.parse(r.data).text ?? ""]));
    for (const r of archive.filter((row) => TYPES[row.type] === "message.created" && history.has(row.conversation))) {
      const edit = state.edits.get(r.id) ?? 0, deleted = state.deletions.has(r.id);
      const d = difference(expected.get(r.id) ?? {}, {
        edit, deleted, text: texts.get(`${r.conversation} ${edit || r.seq}`), reactions: state.reactions.get(r.id) ?? new Set(),
      });
      if (d) fault("state", `store: ${r.id} ${d}`);
    }
  }

  /** The same of what a client was shown, event by event. */
  function checkStreamState(name, events) {
    const states = new Map();
    for (const ev of events) fold(states, ev);
    for (const [id, mine] of states) {
      const d = difference(expected.get(id) ?? {}, mine);
      if (d) fault("state", `${name}: ${id} ${d}`);
    }
  }

  function sameEverywhere() {
    const inArchive = new Map(archive.map((r) => [r.id, r]));
    let count = 0;
    for (const [conversation, events] of history) {
      for (const ev of events) {
        count++;
        const r = inArchive.get(ev.id);
        if (!r) fault("lost", `archive: ${ev.id} of ${conversation} is in history alone`);
        else if (r.seq !== ev.seq) fault("moved", `archive: ${ev.id} has seq ${r.seq}, history says ${ev.seq}`);
      }
    }
    const relevant = archive.filter((r) => history.has(r.conversation)).length;
    if (relevant !== count) fault("lost", `archive has ${relevant} events, history ${count}`);
  }

  /** From its first event on, a client's stream is the history. */
  function checkStream({ name, conversation, events }) {
    checkStreamState(name, events);
    const full = history.get(conversation);
    const from = full.findIndex((ev) => events.length && ev.id === events[0].id);
    const want = events.length ? full.slice(Math.max(from, 0)) : full;
    const n = Math.max(want.length, events.length);
    for (let i = 0; i < n; i++) {
      if (want[i]?.id === events[i]?.id && want[i]?.seq === events[i]?.seq) continue;
      fault("stream", `${name} in ${conversation} at ${i} of ${n}: has ${events[i]?.id}/${events[i]?.seq}, history ${want[i]?.id}/${want[i]?.seq}`);
      return;
    }
  }

  /** A send that is repeated is answered with the first result. */
  function oneAnswer({ ack, acks = [] }) {
    const other = acks.find((a) => a.id !== ack.id || a.seq !== ack.seq);
    if (other) fault("moved", `acknowledged as ${ack.id}/${ack.seq} and as ${other.id}/${other.seq}`);
  }

  /** What a client was shown does not vanish, acknowledged or not. */
  function allSeenStays() {
    const ids = new Set([...history.values()].flatMap((events) => events.map((ev) => ev.id)));
    const gone = new Map(seen.filter(([id, conversation]) => history.has(conversation) && !ids.has(id)).map(([id, ...rest]) => [id, rest]));
    for (const [id, [conversation, seq]] of gone) fault("vanished", `${id} was seen as ${seq} of ${conversation} and is not in history`);
  }

  function oneNumberEach() {
    const byId = new Map();
    const bySeq = new Map();
    const inHistory = [...history].flatMap(([conversation, events]) => events.map((ev) => [ev.id, conversation, ev.seq]));
    for (const [id, conversation, seq] of inHistory.concat(seen)) {
      if ((byId.get(id) ?? seq) !== seq) fault("renumbered", `${id} was seen as ${byId.get(id)} and as ${seq}`);
      byId.set(id, seq);
      const key = `${conversation} ${seq}`;
      if ((bySeq.get(key) ?? id) !== id) fault("reused", `${key} was ${bySeq.get(key)} and ${id}`);
      bySeq.set(key, id);
    }
  }
}
