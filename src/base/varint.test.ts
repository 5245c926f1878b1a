import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { crc32c } from "./crc32c.ts";
import { ByteReader, varintSize, writeVarint } from "./varint.ts";

test("a varint comes back as it was written, in the size foretold", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const bytes = new Uint8Array(10);
      const end = writeVarint(bytes, 1, value);
      equal(end - 1, varintSize(value));
      const reader = new ByteReader(bytes, 1, end);
      equal(reader.varint(), value);
      equal(reader.left, 0);
    }),
  );
});

test("a varint that is cut short, or too large, is refused", () => {
  throws(() => new ByteReader(Uint8Array.of(0x80)).varint(), RangeError);
  throws(() => new ByteReader(new Uint8Array(10).fill(0xff)).varint(), RangeError);
  throws(() => new ByteReader(new Uint8Array(3)).take(4), RangeError);
});

test("CRC-32C gives the check value of its definition, and chains over any cut", () => {
  equal(crc32c(Buffer.from("123456789")), 0xe3069283);
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), (bytes, at) => {
      const cut = Math.min(at, bytes.length);
      deepEqual(crc32c(bytes, cut, bytes.length, crc32c(bytes, 0, cut)), crc32c(bytes));
    }),
  );
});
