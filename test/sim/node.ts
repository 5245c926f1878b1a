import { hash } from "node:crypto";
import { assert } from "../../src/base/assert.ts";
import { doWork, type Work } from "../../src/runtime/offload-work.ts";
import { passwordsHere } from "../../src/runtime/passwords-here.ts";
import type { Clock, Offload, Runtime, Timers } from "../../src/runtime/runtime.ts";
import { runTaskHere } from "../../src/runtime/task-here.ts";
import { SimDisk } from "./disk.ts";
import type { EventOwner, SimEvent } from "./event-queue.ts";
import type { SimMachine } from "./machine.ts";
import type { SimRandom } from "./random.ts";
import type { Simulation } from "./simulation.ts";

/** Real timers are late, mostly a little. */
const TIMER_LATE_MS = 0.3;
/** Bytes that offloaded work gets through in a millisecond. */
const OFFLOAD_BYTES_PER_MS = 500_000;

/** Something that the machine is doing for a process: what becomes of it when the process, or the power, goes away. */
interface Operation {
  readonly event: SimEvent;
  readonly onPowerLoss: () => void;
}

/** One process on a simulated machine. Killed once, never again alive: the machine starts a new one. */
export class SimNode implements EventOwner {
  readonly name: string;
  readonly simulation: Simulation;
  readonly machine: SimMachine;
  readonly random: SimRandom;
  readonly runtime: Runtime;
  /** Called when the process ends: the network closes what it had open. */
  readonly onKilled: ((how: "killed" | "power lost") => void)[] = [];
  #alive = true;
  #stalled = false;
  #endedMs = Number.POSITIVE_INFINITY;
  #held: SimEvent[] = [];
  readonly #operations = new Set<Operation>();

  constructor(machine: SimMachine, name: string) {
    this.name = name;
    this.simulation = machine.simulation;
    this.machine = machine;
    this.random = machine.simulation.random.fork(name);
    this.runtime = {
      clock: this.#clock(),
      timers: this.#timers(),
      random: this.random.fork("program"),
      disk: new SimDisk(this),
      net: {
        listen: (address, accept) => this.simulation.network.listen(this, address, accept),
        listenTls: () => Promise.reject(new Error("there is no TLS in simulation")),
        listenBoth: () => Promise.reject(new Error("there is no TLS in simulation")),
      },
      offload: this.#offload(),
      passwords: passwordsHere,
    };
  }

  get alive(): boolean {
    return this.#alive;
  }

  get stalled(): boolean {
    return this.#stalled;
  }

  /** When the process ended, in true time; infinite while it lives. */
  get endedMs(): number {
    return this.#endedMs;
  }

  /**
   * Ends the process as SIGKILL does: what it has given to the system is done or not, each by the seed; locks are
   * released.
   */
  kill(): void {
    if (!this.#alive) return;
    this.simulation.note(this.name, "killed");
    for (const { event } of [...this.#operations]) {
      if (event.cancelled) continue;
      event.cancelled = true;
      if (this.random.chance(0.5)) event.run();
    }
    this.#end("killed");
  }

  /** For SimMachine.crash. */
  losePower(): void {
    for (const { event, onPowerLoss } of this.#operations) {
      if (event.cancelled) continue;
      event.cancelled = true;
      onPowerLoss();
    }
    this.#end("power lost");
  }

  /** Nothing of the process runs, as if its machine did something else, until `resume`; the clocks go on. */
  stall(): void {
    assert(this.#alive, "only a living process stalls");
    this.simulation.note(this.name, "stalled");
    this.#stalled = true;
  }

  stallFor(durationMs: number): void {
    this.stall();
    this.simulation.schedule(durationMs, null, `${this.name} wakes`, () => this.resume());
  }

  resume(): void {
    if (!this.#stalled) return;
    this.simulation.note(this.name, "resumed");
    this.#stalled = false;
    const held = this.#held;
    this.#held = [];
    for (const event of held) if (!event.cancelled) this.simulation.requeue(event);
  }

  /** True if the process cannot handle the event now; a stalled one gets it when it wakes. */
  holdBack(event: SimEvent): boolean {
    if (!this.#alive) return true;
    if (this.#stalled) this.#held.push(event);
    return this.#stalled;
  }

  /**
   * Asks the machine for something: it takes effect after a while, and the process learns the outcome after another
   * while. A process that is killed in between never learns it, and a stalled one late.
   */
  operate<T>(label: string, typicalMs: number, effect: () => T, onPowerLoss: () => void = () => {}): Promise<T> {
    return new Promise((resolve, reject) => {
      const event = this.simulation.schedule(this.random.latencyMs(typicalMs), null, `${this.name} ${label}`, () => {
        this.#operations.delete(operation);
        let settle: () => void;
        try {
          const value = effect();
          settle = () => resolve(value);
        } catch (error) {
          settle = () => reject(error);
        }
        this.simulation.schedule(this.random.latencyMs(typicalMs / 4), this, `${label}: done`, settle);
      });
      const operation: Operation = { event, onPowerLoss };
      if (this.#alive) this.#operations.add(operation);
      else event.cancelled = true;
    });
  }

  #end(how: "killed" | "power lost"): void {
    this.#alive = false;
    this.#endedMs = this.simulation.nowMs;
    this.#held = [];
    this.#operations.clear();
    this.simulation.cancelEventsOf(this);
    this.machine.volume.releaseLocksOf(this);
    for (const handler of this.onKilled) handler(how);
    this.onKilled.length = 0;
  }

  #clock(): Clock {
    return { monotonicMs: () => this.machine.monotonicMs(), wallMs: () => this.machine.wallMs() };
  }

  #timers(): Timers {
    return {
      set: (delayMs, fire) => {
        const lateMs = this.random.latencyMs(TIMER_LATE_MS);
        const event = this.simulation.schedule(this.machine.trueMs(Math.max(0, delayMs)) + lateMs, this, "timer", fire);
        return {
          cancel: () => {
            event.cancelled = true;
          },
        };
      },
      defer: (fire) => void this.simulation.schedule(0, this, "defer", fire),
    };
  }

  #offload(): Offload {
    const run = (work: Work): Promise<Buffer> => {
      // At once, from the bytes as they are now; the caller learns of it later.
      let settle: { value: Buffer } | { error: unknown };
      try {
        settle = { value: doWork(work) };
      } catch (error) {
        settle = { error };
      }
      const label = `${work.kind} of ${work.bytes.length} bytes`;
      return new Promise((resolve, reject) => {
        const delayMs = this.random.latencyMs(0.05 + work.bytes.length / OFFLOAD_BYTES_PER_MS);
        this.simulation.schedule(delayMs, this, label, () =>
          "value" in settle ? resolve(settle.value) : reject(settle.error),
        );
      });
    };
    return {
      sha256: (bytes) => run({ kind: "sha256", bytes }),
      zstdCompress: (bytes, level) => run({ kind: "zstdCompress", bytes, level }),
      zstdDecompress: (bytes, bytesMax) => run({ kind: "zstdDecompress", bytes, bytesMax }),
      // In the event loop itself: a task that pauses does so by the simulation's clock.
      run: (task, input, how) => runTaskHere(this.runtime, task, input, how),
    };
  }
}

/** A short text that tells contents apart, for the trace. */
export const fingerprint = (bytes: Uint8Array): string => {
  return `${bytes.length} bytes ${hash("sha256", bytes).slice(0, 8)}`;
};
