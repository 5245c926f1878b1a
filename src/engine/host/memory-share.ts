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
/** Who waits for room looks so often, and no longer than this. */
const ROOM_LOOK_MS = 20;
const ROOM_MS = 5000;

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
    this.#relieve();
  }

  /** The largest first, as many as it takes; gives what is too much now. Those at it already are asked in vain. */
  #relieve(): number {
    const { users, bytesMax } = this.#options;
    const all = [...users()].sort((a, b) => b.memtableBytes - a.memtableBytes);
    const tooMuch = all.reduce((sum, { memtableBytes }) => sum + memtableBytes, 0) - bytesMax;
    let left = tooMuch;
    for (const user of all) {
      if (left <= 0) break;
      left -= user.memtableBytes;
      user.relieve();
    }
    return tooMuch;
  }

  /**
   * Resolves when there is room for one branch more, which may bring a log with it; where the store takes no tables,
   * after a while all the same.
   */
  async room(): Promise<void> {
    for (let waitedMs = 0; waitedMs < ROOM_MS && !this.#closed && this.#relieve() > 0; waitedMs += ROOM_LOOK_MS) {
      await new Promise<void>((resolve) => this.#options.timers.set(ROOM_LOOK_MS, resolve));
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
