import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { BRANCH } from "../../test/storage/storage-bench.ts";
import { type Epoch, type ObjectKey, slot } from "../base/ids.ts";
import { encodeEnvelope } from "../objects/envelope.ts";
import { checkpointKey, collectionDoneKey, collectionKey, leaderKey, segmentKey, tableKey } from "../objects/keys.ts";
import { decodeCollection, decodeCollectionDone, encodeCollection, encodeCollectionDone } from "./collection.ts";

const table = tableKey({ branch: BRANCH, epoch: 3 as Epoch, sha256: "ab".repeat(32) });
const collection = {
  creator: "c".repeat(32),
  wallMs: 1_900_000_000_000,
  names: [segmentKey(BRANCH, slot(4)), table].sort(),
};
const done = { collection: "cd".repeat(32), deleted: 2, bytes: 1234, wallMs: 1_900_000_001_000 };

/** As they stand in buckets: a change here breaks every repository that exists. */
const GOLDEN_COLLECTION = [
  "54344f4201000600000000000000000000000000fc0000007b2263726561746f72223a226363636363636363636363636363",
  "636363636363636363636363636363636363222c226e616d6573223a5b226272616e63682f30313233343536373839616263",
  "646566303132333435363738396162636465662f6c6f672f3030303030303030303030303030303030303034222c22737374",
  "2f30313233343536373839616263646566303132333435363738396162636465662d332d6162616261626162616261626162",
  "6162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162",
  "225d2c2277616c6c4d73223a313930303030303030303030307d2afb8bf4",
].join("");
const GOLDEN_DONE = [
  "54344f4201000700000000000000000000000000810000007b226279746573223a313233342c22636f6c6c656374696f6e22",
  "3a22636463646364636463646364636463646364636463646364636463646364636463646364636463646364636463646364",
  "63646364636463646364636463646364222c2264656c65746564223a322c2277616c6c4d73223a3139303030303030303130",
  "30307d522321f5",
].join("");

test("a collection and its mark are those of format version 1, and come back as they were", () => {
  const bytes = encodeCollection(7, collection);
  equal(bytes.toString("hex"), GOLDEN_COLLECTION);
  deepEqual(decodeCollection(7, bytes), collection);
  const mark = encodeCollectionDone(7, done);
  equal(mark.toString("hex"), GOLDEN_DONE);
  deepEqual(decodeCollectionDone(7, mark), done);
});

test("any flipped bit, and another number's object, is found and named", () => {
  for (const [decode, bytes] of [
    [decodeCollection, encodeCollection(7, collection)],
    [decodeCollectionDone, encodeCollectionDone(7, done)],
  ] as const) {
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const bad = Buffer.from(bytes);
      bad[bit >> 3]! ^= 1 << (bit & 7);
      throws(() => decode(7, bad), /object collector\/0{19}7/, `bit ${bit}`);
    }
    throws(() => decode(8, bytes), /object collector\/0{19}8/);
  }
});

test("names that are not to be collected, twice there, or out of order are refused", () => {
  const refused = (names: unknown, why: RegExp) =>
    throws(
      () => decodeCollection(7, encodeEnvelope(collectionKey(7), { counter: 0, body: { ...collection, names } })),
      why,
    );
  refused([leaderKey(BRANCH)], /names\[0\]: expected the name of what is collected/);
  refused(["name/main"], /names\[0\]/);
  refused(["branch/../x"], /names\[0\]/);
  refused([1], /names\[0\]/);
  refused([table, table], /names\[1\]: .* out of order/);
  refused([table, segmentKey(BRANCH, slot(4))], /names\[1\]: .* out of order/);
  refused("all", /field names: expected a list/);
  refused(new Array<ObjectKey>(10_001).fill(checkpointKey(BRANCH, slot(1), 0)), /field names: expected a list/);
  const more = encodeEnvelope(collectionDoneKey(7), { counter: 0, body: { ...done, more: 1 } });
  throws(() => decodeCollectionDone(7, more), /field "more" is unknown/);
});
