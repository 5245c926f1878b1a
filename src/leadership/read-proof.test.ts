import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { DbError } from "../base/errors.ts";
import { BatchedCheck } from "./read-proof.ts";

test("who asks is answered by a check that began afterwards; those who wait share one", async () => {
  const begun: PromiseWithResolvers<DbError | null>[] = [];
  const check = new BatchedCheck(() => {
    begun.push(Promise.withResolvers());
    return begun.at(-1)!.promise;
  });
  const answers: string[] = [];
  const ask = (name: string) => check.ask().then((error) => answers.push(`${name}: ${error?.message ?? "proven"}`));
  const all = [ask("a"), ask("b"), ask("c")];
  equal(begun.length, 1, "one is under way, one waits");
  begun[0]!.resolve(null);
  await all[0];
  equal(begun.length, 2);
  all.push(ask("d"));
  begun[1]!.resolve(new DbError("noLeader", "deposed"));
  await Promise.all([all[1], all[2]]);
  begun[2]!.resolve(new DbError("noLeader", "still"));
  await all[3];
  deepEqual(answers, ["a: proven", "b: deposed", "c: deposed", "d: still"]);
  equal(begun.length, 3);
  const last = check.ask();
  begun[3]!.resolve(null);
  equal(await last, null);
});

test("a check that fails fails those who asked for it, and no other", async () => {
  let calls = 0;
  const check = new BatchedCheck(async () => {
    if (++calls === 1) throw new Error("bug");
    return null;
  });
  const first = check.ask();
  const second = check.ask();
  await rejects(first, /bug/);
  equal(await second, null);
  equal(calls, 2);
});
