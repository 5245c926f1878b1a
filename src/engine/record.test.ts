import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig } from "../../test/engine/doubles.ts";
import { del, lease, put, txn } from "../../test/engine/requests.ts";
import { fc } from "../../test/properties.ts";
import { isDbError } from "../base/errors.ts";
import { epoch, recordNumber, revision } from "../base/ids.ts";
import type { LogRecord } from "../log/log.ts";
import { createMemoryTree } from "../storage/memory-tree.ts";
import { applyRecord, decodeRecord, recordKinds } from "./record.ts";

const record = (hex: string, at: number, number = 1): LogRecord => ({
  number: recordNumber(number),
  epoch: epoch(1),
  wallMs: 0,
  revision: revision(at),
  payload: Buffer.from(hex.replaceAll(" ", ""), "hex"),
});

/** Golden bytes of docs/formats/record.md, version 1. What is stored must stay readable: never change these. */
const golden = [
  ["lease grant 5, 60 s", "01 02 | 42 08 0000000000000005 01 3c"],
  ["put a=x with lease 5", "01 01 | 40 0e 0a0161 1002 1802 2001 2a0178 3005 | 43 09 000000000000000561 00"],
  [
    "put a=x without it, del b of nothing, put b",
    "01 01 | 20 0c 0a0161 1002 1803 2002 2a0178 | 13 09 000000000000000561 | 40 09 0a0162 1003 1803 2001",
  ],
  ["delete a and b", "01 01 | 10 05 0a0161 1804 | 10 05 0a0162 1804"],
  ["compaction at 3", "01 05 | 41 07 636f6d70616374 01 03"],
  ["compaction at 4", "01 05 | 21 07 636f6d70616374 01 04"],
  ["put a with lease 5", "01 01 | 40 0b 0a0161 1005 1805 2001 3005 | 43 09 000000000000000561 00"],
  ["lease revoke", "01 03 | 10 05 0a0161 1806 | 13 09 000000000000000561 | 12 08 0000000000000005"],
  ["setting x = y", "01 06 | 41 09 73657474696e672f78 01 79"],
  ["remaining time of lease -2", "01 04 | 22 08 fffffffffffffffe 02 3c3c"],
  ["released", "01 04 | 41 08 72656c6561736564 09 01 0000000000000007"],
] as const;

test("records have the bytes of docs/formats/record.md", async () => {
  const { database, log } = await openRig();
  await database.leaseGrant({ id: lease(5), ttlSeconds: 60n });
  await database.put(put("a", "x", { lease: lease(5) }));
  await database.txn(txn([put("a", "x"), del("b0"), put("b", "")]));
  await database.deleteRange(del("a", "c"));
  await database.compact({ revision: 3, physical: false });
  await database.compact({ revision: 4, physical: false });
  await database.put(put("a", "", { lease: lease(5) }));
  await database.leaseRevoke(lease(5));
  await database.settings.write("x", "y");
  await database.leaseGrant({ id: lease(-2), ttlSeconds: 60n });
  await database.release();
  const bytes = log.records.map(({ payload }) => Buffer.from(payload).toString("hex"));
  equal(bytes.splice(9, 1)[0], "0102" + "4208fffffffffffffffe013c");
  deepEqual(
    bytes,
    golden.map(([, hex]) => hex.replaceAll(/[ |]/g, "")),
  );
});

test("what is decoded is what was sequenced: keys, order, effects, mains and subs", () => {
  const [, hex] = golden[2];
  const { kind, entries } = decodeRecord(record(hex.replaceAll("|", ""), 3, 9));
  equal(kind, recordKinds.transaction);
  const shown = entries.map(({ space, key, main, sub, tombstone, effect, start, end }) =>
    [space, key, main, sub, tombstone, effect, end - start].join(" "),
  );
  deepEqual(shown, ["0 a 3 0 false 0 12", "3 \0\0\0\0\0\0\0\x05a 9 0 true -1 0", "0 b 3 1 false 1 9"]);
});

test("a record that does not fit its place is corrupt, and names itself", () => {
  const isCorrupt = (hex: string, what: RegExp, at = 3) =>
    throws(
      () => decodeRecord(record(hex, at, 77)),
      (error) => isDbError(error, "corrupt") && /log record 77/.test(error.message) && what.test(error.message),
    );
  isCorrupt("", /ends early/);
  isCorrupt("0201", /version 2/);
  isCorrupt("0163", /unknown kind 99/);
  isCorrupt("0101 c0", /flags/);
  isCorrupt("0101 4f", /flags/);
  isCorrupt("0101 60 05 0a0161 1803", /effect/);
  isCorrupt("0101 10 05 0a0161 1804", /mod_revision 4 in a record of revision 3/);
  isCorrupt("0101 10 09 0a0161 1003 1803 2001", /looks like a put/);
  isCorrupt("0101 40 05 0a0161 1803", /looks like a deletion/);
  isCorrupt("0101 40 06 1003 1803 2001", /without a key/);
  isCorrupt("0101 40 ffffffffffffff0f", /ends early|2\^53/);
  isCorrupt("0101 43 09 00", /ends early/);
});

test("hostile payloads are corrupt or decode; nothing else happens", () => {
  const near = fc.constantFrom(...golden).map(([, hex]) => Buffer.from(hex.replaceAll(/[ |]/g, ""), "hex"));
  fc.assert(
    fc.property(near, fc.nat(40), fc.nat(255), fc.nat(40), (bytes, at, value, cut) => {
      const payload = Buffer.from(bytes);
      payload[at % payload.length] = value;
      const mutated = { ...record("", 3), payload: payload.subarray(0, payload.length - (cut % 5)) };
      try {
        decodeRecord(mutated);
      } catch (error) {
        equal(isDbError(error, "corrupt"), true);
      }
    }),
    { numRuns: 2000 },
  );
});

test("a revision that skips or repeats is corrupt at replay", () => {
  const tree = createMemoryTree();
  const payload = "0101 40 09 0a0162 1003 1803 2001";
  for (const before of [1, 3]) throws(() => applyRecord(tree, record(payload, 3), before), /at revision 3, after/);
  applyRecord(tree, record(payload, 3), 2);
});
