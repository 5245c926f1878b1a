import type { Clock, Timer, Timers } from "../../src/runtime/runtime.ts";

/** A runtime whose time stands still until it is moved: what a transport does is a function of the calls made to it. */
export class ManualRuntime {
  nowMs = 1000;
  private deferred: (() => void)[] = [];
  private timersSet: { atMs: number; fire: () => void }[] = [];

  readonly clock: Clock = { monotonicMs: () => this.nowMs, wallMs: () => 1_700_000_000_000 + this.nowMs };

  readonly timers: Timers = {
    set: (delayMs, fire): Timer => {
      const entry = { atMs: this.nowMs + delayMs, fire };
      this.timersSet.push(entry);
      return { cancel: () => void (this.timersSet = this.timersSet.filter((other) => other !== entry)) };
    },
    defer: (fire) => void this.deferred.push(fire),
  };

  get timerCount(): number {
    return this.timersSet.length;
  }

  /** The end of a turn of the event loop, after promises that are resolved have called back. */
  async turn(): Promise<void> {
    for (let i = 0; i < 10; i++) await Promise.resolve();
    const deferred = this.deferred;
    this.deferred = [];
    for (const fire of deferred) fire();
  }

  /** Lets time pass, with all timers that are due on the way. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.nowMs + ms;
    for (;;) {
      const next = this.timersSet.filter((entry) => entry.atMs <= untilMs).sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.timersSet = this.timersSet.filter((entry) => entry !== next);
      this.nowMs = Math.max(this.nowMs, next.atMs);
      next.fire();
      await this.turn();
    }
    this.nowMs = untilMs;
    await this.turn();
  }
}
