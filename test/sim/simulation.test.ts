import { deepEqual, equal, notEqual, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { SimRandom } from "./random.ts";
import { createSimulation, SimulationFailure } from "./simulation.ts";

test("a story that cannot end is stuck, and the failure names the seed", async () => {
  const simulation = createSimulation(4711);
  await rejects(
    simulation.run(() => new Promise(() => {})),
    (error) => error instanceof SimulationFailure && /^seed 4711, .*stuck/.test(error.message),
  );
});

test("a story that goes on for ever is ended by the bound on events, or on time", async () => {
  const forever = (delayMs: number) => async () => {
    const { timers } = simulation.machine("a").start().runtime;
    const again = (): void => void timers.set(delayMs, again);
    again();
    await new Promise(() => {});
  };
  let simulation = createSimulation(1, { eventsMax: 1000 });
  await rejects(simulation.run(forever(1)), /seed 1,.*endless: 1001 events/s);
  simulation = createSimulation(1, { durationMsMax: 60_000 });
  await rejects(simulation.run(forever(1000)), /seed 1,.*endless: it is 60/s);
});

test("what a handler throws, or a promise that nobody awaits rejects with, fails the run", async () => {
  for (const asynchronous of [false, true]) {
    const simulation = createSimulation(1);
    const story = simulation.run(async () => {
      simulation
        .machine("a")
        .start()
        .runtime.timers.set(10, () => {
          if (asynchronous) void Promise.reject(new Error("lost"));
          else throw new Error("lost");
        });
      await simulation.sleep(1000);
    });
    await rejects(story, /lost/);
  }
});

test("time jumps from event to event, and long chains of continuations take none", async () => {
  const simulation = createSimulation(1);
  await simulation.run(async () => {
    await simulation.sleep(300 * 24 * 3600 * 1000);
    const before = simulation.nowMs;
    for (let n = 0; n < 10_000; n++) await null;
    equal(simulation.nowMs, before);
    equal(before, 300 * 24 * 3600 * 1000);
  });
});

test("deferred calls of a process keep their order; those of several come as the seed has it", async () => {
  const orders = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const simulation = createSimulation(seed);
    await simulation.run(async () => {
      const order: string[] = [];
      const nodes = ["a", "b", "c"].map((name) => simulation.machine(name).start());
      for (let n = 0; n < 3; n++) {
        for (const node of nodes) node.runtime.timers.defer(() => order.push(`${node.machine.name}${n}`));
      }
      await simulation.sleep(1);
      for (const { machine } of nodes) {
        const own = order.filter((entry) => entry.startsWith(machine.name));
        deepEqual(own, [`${machine.name}0`, `${machine.name}1`, `${machine.name}2`]);
      }
      orders.add(order.join());
    });
  }
  ok(orders.size > 3, `${orders.size} orders`);
});

test("a killed process neither acts nor learns anything any more", async () => {
  const simulation = createSimulation(3);
  await simulation.run(async () => {
    const machine = simulation.machine("a");
    const node = machine.start();
    const seen: string[] = [];
    node.runtime.timers.set(10, () => seen.push("timer"));
    node.runtime.timers.defer(() => seen.push("defer"));
    void node.runtime.disk.list("/").then(() => seen.push("disk"));
    void node.runtime.offload.sha256(Buffer.alloc(10)).then(() => seen.push("offload"));
    node.kill();
    node.runtime.timers.set(20, () => seen.push("timer after death"));
    void node.runtime.disk.makeDirectory("/x").then(() => seen.push("disk after death"));
    await simulation.sleep(1000);
    deepEqual(seen, []);
    equal(machine.volume.find("/x"), null);
  });
});

test("a stalled process does everything when it wakes", async () => {
  const simulation = createSimulation(3);
  await simulation.run(async () => {
    const node = simulation.machine("a").start();
    const seen: string[] = [];
    node.runtime.timers.set(10, () => seen.push(`timer at ${Math.floor(simulation.nowMs)}`));
    const cancelled = node.runtime.timers.set(20, () => seen.push("cancelled"));
    node.runtime.timers.set(15, () => cancelled.cancel());
    node.stallFor(5000);
    await simulation.sleep(4999);
    deepEqual(seen, []);
    await simulation.sleep(100);
    deepEqual(seen, ["timer at 5000"]);
  });
});

test("clocks go at their machine's rate, jump, and start anew with each boot", async () => {
  const simulation = createSimulation(3);
  await simulation.run(async () => {
    const fast = simulation.machine("fast", { clockRate: 1.5, wallAheadMs: 1000 });
    const node = fast.start();
    const { clock } = node.runtime;
    const [monotonicMs, wallMs] = [clock.monotonicMs(), clock.wallMs()];
    let firedMs = 0;
    node.runtime.timers.set(1500, () => (firedMs = simulation.nowMs));
    await simulation.sleep(2000);
    ok(firedMs >= 1000 && firedMs < 1100, `1500 ms by a fast clock are 1000, not ${firedMs}`);
    ok(Math.abs(clock.monotonicMs() - monotonicMs - 3000) < 1e-6);
    equal(clock.wallMs(), wallMs + 3000);
    fast.jumpWallClock(-10_000);
    equal(clock.wallMs(), wallMs - 7000);
    ok(Math.abs(clock.monotonicMs() - monotonicMs - 3000) < 1e-6);

    const boot = await node.runtime.disk.bootId();
    node.kill();
    equal(await fast.start().runtime.disk.bootId(), boot);
    fast.crash();
    const reborn = fast.start().runtime;
    notEqual(await reborn.disk.bootId(), boot);
    ok(reborn.clock.monotonicMs() < 100);
  });
});

test("random numbers are a function of their name, and spread evenly", () => {
  const draw = (name: string) => Array.from({ length: 4 }, (_, n) => new SimRandom(name).fork(`${n}`).uint32());
  deepEqual(draw("seed 1"), draw("seed 1"));
  notEqual(draw("seed 1").join(), draw("seed 2").join());
  const random = new SimRandom("x");
  const counts = new Array<number>(10).fill(0);
  for (let n = 0; n < 10_000; n++) counts[random.integer(0, 9)]!++;
  ok(Math.min(...counts) > 850 && Math.max(...counts) < 1150, counts.join());
  equal(random.bytes(7).length, 7);
});
