import { assert } from "../../src/base/assert.ts";
import type { Clock, Random, Runtime, Timers } from "../../src/runtime/runtime.ts";

interface Waiting {
  readonly atMs: number;
  readonly order: number;
  readonly fire: () => void;
}

/**
 * Clock, timers and randomness for tests of code that only waits: time stands still while there is anything to run,
 * then jumps to the next timer, so that minutes pass in milliseconds and a seed replays.
 */
export class VirtualRuntime implements Pick<Runtime, "clock" | "timers" | "random"> {
  #nowMs = 0;
  #timersSet = 0;
  #state: number;
  #scheduled = false;
  readonly #waiting = new Set<Waiting>();

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  readonly clock: Clock = {
    monotonicMs: () => this.#nowMs,
    wallMs: () => 1_700_000_000_000 + Math.floor(this.#nowMs),
  };

  readonly timers: Timers = {
    set: (delayMs, fire) => {
      assert(delayMs >= 0, "a timer's delay is not negative");
      const waiting = { atMs: this.#nowMs + delayMs, order: this.#timersSet++, fire };
      if (delayMs !== Number.POSITIVE_INFINITY) this.#waiting.add(waiting);
      this.#schedule();
      return { cancel: () => this.#waiting.delete(waiting) };
    },
    defer: (fire) => {
      setImmediate(fire);
    },
  };

  readonly random: Random = {
    uint32: () => this.#next(),
    float: () => this.#next() / 2 ** 32,
    bytes: (count) => Buffer.from(Array.from({ length: count }, () => this.#next() & 0xff)),
  };

  /** All that is ready has run when setImmediate fires: only then may time pass. */
  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      let next: Waiting | undefined;
      for (const waiting of this.#waiting) {
        if (!next || waiting.atMs < next.atMs || (waiting.atMs === next.atMs && waiting.order < next.order)) {
          next = waiting;
        }
      }
      if (next) {
        this.#waiting.delete(next);
        this.#nowMs = Math.max(this.#nowMs, next.atMs);
        next.fire();
      }
      this.#schedule();
    });
  }

  /** The generator known as mulberry32. */
  #next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  }
}
