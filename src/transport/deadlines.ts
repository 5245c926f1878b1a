import { assert } from "../base/assert.ts";
import type { Clock, Timer, Timers } from "../runtime/runtime.ts";

export interface Expiring {
  readonly deadlineMs: number;
  /** Owned by Deadlines: its place there, -1 when it is in none. */
  deadlineIndex: number;
  expire(): void;
}

/**
 * Calls that have a deadline, and one timer for the earliest of them: a timer for each call would cost more than the
 * call. A binary heap; the timer is left as it is when the earliest goes, and finds nothing to do when it fires.
 */
export class Deadlines {
  private readonly clock: Clock;
  private readonly timers: Timers;
  private readonly heap: Expiring[] = [];
  private timer: Timer | null = null;
  private timerMs = Number.POSITIVE_INFINITY;

  constructor(clock: Clock, timers: Timers) {
    this.clock = clock;
    this.timers = timers;
  }

  add(entry: Expiring): void {
    assert(entry.deadlineIndex < 0, "a call is in the deadlines once");
    this.heap.push(entry);
    this.rise(entry, this.heap.length - 1);
    if (this.heap[0]!.deadlineMs < this.timerMs) this.arm();
  }

  remove(entry: Expiring): void {
    const index = entry.deadlineIndex;
    if (index < 0) return;
    assert(this.heap[index] === entry, "a call's place in the deadlines is its own");
    entry.deadlineIndex = -1;
    const last = this.heap.pop()!;
    if (last === entry) return;
    this.rise(last, index);
    this.sink(last, last.deadlineIndex);
  }

  clear(): void {
    for (const entry of this.heap) entry.deadlineIndex = -1;
    this.heap.length = 0;
    this.timer?.cancel();
    this.timer = null;
    this.timerMs = Number.POSITIVE_INFINITY;
  }

  private arm(): void {
    this.timer?.cancel();
    this.timerMs = this.heap[0]!.deadlineMs;
    this.timer = this.timers.set(Math.max(0, this.timerMs - this.clock.monotonicMs()), () => this.fire(), {
      background: true,
    });
  }

  private fire(): void {
    this.timer = null;
    this.timerMs = Number.POSITIVE_INFINITY;
    const nowMs = this.clock.monotonicMs();
    for (let first = this.heap[0]; first !== undefined && first.deadlineMs <= nowMs; first = this.heap[0]) {
      this.remove(first);
      first.expire();
    }
    if (this.heap.length > 0 && this.heap[0]!.deadlineMs < this.timerMs) this.arm();
  }

  private rise(entry: Expiring, index: number): void {
    while (index > 0) {
      const above = (index - 1) >>> 1;
      const parent = this.heap[above]!;
      if (parent.deadlineMs <= entry.deadlineMs) break;
      this.place(parent, index);
      index = above;
    }
    this.place(entry, index);
  }

  private sink(entry: Expiring, index: number): void {
    for (;;) {
      let below = index * 2 + 1;
      if (below >= this.heap.length) break;
      if (below + 1 < this.heap.length && this.heap[below + 1]!.deadlineMs < this.heap[below]!.deadlineMs) below++;
      const child = this.heap[below]!;
      if (child.deadlineMs >= entry.deadlineMs) break;
      this.place(child, index);
      index = below;
    }
    this.place(entry, index);
  }

  private place(entry: Expiring, index: number): void {
    this.heap[index] = entry;
    entry.deadlineIndex = index;
  }
}
