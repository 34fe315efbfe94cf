// The documents of the interface: are they well formed, and do they say what the server has?
// That every real answer is as documented is tested in traffic.test.mjs.
import assert from "node:assert";
import test from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { answerFaults, bundled, events, faults, lookup, openapi, operation, operations, pointer, serverTable } from "./lib/contract.mjs";

/** [[where, node]] of every object inside. */
function* objects(node, where) {
  if (node === null || typeof node !== "object") return;
  yield [where, node];
  for (const [k, v] of Object.entries(node)) yield* objects(v, `${where}${pointer(k)}`);
}

const documents = [["openapi.yaml", openapi], ["events.schema.json", events]];

test("openapi.yaml: is valid OpenAPI 3.1", async () => {
  const validator = new Validator();
  const result = await validator.validate(bundled());
  assert.deepEqual(result.errors ?? [], []);
  assert.equal(validator.version, "3.1");
});

test("documents: every reference leads somewhere", () => {
  for (const [file, document] of documents)
    for (const [where, node] of objects(document, `${file}#`))
      if (typeof node.$ref === "string") assert.ok(lookup(node.$ref, file), `${where}: ${node.$ref}`);
});

test("documents: every schema compiles", () => {
  const compiled = (place) => assert.doesNotThrow(() => faults(place, null), place);
  for (const name of Object.keys(events.$defs)) compiled(`events.schema.json#/$defs/${name}`);
  for (const name of Object.keys(openapi.components.schemas)) compiled(`openapi.yaml#/components/schemas/${name}`);
});

test("documents: nothing is defined that is not used", () => {
  const text = JSON.stringify(documents);
  for (const [kind, all] of Object.entries(openapi.components))
    for (const name of Object.keys(all)) assert.ok(text.includes(kind === "securitySchemes" ? `"${name}":[]` : `#/components/${kind}/${name}"`), `${kind} ${name}`);
  for (const name of Object.keys(events.$defs)) assert.ok(text.includes(`#/$defs/${name}"`), name);
});

test("openapi.yaml: operations have a name of their own, a summary and a tag that is declared", () => {
  const names = operations.map((o) => o.doc.operationId);
  assert.equal(new Set(names).size, names.length, "operationId twice");
  for (const o of operations) {
    assert.ok(o.doc.summary, o.name);
    assert.ok(openapi.tags.some((t) => t.name === o.doc.tags?.[0]), `${o.name}: tag`);
    assert.ok(o.doc.responses.default, `${o.name}: default`);
    const inPath = [...o.path.matchAll(/\{(\w+)\}/g)].map((m) => m[1]);
    assert.deepEqual(o.parameters.filter((p) => p.in === "path").map((p) => p.name), inPath, `${o.name}: parameters of the path`);
  }
});

test("openapi.yaml: what needs a login says how it is refused without one", () => {
  for (const o of operations) {
    const open = (o.doc.security ?? openapi.security).length === 0;
    if (!open) assert.ok(o.doc.responses["401"], o.name);
  }
});

test("openapi.yaml: objects that the server sends are closed", () => {
  for (const [name, schema] of Object.entries(openapi.components.schemas)) if (schema.type === "object") assert.equal(schema.additionalProperties, false, name);
});

test("the routes of the server and of openapi.yaml are the same", () => {
  assert.deepEqual(operations.map((o) => o.name).sort(), serverTable().route.sort());
});

test("a request is matched to the operation that the server would take", () => {
  assert.equal(operation("GET", "/v1/users/me").path, "/v1/users/me");
  assert.equal(operation("GET", "/v1/users/usr_x").path, "/v1/users/{id}");
  assert.equal(operation("GET", "/v1/users/usr_x/y"), undefined);
});

test("the events and errors of the server and of events.schema.json are the same", () => {
  const table = serverTable(), { client, server } = events.properties;
  assert.deepEqual(Object.keys(client.properties).sort(), table.takes.sort());
  for (const name of table.event) assert.ok(server.properties[name], name);
  assert.deepEqual([...events.$defs.Code.enum].sort(), table.error.map((e) => e.code).sort());
});

test("a fault is found in each part of an answer", async (t) => {
  const headers = (h = {}) => new Headers({ "content-type": "application/json", "x-request-id": "r", "x-content-type-options": "nosniff", "cache-control": "no-store", ...h });
  const problem = { type: "about:blank", title: "t", status: 404, code: "not_found", request_id: "r" };
  const json = "application/problem+json";
  const ask = (status, h, body) => answerFaults("GET", "/v1/health", status, headers(h), body === undefined ? "" : JSON.stringify(body));
  assert.deepEqual(ask(200, {}, { status: "ok" }), []);
  const wrong = {
    "another member": () => ask(200, {}, { status: "ok", more: 1 }),
    "no body": () => ask(200, {}),
    "another type": () => ask(200, { "content-type": "text/plain" }, { status: "ok" }),
    "a status that is not documented": () => ask(202, {}, { status: "ok" }),
    "a header that is not documented": () => ask(200, { etag: '"1"' }, { status: "ok" }),
    "an error that is not documented": () => ask(404, { "content-type": json }, problem),
    "another status in the problem": () => ask(400, { "content-type": json }, problem),
    "an unknown code": () => ask(400, { "content-type": json }, { ...problem, status: 400, code: "novel" }),
    "no Retry-After": () => ask(503, { "content-type": json }, { ...problem, status: 503, code: "overloaded", retry_after: 1 }),
    "an unknown path": () => answerFaults("GET", "/v1/none", 200, headers(), "{}"),
  };
  for (const [what, fault] of Object.entries(wrong)) await t.test(what, () => assert.notDeepEqual(fault(), []));
});
