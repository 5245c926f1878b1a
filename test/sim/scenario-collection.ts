import { deepEqual, ok } from "node:assert/strict";
import type { BranchId } from "../../src/base/ids.ts";
import { Collector, type CollectorOptions } from "../../src/collector/collector.ts";
import {
  BranchCut,
  type CutOptions,
  type CutParent,
  type CutPoint,
  cutAtNewestCheckpoint,
} from "../../src/engine/branches/cut-branch.ts";
import { leaderRegister } from "../../src/leadership/acquire.ts";
import { branchNameRegister } from "../../src/leadership/branch-name.ts";
import { decodeOrigin, type Origin, rootOrigin } from "../../src/leadership/origin.ts";
import { MAIN, openRepository } from "../../src/leadership/repository.ts";
import { originKey, parseKey, prefixes } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { readCheckpoint } from "../../src/storage/checkpoint-store.ts";
import { chaos } from "./chaos.ts";
import { CollectionJudge, lostFences } from "./collection-judge.ts";
import { CollectionLeader, isOrdinary, REQUEST_MS } from "./collection-leader.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { noStoreFaults, SimStorage, someStoreFaults } from "./object-store.ts";
import type { SimRandom } from "./random.ts";
import { createSimulation, type Simulation, type SimulationOptions } from "./simulation.ts";
import { surely } from "./surely.ts";

const request = { timeoutMs: 5 * REQUEST_MS };
const TROUBLE_MS = 300_000;
const BRANCHES_MAX = 3;
/** Late requests of the dead have come by then. */
const QUIET_MS = 4 * 3_600_000;

/** What a simulated program may be given other than what is right: for mutants. */
export interface CollectionChanges {
  collectorStore?: (store: ObjectStore, node: SimNode) => ObjectStore;
}

/**
 * Leaders that write branches in turn and checkpoint them, programs that cut branches off them and delete some again,
 * and collectors, all of which stall, die and lose answers at any step, on one bucket. Nothing that a branch needs is
 * ever deleted, fences never; and when all is quiet, what nobody needs goes (collection-judge.ts).
 */
export async function collectionScenario(
  seed: number,
  options: SimulationOptions = {},
  changes: CollectionChanges = {},
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const world = new CollectionWorld(simulation, changes);
  await simulation.run(async () => {
    await world.found();
    const machines = ["leader a", "leader b", "cutter a", "cutter b", "collector a", "collector b"].map((name) =>
      simulation.machine(name),
    );
    const start = (machine: SimMachine): void => world.start(machine);
    for (const machine of machines) start(machine);
    const everyMs = simulation.random.fork("pace").pick([1500, 6000]);
    await chaos(simulation, { machines, storage: world.storage, durationMs: TROUBLE_MS, everyMs, start });
    world.stopped = true;
    Object.assign(world.storage.faults, noStoreFaults);
    await simulation.sleep(QUIET_MS);
    world.judge();
    await world.collectAll();
  });
  world.judgeEnd();
  return simulation.trace.digest();
}

class CollectionWorld {
  readonly storage: SimStorage;
  stopped = false;
  readonly #simulation: Simulation;
  readonly #changes: CollectionChanges;
  #main: BranchId | null = null;
  #names = 0;
  #bystander: SimNode | null = null;
  #judge: CollectionJudge | null = null;

  constructor(simulation: Simulation, changes: CollectionChanges) {
    this.#simulation = simulation;
    this.#changes = changes;
    const late = simulation.random.fork("late").pick([0.03, 0.3]);
    this.storage = new SimStorage(simulation, { ...someStoreFaults, late });
  }

  async found(): Promise<void> {
    const node = this.#simulation.machine("founder").start();
    const faults = { ...this.storage.faults };
    Object.assign(this.storage.faults, noStoreFaults);
    const store = this.storage.storeOf(node);
    const { runtime } = node;
    await this.#surely(() => openRepository({ store, runtime, requestTimeoutMs: 5000, window: 3 }));
    const main = await this.#surely(() => branchNameRegister(store, MAIN, runtime).read(request));
    this.#main = main!.body.branch;
    await this.#surely(() => new CollectionLeader(node, store, this.#main!).lead(2));
    Object.assign(this.storage.faults, faults);
  }

  start(machine: SimMachine): void {
    const node = machine.start();
    const role = machine.name.split(" ")[0];
    if (role === "leader") void this.#repeat(node, (random) => this.#lead(node, random));
    else if (role === "cutter") void this.#repeat(node, (random) => this.#cut(node, random));
    else void this.#repeat(node, () => this.#collect(node));
  }

  async #repeat(node: SimNode, work: (random: SimRandom) => Promise<void>): Promise<void> {
    const random = node.random.fork("work");
    while (!this.stopped) {
      await sleep(node, random.between(0, random.pick([300, 3000])));
      try {
        await work(random);
      } catch (error) {
        if (!isOrdinary(error)) throw error;
        this.#simulation.note(node.name, `gave up: ${(error as Error).message}`);
      }
    }
  }

  async #lead(node: SimNode, random: SimRandom): Promise<void> {
    const branches = [...this.#judged().named()];
    const branch = random.chance(0.6) ? this.#main! : random.pick(branches);
    await new CollectionLeader(node, this.storage.storeOf(node), branch).lead(random.integer(1, 6));
  }

  async #collect(node: SimNode): Promise<void> {
    await this.#collector(node).collect();
  }

  /**
   * For who stalls: meanwhile others lead the branch, which thins what it had, and collect that. By chance alone that
   * comes between two steps of one cut too rarely.
   */
  async #thinAndCollect(branch: BranchId): Promise<void> {
    this.#bystander ??= this.#simulation.machine("bystander").start();
    const node = this.#bystander;
    try {
      for (let n = 0; n < 2; n++) {
        await new CollectionLeader(node, this.storage.storeOf(node), branch).lead(3);
        await sleep(node, 6000);
      }
      await this.#collector(node).collect();
    } catch (error) {
      if (!isOrdinary(error)) throw error;
    }
  }

  #collector(node: SimNode): Collector {
    const plain = this.storage.storeOf(node);
    const store = this.#changes.collectorStore?.(plain, node) ?? plain;
    const { runtime } = node;
    // No grace: it carries no safety.
    const options = {
      store,
      runtime,
      requestTimeoutMs: 5 * REQUEST_MS,
      graceMs: -3_600_000,
      deletesPerSecond: 50,
    };
    return new SlowCollector(options, node);
  }

  async #cut(node: SimNode, random: SimRandom): Promise<void> {
    const store = this.storage.storeOf(node);
    const { runtime } = node;
    const others = this.#judged()
      .named()
      .filter((branch) => branch !== this.#main);
    if (others.length >= BRANCHES_MAX) return this.#deleteBranch(node, random.pick(others));
    const parent = random.chance(0.6) ? this.#main! : random.pick([this.#main!, ...others]);
    const name = `b${++this.#names}`;
    const point = (references: CutParent): Promise<CutPoint> => choose(store, references, random);
    const meanwhile = (): Promise<void> => this.#thinAndCollect(parent);
    await new SlowCut({ store, runtime, parent, name, point, request }, node, meanwhile).run();
  }

  /** As far as others can see: the leader record becomes a tombstone, the origin goes. */
  async #deleteBranch(node: SimNode, branch: BranchId): Promise<void> {
    const store = this.storage.storeOf(node);
    const { runtime } = node;
    const register = leaderRegister(store, branch, runtime);
    const state = await register.read(request);
    if (state === null || state.body.tombstone) return;
    const swapped = await register.swap(state, { ...state.body, tombstone: true }, request);
    if (swapped.kind !== "swapped") return;
    await store.delete(originKey(branch), request);
  }

  #judged(): CollectionJudge {
    this.#judge ??= new CollectionJudge(this.#main!);
    return this.#judge.follow(this.storage.bucket.history);
  }

  judge(): void {
    deepEqual(this.#judged().problems.slice(0, 5), []);
  }

  /** Each branch is led once more, so that what earlier leaderships left is known to be left; then all is collected. */
  async collectAll(): Promise<void> {
    const node = this.#simulation.machine("last").start();
    const store = this.storage.storeOf(node);
    for (const branch of this.#judged().named()) {
      await this.#surely(() => new CollectionLeader(node, store, branch).lead(2));
    }
    for (let n = 0; n < 2; n++) await this.#surely(() => this.#collector(node).collect());
  }

  #surely<T>(work: () => Promise<T>): Promise<T> {
    return surely(this.#simulation, work, isOrdinary);
  }

  judgeEnd(): void {
    const judge = this.#judged();
    deepEqual(judge.problems.slice(0, 5), []);
    const { bucket } = this.storage;
    for (const { key, kind, body } of bucket.history) {
      const name = parseKey(key);
      if (kind !== "put" || name?.kind !== "origin") continue;
      deepEqual(lostFences(bucket, name.branch, decodeOrigin(name.branch, body!)), []);
    }
    deepEqual(lostFences(bucket, this.#main!, rootOrigin(this.#main!)), []);
    deepEqual(judge.leftOver().slice(0, 10), []);
    ok(
      bucket.history.some(({ kind }) => kind === "delete"),
      "something was deleted",
    );
  }
}

/** Now and then long enough for others to do much. */
const dawdle = (node: SimNode, random: SimRandom): Promise<void> =>
  random.chance(0.25) ? sleep(node, random.between(0, 20_000)) : Promise.resolve();

/** One that stalls before its steps. */
class SlowCut extends BranchCut {
  readonly #node: SimNode;
  readonly #random: SimRandom;
  readonly #meanwhile: () => Promise<void>;

  constructor(options: CutOptions, node: SimNode, meanwhile: () => Promise<void>) {
    super(options);
    this.#node = node;
    this.#random = node.random.fork("cut");
    this.#meanwhile = meanwhile;
  }

  override async createOrigin(origin: Origin): Promise<void> {
    await dawdle(this.#node, this.#random);
    await super.createOrigin(origin);
  }

  override async isCollected(needs: Parameters<BranchCut["isCollected"]>[0]): Promise<boolean> {
    await dawdle(this.#node, this.#random);
    return super.isCollected(needs);
  }

  override async isListed(origin: Origin): Promise<boolean> {
    await dawdle(this.#node, this.#random);
    return super.isListed(origin);
  }

  override async exists(origin: Origin, needs: Parameters<BranchCut["exists"]>[1]): Promise<boolean> {
    await dawdle(this.#node, this.#random);
    return super.exists(origin, needs);
  }

  override async createName(origin: Origin): Promise<boolean> {
    if (this.#random.chance(0.2)) await this.#meanwhile();
    else await dawdle(this.#node, this.#random);
    return super.createName(origin);
  }
}

/** Likewise. */
class SlowCollector extends Collector {
  readonly #node: SimNode;
  readonly #random: SimRandom;

  constructor(options: CollectorOptions, node: SimNode) {
    super(options);
    this.#node = node;
    this.#random = node.random.fork("collect");
  }

  override async announce(...args: Parameters<Collector["announce"]>): ReturnType<Collector["announce"]> {
    await dawdle(this.#node, this.#random);
    return super.announce(...args);
  }

  override async referencesAnew(
    ...args: Parameters<Collector["referencesAnew"]>
  ): ReturnType<Collector["referencesAnew"]> {
    await dawdle(this.#node, this.#random);
    return super.referencesAnew(...args);
  }

  override async deleteAll(...args: Parameters<Collector["deleteAll"]>): ReturnType<Collector["deleteAll"]> {
    await dawdle(this.#node, this.#random);
    return super.deleteAll(...args);
  }

  override async markDone(...args: Parameters<Collector["markDone"]>): ReturnType<Collector["markDone"]> {
    await dawdle(this.#node, this.#random);
    return super.markDone(...args);
  }
}

/** A retained checkpoint, with or without some of the log behind it. */
async function choose(store: ObjectStore, parent: CutParent, random: SimRandom): Promise<CutPoint> {
  const newest = await cutAtNewestCheckpoint(parent);
  if (parent.newest === null || random.chance(0.3)) return newest;
  const all = [...parent.newest.retained.map((each) => ({ ...each, sha256: each.id }))];
  if (all.length === 0) return newest;
  const { branch, nextSlot, n, sha256, revision } = random.pick(all);
  const checkpoint = { branch, nextSlot, n, sha256 };
  const chosen = await readCheckpoint(store, checkpoint, request);
  const position = { ...(chosen?.point.position ?? newest.position), revision, nextSlot: newest.position.nextSlot };
  const { objects } = await store.list(prefixes.segments(branch), { ...request, limit: 1000 });
  const slots = objects.flatMap(({ key }) => {
    const name = parseKey(key);
    return name?.kind === "segment" && name.slot >= nextSlot ? [name.slot] : [];
  });
  if (nextSlot < parent.newest.firstLogSlot || slots[0] !== nextSlot) {
    return { checkpoint, runs: [], position };
  }
  // Dense from the first slot on.
  const last = slots.filter((slot, at) => slot === nextSlot + at)[random.integer(0, Math.min(3, slots.length - 1))];
  return {
    checkpoint,
    runs: last === undefined ? [] : [{ branch, first: nextSlot, last, lastRecord: position.lastRecord }],
    position,
  };
}

const sleep = (node: SimNode, ms: number): Promise<void> =>
  new Promise((resolve) => node.runtime.timers.set(ms, resolve));
