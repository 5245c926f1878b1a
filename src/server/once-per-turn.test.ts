import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { ManualRuntime } from "../../test/transport/manual-runtime.ts";
import { oncePerTurn } from "./once-per-turn.ts";

test("work is done once for all who ask in one turn, and anew for who asks after it began", async () => {
  const runtime = new ManualRuntime();
  let done = 0;
  const ask = oncePerTurn(async () => ++done, runtime);
  const first = [ask(), ask(), ask()];
  await runtime.turn();
  deepEqual(await Promise.all(first), [1, 1, 1]);
  const second = ask();
  await runtime.turn();
  deepEqual([await second, done], [2, 2]);
});

test("work that takes long rests nine times as long; who asks meanwhile waits for the next, all for one", async () => {
  const runtime = new ManualRuntime();
  let done = 0;
  const work = async (): Promise<number> => {
    runtime.nowMs += 10;
    return ++done;
  };
  const ask = oncePerTurn(work, runtime);
  const first = ask();
  await runtime.turn();
  await first;
  const later = [ask(), ask()];
  await runtime.pass(89);
  deepEqual(done, 1);
  await runtime.pass(1);
  deepEqual(await Promise.all(later), [2, 2]);
  await runtime.pass(100);
  const last = ask();
  await runtime.turn();
  deepEqual(await last, 3);
});

test("what fails is told to all who asked, and to nobody later", async () => {
  const runtime = new ManualRuntime();
  let fails = true;
  const work = async (): Promise<string> => {
    if (fails) throw new Error("once");
    return "text";
  };
  const ask = oncePerTurn(work, runtime);
  const both = [ask(), ask()];
  const refused = both.map((one) => rejects(one, /once/));
  await runtime.turn();
  await Promise.all(refused);
  fails = false;
  const again = ask();
  await runtime.turn();
  deepEqual(await again, "text");
});
