// SPDX-License-Identifier: ISC
// Malformed Socket.IO packets and JSON.  The answers are those of the protocol's specification and
// of RFC 8259; what neither decides is a documented limit of the server (lib/json.h, wire/sio.h).
// See malformed.mjs for what a row is.
import { CLOSED, fresh, MAX, settle, sio, member } from "./malformed.mjs";
import { RS } from "./raw-client.mjs";

const NAME_MAX = 128, KEYS_MAX = 10000, DEPTH_MAX = 32;
const BACK = '42["message-back",1]';
const CALL = '["message-with-ack",1]';
const x = (n) => "x".repeat(n);
const closing = (row, ...packets) => packets.map((p) => row(JSON.stringify(p), p, CLOSED));
const ignored = (row, ...packets) => packets.map((p) => row(`${JSON.stringify(p)} is let pass`, p, "nothing"));
const unknown = (nsp) => [`40${nsp},`, `44${nsp},{"message":"Invalid namespace"}`];
const joinedWith = (auth) => `40{"sid":"…"} | 42["auth",${auth}]`;

const early = (...packets) => packets.map((p) => fresh(`before CONNECT: ${JSON.stringify(p)}`, p, CLOSED));

const connects = [
  ...early("40[]", '40"x"', "40null", "401{", "40{", "40{}x", "40{}{}", '40{"a":1,}', "40true", "40{'a':1}", "40,", "40 ,{}",
    "40-1{}",
    "42[\"message\",1]", "41", "43[]", "431[]", "44{}", '44"x"', "42/custom,[\"a\"]", "4", "4x", "47", "49", "4-", "4 0"),
  fresh("40{} and white space", "40 \t\r\n{} \n", joinedWith("{}")), fresh("400: an ack id is let pass", "400", joinedWith("{}")),
  fresh("40/,", "40/,", joinedWith("{}")), fresh("an auth with every type", '40{"a":[1,null,true,"é"],"b":{}}',
    joinedWith('{"a":[1,null,true,"é"],"b":{}}')),
  fresh("CONNECT twice", ["40", "40"], `${joinedWith("{}")} | ${CLOSED}`),
  fresh("CONNECT twice, spelled differently", ["40", "40/,{}"], `${joinedWith("{}")} | ${CLOSED}`),
  fresh("refused twice is no error", ["40/denied", "40/denied,"],
    Array(2).fill('44/denied,{"message":"not authorized","data":{"code":401,"hint":"no token"}}').join(" | ")),
  fresh("EVENT behind a refusal", ["40/denied,", '42/denied,["a"]'],
    `44/denied,{"message":"not authorized","data":{"code":401,"hint":"no token"}} | ${CLOSED}`),
  ...["/nope", "//", "/custom/", "/Custom", "/custom?token=1", "/custom ", "/{}", '/"', "/é", "/a\nb", "/\t", `/a${RS}b`, "/[1]",
    "/1",
    `/${x(NAME_MAX - 1)}`].map((n) => fresh(`namespace ${JSON.stringify(n).slice(0, 40)}`, ...unknown(n))),
  fresh("namespace without comma, JSON behind it", "40/custom{}", '44/custom{},{"message":"Invalid namespace"}'),
  fresh("namespace of one byte too many", `40/${x(NAME_MAX)},`, CLOSED),
  fresh("namespace of 100000 bytes", `40/${x(100000)},`, CLOSED),
  fresh("namespace of 100000 bytes without a comma", `40/${x(100000)}`, CLOSED),
  fresh("NUL in a namespace", "40/custom\u0000,", CLOSED),
  fresh("40 unknown namespaces", Array.from({ length: 40 }, (_, i) => `40/n${i}`),
    Array.from({ length: 40 }, (_, i) => unknown(`/n${i}`)[1]).join(" | ")),
];

const events = [
  ...closing(sio, "42[]", "42{}", '42"a"', "42null", "42true", "421 ", "42[null]", "42[true]", "42[{}]", "42[[]]", '42["a"',
    '42["a"]x', '42["a"]["b"]',
    '42["a"],', "42[,]", '42,["a"]', '42 1["a"]', "42]", '42abc["a"]', '42-1["a"]', '421.5["a"]', '42+1["a"]', '420x1["a"]',
    '421 2["a"]'),
  ...["connect", "connect_error", "disconnect", "disconnecting", "newListener",
    "removeListener"].flatMap((n) => closing(sio, `42["${n}"]`, `4217["${n}",1]`)),
  sio("a reserved name, escaped", '42["\\u0063onnect"]', CLOSED),
  sio("a reserved name with binary", ['451-["connect",{"_placeholder":true,"num":0}]', Buffer.alloc(1)], CLOSED),
  ...ignored(sio, '42["Connect"]', '42["connect "]', '42["error",1]', '42["ping"]', '42[""]', "42[1]", "42[-1.5e3]",
    '42["__proto__"]', '42["constructor"]',
    '42["a\\u0000b"]', '42["\\ud800"]', "42", "4212", '4217["nobody listens"]', "43", "431", "43[1]", "43999[1]", "430[]",
    "43999999999999999[1]"),
  sio("an event name of 100000 bytes", `42["${x(100000)}"]`, "nothing"),
  sio("white space around the JSON", '42 \n["message",1]\t\r\n', BACK),
  sio("white space in the JSON", '42[ "message" ,\t1 ]', BACK),
  sio("the root namespace spelled out", '42/,["message",1]', BACK),
  ...[["0", "0"], ["7", "7"], ["007", "7"], ["999999999999999", "999999999999999"], ["000000000000007", "7"]].map(
    ([id, back]) => sio(`ack id ${id}`, `42${id}${CALL}`, `43${back}[1]`)),
  ...["1000000000000000", "0000000000000007", "9007199254740993", "18446744073709551616", x(0) + "9".repeat(400)].map(
    (id) => sio(`ack id ${id.slice(0, 24)} of ${id.length} digits`, `42${id}${CALL}`, CLOSED)),
  sio("the same ack id twice", [`425${CALL}`, `425${CALL}`], "435[1] | 435[1]"),
  sio("an ack of nothing", '421["message-with-ack"]', "431[]"),
  ...closing(sio, "43{}", "431{}", '431"x"', "431null", "431[", "431[1]x", "43-1[1]", "43/nope,1[1]", "44", "44{}", '44"x"',
    "44[]", "44/custom,{}",
    "41{}", "41[]", "411{}", "41/custom,", "41/nope", "41x", '42/custom,["a"]', '42/nope,["a"]', "42/custom", '42/["a"]', "4",
    "47", "48[]", "49", "4abc",
    '4 2["a"]', "4é", "4\u0000", "40", "40{}", "40[1]", "4[]", '4"a"', '42["message",1]42["message",1]',
    `42["message",1]${RS}42["message",1]`),
  sio("a raw message that is no packet", "x", CLOSED),
  sio("DISCONNECT with an ack id is a DISCONNECT", "417", "nothing"), sio("DISCONNECT", "41", "nothing"),
  sio("EVENT behind DISCONNECT is let pass", ["41", '42["message",1]'], "nothing"),
  sio("DISCONNECT twice is let pass", ["41", "41"], "nothing"),
  sio("rubbish behind DISCONNECT", ["41", "42[]"], CLOSED),
  sio("a good event in front of a bad packet", ['42["message",1]', "42[]"], `${BACK} | ${CLOSED}`),
  sio("a good event behind a bad packet", ["42[]", '42["message",1]'], CLOSED),
  sio("a bad packet for one namespace ends all", ["40/custom", "42/custom,[]"],
    `40/custom,{"sid":"…"} | 42/custom,["auth",{}] | ${CLOSED}`),
];
export const packets = [...connects, ...events];

// ---- attachments ----

const PH = (n) => `{"_placeholder":true,"num":${n}}`;
const B = Buffer.from([1, 2, 3]), B2 = Buffer.from([9]), HEX = "<010203>";
const ONE = `451-["message",${PH(0)}]`, ONE_BACK = `451-["message-back",${PH(0)}] | ${HEX}`;
const counts = ["45", "46", "45-", "451", "451-", '45-["message"]', '450-["message",1]', '451["message",1]', '45a-["message"]',
  '45-1-["message"]',
  '451.5-["message"]', '45+1-["message"]', '45 1-["message"]', '451 -["message"]', '4511-["message"]', '45100-["message"]',
  `45${"9".repeat(300)}-["message"]`,
  '4518446744073709551617-["message"]', '45,-["message"]', '451--["message"]', "451-{}", "451-[]", "451-[1", "451-null",
  '451-["connect"]', "461-{}", '461-"x"', "461-1",
  '452/["message"]', '451-/custom', "450-[]", "460-1[]"];

/** A JSON value in an event with one attachment, and what is wrong with it. */
const placed = (name, value, expected = CLOSED) => sio(`placeholder: ${name}`, [`451-["message",${value}]`, B], expected);

export const binary = [
  ...counts.map((p) => sio(JSON.stringify(p.slice(0, 40)), p, CLOSED)),
  sio("an attachment nobody announced", B, CLOSED), sio("an empty attachment nobody announced", Buffer.alloc(0), CLOSED),
  sio("one attachment", [ONE, B], ONE_BACK), sio("an empty attachment", [ONE, Buffer.alloc(0)],
    `451-["message-back",${PH(0)}] | <>`),
  sio("one attachment as base64", [ONE, "bAQID"], ONE_BACK), sio("bad base64 for an attachment", [ONE, "b!"], CLOSED),
  sio("one attachment too many", [ONE, B, B2], `${ONE_BACK} | ${CLOSED}`),
  sio("an attachment that does not come", ONE, "nothing"),
  sio("an event where an attachment is due", [ONE, '42["message",1]'], CLOSED),
  sio("another header where an attachment is due", [ONE, ONE], CLOSED),
  sio("a join where an attachment is due", [ONE, "40/custom"], CLOSED),
  sio("DISCONNECT where an attachment is due", [ONE, "41"], CLOSED),
  sio("rubbish where an attachment is due", [ONE, "4"], CLOSED),
  sio("an event between two attachments", [`452-["message",${PH(0)},${PH(1)}]`, B, '42["message",1]'], CLOSED),
  sio("PONG, NOOP and OPEN where an attachment is due", [ONE, "3", "6", "0", B], ONE_BACK),
  sio("CLOSE where an attachment is due", [ONE, "1"], CLOSED),
  sio("PING where an attachment is due", [ONE, "2"], CLOSED),
  sio("10 attachments", [`4510-["message",${Array.from({ length: 10 }, (_, i) => PH(i)).join()}]`, ...Array(10).fill(B2)],
    [`4510-["message-back",${Array.from({ length: 10 }, (_, i) => PH(i)).join()}]`, ...Array(10).fill("<09>")].join(" | ")),
  sio("a count with a leading zero", [`4501-["message",${PH(0)}]`, B], ONE_BACK),
  sio("a binary ack nobody waits for", [`461-7[${PH(0)}]`, B], "nothing"),
  sio("a binary ack without an id", [`461-[${PH(0)}]`, B], "nothing"),
  sio("for a namespace not joined", [`451-/custom,["message",${PH(0)}]`, B], CLOSED),
  sio("for a namespace nobody knows", [`451-/nope,["message",${PH(0)}]`, B], CLOSED),
  sio("for a namespace just left", ["41", ONE, B], "nothing"),
  sio("with a bad ack id", [`451-1234567890123456["message",${PH(0)}]`, B], CLOSED),
  sio("with an ack id", [`451-7["message-with-ack",${PH(0)}]`, B], `461-7[${PH(0)}] | ${HEX}`),
  fresh("before CONNECT", [ONE, B], CLOSED), fresh("an attachment before anything", B, CLOSED),

  placed("in an object in an array", `[[{"a":{"b":[${PH(0)}]}}]]`, `451-["message-back",[[{"a":{"b":[${PH(0)}]}}]]] | ${HEX}`),
  placed("num out of range", PH(1)), placed("num of 10", PH(10)), placed("num negative", PH(-1)),
  placed("num a string", PH('"0"')), placed("num null", PH("null")),
  placed("num true", PH("true")), placed("num an array", PH("[0]")), placed("num 0.5", PH("0.5")),
  placed("num 2^32", PH(4294967296)), placed("num missing", '{"_placeholder":true}'),
  placed("num out of range, nested", `{"a":[{"b":${PH(7)}}]}`), placed("one good, one bad", `[${PH(0)},${PH(1)}]`),
  placed("_placeholder false is data", '{"_placeholder":false,"num":7}',
    `451-["message-back",{"_placeholder":false,"num":7}] | ${HEX}`),
  placed("num given twice, the last wins", '{"_placeholder":true,"num":0,"num":5}'),
  sio("in a plain event it is data", `42["message",${PH(5)}]`, `42["message-back",${PH(5)}]`),
  sio("in a plain ack it is data", `43999[${PH(5)}]`, "nothing"),
];

// ---- JSON ----

const json = (name, value, back = CLOSED) => sio(`${name}: ${JSON.stringify(value).slice(0, 50)}`, `42["message",${value}]`,
  back === CLOSED ? CLOSED : `42["message-back",${back}]`);
const bad = (name, ...values) => values.map((v) => json(name, v));
const good = (name, ...values) => values.map((v) => json(name, v, v));

/** Arrays, the event's own included, `levels` deep; the same with objects. */
const arrays = (levels) => "[".repeat(levels - 1) + "]".repeat(levels - 1);
const objects = (levels) => '{"a":'.repeat(levels - 2) + "{}" + "}".repeat(levels - 2);
const deep = (name, value, fits) => sio(name, `42["message",${value}]`, fits ? `42["message-back",${value}]` : CLOSED);
const keys = (n) => `{${Array(n).fill('"":0').join()}}`;

/** Bytes that are not UTF-8 are refused by the WebSocket already. */
const raw = (name, bytes) => [name, "closed 1007", async (c) => {
  const ws = await member(c);
  ws.frame(1, Buffer.concat([Buffer.from('42["message","'), bytes, Buffer.from('"]')]));
  return settle(ws, "closed 1007");
}];

const numbers = [
  ...bad("no number", "NaN", "-NaN", "nan", "Infinity", "-Infinity", "inf", "+1", "++1", "--1", "-", "- 1", "01", "-01", "00",
    "1.", "-1.", ".5", "-.5", "1..2",
    "1.2.3", "1e", "1e+", "1E-", "1e1.5", "e5", "0x10", "0b1", "0o7", "1_000", "1,000.5.", "1f", "1n", "\u0661", "1 2"),
  ...bad("beyond 2^53", "9007199254740993", "-9007199254740993", "18446744073709551616", "99999999999999999999999999"),
  ...good("number", "0", "-1", "9007199254740992", "-9007199254740992", "0.5", "-0.5", "1.0", "1.50", "1e5", "1E5", "1e+5",
    "1e-5", "0e0", "-0", "-0.0",
    "1e999", "-1e999", "1e-999", "0.1234567890123456789", "123456789012345678.5"),
];
const strings = [
  ...bad("string", "'a'", '"a', '"', '"\\"', '"a\tb"', '"a\nb"', '"a\rb"', '"a\u0000b"', '"\u0001"', '"\u001f"', '"\\x41"',
    '"\\\'"', '"\\0"', '"\\a"', '"\\v"', '"\\U0041"',
    '"\\u"', '"\\u1"', '"\\u12"', '"\\u123"', '"\\u12g4"', '"\\u 123"', '"\\u+123"', '"\\u{41}"', '"\\', "`a`", "\u201ca\u201d",
    "a", '"a" "b"', '"a""b"'),
  ...good("string", '""', '"\u007f"', '"\u2028\u2029"', '"é€😀"', '"\\\\"', '"\\""', '"\ufeff"', '"\uffff"', '"//"', '"/* */"',
    '"\\u0000"', '"a\\u0000b"', '"[{"'),
  ...good("escapes, handed on as they are", '"\\u0041\\/\\u00e9\\ud83d\\ude00"'),
  json("escapes of control characters", '"\\b\\f\\n\\r\\t"', '"\\b\\f\\n\\r\\t"'),
  ...good("surrogates without a partner", '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800"', '"\\ude00\\ud83d"', '"\\ud800a"',
    '"\\ud800\\n"'),
  raw("not UTF-8", Buffer.from([0xff])), raw("an overlong quote", Buffer.from([0xc0, 0xa2])),
  raw("a surrogate in UTF-8", Buffer.from([0xed, 0xa0, 0x80])),
  raw("half a character", Buffer.from([0xe2, 0x82])),
];
const structure = [
  ...bad("array", "[1,]", "[,1]", "[,]", "[1,,2]", "[1 2]", "[", "]", "[1", "[1}", "[1;2]", "[1:2]", "(1)", "[[]"),
  ...bad("object", '{"a":1,}', '{,"a":1}', "{,}", '{"a"}', '{"a":}', '{"a",1}', '{"a":1 "b":2}', '{"a":1;"b":2}', '{"a"=1}',
    "{a:1}", "{'a':1}", "{1:2}", "{null:1}", "{", "}",
    '{"a', '{"a"', '{"a":', '{"a":1', '{"a":1]', '{"a"::1}', '{[]:1}', '{"a":1}}', "{:1}"),
  ...bad("word", "True", "TRUE", "nul", "nulll", "truefalse", "undefined", "None", "yes", "tru", "t", "null null"),
  ...bad("comment", "/**/1", "1/**/", "//x\n1", "1//x", "#x\n1", "<!-- -->1"),
  ...bad("white space", "\u000b1", "\u000c1", "\u00a01", "\ufeff1", "\u20031", "\u00001", "1\u0000"),
  ...bad("nothing", "", " ", ",1", "1,", "1,,2"),
  ...good("value", "null", "true", "false", "[]", "{}", "[null]", '{"":1}', '{"a b":{}}'),
  ...good("duplicate keys are handed on", '{"a":1,"b":2,"a":3}', '{"a":1,"\\u0061":2}'),
  ...good("key", '{"__proto__":{"x":1}}', '{"constructor":1}', '{"toString":null}', '{"\\n":1}', '{"é":1}',
    '{"_placeholder":true}'),
  ...bad("key", '{"\\u0000":1}', '{"a\\u0000b":1}', '{"a":{"\\u0000":1}}', '{"\\ud800":1}', '{"a\tb":1}', '{"\\x":1}'),
  sio("a byte order mark in front", '42\ufeff["message",1]', CLOSED),
  sio("white space that JSON does not know, behind it", '42["message",1]\u000c', CLOSED),
];
const limits = [
  ...[DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1].flatMap((n) => [deep(`arrays ${n} deep`, arrays(n), n <= DEPTH_MAX),
    deep(`objects ${n} deep`, objects(n), n <= DEPTH_MAX)]),
  sio("50000 brackets", `42["message",${"[".repeat(50000)}`, CLOSED),
  sio("50000 brackets and their partners", `42["message",${arrays(50001)}]`, CLOSED),
  sio("20000 objects in each other", `42["message",${'{"":'.repeat(20000)}`, CLOSED),
  sio("an auth too deep", '40/custom,{"a":'.concat(arrays(DEPTH_MAX + 1), "}"), CLOSED),
  sio(`${KEYS_MAX} keys`, `42["nobody",${keys(KEYS_MAX)}]`, "nothing"),
  sio("one key more", `42["nobody",${keys(KEYS_MAX + 1)}]`, CLOSED),
  sio("the keys of many objects count together", `42["nobody",${Array(KEYS_MAX + 1).fill('{"":0}').join()}]`, CLOSED),
  sio("60000 arguments", `42["nobody"${",0".repeat(60000)}]`, "nothing"),
  sio("a string as long as may be", `42["nobody","${x(MAX - 15)}"]`, "nothing"),
  sio("one letter more", `42["nobody","${x(MAX - 14)}"]`, "closed 1009"),
  sio("a number of 100000 digits", `42["nobody",1.${"1".repeat(100000)}]`, "nothing"),
  sio("an integer of 100000 digits", `42["nobody",${"1".repeat(100000)}]`, CLOSED),
  sio("an exponent of 100000 digits", `42["nobody",1e${"1".repeat(100000)}]`, "nothing"),
];
const rows = [...numbers, ...strings, ...structure, ...limits];
export { rows as json };
