import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { nextTurn, TimeSlice } from "./event-loop.ts";

/** A loop whose turns and time are the test's. */
function manualLoop() {
  const deferred: (() => void)[] = [];
  const loop = {
    nowMs: 100,
    clock: { monotonicMs: (): number => loop.nowMs },
    timers: { defer: (fire: () => void): void => void deferred.push(fire) },
    turn: async (): Promise<void> => {
      for (const fire of deferred.splice(0)) fire();
      await Promise.resolve();
    },
  };
  return loop;
}

test("the next turn comes behind what was put off before, and not by itself", async () => {
  const loop = manualLoop();
  const seen: string[] = [];
  loop.timers.defer(() => seen.push("other"));
  const waiting = nextTurn(loop.timers).then(() => seen.push("next"));
  await Promise.resolve();
  deepEqual(seen, []);
  await loop.turn();
  await waiting;
  deepEqual(seen, ["other", "next"]);
});

test("a slice is over after 3 ms, and the next one begins with the turn in which it goes on", async () => {
  const loop = manualLoop();
  const slice = new TimeSlice(loop);
  loop.nowMs += 2.9;
  equal(slice.isOver, false);
  loop.nowMs += 0.1;
  equal(slice.isOver, true);
  const ended = slice.end();
  // Others take their time.
  loop.nowMs += 50;
  await loop.turn();
  await ended;
  equal(slice.isOver, false);
  loop.nowMs += 3;
  equal(slice.isOver, true);
});
