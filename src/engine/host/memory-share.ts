import type { Timer, Timers } from "../../runtime/runtime.ts";

/** A branch that is open, as far as its memory goes. */
export interface MemoryUser {
  /** State that no table has yet. */
  readonly memtableBytes: number;
  /** Makes tables of it, as far as nobody does already. */
  relieve(): void;
}

export interface MemoryShareOptions {
  readonly timers: Pick<Timers, "set">;
  readonly users: () => readonly MemoryUser[];
  /** What all of them may have together before the largest makes tables early. */
  readonly bytesMax: number;
}

const LOOK_MS = 250;

/**
 * Bounds what the memtables of all open branches take together: each has a bound of its own, and a hundred branches
 * that are written a little would have a hundred of them.
 */
export class MemoryShare {
  readonly #options: MemoryShareOptions;
  #timer: Timer | null = null;
  #closed = false;

  constructor(options: MemoryShareOptions) {
    this.#options = options;
    this.#later();
  }

  #later(): void {
    if (this.#closed) return;
    this.#timer = this.#options.timers.set(LOOK_MS, () => this.look(), { background: true });
  }

  look(): void {
    this.#later();
    const { users, bytesMax } = this.#options;
    const all = users();
    let sum = 0;
    let largest: MemoryUser | null = null;
    for (const user of all) {
      sum += user.memtableBytes;
      if (largest === null || user.memtableBytes > largest.memtableBytes) largest = user;
    }
    if (sum > bytesMax) largest?.relieve();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
