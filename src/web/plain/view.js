// What the plain page shows: conversations and messages.  Text goes in by textContent only.
// Shares $, state and the requests with palaver.js, which is loaded after it.
"use strict";

function drawConversations() {
  const list = [...state.conversations.values()].sort((a, b) => (b.events.at(-1)?.created_at ?? b.created_at).localeCompare(a.events.at(-1)?.created_at ?? a.created_at));
  $("conversations").replaceChildren(...list.map((c) => {
    const choice = button(titleOf(c), "", () => open(c));
    choice.setAttribute("aria-current", c === state.current);
    const unread = unreadOf(c);
    if (unread) {
      const badge = document.createElement("span");
      badge.className = "unread";
      badge.textContent = unread;
      badge.setAttribute("aria-label", `${unread} unread`);
      choice.append(badge);
    }
    const li = document.createElement("li");
    li.append(choice);
    return li;
  }));
}

function item(className, text, meta) {
  const li = document.createElement("li");
  li.className = className;
  li.textContent = text;
  if (meta) {
    const span = document.createElement("span");
    span.className = "meta";
    span.textContent = meta;
    li.append(span);
  }
  return li;
}

/** What an event that is no message says, in words; undefined: nothing to be seen. */
function noteOf(c, event) {
  const who = nameOf(c, event.data.sender_id);
  const members = (event.data.members ?? []).map((m) => m.username ?? nameOf(c, m.user_id)).join(", ");
  const alone = event.data.members?.length === 1 && event.data.members[0].user_id === event.data.sender_id;
  switch (event.type) {
    case "conversation.created":
      return `${who} began this conversation`;
    case "member.joined":
      return alone ? `${members} joined` : `${who} added ${members}`;
    case "member.left":
      return event.data.reason === "left" ? `${members} left` : `${who} removed ${members}`;
    case "member.updated":
      return `${who} made ${members} ${event.data.members[0].role}`;
    case "conversation.updated": {
      const { name, archived, topic } = event.data.changes;
      if (archived !== undefined) return `${who} ${archived ? "archived this conversation" : "took this conversation out of the archive"}`;
      if (name !== undefined) return `${who} named it ${name}`;
      return topic ? `${who} set the topic: ${topic}` : undefined;
    }
  }
}

function button(text, className, action) {
  const b = document.createElement("button");
  b.type = "button";
  b.className = className;
  b.textContent = text;
  b.addEventListener("click", action);
  return b;
}

/** Opens and closes what can be done with a message. */
function drawActions(c, event, li) {
  const open = button("⋯", "actions", () => {
    const choices = li.querySelector(".choices");
    open.setAttribute("aria-expanded", !choices);
    if (choices) return choices.remove();
    const box = document.createElement("div");
    box.className = "choices";
    const mine = event.data.sender_id === state.user.id;
    for (const emoji of EMOJI) box.append(button(emoji, "", () => react(event, emoji)));
    if (mine) box.append(button("Edit", "", () => startEditing(event)));
    if (mine || (c.type !== "direct" && ["admin", "owner"].includes(c.role))) box.append(button("Delete", "", () => remove(event)));
    li.append(box);
    box.firstChild.focus();
  });
  open.setAttribute("aria-label", "Message actions");
  open.setAttribute("aria-expanded", false);
  li.querySelector(".meta").append(open);
}

function drawMessage(c, event) {
  const { data } = event;
  const at = new Date(event.created_at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  const meta = `${nameOf(c, data.sender_id)} · ${at}`;
  const mine = data.sender_id === state.user.id ? "mine" : "";
  const li = data.deleted_at ? item(`${mine} deleted`, "This message was deleted", meta) : item(mine, data.text, data.edited_at ? `${meta} · edited` : meta);
  li.dataset.id = event.id;
  if (data.deleted_at) return li;
  if (data.files) li.querySelector(".meta").before(drawFiles(data.files));
  for (const { emoji, user_ids } of data.reactions ?? []) {
    const b = button(`${emoji} ${user_ids.length}`, "reaction", () => react(event, emoji));
    b.setAttribute("aria-pressed", user_ids.includes(state.user.id));
    b.title = user_ids.map((id) => nameOf(c, id)).join(", ");
    li.append(b);
  }
  drawActions(c, event, li);
  return li;
}

/** The entries of the list for an event: none for changes, which are seen at their message. */
function drawEvent(c, event) {
  if (event.type === "message.created") return [drawMessage(c, event)];
  const note = noteOf(c, event);
  return note ? [item("note", note)] : [];
}

function redrawMessage(c, id) {
  const event = c.events.find((e) => e.id === id);
  $("messages").querySelector(`[data-id="${id}"]`)?.replaceWith(drawMessage(c, event));
}

function drawPending(c, p) {
  const li = item("mine pending", p.text, p.why ? `${p.state}: ${p.why}` : p.state);
  if (p.files.length) {
    const names = document.createElement("div");
    names.textContent = p.files.map((f) => f.name).join(", ");
    li.querySelector(".meta").before(names);
  }
  if (p.why) li.append(button("Try again", "", () => sendAgain(c, p)));
  return li;
}

/** Does what changes the height of the messages, or of the room for them; who was at the end stays there. */
function keepEnd(action, always) {
  const scroll = $("scroll");
  const atEnd = scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
  action();
  if (atEnd || always) scroll.scrollTop = scroll.scrollHeight;
}

/** Adds one event, so that a screen reader announces it alone; stays where the reader is. */
function appendEvent(c, event) {
  keepEnd(() => {
    for (const li of $("messages").querySelectorAll(".pending")) li.remove();
    $("messages").append(...drawEvent(c, event), ...c.pending.map((p) => drawPending(c, p)));
  }, event.data.sender_id === state.user.id);
}

function drawMessages(toEnd) {
  const c = state.current;
  $("older").hidden = !c.earlier;
  $("messages").replaceChildren(
    ...c.events.flatMap((event) => drawEvent(c, event)),
    ...c.pending.map((p) => drawPending(c, p)),
  );
  if (toEnd) $("scroll").scrollTop = $("scroll").scrollHeight;
}
