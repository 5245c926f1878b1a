import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { Collector } from "../../src/collector/collector.ts";
import { defaultBranchSetSettings } from "../../src/engine/host/branch-set.ts";
import { readOrigin } from "../../src/leadership/origin.ts";
import { decodeSegment } from "../../src/log/segment-codec.ts";
import { checkpointKey, parseKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { decodeCheckpoint } from "../../src/storage/checkpoint-codec.ts";
import { newBranch, openHost, runtime } from "../engine/open-host.ts";
import { put, range } from "../engine/requests.ts";

const request = { timeoutMs: 5000 };

async function allKeys(store: ObjectStore): Promise<string[]> {
  const keys: string[] = [];
  for (let startAfter: string | undefined; ; startAfter = keys.at(-1)) {
    const page = await store.list("", {
      ...request,
      limit: 1000,
      ...(startAfter && { startAfter: startAfter as never }),
    });
    keys.push(...page.objects.map(({ key }) => key as string));
    if (!page.more) return keys;
  }
}

/** Tables, checkpoints, and segments with records: what deletions are about. Fences and control objects stay. */
async function dataIn(store: ObjectStore): Promise<string[]> {
  const data: string[] = [];
  for (const key of await allKeys(store)) {
    const name = parseKey(key);
    if (name?.kind === "table" || name?.kind === "checkpoint") data.push(key);
    if (name?.kind !== "segment") continue;
    const object = await store.get(key as never, request);
    if (!decodeSegment(key as never, object!.body).header.fence) data.push(key);
  }
  return data.sort();
}

test("deleting everything but one branch leaves exactly what that one needs", async (t) => {
  const { host, store, main } = await openHost(t, { branches: { ...defaultBranchSetSettings, graceMs: 0 } });
  const value = "v".repeat(1000);
  const fill = async (name: string, keys: number): Promise<void> => {
    const database = await host.database(name);
    for (let i = 0; i < keys; i++) await database.put(put(`${name}-${i}`, value));
  };
  await fill("main", 30);
  await main.checkpoint();
  await fill("main", 5);
  await host.branches.create(newBranch("kept"));
  await host.branches.create(newBranch("a"));
  await fill("a", 20);
  await (await host.serve("a")).checkpoint();
  await host.branches.create(newBranch("of-a", { from: "a" }));
  await fill("of-a", 7);
  await fill("kept", 9);
  await fill("main", 10);
  await main.checkpoint();
  const count = async (): Promise<number> =>
    (await (await host.database("kept")).range(range("\0", "\0", { countOnly: true }))).count;
  equal(await count(), 39);

  // Main itself is deleted once another branch has its name.
  await host.branches.promote({ name: "a", over: "main", keepAs: "old-main", revoke: false });
  await host.branches.promote({ name: "kept", over: "main", keepAs: "old-a", revoke: false });
  for (const name of ["old-main", "old-a", "of-a"]) await host.branches.delete(name);
  const { purged, failed } = await host.branches.sweep();
  deepEqual([purged, failed], [["of-a", "old-a", "old-main"], []]);
  const collector = new Collector({ store, runtime, requestTimeoutMs: 5000, graceMs: -3_600_000, deletesPerSecond: 0 });
  ok((await collector.collect()).objects > 0);

  const { branch } = await host.branches.show("main");
  const origin = await readOrigin(store, branch.id, request);
  const start = origin.checkpoint!;
  const key = checkpointKey(start.branch, start.nextSlot, start.n);
  const { runs } = decodeCheckpoint(key, (await store.get(key, request))!.body);
  const replayed = [...origin.runs, { branch: branch.id, first: 1, last: 1000 }];
  const left = await dataIn(store);
  const needed = left.filter((each) => {
    const name = parseKey(each);
    if (name?.kind !== "segment") return false;
    return replayed.some((run) => run.branch === name.branch && name.slot >= run.first && name.slot <= run.last);
  });
  // What it was cut with: a checkpoint of a branch that is gone, its tables, the log up to the cut; and its own log.
  deepEqual(left, [key, ...runs.flat().map((table) => table.key as string), ...needed].sort());
  ok(needed.length > 2);

  // With a checkpoint of its own it needs nothing of others any more but the tables.
  const served = await host.serve("main");
  await served.checkpoint();
  await served.checkpoint();
  equal((await (await host.database("main")).range(range("\0", "\0", { countOnly: true }))).count, 39);
});
