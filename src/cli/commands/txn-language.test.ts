import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { parseCompare, parseOp, parseTxn, splitWords } from "./txn-language.ts";

test("words are split as etcdctl does, with quotes and escapes", () => {
  deepEqual(splitWords('put "a b" c "\\x41\\n\\"" --lease=1'), ["put", "a b", "c", 'A\n"', "--lease=1"]);
  deepEqual(splitWords("watch '' --prefix 'a \"b\" \\n'"), ["watch", "", "--prefix", 'a "b" \\n']);
  throws(() => splitWords('put "\\q"'), { name: "UsageError" });
});

test("compares of each target", () => {
  const { key, targetUnion, result } = parseCompare('mod("a b") != "12"');
  deepEqual([key?.toString(), targetUnion, result], ["a b", { case: "modRevision", value: 12n }, 3]);
  deepEqual(parseCompare('val("k") > "v"').targetUnion, { case: "value", value: Buffer.from("v") });
  deepEqual(parseCompare("lease(k) = 1f").targetUnion, { case: "lease", value: 31n });
  throws(() => parseCompare("mod(k) ~ 1"), /malformed comparison/);
  throws(() => parseCompare("mod('k') = '1'"), /stands in double quotes/);
  throws(() => parseCompare('mod("k") = 1 2'), /stands in double quotes/);
  throws(() => parseCompare('size("k") = "1"'), /unknown target size/);
  throws(() => parseCompare('mod("k") = "x"'), /bad mod revision "x"/);
});

test("three blocks, each ended by an empty line", () => {
  const txn = parseTxn('ver("k") = "1"\n\nput k v\nget --prefix k\n\ndel k z\n\n');
  deepEqual([txn.compare.length, txn.success.length, txn.failure.length], [1, 2, 1]);
  deepEqual(parseTxn(""), { compare: [], success: [], failure: [] });
  throws(() => parseTxn("\n\n\nget k"), /stands behind the third block/);
});

test("operations take the options of their commands", () => {
  const get = parseOp("get a --limit 3 --keys-only").request;
  equal(get?.case === "requestRange" && get.value.limit, 3n);
  throws(() => parseOp("get a --nope"), /unknown option '--nope'/);
  throws(() => parseOp("put a"), /missing required argument 'value'/);
  throws(() => parseOp("put a 1 --ignore-value"), /takes no value/);
  const kept = parseOp("put a --ignore-value --prev-kv").request!;
  deepEqual(kept.case === "requestPut" && [kept.value.ignoreValue, kept.value.prevKv], [true, true]);
  throws(() => parseOp("drop a"), /expected get, put or del/);
});
