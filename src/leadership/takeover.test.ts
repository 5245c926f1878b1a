import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { DbError } from "../base/errors.ts";
import { epoch } from "../base/ids.ts";
import type { TakeoverLog } from "./leadership.ts";
import { takeOver } from "./takeover.ts";

interface Script {
  /** Ids of the newest start, reading by reading; the last one stays. */
  starts: string[];
  /** How often the slot is taken by another first. */
  taken?: number;
}

function scripted(script: Script): { log: TakeoverLog<{ id: string }>; trace: string[] } {
  const trace: string[] = [];
  const starts = [...script.starts];
  let taken = script.taken ?? 0;
  const log: TakeoverLog<{ id: string }> = {
    newestStart: async () => {
      const id = starts.length > 1 ? starts.shift()! : starts[0]!;
      trace.push(`newest ${id}`);
      return { id };
    },
    firstFreeSlot: async (start, by) => void trace.push(`read from ${start.id} as ${by}`),
    fence: async (by) => {
      trace.push(`fence ${by}`);
      return taken-- > 0 ? "taken" : "fenced";
    },
    widen: async (by, count) => void trace.push(`widen ${by} by ${count}`),
  };
  return { log, trace };
}

const steps = { epoch: epoch(7), window: 8, fence: true, stopped: () => null };

test("the steps go in the order that the rules give", async () => {
  const { log, trace } = scripted({ starts: ["c1"] });
  equal((await takeOver({ ...steps, log })).id, "c1");
  deepEqual(trace, ["newest c1", "read from c1 as 7", "fence 7", "newest c1", "widen 7 by 7"]);
});

test("a slot that is taken meanwhile is passed over", async () => {
  const { log, trace } = scripted({ starts: ["c1"], taken: 2 });
  await takeOver({ ...steps, log });
  deepEqual(trace.filter((line) => line === "fence 7").length, 3);
});

test("a checkpoint that came meanwhile is where the reading begins anew, in the same epoch", async () => {
  const { log, trace } = scripted({ starts: ["c1", "c2"] });
  equal((await takeOver({ ...steps, log })).id, "c2");
  deepEqual(trace, [
    "newest c1",
    "read from c1 as 7",
    "fence 7",
    "newest c2",
    "newest c2",
    "read from c2 as 7",
    "fence 7",
    "newest c2",
    "widen 7 by 7",
  ]);
});

test("after a clean release no fence is made, and the newest checkpoint is read again all the same", async () => {
  const { log, trace } = scripted({ starts: ["c1", "c2"] });
  equal((await takeOver({ ...steps, log, fence: false })).id, "c2");
  deepEqual(trace, ["newest c1", "read from c1 as 7", "newest c2", "newest c2", "read from c2 as 7", "newest c2"]);
});

test("a window of one slot needs one fence", async () => {
  const { log, trace } = scripted({ starts: ["c1"] });
  await takeOver({ ...steps, log, window: 1 });
  equal(trace.at(-1), "newest c1");
});

test("it stops between any two steps when it is told to, and when it is deposed", async () => {
  for (let left = 0; left < 9; left++) {
    const { log, trace } = scripted({ starts: ["c1"] });
    let asked = 0;
    const stopped = () => (++asked > left ? new DbError("leadershipLost", "killed") : null);
    await rejects(takeOver({ ...steps, log, stopped }), /killed/);
    equal(trace.length, Math.ceil(left / 2));
  }
  const { log } = scripted({ starts: ["c1"] });
  log.firstFreeSlot = () => Promise.reject(new DbError("leadershipLost", "epoch 9 is here"));
  await rejects(takeOver({ ...steps, log }), /epoch 9/);
});

test("what never comes to an end is given up", async () => {
  const { log } = scripted({ starts: Array.from({ length: 1000 }, (_, n) => `c${n}`) });
  await rejects(takeOver({ ...steps, log }), /changed 64 times/);
  const other = scripted({ starts: ["c1"], taken: 1e9 });
  await rejects(takeOver({ ...steps, log: other.log }), /4096 slots were taken/);
});
