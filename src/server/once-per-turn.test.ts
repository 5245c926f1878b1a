import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { oncePerTurn } from "./once-per-turn.ts";

test("work is done once for all who ask in one turn, and anew for who asks after it began", async () => {
  const turns: (() => void)[] = [];
  let done = 0;
  const ask = oncePerTurn(async () => ++done, { defer: (fire) => void turns.push(fire) });
  const first = [ask(), ask(), ask()];
  turns.shift()!();
  deepEqual(await Promise.all(first), [1, 1, 1]);
  const second = ask();
  turns.shift()!();
  deepEqual([await second, turns.length], [2, 0]);
});

test("what fails is told to all who asked, and to nobody later", async () => {
  let fails = true;
  const work = async (): Promise<string> => {
    if (fails) throw new Error("once");
    return "text";
  };
  const ask = oncePerTurn(work, { defer: (fire) => void queueMicrotask(fire) });
  const both = [ask(), ask()];
  for (const one of both) await rejects(one, /once/);
  fails = false;
  deepEqual(await ask(), "text");
});
