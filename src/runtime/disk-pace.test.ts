import { equal } from "node:assert/strict";
import { test } from "node:test";
import { BLOCKING_BYTES_MAX, DiskPace, READ_PROBE_INTERVAL_MS_MIN } from "./disk-pace.ts";
import { createReadPace } from "./node-disk-file.ts";

/**
 * A disk on which every write takes `writeMs`, and the pool adds `poolMs`; returns how many of `count` writes blocked.
 */
function run(pace: DiskPace, disk: { startMs: number; writeMs: number; poolMs: number; count: number }) {
  let nowMs = disk.startMs;
  let blocked = 0;
  for (let n = 0; n < disk.count; n++) {
    const startMs = nowMs;
    if (pace.shouldBlock(4096, startMs)) {
      nowMs += disk.writeMs;
      pace.blocked(startMs, nowMs);
      blocked++;
    } else {
      nowMs += disk.writeMs + disk.poolMs;
      pace.pooled(4096, startMs, nowMs);
    }
  }
  return { blocked, nowMs };
}

test("a quick disk is written in the loop after a run of writes that showed it", () => {
  equal(run(new DiskPace(0), { startMs: 0, writeMs: 0.08, poolMs: 0.03, count: 100 }).blocked, 92);
});

test("a quick disk behind a slow pool is found by a probe", () => {
  const pace = new DiskPace(0);
  equal(run(pace, { startMs: 0, writeMs: 0.08, poolMs: 5, count: 150 }).blocked, 0);
  equal(run(pace, { startMs: 1000, writeMs: 0.08, poolMs: 5, count: 100 }).blocked, 100);
});

test("a slow disk is probed ever more rarely", () => {
  const pace = new DiskPace(0);
  const { blocked, nowMs } = run(pace, { startMs: 0, writeMs: 10, poolMs: 0.03, count: 12_000 });
  // At 1, 3, 7, 15, 31, 63 s and then every 64 s: two minutes hold one or two more.
  equal(nowMs > 120_000 && nowMs < 127_000, true);
  equal(blocked, 6);
});

test("a disk that becomes slow is left at once, one that becomes quick again is noticed", () => {
  const pace = new DiskPace(0);
  let { nowMs } = run(pace, { startMs: 0, writeMs: 0.08, poolMs: 0.03, count: 100 });
  const slow = run(pace, { startMs: nowMs, writeMs: 20, poolMs: 0.03, count: 40 });
  equal(slow.blocked, 1);
  nowMs = slow.nowMs;
  equal(run(pace, { startMs: nowMs, writeMs: 0.08, poolMs: 0.03, count: 100 }).blocked, 92);
});

test("on a disk that stalls at every fifth write, no write waits in the loop but for probes", () => {
  const pace = new DiskPace(0);
  let [nowMs, stallsInLoop] = [0, 0];
  for (let n = 0; n < 1000; n++) {
    const writeMs = n % 5 === 4 ? 25 : 0.08;
    const { blocked, nowMs: after } = run(pace, { startMs: nowMs, writeMs, poolMs: 0.03, count: 1 });
    if (blocked > 0 && writeMs > 1) stallsInLoop++;
    nowMs = after;
  }
  equal(stallsInLoop <= 6, true, `${stallsInLoop} stalls in the loop in ${Math.round(nowMs)} ms`);
});

test("large writes neither block nor teach", () => {
  const pace = new DiskPace(0);
  pace.pooled(BLOCKING_BYTES_MAX + 1, 0, 0.01);
  equal(pace.shouldBlock(4096, 0.02), false);
  equal(pace.shouldBlock(BLOCKING_BYTES_MAX + 1, 5000), false);
  equal(pace.shouldBlock(BLOCKING_BYTES_MAX, 5000), true);
});

test("reads that a moment's stall sent to the pool come back soon, whatever the pool takes", () => {
  const pace = createReadPace();
  const nowMs = performance.now();
  equal(run(pace, { startMs: nowMs + READ_PROBE_INTERVAL_MS_MIN, writeMs: 0.01, poolMs: 5, count: 100 }).blocked, 100);
  const stalled = run(pace, { startMs: nowMs + 1000, writeMs: 4, poolMs: 5, count: 1 });
  equal(stalled.blocked, 1);
  // Reads of 5 ms each in the pool until the next probe is due.
  equal(run(pace, { startMs: stalled.nowMs, writeMs: 0.01, poolMs: 5, count: 100 }).blocked, 90);
});
