import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { comparePositions, isBetweenKeys, type Position, separate, startOf } from "./position.ts";

test("what separates a table from the bound before it is amid a key's versions only where that bound is", () => {
  const key = fc.string({ unit: fc.constantFrom("a", "b", "\xff"), maxLength: 4 });
  const entry: fc.Arbitrary<Position> = fc.record({
    space: fc.constantFrom(0, 3),
    key,
    main: fc.integer({ min: 1, max: 5 }),
    sub: fc.integer({ min: 0, max: 2 }),
  });
  const bound = fc.tuple(fc.constantFrom(0, 3), key).map(([space, text]) => startOf(space, text));
  fc.assert(
    fc.property(fc.oneof(entry, bound), entry, (last, next) => {
      fc.pre(comparePositions(last, next) < 0);
      const between = separate(last, next);
      ok(comparePositions(between, next) <= 0);
      ok(isBetweenKeys(last) ? comparePositions(last, between) <= 0 : comparePositions(last, between) < 0);
      const goesOn = !isBetweenKeys(last) && last.space === next.space && last.key === next.key;
      ok(isBetweenKeys(between) === !goesOn);
    }),
    { numRuns: 1000 },
  );
  deepEqual(separate(startOf(0, "k"), { space: 0, key: "k", main: 5, sub: 0 }), startOf(0, "k"));
});
