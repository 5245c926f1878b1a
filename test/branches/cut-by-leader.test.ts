import { equal, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { Collector } from "../../src/collector/collector.ts";
import { BranchCut } from "../../src/engine/branches/cut-branch.ts";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import { parseKey } from "../../src/objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import type { RetentionPolicy } from "../../src/storage/checkpoint-retention.ts";
import { newBranch, openHost, runtime } from "../engine/open-host.ts";
import { everything, put, range } from "../engine/requests.ts";
import { changed } from "../log/changed.ts";

/** Cuts through the parent's leader, which has in memory what it was last told of. */

const HOUR_MS = 3_600_000;

/** `main` with two checkpoints, the second one stored, but unknown to its leader: the answer is held back. */
async function withAnUnansweredCheckpoint(t: TestContext, retention: RetentionPolicy) {
  const bucket = new MemoryBucket();
  const plain = new MemoryStore(runtime, bucket);
  const answer = Promise.withResolvers<void>();
  const stored = Promise.withResolvers<void>();
  let holds = false;
  const store = changed(plain, {
    put: async (key, body, options) => {
      const outcome = await plain.put(key, body, options);
      if (!holds || parseKey(key)?.kind !== "checkpoint") return outcome;
      stored.resolve();
      await answer.promise;
      return outcome;
    },
  });
  // Before the host is closed, which waits for it.
  t.after(() => answer.resolve());
  const defaults = defaultHostSettings(plain).branch;
  const leadership = { ...defaults.leadership, durability: "object" } as const;
  const { host, main } = await openHost(t, { bucket, store, branch: { ...defaults, leadership, retention } });
  const database = await host.database("main");
  await database.put(put("one"));
  await main.checkpoint();
  await database.put(put("two"));
  holds = true;
  const checkpointing = main.checkpoint();
  await stored.promise;
  await new Collector({
    ...{ store: plain, runtime, requestTimeoutMs: 5000, graceMs: 0, deletesPerSecond: 0 },
  }).collect();
  const answered = async (): Promise<void> => {
    holds = false;
    answer.resolve();
    await checkpointing;
  };
  const rowsOf = async (name: string): Promise<number> =>
    (await (await host.database(name)).range(range(...everything))).rows.length;
  return { host, answered, rowsOf };
}

/** How often it was looked whether what is needed exists. */
function countLooks(t: TestContext): () => number {
  const { exists } = BranchCut.prototype;
  t.after(() => Object.assign(BranchCut.prototype, { exists }));
  let looks = 0;
  BranchCut.prototype.exists = function (...args) {
    looks++;
    return exists.apply(this, args);
  };
  return () => looks;
}

test("a checkpoint that an unanswered one has let go of, and a collection taken, is not cut from", async (t) => {
  const looks = countLooks(t);
  const retention = { logMs: HOUR_MS, tiers: [], checkpointsMax: 1 };
  const { host, answered, rowsOf } = await withAnUnansweredCheckpoint(t, retention);
  await rejects(host.branches.create(newBranch("child")), { kind: "storeUnavailable", message: /was collected/ });
  await rejects(async () => host.database("child"), { kind: "notFound" });
  equal(looks(), 10);
  await answered();
  await host.branches.create(newBranch("child"));
  equal(looks(), 10, "what its leader lists is not looked up");
  equal(await rowsOf("child"), 2);
});

test("one that an unanswered one retains is cut from, and not looked up", async (t) => {
  const looks = countLooks(t);
  const retention = { logMs: HOUR_MS, tiers: [{ ageMs: HOUR_MS, everyMs: 0 }], checkpointsMax: 10 };
  const { host, answered, rowsOf } = await withAnUnansweredCheckpoint(t, retention);
  await host.branches.create(newBranch("child"));
  equal(looks(), 0);
  equal(await rowsOf("child"), 2);
  await answered();
});
