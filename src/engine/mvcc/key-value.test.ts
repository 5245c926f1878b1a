import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import { keyOfText } from "../../base/latin1.ts";
import {
  deletedKeyValueBytes,
  KeyValueReader,
  keyValueBytes,
  writeDeletedKeyValue,
  writeKeyValue,
} from "./key-value.ts";

const encode = (pair: {
  key: string;
  create: number;
  mod: number;
  version: number;
  value: Uint8Array;
  lease: bigint;
}) => {
  const parts = {
    key: pair.key,
    createRevision: pair.create,
    modRevision: pair.mod,
    version: pair.version,
    value: pair.value,
    valueStart: 0,
    valueEnd: pair.value.length,
    lease: pair.lease,
  };
  const bytes = Buffer.alloc(keyValueBytes(parts));
  equal(writeKeyValue(bytes, 0, parts), bytes.length);
  return bytes;
};

test("a pair has the bytes that Go's protobuf gives it", () => {
  // Put together by hand from the wire format: tag, then varint or length and bytes.
  const bytes = encode({ key: "a", create: 2, mod: 300, version: 7, value: Buffer.from("xyz"), lease: 0x1234n });
  equal(bytes.toString("hex"), "0a01611002" + "18ac02" + "2007" + "2a0378797a" + "30b424");
  equal(
    encode({ key: "a", create: 2, mod: 2, version: 1, value: Buffer.of(), lease: 0n }).toString("hex"),
    "0a01611002180220" + "01",
  );
  const negative = encode({ key: "a", create: 2, mod: 2, version: 1, value: Buffer.of(), lease: -2n });
  equal(negative.toString("hex").slice(-22), "30feffffffffffffffff01");
});

test("the pair of a deletion has key and mod_revision alone (W11)", () => {
  const bytes = Buffer.alloc(deletedKeyValueBytes("key", 129));
  equal(writeDeletedKeyValue(bytes, 0, "key", 129), bytes.length);
  equal(bytes.toString("hex"), "0a036b6579188101");
});

test("R15 a pair reads as it was written, lease ids exact", () => {
  const reader = new KeyValueReader();
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 1, maxLength: 60 }),
      fc.uint8Array({ maxLength: 400 }),
      fc.tuple(fc.maxSafeNat(), fc.maxSafeNat(), fc.maxSafeNat()),
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
      (keyBytes, value, [create, mod, version], lease) => {
        const key = Buffer.from(keyBytes).latin1Slice();
        const encoded = encode({ key, create, mod, version, value, lease });
        const bytes = Buffer.concat([Buffer.of(1, 2, 3), encoded, Buffer.of(0x30, 1)]);
        reader.read({ bytes, start: 3, end: 3 + encoded.length });
        equal(reader.key, key);
        deepEqual([reader.createRevision, reader.modRevision, reader.version], [create, mod, version]);
        deepEqual(Buffer.from(reader.value), Buffer.from(value));
        equal(reader.lease, lease);
        equal(reader.hasLease, lease !== 0n);
      },
    ),
  );
});

test("a key of any length keeps its bytes", () => {
  for (const key of [keyOfText("ä€"), "x".repeat(24), "y".repeat(25), "z".repeat(1000)]) {
    const bytes = encode({ key, create: 2, mod: 2, version: 1, value: Buffer.of(), lease: 0n });
    equal(new KeyValueReader().read({ bytes, start: 0, end: bytes.length }).key, key);
  }
});

test("hostile bytes are corrupt, and never read past their end", () => {
  const reader = new KeyValueReader();
  const isCorrupt = (bytes: Uint8Array, end = bytes.length) =>
    throws(
      () => reader.read({ bytes, start: 0, end }),
      (error) => isDbError(error, "corrupt"),
    );
  isCorrupt(Buffer.from("0aff", "hex"));
  isCorrupt(Buffer.from("0a0561", "hex"));
  isCorrupt(Buffer.from("10ffffffffffffffffff01", "hex"));
  isCorrupt(Buffer.from("18ffffffffffffff7f", "hex"));
  isCorrupt(Buffer.from("1802" + "1002", "hex"));
  isCorrupt(Buffer.from("30ffffffffffffffffffffff01", "hex"));
  isCorrupt(Buffer.from("3801", "hex"));
  isCorrupt(Buffer.from("0a0161", "hex"), 9);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30 }), (bytes) => {
      try {
        reader.read({ bytes, start: 0, end: bytes.length });
        equal(typeof reader.lease, "bigint");
      } catch (error) {
        equal(isDbError(error, "corrupt"), true);
      }
    }),
  );
});
