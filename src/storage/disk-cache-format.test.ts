import { deepEqual, equal, ok } from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import {
  decodeEntry,
  ENTRY_BYTES,
  encodeEntry,
  encodeHeader,
  isEntryOf,
  isHeader,
  placesStart,
  shelfBytes,
  shelfOf,
  tagOf,
} from "./disk-cache-format.ts";

const shape = { pieceBytes: 262_144, places: 256 };
const table = Buffer.from("000102030405060708090a0b0c0d0e0f", "hex");

test("golden bytes: a header and an entry (docs/formats/disk-cache.md)", () => {
  equal(encodeHeader(shape).toString("hex"), "543444430100000000000400000100000000000000000000000000003e171dce");
  equal(
    encodeEntry({ table, piece: 3, objectBytes: 1_000_000 }).toString("hex"),
    "000102030405060708090a0b0c0d0e0f0300000040420f000000000003a30844",
  );
  equal(placesStart(shape), 12_288);
  equal(shelfBytes(shape), 12_288 + 256 * 262_144);
});

test("what was written is read; anything else is no header, no entry", () => {
  const header = encodeHeader(shape);
  ok(isHeader(header, shape));
  ok(!isHeader(header, { ...shape, places: 255 }) && !isHeader(header.subarray(0, 31), shape));
  const entry = { table, piece: 3, objectBytes: 1_000_000 };
  const bytes = encodeEntry(entry);
  deepEqual(decodeEntry(bytes, 0, shape), entry);
  ok(isEntryOf(bytes, 0, entry) && !isEntryOf(bytes, 0, { table, piece: 2 }));
  for (let at = 0; at < ENTRY_BYTES; at++) {
    const wrong = Buffer.from(bytes);
    wrong[at] = wrong[at]! ^ 4;
    equal(decodeEntry(wrong, 0, shape), null);
  }
  equal(decodeEntry(Buffer.alloc(ENTRY_BYTES), 0, shape), null);
  equal(decodeEntry(bytes.subarray(1), 0, shape), null);
  // A piece that its table does not have.
  equal(decodeEntry(encodeEntry({ table, piece: 4, objectBytes: 1_000_000 }), 0, shape), null);
});

test("pieces spread evenly over files, and most stay where they are when there are more files", () => {
  const counts = new Array<number>(20).fill(0);
  const tags = new Set<number>();
  let moved = 0;
  for (let n = 0; n < 20_000; n++) {
    const id = { table: hash("sha256", `${n >> 8}`, "buffer").subarray(0, 16), piece: n & 255 };
    const shelf = shelfOf(id, 20);
    counts[shelf]!++;
    const later = shelfOf(id, 22);
    ok(later === shelf || later >= 20);
    if (later !== shelf) moved++;
    tags.add(tagOf(id));
  }
  ok(Math.min(...counts) > 800 && Math.max(...counts) < 1200, `${counts}`);
  ok(moved > 1400 && moved < 2300, `${moved} moved`);
  ok(tags.size > 19_990 && !tags.has(0));
});
