import { ok } from "node:assert/strict";
import { Promotion } from "../../src/engine/host/promote-branch.ts";
import { BranchesJudge } from "./branches-judge.ts";
import { type BranchesChanges, BranchesWorld, inProcess, sleep } from "./branches-world.ts";
import { chaos } from "./chaos.ts";
import type { SimMachine } from "./machine.ts";
import { noStoreFaults, someStoreFaults } from "./object-store.ts";
import { all, patch } from "./patch.ts";
import { createSimulation, type Simulation, type SimulationOptions } from "./simulation.ts";

const TROUBLE_MS = 50_000;
const STOP_MS = 30_000;
/** Late requests of the dead have come by then. */
const QUIET_MS = 4 * 3_600_000;

/**
 * Branches of one repository: processes that serve all of them, write them, cut more, online and on the bucket alone,
 * merge, promote, delete, bring back, let expire and collect, and that stall, die and lose answers at any step. When
 * all is quiet (branches-judge.ts, by branch-truth.ts):
 *
 *   1. what was acknowledged in a branch is in it, and whatever was ever shown was the branch's own at that revision:
 *      its parent's up to where it was cut, and what was written to itself;
 *   2. by the name of main revisions never go back, whatever was promoted;
 *   3. a promotion that was stopped anywhere is ended, or taken back, by the same command; no branch has lost its name
 *      by one, or has two;
 *   4. the collector never took what a branch needed, one that can be brought back included;
 *   5. every branch shows what it must, version by version, and `verify` finds no fault;
 *   6. when all but one are deleted and ended, and all is collected, nothing is left but what that one needs.
 *
 * In one process a branch is open at most once, by whatever name.
 */
export async function branchesScenario(
  seed: number,
  options: SimulationOptions = {},
  changes: BranchesChanges = {},
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const random = simulation.random.fork("machines");
  // With more than one, branches are won by others, and stand by; a local disk has no other one.
  const names = random.pick([["a"], ["a"], ["a", "b"], ["a", "b", "c"]]);
  const durability = names.length === 1 && random.chance(0.4) ? "local" : "object";
  const world = new BranchesWorld(simulation, durability, changes);
  const mend = slowPromotions(simulation);
  await simulation
    .run(async () => {
      const machines = names.map((name) => simulation.machine(name));
      const start = (machine: SimMachine): void => world.start(machine);
      start(machines[0]!);
      for (let n = 0; n < 200 && !world.begun; n++) await simulation.sleep(500);
      ok(world.begun, "with nothing in the way main is served");
      if (random.chance(0.8)) {
        Object.assign(world.storage.faults, { ...someStoreFaults, silence: 0.01, late: 0.02, slowMsMax: 1000 });
      }
      for (const machine of machines.slice(1)) start(machine);
      const everyMs = random.pick([1500, 6000, 20_000]) / machines.length;
      await chaos(simulation, { machines, storage: world.storage, durationMs: TROUBLE_MS, everyMs, start });
      world.stopped = true;
      Object.assign(world.storage.faults, noStoreFaults);
      await simulation.sleep(STOP_MS);
      for (const machine of machines) machine.crash();
      await simulation.sleep(QUIET_MS);
      mend();
      await judge(world, machines[0]!);
    })
    .finally(mend);
  return simulation.trace.digest();
}

/** Now and then one stalls before a step for long enough that others lead the branches meanwhile. */
function slowPromotions(simulation: Simulation): () => void {
  const random = simulation.random.fork("promotions");
  const often = random.pick([0, 0.3]);
  const dawdle = async (): Promise<void> => {
    const node = inProcess.getStore();
    if (node === undefined || !node.alive || !random.chance(often)) return;
    const lastsMs = random.between(0, 15_000);
    if (random.chance(0.5) && !node.stalled) node.stallFor(lastsMs);
    await sleep(node, lastsMs);
  };
  const slow = (name: "keep" | "look" | "raise" | "swap"): (() => void) =>
    patch(
      Promotion.prototype,
      name,
      (step: (...args: never[]) => Promise<unknown>) =>
        async function (this: Promotion, ...args: never[]) {
          await dawdle();
          return step.apply(this, args);
        } as never,
    );
  return all(slow("keep"), slow("look"), slow("raise"), slow("swap"));
}

/** On the machine whose disk has what was acknowledged last. */
async function judge(world: BranchesWorld, machine: SimMachine): Promise<void> {
  const node = machine.start();
  // What it reads goes on for longer than a call.
  const host = await world.opened(node, { idleMs: 3_600_000 });
  ok(host !== null, "a process opens what is left");
  const judging = new BranchesJudge(world, node, host);
  const names = await judging.readable();
  judging.told();
  await judging.finishPromotions();
  judging.named();
  await world.collect(node, host);
  judging.swept();
  judging.collections();
  const kept = world.simulation.random.fork("kept").pick(await judging.readable());
  await judging.verify();
  await judging.leaveOne(await judging.readable(), kept);
  await judging.verify();
  judging.fences();
  world.simulation.note("judge", `${names.length} branches, ${JSON.stringify(world.done)}`);
  await host.close(new AbortController().signal);
}
