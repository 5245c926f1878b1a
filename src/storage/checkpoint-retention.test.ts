import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { BRANCH } from "../../test/storage/storage-bench.ts";
import type { Revision, Slot } from "../base/ids.ts";
import type { RetainedCheckpoint } from "./checkpoint.ts";
import { defaultRetention, retain } from "./checkpoint-retention.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

const made = (leaf: number, wallMs: number): RetainedCheckpoint => ({
  id: String(leaf).padStart(64, "0"),
  branch: BRANCH,
  nextSlot: (leaf + 2) as Slot,
  n: 0,
  revision: leaf as Revision,
  wallMs,
  proof: { leaf, path: [] },
});

test("a month of checkpoints thins to all, hourly, daily; the log begins at the newest that is a day old", () => {
  let kept: RetainedCheckpoint[] = [];
  let firstLogSlot = 1 as Slot;
  let nowMs = 0;
  for (let leaf = 0; leaf < 40 * 24 * 4; leaf++) {
    nowMs = leaf * 15 * MINUTE_MS;
    const result = retain(defaultRetention, kept, { nowMs, firstLogSlot });
    equal(result.firstLogSlot >= firstLogSlot, true);
    firstLogSlot = result.firstLogSlot;
    kept = [...result.retained, made(leaf, nowMs)];
  }
  const ages = kept.map((each) => nowMs - each.wallMs);
  const within = (low: number, high: number): number => ages.filter((age) => age >= low && age < high).length;
  equal(within(0, HOUR_MS), 4);
  equal(within(HOUR_MS + 1, 24 * HOUR_MS), 23);
  equal(within(24 * HOUR_MS, 31 * 24 * HOUR_MS) >= 29, true);
  equal(within(31 * 24 * HOUR_MS, Number.POSITIVE_INFINITY), 0);
  const base = kept.find((each) => each.nextSlot === firstLogSlot);
  const baseAge = nowMs - base!.wallMs;
  equal(baseAge >= 24 * HOUR_MS - 15 * MINUTE_MS && baseAge <= 26 * HOUR_MS, true, `${baseAge / HOUR_MS} h`);
});

test("whatever the times: the log begins at a retained checkpoint or where it began, and never moves back", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(60 * HOUR_MS), { maxLength: 60 }), (steps) => {
      let kept: RetainedCheckpoint[] = [];
      let firstLogSlot = 1 as Slot;
      let nowMs = 0;
      for (const [leaf, step] of steps.entries()) {
        nowMs += step;
        const result = retain({ ...defaultRetention, checkpointsMax: 10 }, kept, { nowMs, firstLogSlot });
        equal(result.firstLogSlot >= firstLogSlot, true);
        firstLogSlot = result.firstLogSlot;
        equal(firstLogSlot === 1 || result.retained.some((each) => each.nextSlot === firstLogSlot), true);
        equal(result.retained.length <= 11, true);
        deepEqual(
          result.retained.map((each) => each.proof.leaf),
          result.retained.map((each) => each.proof.leaf).sort((a, b) => a - b),
        );
        // Every moment of the last day can be replayed: nothing newer than a day is the log's first.
        const base = result.retained.find((each) => each.nextSlot === firstLogSlot);
        equal(base === undefined || base.wallMs <= nowMs - defaultRetention.logMs, true);
        kept = [...result.retained, made(leaf, nowMs)];
      }
    }),
  );
});
