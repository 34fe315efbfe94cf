// The session in palaver-protocol(7): extracts it from the page and plays it to a server.
//
// Its lines lie in a literal block and begin with a mark:
//
//	> METHOD PATH, header lines, and the JSON body       a request
//	< STATUS and the JSON body                           what it is answered
//	NAME> connects | FRAME                               what NAME's WebSocket sends
//	NAME< FRAME                                          what it gets, in any order
//
// Lines that begin with blanks after the mark go on with the line before.  Ids, tokens and
// times of the page stand for those of the server: an id as usr_ANN, a string with "..." and a
// client_msg_id keep the meaning that they got first; every time fits a time; the numbers of
// a conversation must have the distances of the page.
import assert from "node:assert";
import fs from "node:fs";
import path from "node:path";
import WebSocket from "ws";
import { root, until } from "./server.mjs";

const PAGE = path.join(root, "man/palaver-protocol.7");
const MARK = /^(?:(\w+)?([<>])) (.*)$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const ID = /^(usr|cnv|msg|ses)_[A-Z0-9]+$/;
const SEQ_MIN = 1e12;
const PING = "2", PONG = "3";

/** The JavaScript of the page: its literal blocks that are code, one after the other. */
export function program(page = fs.readFileSync(PAGE, "utf8")) {
  const blocks = [...page.matchAll(/^\.Bd -literal.*\n([^]*?)^\.Ed$/gm)].map((m) => m[1]);
  return blocks.filter((b) => /^(const|async function) /m.test(b)).join("\n").replaceAll("\\e", "\\").replaceAll("\\&", "");
}

/** [{who, way, text}] of the marked lines; mdoc's escapes are undone. */
export function steps(page = fs.readFileSync(PAGE, "utf8")) {
  const found = [];
  for (const line of page.split("\n")) {
    const m = MARK.exec(line.replaceAll("\\e", "\\").replaceAll("\\&", ""));
    if (!m) continue;
    const [, who = "", way, text] = m, last = found.at(-1);
    const goesOn = last && last.who === who && last.way === way && (text.startsWith(" ") || (!who && !/^([A-Z]+ \/|\d{3}$)/.test(text)));
    if (goesOn) last.text += (who ? "" : "\n") + (who ? text.trim() : text);
    else found.push({ who, way, text });
  }
  return found;
}

/** What the words of the page mean at this server. */
export class Meaning {
  words = new Map();

  /** A text of the page with the server's words. */
  said(text) {
    let all = text;
    for (const [word, value] of [...this.words].sort((a, b) => b[0].length - a[0].length)) all = all.replaceAll(word, value);
    return all;
  }

  seq(wanted, value) {
    if (this.base === undefined) this.base = value - wanted;
    return value - wanted === this.base;
  }

  word(wanted, value) {
    if (typeof value !== "string") return false;
    if (!this.words.has(wanted)) this.words.set(wanted, value);
    return this.words.get(wanted) === value;
  }

  /** Does the value fit what the page says? */
  fits(wanted, value) {
    if (Array.isArray(wanted)) return Array.isArray(value) && wanted.length === value.length && wanted.every((x, i) => this.fits(x, value[i]));
    if (wanted && typeof wanted === "object") {
      const names = Object.keys(wanted);
      return value && typeof value === "object" && names.length === Object.keys(value).length && names.every((n) => n in value && this.fits(wanted[n], value[n]));
    }
    if (typeof wanted === "number" && wanted >= SEQ_MIN) return this.seq(wanted, value);
    if (typeof wanted !== "string") return wanted === value;
    if (TIME.test(wanted)) return TIME.test(value);
    if (ID.test(wanted)) return this.word(wanted, value) && value.startsWith(wanted.slice(0, 4));
    if (wanted.includes("...")) return this.word(wanted, value);
    return this.said(wanted) === value;
  }

  /** As fits(); a try that fails leaves no new meanings behind. */
  tries(wanted, value) {
    const words = new Map(this.words), { base } = this;
    if (this.fits(wanted, value)) return true;
    this.words = words;
    this.base = base;
    return false;
  }
}

/** "42[..]" to ["42", [..]]; a namespace is not used here. */
function frame(text) {
  const [, type, json] = /^(\d+)(.*)$/s.exec(text);
  return [type, json ? JSON.parse(json) : undefined];
}

export class Player {
  constructor(base) {
    this.base = base;
    this.meaning = new Meaning();
    this.sockets = new Map();
  }

  async play(list) {
    for (const [i, step] of list.entries()) {
      if (!step.who && step.way === ">") await this.request(step.text, list[i + 1]);
      else if (step.who && step.way === ">") await this.send(step);
      else if (step.who) await this.receive(step);
    }
    for (const [who, s] of this.sockets) assert.deepEqual(s.got, [], `${who} got what the page does not show`);
  }

  /** seqs and ids of the page in what is sent: numbers, too. */
  put(text) {
    const said = this.meaning.said(text);
    return said.replace(/\b\d{13}\b/g, (n) => (this.meaning.base === undefined ? n : String(Number(n) + this.meaning.base)));
  }

  async request(text, wanted) {
    const lines = text.split("\n"), [method, at] = lines.shift().split(" ");
    const headers = {};
    while (lines.length && /^[A-Za-z-]+: /.test(lines[0])) {
      const [name, ...value] = lines.shift().split(": ");
      headers[name] = this.meaning.said(value.join(": "));
    }
    const body = lines.length ? this.put(lines.join("\n")) : undefined;
    const answer = await fetch(this.base + this.put(at), { method, headers, body });
    const got = await answer.text(), [status, ...rest] = wanted.text.split("\n");
    assert.equal(wanted.way, "<", `${text}: no answer on the page`);
    assert.equal(`${answer.status}`, status, `${text}\n${got}`);
    const page = rest.join("\n");
    if (!page) assert.equal(got, "", text);
    else assert.ok(this.meaning.tries(JSON.parse(page), JSON.parse(got)), `${text}\nthe page: ${page}\nthe server: ${got}`);
  }

  async send({ who, text }) {
    if (text !== "connects") return this.sockets.get(who).ws.send(this.put(text));
    const ws = new WebSocket(`${this.base.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
    const s = { ws, got: [] };
    this.sockets.set(who, s);
    ws.on("message", (m) => (String(m) === PING ? ws.send(PONG) : s.got.push(String(m)))); // heartbeats are not shown
    await new Promise((resolve, reject) => {
      ws.on("open", resolve);
      ws.on("error", reject);
    });
  }

  async receive({ who, text }) {
    const s = this.sockets.get(who), [type, wanted] = frame(text);
    const fits = (got) => {
      const [t, value] = frame(got);
      return t === type && (wanted === undefined ? value === undefined : this.meaning.tries(wanted, value));
    };
    try {
      const at = await until("the frame", () => s.got.findIndex(fits) + 1);
      s.got.splice(at - 1, 1);
    } catch {
      assert.fail(`${who} waits for ${text}\nand got ${s.got.join("\n")}`);
    }
  }

  close() {
    for (const s of this.sockets.values()) s.ws.close();
  }
}
