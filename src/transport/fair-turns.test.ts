import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { ManualRuntime } from "../../test/transport/manual-runtime.ts";
import { FairTurns, type TurnTaker, UsedTime } from "./fair-turns.ts";

/** A connection that has `workMs` to do and does it bit by bit, as its share allows. */
class Busy implements TurnTaker {
  readonly used: UsedTime;
  workMs: number;
  turnsTaken = 0;
  private readonly runtime: ManualRuntime;
  private readonly turns: FairTurns;

  constructor(runtime: ManualRuntime, turns: FairTurns, workMs: number) {
    this.runtime = runtime;
    this.turns = turns;
    this.workMs = workMs;
    this.used = new UsedTime(runtime.nowMs);
  }

  /** Bytes came in. */
  receive(): void {
    if (this.turns.isOver) this.turns.wait(this);
    else this.work();
  }

  takeTurn(): void {
    this.turnsTaken++;
    this.work();
  }

  private work(): void {
    const startedMs = this.runtime.nowMs;
    const some = Math.min(this.workMs, this.turns.costMax / 1000);
    this.workMs -= some;
    this.runtime.nowMs += some;
    this.turns.spent(this.used, startedMs);
    if (this.workMs > 0) this.turns.wait(this);
  }
}

function bench() {
  const runtime = new ManualRuntime();
  return { runtime, turns: new FairTurns(runtime) };
}

test("a new connection is served in some turns of bounded length, beside a thousand that want all", async () => {
  const { runtime, turns } = bench();
  const hostile = Array.from({ length: 1000 }, () => new Busy(runtime, turns, Number.POSITIVE_INFINITY));
  for (const one of hostile) one.receive();
  for (let turn = 0; turn < 100; turn++) {
    const startedMs = runtime.nowMs;
    await runtime.turn();
    ok(runtime.nowMs - startedMs < 35, `a turn of ${runtime.nowMs - startedMs} ms`);
  }
  const honest = new Busy(runtime, turns, 0.9);
  const cameMs = runtime.nowMs;
  honest.receive();
  while (honest.workMs > 0) await runtime.turn();
  ok(runtime.nowMs - cameMs < 150, `${runtime.nowMs - cameMs} ms`);
});

test("while there is time for all, each is read as its bytes come", async () => {
  const { runtime, turns } = bench();
  const some = Array.from({ length: 5 }, () => new Busy(runtime, turns, 2));
  for (const one of some) one.receive();
  deepEqual(
    some.map(({ workMs, turnsTaken }) => [workMs, turnsTaken]),
    some.map(() => [0, 0]),
  );
});

test("nobody waits for ever, though new connections come without end", async () => {
  const { runtime, turns } = bench();
  const heavy = new Busy(runtime, turns, 5000);
  for (let turn = 0; turn < 300; turn++) {
    for (let n = 0; n < 9; n++) new Busy(runtime, turns, 3).receive();
    if (turn === 0) heavy.receive();
    await runtime.turn();
  }
  ok(heavy.turnsTaken > 50, `${heavy.turnsTaken} turns of 300`);
});

test("those that want the same get the same", async () => {
  const { runtime, turns } = bench();
  const all = Array.from({ length: 300 }, () => new Busy(runtime, turns, Number.POSITIVE_INFINITY));
  for (const one of all) one.receive();
  for (let turn = 0; turn < 400; turn++) await runtime.turn();
  const taken = all.map(({ turnsTaken }) => turnsTaken);
  ok(Math.min(...taken) * 1.5 > Math.max(...taken), `from ${Math.min(...taken)} to ${Math.max(...taken)} turns`);
});

test("what was used is forgotten by halves", () => {
  const used = new UsedTime(0);
  used.add(8, 10);
  equal(used.lately(1999), 8);
  equal(used.lately(4000), 2);
  used.add(1, 4001);
  equal(used.lately(6000), 1.5);
});

test("a loop that has little to do is not asked when its turns end", () => {
  let deferred = 0;
  const runtime = new ManualRuntime();
  const turns = new FairTurns({ clock: runtime.clock, timers: { ...runtime.timers, defer: () => deferred++ } });
  const used = new UsedTime(runtime.nowMs);
  for (let n = 0; n < 10; n++) turns.spent(used, runtime.nowMs++);
  equal(deferred, 1);
});
