import { ok } from "node:assert/strict";
import { assert } from "../../src/base/assert.ts";
import { DbError, isDbError } from "../../src/base/errors.ts";
import { branchId, type Epoch, type Revision } from "../../src/base/ids.ts";
import { firstPosition } from "../../src/log/chain.ts";
import { createTakeoverLog } from "../../src/log/fence.ts";
import { LocalLog } from "../../src/log/local-log.ts";
import { type LocalLogContent, lastOfTail, readLocalLog } from "../../src/log/local-log-reader.ts";
import { defaultLogSettings, type LogPosition, type LogRecord, type LogWriter } from "../../src/log/log.ts";
import { readLog } from "../../src/log/reader.ts";
import { markOfPosition } from "../../src/log/record-codec.ts";
import { tailToReappend } from "../../src/log/tail.ts";
import { createLogWriter } from "../../src/log/writer.ts";
import { leaderKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { Register, type RegisterState } from "../../src/objects/register.ts";
import type { Disk } from "../../src/runtime/runtime.ts";
import { changed } from "../log/changed.ts";
import { chaos } from "./chaos.ts";
import { LogJudge, LogTruth, textOf } from "./log-truth.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { SimStorage, someStoreFaults } from "./object-store.ts";
import type { SimRandom } from "./random.ts";
import { createSimulation, type Simulation, type SimulationOptions } from "./simulation.ts";

const DIRECTORY = "/data/log";
const REQUEST_MS = 1000;
const WINDOW = 3;
const branch = branchId("cd".repeat(16));

export type LocalLogMutant = "frames not synced" | "names not synced" | "tail forgotten";

interface Leader {
  epoch: Epoch;
  /** The in-sync set is this disk: what it has counts. */
  local: boolean;
}

/**
 * A leader of `local` durability on one machine that is killed, loses power, and whose disk and bucket fail: what the
 * disk had when it was acknowledged is there after each start, is appended again where the bucket lacks it, and ends up
 * in the bucket, once, in order.
 */
export async function localLogScenario(
  seed: number,
  options: SimulationOptions = {},
  mutant?: LocalLogMutant,
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const world = new LocalWorld(simulation, mutant);
  const machine = simulation.machine("a");
  const start = (): void => world.start(machine);
  await simulation.run(async () => {
    start();
    await chaos(simulation, { machines: [machine], storage: world.storage, durationMs: 60_000, everyMs: 1500, start });
    await world.end(machine);
  });
  return simulation.trace.digest();
}

class LocalWorld {
  readonly storage: SimStorage;
  readonly judge = new LogJudge();
  readonly mutant: LocalLogMutant | undefined;
  ending = false;
  /** The process that drained everything and stopped by itself. */
  drained = false;
  texts = 0;
  readonly #simulation: Simulation;

  constructor(simulation: Simulation, mutant: LocalLogMutant | undefined) {
    this.#simulation = simulation;
    this.mutant = mutant;
    this.storage = new SimStorage(simulation, { ...someStoreFaults, late: 0.1 });
  }

  start(machine: SimMachine): void {
    Object.assign(machine.diskFaults, { writeError: 0, syncError: 0 });
    const node = machine.start();
    new LocalProcess(this, node).run().catch((error: unknown) => {
      // A program whose disk or bucket fails ends; somebody starts it again.
      const expected = ["diskFailed", "storeUnavailable", "leadershipLost"] as const;
      if (!expected.some((kind) => isDbError(error, kind))) throw error;
      node.kill();
      this.#simulation.schedule(100, null, "restart", () => machine.nodes.length === 0 && this.start(machine));
    });
  }

  async end(machine: SimMachine): Promise<void> {
    this.ending = true;
    Object.assign(this.storage.faults, { errorBefore: 0, errorAfter: 0, silence: 0, late: 0, throttled: 0, slow: 0 });
    Object.assign(machine.diskFaults, { writeError: 0, syncError: 0 });
    while (!this.drained) await this.#simulation.sleep(1000);
    // Late PUTs of those that were killed have come by then.
    await this.#simulation.sleep(4 * 3_600_000);
    const { records } = new LogTruth(this.storage.bucket, branch);
    this.judge.check(records);
    ok(this.judge.acknowledged.length > 0, "something was acknowledged");
  }
}

class LocalProcess {
  readonly #world: LocalWorld;
  readonly #node: SimNode;
  readonly #disk: Disk;
  readonly #store: ObjectStore;
  readonly #random: SimRandom;

  constructor(world: LocalWorld, node: SimNode) {
    this.#world = world;
    this.#node = node;
    this.#disk = careless(node.runtime.disk, world.mutant);
    this.#store = world.storage.storeOf(node);
    this.#random = node.random.fork("writer");
  }

  async run(): Promise<void> {
    await this.#disk.makeDirectory("/data");
    await this.#node.runtime.disk.syncDirectory("/");
    const lock = await this.#disk.lock("/data/lock");
    assert(lock !== null, "the lock of a dead process is free");
    const register = new Register(this.#store, leaderKey(branch), {
      runtime: this.#node.runtime,
      decode: (json) => json as Leader,
    });
    const content = await readLocalLog({ disk: this.#disk, directory: DIRECTORY, branch });
    const { state, wasLocal } = await this.#win(register);
    const { epoch } = state.body;
    const { end, found } = await this.#takeOver(epoch);
    const tail = wasLocal ? tailToReappend(end, content.tail) : [];
    this.#world.judge.begins({ epoch, found: [...found, ...tail.map(textOf)] });
    const log = await this.#startLog(epoch, content, { end, discard: !wasLocal });
    if (!wasLocal) await this.#join(register, state);
    const list = [...found, ...tail.map(textOf)];
    await this.#reign(epoch, { list, end, log, reappend: tail });
  }

  /** In a new epoch; whether the disk was in the set before. */
  async #win(register: Register<Leader>): Promise<{ state: RegisterState<Leader>; wasLocal: boolean }> {
    const state = await register.read({ timeoutMs: REQUEST_MS });
    const wasLocal = state?.body.local ?? false;
    const body = { epoch: ((state?.body.epoch ?? 0) + 1) as Epoch, local: wasLocal };
    const outcome = await register.swap(state, body, { timeoutMs: 5 * REQUEST_MS });
    if (outcome.kind !== "swapped") throw new DbError("leadershipLost", "the record was not swapped");
    return { state: outcome.state, wasLocal };
  }

  /** From here on what this disk has is what counts. */
  async #join(register: Register<Leader>, state: RegisterState<Leader>): Promise<void> {
    const outcome = await register.swap(state, { ...state.body, local: true }, { timeoutMs: 5 * REQUEST_MS });
    if (outcome.kind !== "swapped") throw new DbError("leadershipLost", "the record was not swapped");
  }

  async #takeOver(epoch: Epoch): Promise<{ end: LogPosition; found: string[] }> {
    const start = { id: "origin", position: firstPosition };
    const log = createTakeoverLog({
      runtime: this.#node.runtime,
      store: this.#store,
      branch,
      nonce: this.#node.runtime.random.bytes(8).toString("hex"),
      window: WINDOW,
      requestTimeoutMs: REQUEST_MS,
      newestStart: async () => start,
    });
    await log.firstFreeSlot(start, epoch);
    while ((await log.fence(epoch)) === "taken");
    await log.widen(epoch, WINDOW - 1);
    const found: string[] = [];
    const read = await readLog({
      store: this.#store,
      branch,
      from: firstPosition,
      until: log.end.nextSlot,
      requestTimeoutMs: REQUEST_MS,
      newestCheckpointSlot: async () => firstPosition.nextSlot,
      onSegment: (segment) => void found.push(...segment.records.map(textOf)),
    });
    assert(read.kind === "end", "nothing is collected here");
    return { end: log.end, found };
  }

  #startLog(epoch: Epoch, content: LocalLogContent, { end, discard }: { end: LogPosition; discard: boolean }) {
    return LocalLog.start({
      runtime: { disk: this.#disk, random: this.#node.runtime.random },
      directory: DIRECTORY,
      branch,
      epoch,
      content,
      after: discard || content.tail === null ? markOfPosition(end) : lastOfTail(content.tail),
      uploaded: end.lastRecord,
      discard,
      settings: { firstFileBytes: 2048, fileBytesMax: 8192 },
    });
  }

  async #reign(
    epoch: Epoch,
    from: { list: string[]; end: LogPosition; log: LocalLog; reappend: readonly LogRecord[] },
  ): Promise<void> {
    const { list, log, end, reappend } = from;
    const { runtime } = this.#node;
    const writer = createLogWriter({
      runtime,
      store: this.#store,
      branch,
      epoch,
      nonce: runtime.random.bytes(8).toString("hex"),
      position: end,
      settings: {
        ...defaultLogSettings,
        window: WINDOW,
        uploadAgeMs: 300,
        uploadBytes: 2000,
        uploadBytesMax: 20_000,
        requestTimeoutMs: REQUEST_MS,
      },
      log,
      reappend: this.#world.mutant === "tail forgotten" ? [] : reappend,
    });
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {});
    writer.onFailed = failed.reject;
    let acknowledged = list.length;
    writer.onDurable = (durable) => {
      for (; acknowledged < durable; acknowledged++) {
        this.#world.judge.acknowledges({ text: list[acknowledged]!, number: acknowledged + 1, epoch });
      }
    };
    Object.assign(this.#node.machine.diskFaults, { writeError: 0.002, syncError: 0.002 });
    const cleanStopMs = runtime.clock.monotonicMs() + this.#random.between(0, 30_000);
    do {
      this.#append(writer, epoch, list);
      await Promise.race([failed.promise, this.#sleep(this.#random.between(0, this.#random.pick([1, 20, 300])))]);
    } while (!this.#world.ending && runtime.clock.monotonicMs() < cleanStopMs);
    if (this.#world.ending) Object.assign(this.#node.machine.diskFaults, { writeError: 0, syncError: 0 });
    await Promise.race([failed.promise, writer.drain()]);
    await writer.close();
    if (this.#world.ending) this.#world.drained = true;
    else this.#node.simulation.schedule(10, null, "restart after a clean stop", () => this.#again());
  }

  #again(): void {
    this.#node.kill();
    this.#world.start(this.#node.machine);
  }

  #append(writer: LogWriter, epoch: Epoch, list: string[]): void {
    for (let n = this.#random.integer(1, 4); n > 0 && writer.refusal() === null; n--) {
      const text = `e${epoch} #${++this.#world.texts} ${"x".repeat(this.#random.integer(0, 300))}`;
      list.push(text);
      writer.append({ payload: Buffer.from(text), revision: (list.length + 1) as Revision });
    }
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.#node.runtime.timers.set(ms, resolve));
  }
}

/** The disk as a program uses it that leaves out one thing. */
function careless(disk: Disk, mutant: LocalLogMutant | undefined): Disk {
  switch (mutant) {
    case "frames not synced":
      return changed(disk, { open: (path, options) => disk.open(path, { ...options, sync: false }) });
    case "names not synced":
      return changed(disk, { syncDirectory: async () => {} });
    default:
      return disk;
  }
}
