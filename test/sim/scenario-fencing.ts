import { deepEqual, ok } from "node:assert/strict";
import { DbError, isDbError } from "../../src/base/errors.ts";
import { branchId, type Epoch, type ObjectKey, type Revision, type Slot } from "../../src/base/ids.ts";
import type { TakeoverLog } from "../../src/leadership/leadership.ts";
import { takeOver } from "../../src/leadership/takeover.ts";
import { firstPosition } from "../../src/log/chain.ts";
import { createTakeoverLog, type FencingLog, type TakeoverStart } from "../../src/log/fence.ts";
import { defaultLogSettings, type LogPosition, type LogSettings, type LogWriter } from "../../src/log/log.ts";
import { readLog } from "../../src/log/reader.ts";
import { createLogWriter } from "../../src/log/writer.ts";
import { createOnce } from "../../src/objects/conditional.ts";
import { checkpointKey, leaderKey, parseKey, prefixes, segmentKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { Register } from "../../src/objects/register.ts";
import { changed } from "../log/changed.ts";
import { chaos } from "./chaos.ts";
import { LogJudge, LogTruth, textOf } from "./log-truth.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { SimStorage, someStoreFaults } from "./object-store.ts";
import type { SimRandom } from "./random.ts";
import { createSimulation, type Simulation, type SimulationOptions } from "./simulation.ts";

const WINDOW = 3;
const REQUEST_MS = 1000;
const branch = branchId("ab".repeat(16));

/** Ways to get it wrong, each the lack of one rule of the design, for the test that such a program is caught. */
export type FencingMutant =
  | "no fence"
  | "narrow fence"
  | "no second look"
  | "window beyond the fence"
  | "unknown is written"
  | "fences collected";

interface Start extends TakeoverStart {
  /** All records that the checkpoint covers. */
  readonly found: string[];
}

/**
 * Several processes that write one branch's log in turn, each taking over whenever it likes, while they stall, die and
 * are cut off, and their requests fail, are lost or come late; with checkpoints, and a collector that deletes what
 * these cover. No clock keeps two leaders apart: fences alone do. Nothing acknowledged is lost, nothing that a takeover
 * has settled changes.
 */
export async function fencingScenario(
  seed: number,
  options: SimulationOptions = {},
  mutant?: FencingMutant,
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const world = new FencingWorld(simulation, mutant);
  const machines = ["a", "b", "c"].map((name) => simulation.machine(name));
  const start = (machine: SimMachine): void => world.start(machine);
  await simulation.run(async () => {
    for (const machine of machines) start(machine);
    await chaos(simulation, { machines, storage: world.storage, durationMs: 60_000, everyMs: 1500, start });
    world.calm();
    await simulation.sleep(20_000);
    world.stopped = true;
    // Late PUTs of the dead and the deposed have come by then.
    await simulation.sleep(4 * 3_600_000);
    await world.epilogue();
    await world.check();
  });
  return simulation.trace.digest();
}

class FencingWorld {
  readonly storage: SimStorage;
  readonly judge = new LogJudge();
  stopped = false;
  readonly #simulation: Simulation;
  readonly #mutant: FencingMutant | undefined;
  readonly #settings: LogSettings;
  #texts = 0;

  constructor(simulation: Simulation, mutant: FencingMutant | undefined) {
    this.#simulation = simulation;
    this.#mutant = mutant;
    this.storage = new SimStorage(simulation, {
      ...someStoreFaults,
      late: simulation.random.fork("late").pick([0.05, 0.4]),
    });
    const window = mutant === "window beyond the fence" ? 4 * WINDOW : WINDOW;
    this.#settings = {
      ...defaultLogSettings,
      window,
      segmentAgeMs: 2,
      segmentBytes: 200,
      requestTimeoutMs: REQUEST_MS,
    };
  }

  calm(): void {
    Object.assign(this.storage.faults, { errorBefore: 0, errorAfter: 0, silence: 0, late: 0, throttled: 0, slow: 0 });
  }

  start(machine: SimMachine): void {
    const process = new Process(this, machine.start());
    void process.run();
  }

  get mutant(): FencingMutant | undefined {
    return this.#mutant;
  }

  get settings(): LogSettings {
    return this.#settings;
  }

  /** A record's payload: no two are equal. */
  text(epoch: Epoch): string {
    return `e${epoch} #${++this.#texts}`;
  }

  truth(): LogTruth {
    return new LogTruth(this.storage.bucket, branch);
  }

  /** With nobody in its way, whoever takes over can write. */
  async epilogue(): Promise<void> {
    const before = this.judge.acknowledged.length;
    await new Process(this, this.#simulation.machine("y").start()).once();
    ok(this.judge.acknowledged.length > before, "the last leader's records are acknowledged");
  }

  async check(): Promise<void> {
    const truth = this.truth();
    this.judge.check(truth.records);
    const node = this.#simulation.machine("z").start();
    const store = this.storage.storeOf(node);
    const { found } = await patient(async () => readBranch(store, await newestStart(store)));
    deepEqual(
      found,
      truth.records.map((record) => record.text),
      "a fresh reader sees the history",
    );
  }
}

class Process {
  readonly #world: FencingWorld;
  readonly #node: SimNode;
  readonly #store: ObjectStore;
  readonly #random: SimRandom;

  constructor(world: FencingWorld, node: SimNode) {
    this.#world = world;
    this.#node = node;
    this.#random = node.random.fork("writer");
    const store = world.storage.storeOf(node);
    this.#store = world.mutant === "unknown is written" ? believing(store) : store;
  }

  /** Takes the branch over, reigns for a while, drops it, and so on. */
  async run(): Promise<void> {
    while (!this.#world.stopped) {
      await this.#sleep(this.#random.between(0, this.#random.pick([200, 3000, 10_000])));
      try {
        const epoch = await this.#win();
        if (epoch !== null) await this.#reign(epoch);
      } catch (error) {
        if (!isDbError(error, "storeUnavailable")) ignoreLost(error);
      }
    }
  }

  /** Takes the branch over and writes a little. */
  async once(): Promise<void> {
    await patient(async () => {
      const epoch = await this.#win();
      ok(epoch !== null, "nobody else swaps the record");
      await this.#reign(epoch);
    });
  }

  async #win(): Promise<Epoch | null> {
    const register = new Register(this.#store, leaderKey(branch), {
      runtime: this.#node.runtime,
      decode: (json) => json as { epoch: Epoch },
    });
    const state = await register.read({ timeoutMs: REQUEST_MS });
    const epoch = ((state?.body.epoch ?? 0) + 1) as Epoch;
    const outcome = await register.swap(state, { epoch }, { timeoutMs: 5 * REQUEST_MS });
    return outcome.kind === "swapped" ? epoch : null;
  }

  async #reign(epoch: Epoch): Promise<void> {
    const log = await this.#takeOver(epoch);
    const { found, position } = await readBranch(this.#store, log.start, log.end.nextSlot);
    deepEqual(position, log.end, "replay ends where the takeover did");
    this.#world.judge.begins({ epoch, found });
    const list = [...found];
    const { runtime } = this.#node;
    const nonce = runtime.random.bytes(8).toString("hex");
    const { settings } = this.#world;
    const writer = createLogWriter({ runtime, store: this.#store, branch, epoch, nonce, position: log.end, settings });
    let failed = false;
    writer.onFailed = (error) => {
      ok(error.kind === "leadershipLost", error.message);
      failed = true;
    };
    let acknowledged = found.length;
    writer.onDurable = (durable) => {
      for (; acknowledged < durable; acknowledged++) {
        this.#world.judge.acknowledges({ text: list[acknowledged]!, number: acknowledged + 1, epoch });
      }
    };
    const endMs = runtime.clock.monotonicMs() + this.#random.between(0, this.#random.pick([1000, 20_000]));
    do {
      for (let n = this.#random.integer(1, 3); n > 0; n--) this.#append(writer, epoch, list);
      await this.#sleep(this.#random.between(0, this.#random.pick([0.5, 3, 200])));
      if (this.#random.chance(0.1)) await this.#checkpoint(writer, list);
      if (this.#random.chance(0.1)) await this.#collect();
    } while (!failed && !this.#world.stopped && runtime.clock.monotonicMs() < endMs);
    if (this.#world.stopped && !failed) await writer.drain().catch(ignoreLost);
    await writer.close();
  }

  async #takeOver(epoch: Epoch): Promise<FencingLog<Start>> {
    const { mutant } = this.#world;
    const log = createTakeoverLog<Start>({
      runtime: this.#node.runtime,
      store: this.#store,
      branch,
      nonce: this.#node.runtime.random.bytes(8).toString("hex"),
      // Most of what the second look is for shows as a gap, too: this mutant takes every gap for the end.
      window: mutant === "no second look" ? Number.POSITIVE_INFINITY : WINDOW,
      requestTimeoutMs: REQUEST_MS,
      newestStart: () => newestStart(this.#store),
    });
    const slow: TakeoverLog<Start> = changed(log, {
      firstFreeSlot: async (start, by) => {
        if (this.#random.chance(0.2)) await this.#sleep(this.#random.between(0, 10_000));
        await log.firstFreeSlot(start, by);
      },
    });
    if (mutant === "no fence" || mutant === "narrow fence" || mutant === "no second look") {
      await takeOverCarelessly(slow, epoch, mutant);
    } else {
      await takeOver({ log: slow, epoch, window: WINDOW, fence: true, stopped: () => null });
    }
    return log;
  }

  #append(writer: LogWriter, epoch: Epoch, list: string[]): void {
    if (writer.refusal() !== null) return;
    const text = this.#world.text(epoch);
    list.push(text);
    const number = writer.append({ payload: Buffer.from(text), revision: (list.length + 1) as Revision });
    ok(number === list.length, "record numbers are dense");
  }

  /** Of what is in the bucket; it may be written long after that was so. */
  async #checkpoint(writer: LogWriter, list: readonly string[]): Promise<void> {
    const cut = await Promise.race([writer.cut().catch(() => null), this.#sleep(3000).then(() => null)]);
    if (cut === null) return;
    const body = Buffer.from(JSON.stringify({ position: cut, found: list.slice(0, cut.lastRecord) }));
    if (this.#random.chance(0.3)) await this.#sleep(this.#random.between(0, 5000));
    const key = checkpointKey(branch, cut.nextSlot, 0);
    const options = { runtime: this.#node.runtime, timeoutMs: 5 * REQUEST_MS };
    await createOnce(this.#store, key, body, options).catch((error: unknown) => {
      if (!isDbError(error, "storeUnavailable")) throw error;
    });
  }

  /**
   * Deletes what the newest checkpoint covers: segments with records, and older checkpoints. Fences and void segments
   * stay.
   */
  async #collect(): Promise<void> {
    const start = await newestStart(this.#store);
    const truth = this.#world.truth();
    const slots = [...truth.valid.keys()];
    if (this.#world.mutant === "fences collected") slots.push(...truth.fences, ...truth.voids);
    const keys: ObjectKey[] = slots
      .filter((slot) => slot < start.position.nextSlot)
      .map((slot) => segmentKey(branch, slot));
    const { objects } = await this.#store.list(prefixes.checkpoints(branch), { timeoutMs: REQUEST_MS, limit: 1000 });
    for (const { key } of objects) if (key < start.id) keys.push(key);
    for (const key of keys) {
      if (!this.#world.storage.bucket.objects.has(key)) continue;
      if (this.#random.chance(0.2)) await this.#sleep(this.#random.between(0, 1000));
      await this.#store.delete(key, { timeoutMs: REQUEST_MS });
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#node.runtime.timers.set(ms, resolve));
  }
}

/** leadership's takeOver without one of its steps. */
async function takeOverCarelessly(log: TakeoverLog<Start>, epoch: Epoch, mutant: FencingMutant): Promise<void> {
  for (;;) {
    const start = await log.newestStart();
    await log.firstFreeSlot(start, epoch);
    if (mutant === "no fence") return;
    while ((await log.fence(epoch)) === "taken");
    if (mutant === "no second look" || (await log.newestStart()).id === start.id) break;
  }
  if (mutant !== "narrow fence") await log.widen(epoch, WINDOW - 1);
}

/** A request may take longer than its time limit, now and then. */
async function patient<T>(work: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isDbError(error, "storeUnavailable") || attempt === 20) throw error;
    }
  }
}

function ignoreLost(error: unknown): void {
  if (!isDbError(error, "leadershipLost")) throw error;
}

/** A store for a program that takes an outcome that is not known for success. */
function believing(store: ObjectStore): ObjectStore {
  return changed(store, {
    put: async (key, body, options) => {
      const outcome = await store.put(key, body, options);
      return outcome.kind === "unknown" ? { kind: "written", etag: "" } : outcome;
    },
  });
}

/** The newest checkpoint, or where an empty branch begins. */
async function newestStart(store: ObjectStore): Promise<Start> {
  for (;;) {
    const { objects } = await store.list(prefixes.checkpoints(branch), { timeoutMs: REQUEST_MS, limit: 1000 });
    const newest = objects.at(-1);
    if (newest === undefined) return { id: "origin", position: firstPosition, found: [] };
    const object = await store.get(newest.key, { timeoutMs: REQUEST_MS });
    // Deleted meanwhile: there is a newer one.
    if (object === null) continue;
    const start = JSON.parse(object.body.toString()) as { position: LogPosition; found: string[] };
    return { ...start, id: newest.key };
  }
}

/** All records from the first on: those of the checkpoint, and those in the log behind it. */
async function readBranch(store: ObjectStore, start: Start, until?: Slot) {
  const found = [...start.found];
  const result = await readLog({
    store,
    branch,
    from: start.position,
    requestTimeoutMs: REQUEST_MS,
    newestCheckpointSlot: async () => {
      const name = parseKey((await newestStart(store)).id);
      return name?.kind === "checkpoint" ? name.nextSlot : (1 as Slot);
    },
    onSegment: (segment) => void found.push(...segment.records.map(textOf)),
    ...(until === undefined ? {} : { until }),
  });
  // A later leader's checkpoint is beyond what is read: whoever reads it is deposed, or begins again.
  if (result.kind === "passed") throw new DbError("leadershipLost", "a newer checkpoint has passed");
  if (result.kind === "broken") throw result.error;
  return { found, position: result.position };
}
