// SPDX-License-Identifier: ISC
// Malformed HTTP: request lines, targets, fields, framing and WebSocket handshakes, in raw bytes.
// The answers are those of RFC 9110, 9112 and 6455; where these leave a choice (a bare LF, an
// invalid field in general), it is to refuse.  The words behind a status are the `code` of the
// problem document.  See malformed.mjs for what a row is.
import { answer, BODY_SECONDS, error, exchange, FIELDS_MAX, get, GONE, HEAD_MAX, HEAD_SECONDS, http, LIVES, MAX,
  NOT_FOUND, OK, POLLING, post, request, URL_MAX, WEBSOCKET } from "./malformed.mjs";

const SERVED = `${NOT_FOUND}; open`, SERVED_LAST = `${NOT_FOUND}; closed`;
const BAD_LINE = "400 bad_request_line; closed", BAD_TARGET = "400 bad_target; closed", BAD_FIELD = "400 bad_field; closed";
const BAD_HOST = "400 bad_host; closed", BAD_LENGTH = "400 bad_content_length; closed", VERSION = "505 http_version; closed";
const UNKNOWN_METHOD = "501 method_not_implemented; closed", NO_LENGTH = "411 length_required; closed";
const BAD_CODING = "400 bad_transfer_encoding; closed";
const NO_TRANSPORT = `${error(0)}; open`;

const line = (text) => request(text, "Host: a");
const xs = (n) => "x".repeat(n);

export const requestLine = [
  http("nothing but the method", line("GET"), BAD_LINE),
  http("no version (HTTP/0.9)", "GET /\r\n\r\n", BAD_LINE),
  http("two blanks behind the method", line("GET  / HTTP/1.1"), BAD_LINE),
  http("two blanks in front of the version", line("GET /  HTTP/1.1"), BAD_LINE),
  http("a blank in front of the method", line(" GET / HTTP/1.1"), BAD_LINE),
  http("a blank behind the version", line("GET / HTTP/1.1 "), BAD_LINE),
  http("tabs instead of blanks", line("GET\t/\tHTTP/1.1"), BAD_LINE),
  http("a blank within the target", line("GET /a b HTTP/1.1"), BAD_LINE),
  http("an empty line", "\r\n\r\n", BAD_LINE),
  http("one empty line in front is let pass (RFC 9112, 2.2)", `\r\n${get()}`, SERVED),
  http("one empty line behind a request, too", [get(), "\r\n", get()], `${NOT_FOUND}; ${SERVED}`),
  http("a bare LF at the end of the line", "GET / HTTP/1.1\nHost: a\r\n\r\n", BAD_LINE),
  http("a bare CR within the line", line("GET / \rHTTP/1.1"), BAD_LINE),
  http("two CRs at the end of the line", "GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BAD_LINE),
  http("NUL in the line", line("GET /\0 HTTP/1.1"), BAD_LINE),
  http("a TLS handshake", Buffer.from("16030100c4010000c00303a1b2c3d4e5f60d0a", "hex"), BAD_LINE),
  http("a Redis command", "*1\r\n$4\r\nPING\r\n", BAD_LINE),
  http("an answer instead of a request", request("HTTP/1.1 200 OK", "Content-Length: 0"), BAD_LINE),

  http("no method", line(" / HTTP/1.1"), BAD_LINE),
  http("a method in lower case", line("get / HTTP/1.1"), UNKNOWN_METHOD),
  http("a method nobody knows", line("BREW / HTTP/1.1"), UNKNOWN_METHOD),
  http("a method of 2000 letters", line(`${xs(2000)} / HTTP/1.1`), UNKNOWN_METHOD),
  http("a method that is not a token", line("G(T / HTTP/1.1"), BAD_LINE),
  http("a method with an 8-bit byte", line("G\xc9T / HTTP/1.1"), BAD_LINE),
  http("CONNECT", request("CONNECT a:443 HTTP/1.1", "Host: a:443"), UNKNOWN_METHOD),
  http("TRACE", line("TRACE / HTTP/1.1"), UNKNOWN_METHOD),
  http("DELETE of a page", line("DELETE / HTTP/1.1"), '405 (allow: GET, HEAD) text/plain "method not allowed\\n"; open'),
  http("HEAD: no body", line("HEAD / HTTP/1.1"), '404 text/plain ""; open', { bodiless: true }),

  http("HTTP/1.0 is answered, and closed", "GET / HTTP/1.0\r\n\r\n", SERVED_LAST),
  http("HTTP/1.2 is understood as HTTP/1.1 (RFC 9110, 2.5)", line("GET / HTTP/1.2"), SERVED),
  http("HTTP/2.0", line("GET / HTTP/2.0"), VERSION),
  http("HTTP/0.9 by name", line("GET / HTTP/0.9"), VERSION),
  http("HTTP/1.", line("GET / HTTP/1."), BAD_LINE),
  http("HTTP/11", line("GET / HTTP/11"), BAD_LINE),
  http("HTTP/1,1", line("GET / HTTP/1,1"), BAD_LINE),
  http("HTTP/1.10", line("GET / HTTP/1.10"), BAD_LINE),
  http("HTTP/x.y", line("GET / HTTP/x.y"), BAD_LINE),
  http("http/1.1 in lower case", line("GET / http/1.1"), BAD_LINE),
  http("HTTPS/1.1", line("GET / HTTPS/1.1"), BAD_LINE),
  http("the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", VERSION),
];

const sized = (n) => line(`GET /${xs(n - 1)} HTTP/1.1`);

export const targets = [
  http("empty path", line("GET ?a HTTP/1.1"), BAD_TARGET),
  http("no slash in front", line("GET index.html HTTP/1.1"), BAD_TARGET),
  http("authority-form with GET", line("GET a:80 HTTP/1.1"), BAD_TARGET),
  http("asterisk-form with GET", line("GET * HTTP/1.1"), BAD_TARGET),
  http("asterisk-form with OPTIONS: there is nothing to say", line("OPTIONS * HTTP/1.1"), BAD_TARGET),
  http("a fragment", line("GET /a#b HTTP/1.1"), BAD_TARGET),
  http("an 8-bit byte", line("GET /caf\xe9 HTTP/1.1"), BAD_TARGET),
  http("DEL", line("GET /\x7f HTTP/1.1"), BAD_LINE),
  http("a tab", line("GET /a\tb HTTP/1.1"), BAD_TARGET),

  http("absolute-form", line("GET http://a/ HTTP/1.1"), SERVED),
  http("absolute-form, another authority than Host: that one counts", line("GET http://b/ HTTP/1.1"), SERVED),
  http("absolute-form, the scheme in upper case", line("GET HTTP://a/engine.io/ HTTP/1.1"), NO_TRANSPORT),
  http("absolute-form without a path", line("GET http://a HTTP/1.1"), SERVED),
  http("absolute-form, a slash in the query only", line("GET http://a?b=/engine.io/ HTTP/1.1"), SERVED),
  http("absolute-form without a host (RFC 9110, 4.2.1)", line("GET http:/// HTTP/1.1"), BAD_TARGET),
  http("absolute-form with user information (RFC 9110, 4.2.4)", line("GET http://u:p@a/ HTTP/1.1"), BAD_TARGET),
  http("absolute-form of another scheme", line("GET ftp://a/ HTTP/1.1"), BAD_TARGET),
  http("absolute-form with one slash", line("GET http:/a HTTP/1.1"), BAD_TARGET),
  http("absolute-form, no Host field", request("GET http://a/ HTTP/1.1"), "400 host_required; closed"),
  http("two slashes in front are a path", line("GET //a/ HTTP/1.1"), SERVED),

  http("escape without digits", line("GET /%zz HTTP/1.1"), BAD_TARGET),
  http("escape with one digit at the end", line("GET /a%4 HTTP/1.1"), BAD_TARGET),
  http("percent sign at the end", line("GET /a% HTTP/1.1"), BAD_TARGET),
  http("escape at the very end", line("GET /a%41 HTTP/1.1"), SERVED),
  http("escaped NUL", line("GET /a%00 HTTP/1.1"), BAD_TARGET),
  http("escaped CR LF", line("GET /a%0d%0aX:b HTTP/1.1"), BAD_TARGET),
  http("escaped DEL", line("GET /%7f HTTP/1.1"), BAD_TARGET),
  http("%u0041", line("GET /%u0041 HTTP/1.1"), BAD_TARGET),
  http("escaped slashes and dots go nowhere", line("GET /%2f..%2e/%2e%2e/etc/passwd HTTP/1.1"), SERVED),
  http("dots go nowhere", line("GET /../../../../etc/passwd HTTP/1.1"), SERVED),
  http("twice escaped dots go nowhere", line("GET /%252e%252e/etc/passwd HTTP/1.1"), SERVED),
  http("backslashes go nowhere", line("GET /..\\..\\etc\\passwd HTTP/1.1"), SERVED),
  http("an escaped letter is the letter (RFC 3986, 6.2.2.2)", line("GET /%65ngine.io/ HTTP/1.1"), NO_TRANSPORT),
  http("an escaped slash is not a slash (RFC 3986, 2.2)", line("GET /engine.io%2f HTTP/1.1"), SERVED),
  http("a question mark that is escaped begins no query", line(`GET /%3f${POLLING} HTTP/1.1`), SERVED),

  http(`a target of ${URL_MAX} bytes`, sized(URL_MAX), SERVED),
  http("one byte more", sized(URL_MAX + 1), "414 uri_too_long; closed"),
  http("a target without end", `GET /${xs(URL_MAX + 100)}`, "414 uri_too_long; closed"),
  http("a request line without any blank", xs(HEAD_MAX), "414 uri_too_long; closed"),
];

const filled = (total) => {
  const bare = get("X: ").length;
  return get(`X: ${xs(total - bare)}`);
};
const many = (n) => get(...Array.from({ length: n - 1 }, (_, i) => `X${i}: 1`));
const control = (code) => String.fromCharCode(code);

export const fields = [
  http("no colon", get("X"), BAD_FIELD),
  http("no name", get(": b"), BAD_FIELD),
  http("only a colon", get(":"), BAD_FIELD),
  http("a blank before the colon", get("X : b"), BAD_FIELD),
  http("a tab before the colon", get("X\t: b"), BAD_FIELD),
  http("a blank within the name", get("X Y: b"), BAD_FIELD),
  http("a blank in front of the first name", request("GET / HTTP/1.1", " Host: a"), BAD_FIELD),
  http("a folded line, blank", get("X: b", " c"), BAD_FIELD),
  http("a folded line, tab", get("X: b", "\tc"), BAD_FIELD),
  http("a folded line of nothing", get("X: b", " "), BAD_FIELD),
  http("an 8-bit byte in a name", get("X\xe9: b"), BAD_FIELD),
  ...['"', "(", ",", "/", "=", "@", "[", "{", "\\"].map((ch) => http(`${ch} in a name`, get(`X${ch}: b`), BAD_FIELD)),
  http("every sign a name may have", get("!#$%&'*+-.^_`|~09azAZ: b"), SERVED),
  http("8-bit bytes in a value are let pass (RFC 9110, 5.5)", get("X: \x80\xff\xe9"), SERVED),
  http("an empty value", get("X:"), SERVED),
  http("a value of white space", get("X: \t "), SERVED),
  ...[0, 1, 8, 11, 12, 27, 127].map((n) => http(`control character ${n} in a value`, get(`X: a${control(n)}b`), BAD_FIELD)),
  http("NUL in a name", get("X\0: b"), BAD_FIELD),
  http("a bare LF within a value", get("X: a\nY: b"), BAD_FIELD),
  http("a bare CR within a value", get("X: a\rY: b"), BAD_FIELD),
  http("two CRs at the end of a line", get("X: a\r"), BAD_FIELD),
  http("a bare LF ends the head", "GET / HTTP/1.1\r\nHost: a\r\n\n", BAD_FIELD),

  http("no Host", request("GET / HTTP/1.1"), "400 host_required; closed"),
  http("no Host in HTTP/1.0", request("GET / HTTP/1.0", "X: b"), SERVED_LAST),
  http("two Hosts", get("Host: b"), BAD_HOST),
  http("the same Host twice", get("host: a"), BAD_HOST),
  http("an empty Host", request("GET / HTTP/1.1", "Host:"), BAD_HOST),
  ...["a b", "a/b", "u@a", "a:b", "a:80:81", "[::1", "a?b", "a\\b", "\xe9", "<a>"].map(
    (h) => http(`Host: ${h} (RFC 9112, 3.2)`, request("GET / HTTP/1.1", `Host: ${h}`), BAD_HOST)),
  ...["[::1]:8080", "a:", "a-b_c.d", "127.0.0.1:1"].map((h) => http(`Host: ${h} is good`, request("GET / HTTP/1.1", `Host: ${h}`),
    SERVED)),

  http(`a head of ${HEAD_MAX} bytes`, filled(HEAD_MAX), SERVED),
  http("one byte more", filled(HEAD_MAX + 1), "431 head_too_large; closed"),
  http("a head without end", get(`X: ${xs(2 * HEAD_MAX)}`).trimEnd(), "431 head_too_large; closed"),
  http(`${FIELDS_MAX} fields`, many(FIELDS_MAX), SERVED),
  http("one field more", many(FIELDS_MAX + 1), "431 too_many_fields; closed"),
  http("a head in single bytes", [...get("X: b")], SERVED),

  http("Connection: close", get("Connection: close"), SERVED_LAST),
  http("Connection: CLOSE", get("Connection: CLOSE"), SERVED_LAST),
  http("close as one of a list", get("Connection: x, ,\tclose , y"), SERVED_LAST),
  http("close in a second field", get("Connection: keep-alive", "Connection: close"), SERVED_LAST),
  http("closed is not close", get("Connection: closed, xclose"), SERVED),
  http("HTTP/1.0 with keep-alive", request("GET / HTTP/1.0", "Connection: Keep-Alive"), SERVED),
  http("HTTP/1.0 with keep-alive and close", request("GET / HTTP/1.0", "Connection: keep-alive, close"), SERVED_LAST),
];

const body = (...lines) => (target) => `${request(`POST ${target} HTTP/1.1`, "Host: a", ...lines)}4hello`;
const taken = (...lines) => [body(...lines), `${OK}; open; ${LIVES}`];
const refused = (what, ...lines) => [body(...lines), `${what}; ${LIVES}`];
const chunked = (value, what = BAD_CODING) => [`Transfer-Encoding: ${JSON.stringify(value)}`,
  (target) => `${request(`POST ${target} HTTP/1.1`, "Host: a", `Transfer-Encoding: ${value}`)}6\r\n4hello\r\n0\r\n\r\n`,
  `${what}; ${LIVES}`];

/** The body is only sent when the server has asked for it. */
async function expectation(c) {
  const p = await c.polling();
  const conn = c.conn();
  conn.write(request(`POST ${p.target} HTTP/1.1`, "Host: a", "Expect: 100-continue", "Content-Length: 6"));
  const first = await answer(conn);
  conn.write("4hello");
  return first === "100" ? `100; ${await answer(conn)}` : `${first}; then ${await answer(conn)}`;
}

export const framing = [
  ...["-6", "+6", "0x6", "6.0", "6e0", "6 6", "six", "6,", ",6", "6, 6", "6;", "\"6\"", "6\xa0", "", "9223372036854775808",
    "18446744073709551622"].map((v) => post(`Content-Length: ${JSON.stringify(v)}`,
      ...refused(BAD_LENGTH, `Content-Length: ${v}`))),
  post("Content-Length: 6, white space around it", ...taken("Content-Length: \t 6 \t")),
  post("Content-Length: 0006", ...taken("Content-Length: 0006")),
  post("Content-Length twice, different", ...refused(BAD_LENGTH, "Content-Length: 6", "Content-Length: 7")),
  post("Content-Length twice, the same", ...refused(BAD_LENGTH, "Content-Length: 6", "content-length: 6")),
  post("Content-Length over the limit, without its body", ...refused("413; closed", `Content-Length: ${MAX + 1}`)),
  post("Content-Length of 15 digits", ...refused("413; closed", "Content-Length: 999999999999999")),
  http("a body over the limit elsewhere", `${request("POST / HTTP/1.1", "Host: a", "Content-Length: 1000001")}x`,
    "413 too_large; closed"),
  http("GET with a body: it is read away", `${get("Content-Length: 5")}hello`, SERVED),
  http("a body that looks like a request", `${get(`Content-Length: ${get().length}`)}${get()}`, SERVED),
  http("no Content-Length: what follows is a request", `${request("POST / HTTP/1.1", "Host: a")}hello\r\n\r\n`,
    `405 (allow: GET, HEAD) text/plain "method not allowed\\n"; ${BAD_LINE}`),
  post("no Content-Length: an empty payload", (t) => request(`POST ${t} HTTP/1.1`, "Host: a"), `400; open; ${GONE}`),
  post("a body larger than announced: the rest is a bad request",
    (t) => `${request(`POST ${t} HTTP/1.1`, "Host: a", "Content-Length: 6")}4hello, world\r\n\r\n`,
    `${OK}; ${BAD_LINE}; ${LIVES}`),
  post("a body shorter than announced, then the end",
    (t) => `${request(`POST ${t} HTTP/1.1`, "Host: a", "Content-Length: 7")}4hello`,
    `closed; ${GONE}`, { end: true }),
  http("a head that ends in the middle", get().slice(0, -2), "closed", { end: true }),
  http("a connection that says nothing", [], "closed", { end: true }),

  post("chunked", ...chunked("chunked", `${OK}; open`).slice(1)),
  post("chunked in capitals", ...chunked("CHUNKED", `${OK}; open`).slice(1)),
  ...["xchunked", "identity", "gzip", "chunked, identity", "chunked, gzip", "chunked;q=1.0x, x", "", "\"chunked\"", ",",
    "chunk"].map(
    (v) => post(...chunked(v))),
  post("gzip, chunked", ...chunked("gzip, chunked", "501 transfer_encoding_not_implemented; closed").slice(1)),
  post("Transfer-Encoding with a blank before the colon",
    ...refused(BAD_FIELD, "Transfer-Encoding : chunked", "Content-Length: 6")),
  post("Transfer-Encoding with a vertical tab", ...refused(BAD_FIELD, "Transfer-Encoding: \x0bchunked", "Content-Length: 6")),
  post("Transfer-Encoding in a folded line", ...refused(BAD_FIELD, "X: b", " Transfer-Encoding: chunked", "Content-Length: 6")),
  post("Transfer-Encoding behind a bare LF", ...refused(BAD_FIELD, "X: b\nTransfer-Encoding: chunked", "Content-Length: 6")),
  post("Transfer_Encoding is another field", ...taken("Transfer_Encoding: chunked", "Content-Length: 6")),
  post("Content-Length, then Transfer-Encoding", ...refused(BAD_CODING, "Content-Length: 6", "Transfer-Encoding: chunked")),
  post("Transfer-Encoding, then Content-Length", ...refused(BAD_CODING, "Transfer-Encoding: chunked", "Content-Length: 6")),
  post("Transfer-Encoding: identity and Content-Length",
    ...refused(BAD_CODING, "Transfer-Encoding: identity", "Content-Length: 6")),
  post("Transfer-Encoding twice", ...refused(BAD_CODING, "Transfer-Encoding: gzip", "Transfer-Encoding: chunked")),
  http("Transfer-Encoding in HTTP/1.0", `${request("POST / HTTP/1.0", "Transfer-Encoding: chunked")}0\r\n\r\n`, BAD_CODING),

  http("two requests at once", get() + get(), `${NOT_FOUND}; ${SERVED}`),
  http("rubbish behind a good request", `${get()}rubbish\r\n\r\n`, `${NOT_FOUND}; ${BAD_LINE}`),
  http("a good request behind rubbish is not read", `rubbish\r\n\r\n${get()}`, BAD_LINE),
  http("binary rubbish behind a good request", [get(), Buffer.from([0, 255, 1, 2, 3])], `${NOT_FOUND}; ${BAD_LINE}`),
  http("32 requests at once", get().repeat(32), `${`${NOT_FOUND}; `.repeat(32)}open`),
  http("requests behind Connection: close are not read", get("Connection: close") + get(), SERVED_LAST),

  ["Expect: 100-continue (RFC 9110, 10.1.1)", `100; ${OK}`, expectation],
  post("Expect: 100-continue, the body is too large",
    ...refused("413; closed", "Expect: 100-continue", `Content-Length: ${MAX + 1}`)),
  http("PUT with a sid nobody has", request(`PUT ${POLLING}&sid=x HTTP/1.1`, "Host: a", "Content-Length: 0"),
    `${error(1)}; open`),
  post("PUT with a sid: Allow is due (RFC 9110, 15.5.6)", (t) => request(`PUT ${t} HTTP/1.1`, "Host: a"),
    `405 (allow: GET, POST); open; ${LIVES}`),
];

// ---- WebSocket handshakes ----

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const BAD_REQUEST = '400 text/html "Bad request"; closed';
const OPEN_WS = "101; OPEN", NO_UPGRADE = `${error(3)}; open`, NO_UPGRADE_LAST = `${error(3)}; closed`;
const BAD_VERSION = '426 (connection: Upgrade, close) (upgrade: websocket) (sec-websocket-version: 13) text/html "Bad request"; closed';
const GOOD = { "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY };

/** Field lines: those of a good handshake, changed; a list is that many lines. */
const lines = (changes) => Object.entries({ ...GOOD, ...changes })
  .flatMap(([k, v]) => [v].flat().filter((x) => x !== undefined).map((x) => `${k}: ${x}`));

/** A handshake; if it is accepted the OPEN packet must follow. */
async function shake(c, input, expected) {
  if (!expected.startsWith("101")) return exchange(c, input, expected, { bodiless: input.startsWith("HEAD") });
  const conn = c.conn();
  conn.write(Buffer.from(input, "latin1"));
  const first = await answer(conn);
  if (first !== "101") return first;
  await conn.until("a frame", () => (conn.buffer.length > 4 ? true : undefined)).catch(() => {});
  return conn.buffer[0] === 0x81 && conn.buffer.includes('0{"sid"') ? OPEN_WS : `101; ${conn.buffer.toString("hex")}`;
}
const shaken = (name, changes, expected, { first = `GET ${WEBSOCKET} HTTP/1.1`, rest = "" } = {}) => {
  const input = request(first, "Host: a", ...lines(changes)) + rest;
  return [name, expected, (c) => shake(c, input, expected)];
};
const key = (value, expected = BAD_REQUEST) => shaken(`key ${JSON.stringify(value)}`, { "Sec-WebSocket-Key": value }, expected);

/** A frame in the same write as the handshake. */
async function eager(c, expected) {
  const conn = c.conn();
  const text = Buffer.from([0x81, 0x83, 0, 0, 0, 0, 0x34, 0x68, 0x69]);
  conn.write(Buffer.concat([Buffer.from(request(`GET ${WEBSOCKET} HTTP/1.1`, "Host: a", ...lines({}))), text]));
  const first = await answer(conn);
  await conn.until("the echo", () => (conn.buffer.includes("4hi") ? true : undefined)).catch(() => {});
  const echo = conn.buffer.subarray(-5).toString("hex");
  return `${first}; ${echo}` === expected ? expected : `${first}; ${conn.buffer.toString("latin1")}`;
}

export const handshakes = [
  shaken("a good one", {}, OPEN_WS),
  ["a frame right behind it", `101; ${Buffer.from([0x81, 3, 0x34, 0x68, 0x69]).toString("hex")}`, eager],
  shaken("Upgrade: WEBSOCKET", { Upgrade: "WEBSOCKET" }, OPEN_WS),
  shaken("Connection: keep-alive, uPGRADE", { Connection: "keep-alive, uPGRADE" }, OPEN_WS),
  shaken("Connection in two fields", { Connection: ["keep-alive", "Upgrade"] }, OPEN_WS),
  shaken("Connection: ,,\tupgrade ,", { Connection: ",,\tupgrade ," }, OPEN_WS),
  shaken("Upgrade: h2c, websocket", { Upgrade: "h2c, websocket" }, OPEN_WS),
  shaken("Upgrade in two fields", { Upgrade: ["h2c", "websocket"] }, OPEN_WS),
  shaken("Upgrade: websockets", { Upgrade: "websockets" }, NO_UPGRADE),
  shaken("Upgrade: websocket/13", { Upgrade: "websocket/13" }, NO_UPGRADE),
  shaken("Upgrade: h2c", { Upgrade: "h2c" }, NO_UPGRADE),
  shaken("Upgrade: (empty)", { Upgrade: "" }, NO_UPGRADE),
  shaken("no Upgrade field", { Upgrade: undefined }, NO_UPGRADE),
  shaken("no Connection field", { Connection: undefined }, NO_UPGRADE),
  shaken("Connection: keep-alive", { Connection: "keep-alive" }, NO_UPGRADE),
  shaken("Connection: xupgrade, upgrade2", { Connection: "xupgrade, upgrade2" }, NO_UPGRADE),
  shaken("Connection: close", { Connection: "close" }, NO_UPGRADE_LAST),
  shaken("HTTP/1.0: Upgrade is ignored (RFC 9110, 7.8)", {}, NO_UPGRADE_LAST, { first: `GET ${WEBSOCKET} HTTP/1.0` }),
  shaken("with POST", {}, BAD_REQUEST, { first: `POST ${WEBSOCKET} HTTP/1.1` }),
  shaken("with HEAD", {}, BAD_REQUEST.replace('"Bad request"', '""'), { first: `HEAD ${WEBSOCKET} HTTP/1.1` }),
  shaken("with a body", { "Content-Length": "5" }, BAD_REQUEST, { rest: "hello" }),
  shaken("with an empty body", { "Content-Length": "0" }, OPEN_WS),
  shaken("with a chunked body", { "Transfer-Encoding": "chunked" }, BAD_REQUEST, { rest: "0\r\n\r\n" }),
  shaken("transport=polling", {}, BAD_REQUEST, { first: `GET ${POLLING} HTTP/1.1` }),
  shaken("no transport", {}, '400 text/html "Transport unknown"; closed', { first: "GET /engine.io/?EIO=4 HTTP/1.1" }),
  shaken("no EIO", {}, '400 text/html "Unsupported protocol version"; closed',
    { first: "GET /engine.io/?transport=websocket HTTP/1.1" }),
  shaken("a sid nobody has", {}, '400 text/html "Session ID unknown"; closed', { first: `GET ${WEBSOCKET}&sid=AAx HTTP/1.1` }),
  shaken("a sid that cannot be decoded", {}, '400 text/html "Session ID unknown"; closed',
    { first: `GET ${WEBSOCKET}&sid=%zz HTTP/1.1` }),
  shaken("where there is no WebSocket: Upgrade is ignored", {}, SERVED, { first: "GET / HTTP/1.1" }),
  http("h2c where it is not spoken: Upgrade is ignored (RFC 9110, 7.8)",
    get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"), SERVED),
  ...["12", "14", "013", "13.0", "0", "-13", "13, 8", "", undefined].map((v) => shaken(
    v === undefined ? "no version" : `version ${JSON.stringify(v)}`, { "Sec-WebSocket-Version": v }, BAD_VERSION)),
  shaken("the version twice (RFC 6455, 11.3.5)", { "Sec-WebSocket-Version": ["13", "13"] }, BAD_REQUEST),
  shaken("the key twice (RFC 6455, 11.3.1)", { "Sec-WebSocket-Key": [KEY, KEY] }, BAD_REQUEST),
  shaken("no key", { "Sec-WebSocket-Key": undefined }, BAD_REQUEST),
  key(""), key("=="), key(KEY.slice(0, 22)), key(KEY.slice(0, 23)), key(KEY.slice(1)), key(`${KEY}=`), key(`A${KEY}`),
  key(`AAAA${KEY}`), key("dGhlIHNhbXBsZSBub25jZS4="), key("dGhlIHNhbXBsZSBub25jZS4u"), key("dGhlIHNhbXBsZSBub25je!=="),
  key("dGhlIHNhbXBs ZSBub25jZ=="), key("dGhlIHNhbXBsZSBub25j===="), key("dG==IHNhbXBsZSBub25jZQ=="),
  key("dGhlIHNhbXBsZSBub25jZ==="),
  key("dGhlIHNhbXBs-SBub2_jZQ=="), key("\xe9GhlIHNhbXBsZSBub25jZQ=="),
  key("dGhlIHNhbXBsZSBub25jZf==", OPEN_WS),
  shaken("an extension that is offered is not taken", { "Sec-WebSocket-Extensions": "permessage-deflate; x=\"" }, OPEN_WS),
];

// ---- too slow ----

const within = (from, seconds) => {
  const took = (performance.now() - from) / 1000;
  return took > seconds - 0.2 && took < seconds + 5 ? `after ${seconds} s` : `after ${took.toFixed(1)} s`;
};

/** Writes the first text, then a byte of filler now and then; how and when that ends. */
const trickle = (start, filler) => async (c, seconds) => {
  const conn = c.conn();
  const from = performance.now();
  if (start) conn.write(start);
  const timer = setInterval(() => filler && conn.write(filler), 250);
  await conn.until("the end", () => undefined, 35000).catch(() => {});
  clearInterval(timer);
  const got = (await answer(conn)) || "no answer";
  return `${got}; ${conn.ended ? "closed" : "open"} ${within(from, seconds)}`;
};
const limited = (name, seconds, what, start, filler) => [name, `${what}; closed after ${seconds} s`,
  (c) => trickle(start, filler)(c, seconds)];

export const slow = [
  limited("a connection that says nothing", HEAD_SECONDS, "no answer", ""),
  limited("a head that stops", HEAD_SECONDS, "408 timeout", "GET / HTTP/1.1\r\nHost:"),
  limited("a head that trickles", HEAD_SECONDS, "408 timeout", "GET / HTTP/1.1\r\nHost: a\r\nX: ", "x"),
  limited("empty lines that trickle", HEAD_SECONDS, "408 timeout", "\r\n"),
  limited("a body that stops", BODY_SECONDS, "408 timeout", `${get("Content-Length: 100")}x`),
  limited("a body that trickles", BODY_SECONDS, "408 timeout", `${get("Content-Length: 100000")}x`, "x"),
];
