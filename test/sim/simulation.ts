import { assert } from "../../src/base/assert.ts";
import { crc32c } from "../../src/base/crc32c.ts";
import { type EventOwner, EventQueue, type SimEvent } from "./event-queue.ts";
import { type MachineOptions, SimMachine } from "./machine.ts";
import { SimNetwork } from "./network.ts";
import type { SimNode } from "./node.ts";
import { SimRandom } from "./random.ts";
import { Trace } from "./trace.ts";

/**
 * A world of machines, their disks and clocks, a network and a bucket, in which all that happens is a function of one
 * seed.
 *
 * 1. Nothing happens but events, one after another, ordered by (time, tie). Time stands still while one is handled and
 *    jumps to the next when it is done, so a year takes as long as what happens in it.
 * 2. Ties between processes are broken by the seed. Events of one process at one moment keep their order: a real event
 *    loop keeps it too.
 * 3. Between two events all promise continuations run to their end (see `drain`).
 * 4. A process that was killed neither acts nor learns anything any more: its events are cancelled, and its promises
 *    stay pending.
 *
 * The code under test reaches the outside through its Runtime alone; whatever else it did (a real timer, a thread pool)
 * would not be waited for here, and shows as "stuck" or as two traces of one seed.
 */
export interface SimulationOptions {
  /** How many of the last lines of the trace are kept. */
  traceLines?: number;
  /** A run that makes more events is taken for an endless loop. */
  eventsMax?: number;
  /** Likewise in simulated time. */
  durationMsMax?: number;
}

export interface RunOptions {
  /**
   * Somebody else, such as a suite of tests, makes things happen: an empty world waits for that instead of being stuck.
   */
  drivenFromOutside?: boolean;
}

/** What simulated wall clocks show at the start: a date that any build of the program takes for sane. */
export const START_WALL_MS = Date.UTC(2030, 0, 1);

export function createSimulation(seed: number, options: SimulationOptions = {}): Simulation {
  return new Simulation(seed, options);
}

export class Simulation {
  readonly seed: number;
  readonly random: SimRandom;
  readonly trace: Trace;
  readonly network: SimNetwork;
  readonly #queue = new EventQueue();
  readonly #machines = new Map<string, SimMachine>();
  readonly #eventsMax: number;
  readonly #durationMsMax: number;
  #nowMs = 0;
  #sequence = 0;
  #failure: Error | null = null;

  constructor(seed: number, options: SimulationOptions) {
    this.seed = seed;
    this.random = new SimRandom(`seed ${seed}`);
    this.trace = new Trace(options.traceLines ?? 400);
    this.#eventsMax = options.eventsMax ?? 5_000_000;
    this.#durationMsMax = options.durationMsMax ?? 400 * 24 * 3600 * 1000;
    this.network = new SimNetwork(this);
  }

  /** True time, ms since the start. Processes see their machine's clocks, which may differ. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** The machine of that name, made at its first mention. */
  machine(name: string, options: MachineOptions = {}): SimMachine {
    let machine = this.#machines.get(name);
    if (machine === undefined) {
      machine = new SimMachine(this, name, options);
      this.#machines.set(name, machine);
    }
    return machine;
  }

  /**
   * Calls `run` after `delayMs`, if `owner` (null: the world) is then alive, and not before it wakes if it is stalled.
   */
  schedule(delayMs: number, owner: SimNode | null, label: string, run: () => void): SimEvent {
    assert(Number.isFinite(delayMs), "a delay is a number of milliseconds");
    const atMs = this.#nowMs + Math.max(0, delayMs);
    const sequence = ++this.#sequence;
    const event = { atMs, tie: this.#tie(owner, atMs, sequence), sequence, owner, label, run, cancelled: false };
    if (owner !== null && !owner.alive) event.cancelled = true;
    else this.#queue.push(event);
    return event;
  }

  /** Waits in simulated time: for the story told by a test. */
  sleep(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.schedule(delayMs, null, "the story goes on", resolve));
  }

  /** A line of the trace. */
  note(who: string, what: string): void {
    this.trace.add(this.#nowMs, who, what);
  }

  cancelEventsOf(node: SimNode): void {
    this.#queue.cancelOwnedBy(node);
  }

  /**
   * Lets the world go on until `story` has ended. Fails, naming the seed, when it fails, when anything in it throws, or
   * when it cannot end.
   */
  async run<T>(story: () => Promise<T>, options: RunOptions = {}): Promise<T> {
    let outcome: { value: T } | null = null;
    const fail = (error: unknown): void => {
      this.#failure ??= error instanceof Error ? error : new Error(String(error));
    };
    // While a world runs, every promise is its own: one run at a time, and no other listener hears of them.
    const others = process.rawListeners("unhandledRejection") as ((reason: unknown) => void)[];
    process.removeAllListeners("unhandledRejection").on("unhandledRejection", fail);
    try {
      story().then((value) => (outcome = { value }), fail);
      let events = 0;
      for (;;) {
        await drain();
        if (this.#failure !== null) throw this.#failure;
        if (outcome !== null) return (outcome as { value: T }).value;
        const event = this.#queue.pop();
        if (event === null && options.drivenFromOutside) continue;
        if (event === null) throw new Error("stuck: nothing is left to happen, and the story has not ended");
        if (++events > this.#eventsMax) throw new Error(`endless: ${events} events, and the story has not ended`);
        if (event.atMs > this.#durationMsMax)
          throw new Error(`endless: it is ${event.atMs} ms, and the story has not ended`);
        this.#handle(event, fail);
      }
    } catch (error) {
      throw new SimulationFailure(this, error);
    } finally {
      process.off("unhandledRejection", fail);
      for (const other of others) process.on("unhandledRejection", other);
    }
  }

  #handle(event: SimEvent, fail: (error: unknown) => void): void {
    this.#nowMs = event.atMs;
    const owner = event.owner as SimNode | null;
    if (owner?.holdBack(event)) return;
    this.trace.add(event.atMs, owner?.name ?? "world", event.label);
    try {
      event.run();
    } catch (error) {
      fail(error);
    }
  }

  /** An event that its owner held back while it was stalled happens now. */
  requeue(event: SimEvent): void {
    event.atMs = this.#nowMs;
    event.sequence = ++this.#sequence;
    event.tie = this.#tie(event.owner, event.atMs, event.sequence);
    this.#queue.push(event);
  }

  #tie(owner: EventOwner | null, atMs: number, sequence: number): number {
    return crc32c(Buffer.from(`${this.seed} ${owner?.name ?? sequence} ${atMs}`));
  }
}

/**
 * Runs all promise continuations, however long their chains: Node turns to the next macrotask only when its microtasks
 * are used up. (A fixed number of `await`s would cut off a chain that is longer.) Nothing real is waited for: the code
 * under test does no I/O.
 */
function drain(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

export class SimulationFailure extends Error {
  override readonly name = "SimulationFailure";

  constructor(simulation: Simulation, cause: unknown) {
    const message = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    const lines = simulation.trace.lastLines(30);
    super(
      `seed ${simulation.seed}, at ${simulation.nowMs.toFixed(3)} ms: ${message}\nbefore it:\n  ${lines.join("\n  ")}`,
      {
        cause,
      },
    );
  }
}
