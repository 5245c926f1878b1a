import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { at, branch, nonce, type SampleRecord, sampleBytes, slotAt } from "../../test/log/samples.ts";
import { fc } from "../../test/properties.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import { segmentKey } from "../objects/keys.ts";
import { decodeSegment, hashOfSegment } from "./segment-codec.ts";

const key = segmentKey(branch, slotAt(7));
const position = at({
  nextSlot: 7,
  highestEpoch: 3,
  lastHash: "ab".repeat(32),
  lastRecord: 40,
  lastRecordEpoch: 2,
  revision: 90,
  wallMs: 1_700_000_000_000,
});
const records: SampleRecord[] = [
  { payload: "first", epoch: 2, wallMs: 1_700_000_000_007 },
  { payload: "", revision: 91, epoch: 4, wallMs: 5 },
  { payload: Buffer.alloc(200, 7), revision: 300, epoch: 4, wallMs: 1_700_000_001_000 },
];

/** Golden bytes: what a released version has written is read for ever. A change here is a new format version. */
const goldenSegment =
  "5434534701000000000000000123456789abcdef0123456789abcdef0400000000000000070000000000000000112233445566ff" +
  "abababababababababababababababababababababababababababababababab290000000000000002000000000000000068e5cf" +
  "8b0100005a000000000000002c01000000000000e8000000000000000300000000000000ec47c32000070105666972737405c96c" +
  "1d02000000aa3c066900e107d101c801070707070707070707070707070707070707070707070707070707070707070707070707" +
  "07070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707" +
  "07070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707" +
  "07070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707070707" +
  "070707070707070782cb3f4cd98e8801";
const goldenFence =
  "5434534701000100000000000123456789abcdef0123456789abcdef0400000000000000070000000000000000112233445566ff" +
  "abababababababababababababababababababababababababababababababab290000000000000002000000000000000068e5cf" +
  "8b0100005a000000000000005a00000000000000000000000000000000000000000000004363b436c74b6748";

test("a segment and a fence have the bytes that docs/formats/segment.md gives", () => {
  equal(sampleBytes(position, 4, records).toString("hex"), goldenSegment);
  equal(sampleBytes(position, 4, []).toString("hex"), goldenFence);
});

test("golden bytes decode to what was written", () => {
  const segment = decodeSegment(key, Buffer.from(goldenSegment, "hex"));
  deepEqual(segment.header, {
    branch,
    epoch: 4,
    nonce,
    slot: 7,
    previousHash: "ab".repeat(32),
    fence: false,
    firstRecord: 41,
    recordCount: 3,
    epochBefore: 2,
    wallMsBefore: 1_700_000_000_000,
    revisionBefore: 90,
    revisionAfter: 300,
  });
  const [first, second, third] = segment.records;
  deepEqual(
    { ...first, payload: Buffer.from(first!.payload).toString() },
    {
      number: 41,
      epoch: 2,
      wallMs: 1_700_000_000_007,
      revision: 91,
      payload: "first",
    },
  );
  // The wall clock had gone back: the record's time does not.
  deepEqual(
    { ...second, payload: second!.payload.length },
    {
      number: 42,
      epoch: 4,
      wallMs: 1_700_000_000_007,
      revision: 91,
      payload: 0,
    },
  );
  equal(third!.number, 43);
  equal(segment.hash, hashOfSegment(Buffer.from(goldenSegment, "hex")));
  const fence = decodeSegment(key, Buffer.from(goldenFence, "hex"));
  deepEqual([fence.header.fence, fence.header.firstRecord, fence.records.length], [true, 41, 0]);
});

test("any records come back as they were written", () => {
  const record = fc.record({
    payload: fc.uint8Array({ maxLength: 300 }),
    step: fc.nat(3),
    epochStep: fc.nat(1),
    wallMs: fc.nat({ max: 2 ** 52 }),
  });
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 20 }), (steps) => {
      let revision = 90;
      let epoch = 2;
      let wallMs = 1_700_000_000_000;
      const expected = steps.map((step, index) => {
        revision += step.step;
        epoch = Math.min(9, epoch + step.epochStep);
        wallMs = Math.max(wallMs, step.wallMs);
        return { number: 41 + index, epoch, wallMs, revision, payload: step.payload };
      });
      const { records: found, hash } = decodeSegment(key, sampleBytes(position, 9, expected));
      deepEqual(
        found.map((one) => ({ ...one, payload: Uint8Array.from(one.payload) })),
        expected,
      );
      equal(hash.length, 64);
    }),
    { numRuns: 60 },
  );
});

test("every flipped bit is found, and the object named", () => {
  const good = Buffer.from(goldenSegment, "hex");
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bytes = Buffer.from(good);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    throws(() => decodeSegment(key, bytes), named, `bit ${bit}`);
  }
});

test("every cut, and every byte too many, is found", () => {
  const good = Buffer.from(goldenSegment, "hex");
  for (let length = 0; length < good.length; length++)
    throws(() => decodeSegment(key, good.subarray(0, length)), named);
  throws(() => decodeSegment(key, Buffer.concat([good, Buffer.alloc(1)])), named);
});

test("hostile bytes with good checksums are refused as corrupt, never with another error", () => {
  const good = Buffer.from(goldenSegment, "hex");
  const change = fc.record({ at: fc.nat(good.length - 1), bytes: fc.uint8Array({ minLength: 1, maxLength: 9 }) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const bytes = Buffer.from(good);
      for (const one of changes) Buffer.from(one.bytes).copy(bytes, one.at);
      bytes.writeUInt32LE(crc32c(bytes, 0, 140), 140);
      bytes.writeUInt32LE(crc32c(bytes, 0, bytes.length - 4), bytes.length - 4);
      try {
        const { header, records: found } = decodeSegment(key, bytes);
        equal(found.length, header.recordCount);
      } catch (error) {
        named(error);
      }
    }),
    { numRuns: 2000 },
  );
});

test("what a newer version may have written is refused by name, not called damage", () => {
  const bytes = Buffer.from(goldenFence, "hex");
  bytes[4] = 2;
  throws(() => decodeSegment(key, bytes), /format version 2 is unknown to this version of t4/);
  const encrypted = Buffer.from(goldenFence, "hex");
  encrypted.writeUInt32LE(9, 8);
  encrypted.writeUInt32LE(crc32c(encrypted, 0, 140), 140);
  throws(() => decodeSegment(key, encrypted), /encryption key 9 is unknown/);
});

test("a record that took another's place is found by its checksum", () => {
  const two = sampleBytes(position, 4, [
    { payload: "aaaa", wallMs: 0 },
    { payload: "bbbb", wallMs: 0 },
  ]);
  const bytes = Buffer.from(two);
  const first = Buffer.from(two.subarray(144, 156));
  // Both have epoch, wall and revision differences of one byte; the first one's epoch difference is 2.
  equal(two.length, 144 + 12 + 12 + 4);
  two.copy(bytes, 144, 156, 168);
  first.copy(bytes, 156);
  bytes.writeUInt32LE(crc32c(bytes, 0, bytes.length - 4), bytes.length - 4);
  throws(() => decodeSegment(key, bytes), /record 41 at byte 144: checksum/);
});

function named(error: unknown): true {
  equal(error instanceof DbError, true, String(error));
  equal((error as DbError).kind === "corrupt" || (error as DbError).kind === "storeRefused", true, String(error));
  equal((error as DbError).message.includes(key), true, String(error));
  return true;
}
