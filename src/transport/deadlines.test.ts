import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { ManualRuntime } from "../../test/transport/manual-runtime.ts";
import { Deadlines, type Expiring } from "./deadlines.ts";

test("calls expire at their time, in order, unless they were removed; one timer is set at most", async () => {
  const commands = fc.array(fc.tuple(fc.nat(500), fc.boolean(), fc.nat(30)), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(commands, async (list) => {
      const runtime = new ManualRuntime();
      const deadlines = new Deadlines(runtime.clock, runtime.timers);
      const expired: number[] = [];
      const live = new Set<Expiring>();
      for (const [delayMs, remove, passMs] of list) {
        const entry: Expiring = {
          deadlineMs: runtime.nowMs + delayMs,
          deadlineIndex: -1,
          expire: () => {
            expired.push(entry.deadlineMs);
            equal(runtime.nowMs, Math.max(entry.deadlineMs, runtime.nowMs));
            live.delete(entry);
          },
        };
        deadlines.add(entry);
        live.add(entry);
        const first = [...live][0];
        if (remove && first !== undefined) {
          deadlines.remove(first);
          live.delete(first);
        }
        equal(runtime.timerCount <= 1, true);
        await runtime.pass(passMs);
        for (const left of live) equal(left.deadlineMs > runtime.nowMs, true);
      }
      await runtime.pass(1000);
      equal(live.size, 0);
      deepEqual(
        expired,
        [...expired].sort((a, b) => a - b),
      );
      equal(runtime.timerCount, 0);
    }),
    { numRuns: 40 },
  );
});
