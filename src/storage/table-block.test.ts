import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { KeyHash } from "./bloom.ts";
import { ByteWriter } from "./byte-writer.ts";
import { PointLookup } from "./point-lookup.ts";
import { sharedLength } from "./position.ts";
import { findInRaw } from "./raw-block.ts";
import { AT_HEAD, type Space } from "./storage.ts";
import { decodeBlock, type TableBlock, writeEntry } from "./table-block.ts";

interface Entry {
  readonly key: string;
  readonly main: number;
}

function bytesOf(entries: readonly Entry[]): Buffer {
  const writer = new ByteWriter();
  let previous = "";
  for (const { key, main } of entries) {
    const version = { key, main, sub: 0, tombstone: false, effect: 0 as const, bytes: Buffer.from(key, "latin1") };
    writeEntry(writer, { ...version, start: 0, end: key.length }, 0, sharedLength(previous, key));
    previous = key;
  }
  return Buffer.from(writer.view());
}

const blockOf = (entries: readonly Entry[]): TableBlock => decodeBlock(bytesOf(entries), entries.length);
const inOrderOfKeys = (a: Entry, b: Entry): number => (a.key === b.key ? b.main - a.main : a.key < b.key ? -1 : 1);

/** What a search by the order of keys finds. */
function inOrder(block: TableBlock, key: string, at: number): number {
  const i = block.lowerBound(key, at, 0xffff_ffff);
  return i < block.count && block.hasKey(i, key) ? i : -1;
}

const text = fc
  .tuple(
    fc.constantFrom("", "/registry/pods/"),
    fc.string({ unit: fc.constantFrom("\0", "a", "b", "\xff"), maxLength: 5 }),
  )
  .map(([prefix, rest]) => prefix + rest);
const versions = fc.uniqueArray(fc.record({ key: text, main: fc.integer({ min: 1, max: 6 }) }), {
  minLength: 1,
  maxLength: 200,
  selector: ({ key, main }) => `${main} ${key}`,
});

test("a key is found by its hash where the order of keys finds it, from the second question on", () => {
  let asked = 0;
  let answered = 0;
  fc.assert(
    fc.property(versions, fc.array(text), fc.constantFrom<Space>(0, 3), (some, others, space) => {
      const entries = some.toSorted(inOrderOfKeys);
      const block = blockOf(entries);
      equal(block.find(new PointLookup(space, entries[0]!.key, AT_HEAD)), -1, "the first question makes no slots");
      for (const key of [...entries.map((each) => each.key), ...others]) {
        for (const at of [AT_HEAD, 6, 3, 1]) {
          const expected = inOrder(block, key, at);
          const found = block.find(new PointLookup(space, key, at));
          // An older version is left to the search by order.
          const isNewest = expected === inOrder(block, key, AT_HEAD);
          if (expected >= 0 && isNewest) asked++;
          if (found >= 0) answered++;
          if (found >= 0 || !isNewest) equal(found, isNewest ? expected : -1);
        }
      }
    }),
    { numRuns: 300 },
  );
  // Few have no room beside those that they collide with.
  ok(asked > 1000 && answered > 0.99 * asked, `${answered} of ${asked}`);
});

test("keys that collide are found as long as there is room, and never taken for one another", () => {
  // All of a block's slots are chosen by the lower bits of the hash: 60 keys for one of 128.
  const keys: string[] = [];
  for (let n = 0; keys.length < 60; n++) {
    const key = `key-${String(n).padStart(6, "0")}`;
    if ((new KeyHash().of(0, key).first & 127) === 5) keys.push(key);
  }
  const block = blockOf(keys.map((key) => ({ key, main: 2 })));
  block.find(new PointLookup(0, "", AT_HEAD));
  const found = keys.filter((key, i) => {
    const place = block.find(new PointLookup(0, key, AT_HEAD));
    equal(place === i || place === -1, true);
    return place === i;
  });
  equal(found.length, 8);
});

test("a block of more entries than a slot can name is searched by order alone", () => {
  const entries = Array.from({ length: 70_000 }, (_, i) => ({ key: "hot", main: 70_000 - i }));
  const block = blockOf(entries);
  for (let n = 0; n < 3; n++) equal(block.find(new PointLookup(0, "hot", AT_HEAD)), -1);
  equal(inOrder(block, "hot", 5), 70_000 - 5);
});

test("in a block as it is written the same is found as in one that was taken apart", () => {
  const none = { found: 0, missing: 0, behind: 0 };
  fc.assert(
    fc.property(versions, fc.array(text), fc.nat(20), (some, others, room) => {
      const entries = some.toSorted(inOrderOfKeys);
      const block = blockOf(entries);
      const raw = bytesOf(entries);
      const of = { bytes: Buffer.concat([raw, Buffer.alloc(room, 1)]), rawBytes: raw.length, count: entries.length };
      for (const key of [...entries.map((each) => each.key), ...others]) {
        for (const at of [AT_HEAD, 6, 3, 1]) {
          const i = block.lowerBound(key, at, 0xffff_ffff);
          const found = findInRaw(of, new PointLookup(0, key, at));
          if (i === block.count) {
            none.behind++;
            equal(found, undefined);
          } else if (block.hasKey(i, key)) {
            none.found++;
            const { bytes, start, end, ...facts } = found!;
            const expected = block.version(i);
            const { main, sub, tombstone, effect } = expected;
            deepEqual(facts, { key, main, sub, tombstone, effect });
            equal(
              Buffer.from(bytes.subarray(start, end)).equals(expected.bytes.subarray(expected.start, expected.end)),
              true,
            );
          } else {
            none.missing++;
            equal(found, null);
          }
        }
      }
    }),
    { numRuns: 300 },
  );
  ok(Math.min(none.found, none.missing, none.behind) > 100, JSON.stringify(none));
});

test("a block cut short or changed anywhere leads a look into it to an answer or a RangeError", () => {
  const entries = Array.from({ length: 40 }, (_, i) => ({ key: `key-${String(i).padStart(3, "0")}`, main: i + 1 }));
  const raw = bytesOf(entries);
  const look = (bytes: Buffer, rawBytes: number): void => {
    try {
      findInRaw({ bytes, rawBytes, count: 40 }, new PointLookup(0, "key-035", AT_HEAD));
    } catch (error) {
      ok(error instanceof RangeError);
    }
  };
  for (let rawBytes = 0; rawBytes < raw.length; rawBytes++) look(raw, rawBytes);
  for (let at = 0; at < raw.length; at++) {
    const changed = Buffer.from(raw);
    changed[at]! ^= 0xff;
    look(changed, changed.length);
  }
});
