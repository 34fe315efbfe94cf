// The contract that is written in src/api/openapi.yaml and src/api/events.schema.json, and a
// recorder that holds everything against it that a server and its clients really say.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { parse } from "yaml";
import { build, root } from "./server.mjs";

const BASE = "https://palaver.example/";
const METHODS = ["get", "put", "post", "patch", "delete"];
/** What any operation may answer besides what stands with it (openapi.yaml, info). */
const ANYWHERE = [400, 405, 413, 429, 500, 503];

export const openapi = parse(fs.readFileSync(path.join(root, "src/api/openapi.yaml"), "utf8"));
export const events = JSON.parse(fs.readFileSync(path.join(root, "src/api/events.schema.json"), "utf8"));

const ajv = new Ajv({ allErrors: true, discriminator: true, strictTypes: false, strictRequired: false });
addFormats(ajv);
ajv.addVocabulary(Object.keys(openapi)); // the document around its schemas
ajv.addSchema(events);
ajv.addSchema({ ...openapi, $id: `${BASE}openapi.yaml` });

const escape = (s) => s.replaceAll("~", "~0").replaceAll("/", "~1");
export const pointer = (...steps) => steps.map((s) => `/${escape(String(s))}`).join("");

/** What stands at a reference as "openapi.yaml#/components/..." or one of events.schema.json. */
export function lookup(ref, from = "openapi.yaml") {
  const [file, at] = ref.split("#");
  let node = (file || from) === "openapi.yaml" ? openapi : events;
  for (const step of at.split("/").slice(1)) node = node?.[decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~")];
  return node;
}

/** openapi.yaml with what it refers to in events.schema.json put into it. */
export function bundled() {
  const inside = (o) => JSON.parse(JSON.stringify(o).replaceAll(/"(events\.schema\.json)?#\/\$defs\//g, '"#/components/schemas/'));
  const all = inside(openapi);
  Object.assign(all.components.schemas, inside(events.$defs));
  return all;
}

/** The faults of value by the schema at this place; a list of texts. */
export function faults(place, value) {
  const validate = ajv.getSchema(BASE + place);
  if (!validate) return [`no schema at ${place}`];
  if (validate(value)) return [];
  return validate.errors.map((e) => `${e.instancePath || "/"} ${e.message} ${JSON.stringify(e.params)}`);
}

/** [{method, path, doc, at, pattern}] of every operation; at: where it stands, for faults(). */
export const operations = Object.entries(openapi.paths).flatMap(([p, item]) =>
  METHODS.filter((m) => item[m]).map((m) => ({
    method: m.toUpperCase(),
    path: p,
    name: `${m.toUpperCase()} ${p}`,
    doc: item[m],
    parameters: [...(item.parameters ?? []), ...(item[m].parameters ?? [])].map((x) => (x.$ref ? lookup(x.$ref) : x)),
    at: `openapi.yaml#${pointer("paths", p, m)}`,
    pattern: new RegExp(`^${p.replaceAll(".", "\\.").replace(/\{\w+\}/g, "[^/]+")}$`),
  })),
);

/** The operation of a request; a path without parameters wins. */
export function operation(method, pathname) {
  const all = operations.filter((o) => o.method === method && o.pattern.test(pathname));
  return all.sort((a, b) => a.path.split("{").length - b.path.split("{").length)[0];
}

/** What an operation may answer, as Recorder.statuses has it: with each code of its problems. */
export function documented(op) {
  return Object.entries(op.doc.responses).filter(([status]) => status !== "default").flatMap(([status, r]) => {
    const doc = r.$ref ? lookup(r.$ref) : r;
    const codes = doc.content?.["application/problem+json"]?.schema.properties?.code.enum;
    return codes ? codes.filter((c) => errors.get(c).status === Number(status)).map((c) => `${status} ${c}`) : [status];
  });
}

/** The rows that tests/api-table prints: {route: [..], takes: [..], event: [..], error: [..]}. */
export function serverTable() {
  const rows = { route: [], takes: [], event: [], error: [] };
  const text = execFileSync(path.join(build, "tests/api-table"), { encoding: "utf8" });
  for (const line of text.trim().split("\n")) {
    const [word, ...rest] = line.split(" ");
    rows[word].push(word === "error" ? { code: rest[0], status: Number(rest[1]), retryable: rest[2] === "1" } : rest.join(" "));
  }
  return rows;
}

const errors = new Map(serverTable().error.map((e) => [e.code, e]));

/** A problem object against the table of errors: status and retry_after belong to the code. */
function problemFaults(problem) {
  const bad = faults("events.schema.json#/$defs/Problem", problem);
  const row = errors.get(problem?.code);
  if (row && row.status !== problem.status) bad.push(`${problem.code} has status ${row.status}, not ${problem.status}`);
  if (row && row.retryable !== problem.retry_after > 0) bad.push(`${problem.code}: retry_after ${problem.retry_after}`);
  return bad;
}

function headerFaults(doc, headers) {
  const bad = [];
  for (const [name, h] of Object.entries(doc.headers ?? {})) {
    const header = h.$ref ? lookup(h.$ref) : h, value = headers.get(name);
    if (value === null && header.required) bad.push(`no header ${name}`);
    if (value !== null && header.schema.pattern && !new RegExp(header.schema.pattern).test(value)) bad.push(`header ${name}: ${value}`);
  }
  for (const name of ["etag", "retry-after", "set-cookie"]) {
    const known = Object.keys(doc.headers ?? {}).some((n) => n.toLowerCase() === name);
    if (headers.has(name) && !known && !(name === "retry-after" && doc.content?.["application/problem+json"])) bad.push(`the header ${name} is not documented`);
  }
  for (const name of ["x-request-id", "x-content-type-options", "cache-control"]) if (!headers.has(name)) bad.push(`no header ${name}`);
  return bad;
}

/** Is it the content of a file, about which a schema has nothing to say? */
const anyType = (op, status) => op.doc.responses[status]?.content?.["*/*"] !== undefined;

/** What is wrong with an answer of the server: status, headers, body. */
export function answerFaults(method, pathname, status, headers, text) {
  const op = operation(method, pathname);
  const type = headers.get("content-type")?.split(";")[0];
  let body = null;
  try {
    body = text && !(op && status < 400 && anyType(op, status)) ? JSON.parse(text) : null;
  } catch {
    return ["the body is not JSON"];
  }
  if (status >= 400) {
    const bad = problemFaults(body);
    if (body?.status !== status) bad.push(`status ${body?.status} in the problem, ${status} in HTTP`);
    if (type !== "application/problem+json") bad.push(`type ${type}`);
    if (headers.get("retry-after") !== (body?.retry_after?.toString() ?? null)) bad.push("Retry-After is not retry_after");
    if (body?.request_id !== headers.get("x-request-id")) bad.push("X-Request-Id is not request_id");
    if (!op) return [404, 405].includes(status) ? bad : [...bad, `no such operation, and ${status}`];
    if (!op.doc.responses[status]) return ANYWHERE.includes(status) ? bad : [...bad, `${status} is not documented`];
    return [...bad, ...contentFaults(op, status, headers, type, body)];
  }
  if (!op) return ["no such operation"];
  if (!op.doc.responses[status]) return [`${status} is not documented`];
  return contentFaults(op, status, headers, type, body);
}

function contentFaults(op, status, headers, type, body) {
  const response = op.doc.responses[status];
  const doc = response.$ref ? lookup(response.$ref) : response;
  const at = response.$ref ? `openapi.yaml${response.$ref}` : `${op.at}${pointer("responses", status)}`;
  const bad = headerFaults(doc, headers);
  if (anyType(op, status)) return bad;
  if (!doc.content) return body === null ? bad : [...bad, "a body where none is documented"];
  if (!doc.content[type]) return [...bad, `type ${type} is not documented`];
  return [...bad, ...faults(`${at}${pointer("content", type, "schema")}`, body)];
}

/** What is wrong with the body of a request that the server took. */
function requestFaults(op, text) {
  const doc = op?.doc.requestBody;
  if (!doc) return text ? ["a body where none is documented"] : [];
  const body = doc.$ref ? lookup(doc.$ref) : doc;
  if (body.content["*/*"]) return [];
  const at = doc.$ref ? `openapi.yaml${doc.$ref}` : `${op.at}/requestBody`;
  if (!text) return body.required ? ["no body"] : [];
  return faults(`${at}${pointer("content", "application/json", "schema")}`, JSON.parse(text));
}

/**
 * Checks all traffic of this process with a server: install() puts it around fetch, attach()
 * around a socket.  `faults` lists what was wrong; `statuses` has what each operation answered
 * ("200", and of errors also "404 not_found"),
 * `asked` what each client event was answered ("data" or a code), `told` the events of the server.
 */
export class Recorder {
  faults = [];
  statuses = new Map();
  asked = new Map();
  told = new Set();
  received = []; // {socket, name, event} in the order of arrival

  note(map, key, value) {
    if (!map.has(key)) map.set(key, new Set());
    map.get(key).add(value);
  }

  fault(where, list) {
    for (const text of list) this.faults.push(`${where}: ${text}`);
  }

  install() {
    const real = globalThis.fetch;
    this.uninstall = () => (globalThis.fetch = real);
    globalThis.fetch = async (url, options = {}) => {
      const answer = await real(url, options);
      const { pathname } = new URL(url);
      if (pathname.startsWith("/v1/")) this.rest(options.method ?? "GET", pathname, options.body, answer, await answer.clone().text());
      return answer;
    };
    return this;
  }

  rest(method, pathname, sent, answer, text) {
    const op = operation(method, pathname), where = `${method} ${pathname} ${answer.status}`;
    if (op) this.note(this.statuses, op.name, `${answer.status}`);
    if (op && answer.status >= 400) this.note(this.statuses, op.name, `${answer.status} ${JSON.parse(text).code}`);
    this.fault(where, answerFaults(method, pathname, answer.status, answer.headers, text));
    if (answer.status < 300) this.fault(`${where}, request`, requestFaults(op, sent));
  }

  /** The event's place in events.schema.json, or null: unknown. */
  place(side, name) {
    return events.properties[side].properties[name] && `events.schema.json#${pointer("properties", side, "properties", name)}`;
  }

  attach(socket, label = "") {
    socket.onAny((name, ...args) => {
      const at = this.place("server", name);
      this.told.add(name);
      this.received.push({ socket: label, name, event: args[0] });
      if (!at || args.length !== 1) this.fault(`event ${name}`, [`not documented, ${args.length} arguments`]);
      else this.fault(`event ${name} ${JSON.stringify(args[0])}`, faults(at, args[0]));
    });
    const emit = socket.emit.bind(socket);
    socket.emit = (name, ...args) => {
      const ack = args.at(-1);
      if (typeof ack === "function") {
        const noted = (...got) => {
          this.acked(name, args[0], got.at(-1));
          ack(...got);
        };
        args[args.length - 1] = Object.assign(noted, { withError: ack.withError });
      }
      return emit(name, ...args);
    };
    return socket;
  }

  acked(name, request, answer) {
    const at = this.place("client", name);
    if (answer instanceof Error) return; // no answer came
    this.note(this.asked, name, answer?.error ? answer.error.code : "data");
    if (answer?.error) this.fault(`ack of ${name}`, problemFaults(answer.error));
    if (!at) return; // the error unknown_event
    this.fault(`ack of ${name}`, faults(`${at}/properties/answer`, answer));
    if (!answer.error) this.fault(`${name}, request`, faults(`${at}/properties/request`, request));
  }
}
