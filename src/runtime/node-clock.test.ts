import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { NodeRandom, nodeClock, nodeTimers } from "./node-clock.ts";

test("a timer fires once, in its time; a cancelled one never", async () => {
  const fired: string[] = [];
  const startMs = nodeClock.monotonicMs();
  await new Promise<void>((resolve) => {
    const cancelled = nodeTimers.set(5, () => fired.push("cancelled"));
    nodeTimers.set(20, () => {
      fired.push("second");
      resolve();
    });
    nodeTimers.set(10, () => fired.push("first"));
    cancelled.cancel();
  });
  deepEqual(fired, ["first", "second"]);
  ok(nodeClock.monotonicMs() - startMs >= 19, "not before its time, but for the system's rounding");
});

test("a timer beyond setTimeout's bound does not fire at once", async () => {
  let fired = false;
  const timer = nodeTimers.set(2 ** 40, () => (fired = true), { background: true });
  await new Promise<void>((resolve) => nodeTimers.set(10, resolve));
  timer.cancel();
  equal(fired, false);
});

test("defer runs after the microtasks of this turn", async () => {
  const order: string[] = [];
  await new Promise<void>((resolve) => {
    nodeTimers.defer(() => {
      order.push("deferred");
      resolve();
    });
    void Promise.resolve()
      .then(() => Promise.resolve())
      .then(() => order.push("microtask"));
  });
  deepEqual(order, ["microtask", "deferred"]);
});

test("random numbers are in their ranges and differ", () => {
  const random = new NodeRandom();
  const seen = new Set<number>();
  for (let n = 0; n < 3000; n++) {
    const float = random.float();
    ok(float >= 0 && float < 1);
    seen.add(random.uint32());
  }
  ok(seen.size > 2990);
  equal(random.bytes(16).length, 16);
  ok(!random.bytes(16).equals(random.bytes(16)));
});
