import { equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { comparePositions, isBetweenKeys, type Position, startOf } from "./position.ts";
import { Starts } from "./starts.ts";

/** Keys that share long beginnings, end within the eight bytes that are kept as numbers, or differ behind them. */
const key = fc
  .tuple(fc.constantFrom("", "/registry/", "/registry/pods/"), fc.string({ unit: fc.constantFrom("\0", "a", "\xff") }))
  .map(([prefix, rest]) => prefix + rest);
const space = fc.constantFrom(0, 0, 0, 1, 7);
const entry: fc.Arbitrary<Position> = fc.record({
  space,
  key,
  main: fc.integer({ min: 1, max: 4 }),
  sub: fc.integer({ min: 0, max: 2 }),
});
const bound = fc.tuple(space, key).map(([of, text]) => startOf(of, text));
const position = fc.oneof(entry, bound);

test("a search finds the last start at or before a position", () => {
  fc.assert(
    fc.property(fc.array(position, { minLength: 1, maxLength: 60 }), fc.array(position), (some, others) => {
      const sorted = some.toSorted(comparePositions);
      const starts = sorted.filter((each, i) => i === 0 || comparePositions(sorted[i - 1]!, each) < 0);
      const found = new Starts(starts);
      equal(found.count, starts.length);
      for (const [i, start] of starts.entries()) {
        equal(comparePositions(found.start(i), start), 0);
        equal(found.space(i), start.space);
      }
      for (const asked of [...starts, ...others]) {
        const last = starts.findLastIndex((start) => comparePositions(start, asked) <= 0);
        equal(found.search(asked), Math.max(0, last));
        for (const [i, start] of starts.entries()) {
          equal(found.goesOnWith(i, asked.key), !isBetweenKeys(start) && start.key === asked.key);
        }
      }
    }),
    { numRuns: 500 },
  );
});
