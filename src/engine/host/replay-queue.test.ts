import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { DbError } from "../../base/errors.ts";
import type { LogRecord } from "../../log/log.ts";
import { ReplayQueue } from "./replay-queue.ts";

/** Turns of an event loop, taken one at a time. */
class Turns {
  #next: (() => void)[] = [];
  taken = 0;

  readonly timers = {
    defer: (fire: () => void) => void this.#next.push(fire),
    set: (): never => {
      throw new Error("no timer is set");
    },
  };

  /** All that was asked for before. */
  take(): void {
    this.taken++;
    for (const fire of this.#next.splice(0)) fire();
  }

  get waiting(): number {
    return this.#next.length;
  }
}

const records = (from: number, count: number, bytes: number): LogRecord[] =>
  Array.from(
    { length: count },
    (_, n) => ({ number: from + n, payload: new Uint8Array(bytes) }) as unknown as LogRecord,
  );

test("records are applied in their order, some in each turn, and the end is told behind the last", async () => {
  const turns = new Turns();
  const queue = new ReplayQueue(turns.timers);
  const seen: number[] = [];
  queue.add(records(1, 30, 64 << 10), ({ number }) => seen.push(number));
  queue.add([], () => seen.push(-1));
  queue.add(records(31, 10, 64 << 10), ({ number }) => seen.push(number));
  equal(seen.length, 0);
  let isDone = false;
  const done = queue.done().then(() => {
    isDone = true;
  });
  while (turns.waiting > 0) {
    equal(isDone, false);
    turns.take();
    await Promise.resolve();
  }
  await done;
  deepEqual(
    seen,
    Array.from({ length: 40 }, (_, n) => n + 1),
  );
  equal(turns.taken, 5);
});

test("with nothing to apply the end is at once", async () => {
  await new ReplayQueue(new Turns().timers).done();
});

test("a failure ends it, and is told to whoever asks for the end; reading anew forgets it", async () => {
  const turns = new Turns();
  const queue = new ReplayQueue(turns.timers);
  const seen: number[] = [];
  queue.add(records(1, 3, 10), ({ number }) => {
    if (number === 2) throw new DbError("corrupt", "record 2");
    seen.push(number);
  });
  turns.take();
  queue.add(records(4, 1, 10), ({ number }) => seen.push(number));
  await rejects(queue.done(), /record 2/);
  deepEqual(seen, [1]);
  queue.clear();
  queue.add(records(5, 1, 10), ({ number }) => seen.push(number));
  turns.take();
  await queue.done();
  deepEqual(seen, [1, 5]);
});

test("what is cleared is not applied, though its turn was asked for", async () => {
  const turns = new Turns();
  const queue = new ReplayQueue(turns.timers);
  queue.add(records(1, 3, 10), () => {
    throw new Error("applied");
  });
  queue.clear();
  turns.take();
  await queue.done();
});
