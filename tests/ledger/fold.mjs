// SPDX-License-Identifier: ISC
// What has become of messages: the rules of palaver-protocol(7), folded from events in order.
// Used three times: on what was sent, on what a client was shown, and compared with history and store.

export const CHANGES = ["message.updated", "message.deleted", "reaction.added", "reaction.removed"];

/** {text, edit (seq, 0: none), deleted, reactions: Set of "emoji user"} */
const fresh = (text) => ({ text, edit: 0, deleted: false, reactions: new Set() });

function setReactions(state, list = []) {
  state.reactions = new Set(list.flatMap((r) => r.user_ids.map((u) => `${r.emoji} ${u}`)));
}

/** The state that the data of a message.created shows. */
export function shown(data) {
  const state = fresh(data.text);
  state.deleted = Boolean(data.deleted_at);
  state.edit = data.edited_at ? 1 : 0;
  setReactions(state, data.reactions);
  return state;
}

/** Folds one event, whose text is `text`, into the Map of states by message id. */
export function fold(states, { id, type, seq, data }, text = data.text) {
  if (type === "message.created") {
    states.set(id, { ...shown(data), text });
    return;
  }
  const state = CHANGES.includes(type) && states.get(data.message_id);
  if (!state || state.deleted) return;
  const key = `${data.emoji} ${data.sender_id}`;
  if (type === "message.updated") Object.assign(state, { text, edit: seq });
  else if (type === "message.deleted") Object.assign(state, { text: "", deleted: true, reactions: new Set() });
  else if (type === "reaction.added") state.reactions.add(key);
  else state.reactions.delete(key);
}

/** How b differs from a in words; "" if it does not. */
export function difference(a, b) {
  if (!b) return "is missing";
  if (a.deleted !== b.deleted) return b.deleted ? "is deleted, and nobody did that" : "is not deleted";
  if (a.text !== b.text) return `has another text: ${JSON.stringify(b.text)}, not ${JSON.stringify(a.text)}`;
  if (Boolean(a.edit) !== Boolean(b.edit) && !a.deleted) return b.edit ? "counts as edited" : "does not count as edited";
  const [x, y] = [a, b].map((s) => (s.deleted ? "" : [...s.reactions].sort().join(", ")));
  return x === y ? "" : `has the reactions [${y}], not [${x}]`;
}
