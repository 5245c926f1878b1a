import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KeyHash } from "./bloom.ts";
import { ByteWriter } from "./byte-writer.ts";
import { PointLookup } from "./point-lookup.ts";
import { sharedLength } from "./position.ts";
import { AT_HEAD, type Space } from "./storage.ts";
import { decodeBlock, type TableBlock, writeEntry } from "./table-block.ts";

interface Entry {
  readonly key: string;
  readonly main: number;
}

function blockOf(entries: readonly Entry[]): TableBlock {
  const writer = new ByteWriter();
  let previous = "";
  for (const { key, main } of entries) {
    const version = { key, main, sub: 0, tombstone: false, effect: 0 as const, bytes: Buffer.from(key, "latin1") };
    writeEntry(writer, { ...version, start: 0, end: key.length }, 0, sharedLength(previous, key));
    previous = key;
  }
  return decodeBlock(Buffer.from(writer.view()), entries.length);
}

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
      const entries = some.toSorted((a, b) => (a.key === b.key ? b.main - a.main : a.key < b.key ? -1 : 1));
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
