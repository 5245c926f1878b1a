import { equal, match } from "node:assert/strict";
import { test } from "node:test";
import { type Bound, judge } from "./flat.ts";
import type { Sample } from "./samples.ts";

const bound: Bound = { name: "x", within: "run", growth: { factor: 1.1, slack: 5 }, most: 1000 };

const samplesOf = (values: readonly number[], life = 1): Sample[] =>
  values.map((x, n) => ({ atMs: n * 1000, life, x }) as unknown as Sample);

const steps = (count: number, value: (n: number) => number) => Array.from({ length: count }, (_, n) => value(n));

test("what sways is flat, what grows in the second half is told", () => {
  equal(judge(bound, samplesOf(steps(400, (n) => 100 + (n % 7) * 10)), 1).fault, null);
  equal(judge(bound, samplesOf(steps(400, (n) => Math.min(n, 200))), 1).fault, null, "growth in the first half alone");
  match(judge(bound, samplesOf(steps(400, (n) => n)), 1).fault!, /^x grew from 250 to 350$/);
});

test("what was above its most once, and what was never seen, is told", () => {
  match(judge(bound, samplesOf(steps(400, (n) => (n === 7 ? 1001 : 100))), 1).fault!, /^x was 1001$/);
  match(judge(bound, [], 1).fault!, /^x was not sampled$/);
  equal(judge({ ...bound, growth: null }, [], 1).fault, null);
});

test("within a life, others do not count", () => {
  const long = samplesOf(
    steps(100, (n) => n),
    2,
  );
  const other = samplesOf(
    steps(900, () => 500),
    1,
  );
  const within: Bound = { ...bound, within: "life" };
  match(judge(within, [...other, ...long], 2).fault!, /^x grew from 62 to 87$/);
  equal(judge(within, [...other, ...long], 1).fault, null);
});
