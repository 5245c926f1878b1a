import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { IntervalIndex } from "./interval-index.ts";

const key = fc.string({ unit: fc.constantFrom("a", "b", "\u0000", "\u00ff"), maxLength: 3 });
const end = fc.oneof(fc.constant(undefined), fc.constant(null), key);
const range = fc.record({ from: key, to: end });

const holds = (r: { from: string; to: string | null | undefined }, k: string): boolean =>
  r.to === undefined ? k === r.from : k >= r.from && (r.to === null || k < r.to);

test("a stab finds exactly the ranges that hold the key, after any additions and removals", () => {
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), fc.array(fc.nat(39)), fc.array(key), (ranges, removals, keys) => {
      const index = new IntervalIndex<number>();
      const live = new Set<number>();
      for (const [n, r] of ranges.entries()) {
        index.add(r.from, r.to, n);
        live.add(n);
      }
      for (const n of removals) {
        const r = ranges[n];
        if (r === undefined) continue;
        index.remove(r.from, r.to, n);
        live.delete(n);
      }
      for (const k of [...keys, ...ranges.map((r) => r.from)]) {
        const found: number[] = [];
        index.stab(k, (n) => found.push(n));
        const expected = [...live].filter((n) => holds(ranges[n]!, k));
        deepEqual(
          found.sort((a, b) => a - b),
          expected,
        );
      }
    }),
  );
});
