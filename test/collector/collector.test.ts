import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import type { CollectorOptions } from "../../src/collector/collector.ts";
import { Collector } from "../../src/collector/collector.ts";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import { Host } from "../../src/engine/host/host.ts";
import { noNotices } from "../../src/engine/host/notices.ts";
import type { ServedBranch } from "../../src/engine/host/served-branch.ts";
import { decodeSegmentHeader } from "../../src/log/segment-codec.ts";
import { FaultyStore } from "../../src/objects/faulty.ts";
import { parseKey } from "../../src/objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import type { RetentionPolicy } from "../../src/storage/checkpoint-retention.ts";
import { everything, put, range } from "../engine/requests.ts";
import { changed } from "../log/changed.ts";

const runtime = createNodeRuntime();
const nothingKept: RetentionPolicy = { logMs: 0, tiers: [], checkpointsMax: 1 };

async function openNode(bucket: MemoryBucket, retention: RetentionPolicy): Promise<{ host: Host; main: ServedBranch }> {
  const store = new MemoryStore(runtime, bucket);
  const settings = defaultHostSettings(store);
  const { branch } = settings;
  const host = await Host.open({
    ...settings,
    runtime,
    store,
    name: "one",
    dataDirectory: null,
    branch: { ...branch, retention, leadership: { ...branch.leadership, durability: "object" } },
    notices: noNotices,
  });
  const main = await host.serve("main");
  await main.opened();
  return { host, main };
}

const collectorOf = (bucket: MemoryBucket, changes: Partial<CollectorOptions> = {}): Collector =>
  new Collector({
    store: new MemoryStore(runtime, bucket),
    runtime,
    requestTimeoutMs: 1000,
    graceMs: 0,
    deletesPerSecond: 0,
    ...changes,
  });

const kinds = (bucket: MemoryBucket): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const key of bucket.entries.keys()) {
    const { kind } = parseKey(key)!;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
};

/** Several leaderships, each with writes and checkpoints. */
async function history(bucket: MemoryBucket, retention: RetentionPolicy): Promise<void> {
  for (let lead = 0; lead < 3; lead++) {
    const { host, main } = await openNode(bucket, retention);
    for (let n = 0; n < 12; n++) {
      await main.database.put(put(`k${n % 5}`, `${lead} ${n}`));
      if (n % 2 === 1) await main.checkpoint();
    }
    await host.close(AbortSignal.timeout(2000));
  }
}

async function contents(bucket: MemoryBucket): Promise<string> {
  const { host, main } = await openNode(bucket, nothingKept);
  const { rows, count } = await main.database.range(range(...everything));
  await host.close(AbortSignal.timeout(2000));
  return `${count}: ${rows.map(({ bytes, start, end }) => Buffer.from(bytes.subarray(start, end)).toString("hex"))}`;
}

test("what the newest checkpoint does not need goes, and the branch is as it was", async () => {
  const bucket = new MemoryBucket();
  await history(bucket, nothingKept);
  const before = kinds(bucket);
  const expected = await contents(copyOf(bucket));
  const { candidates } = await collectorOf(bucket).plan(1000);
  const report = await collectorOf(bucket).collect();
  equal(report.objects, candidates.length);
  equal(report.kept, 0);
  const after = kinds(bucket);
  // The newest, and the one that the log is kept from.
  equal(after["checkpoint"], 2);
  ok(after["segment"]! < before["segment"]! && after["table"]! < before["table"]!, JSON.stringify([before, after]));
  deepEqual([after["collection"], after["collectionDone"]], [1, 1]);
  for (const kind of ["repository", "name", "origin", "leader", "session"]) equal(after[kind], before[kind], kind);
  equal(await contents(bucket), expected);
});

test("done collections go with later ones; with nothing else to delete none is made", async () => {
  const bucket = new MemoryBucket();
  for (let round = 0; round < 4; round++) {
    await history(bucket, nothingKept);
    ok((await collectorOf(bucket).collect()).objects > 0);
    const after = kinds(bucket);
    deepEqual((await collectorOf(bucket).collect()).byReason, {});
    deepEqual(kinds(bucket), after);
  }
  deepEqual([kinds(bucket)["collection"], kinds(bucket)["collectionDone"]], [2, 2]);
});

test("fences are never deleted", async () => {
  const bucket = new MemoryBucket();
  const hosts: Host[] = [];
  for (let lead = 0; lead < 2; lead++) {
    // Nothing is released, so each takeover fences.
    const { host, main } = await openNode(bucket, nothingKept);
    hosts.push(host);
    for (let n = 0; n < 5; n++) await main.database.put(put("k", `${lead} ${n}`));
    await main.checkpoint();
    for (const key of [...bucket.entries.keys()]) if (key.startsWith("session/")) bucket.delete(key);
  }
  const fences = (): string[] =>
    [...bucket.entries].flatMap(([key, { body }]) =>
      parseKey(key)?.kind === "segment" && decodeSegmentHeader(key as never, body, body.length).fence ? [key] : [],
    );
  const before = fences();
  ok(before.length >= 8, `${before.length} fences`);
  const { byReason } = await collectorOf(bucket).collect();
  ok((byReason["old segment"]?.objects ?? 0) >= 5);
  deepEqual(fences(), before);
  // They would wait for each other for ever, and the process with them. What they cannot release is left.
  await Promise.allSettled(hosts.map((host) => host.close(AbortSignal.timeout(2000))));
});

test("what is younger than the grace stays, and so does what the newest checkpoint of then needs", async () => {
  const bucket = new MemoryBucket();
  await history(bucket, nothingKept);
  deepEqual((await collectorOf(bucket, { graceMs: 60_000 }).collect()).byReason, {});
});

test("with retention, retained checkpoints and the log from the slot kept on stay", async () => {
  const bucket = new MemoryBucket();
  await history(bucket, { logMs: 0, tiers: [{ ageMs: 3_600_000, everyMs: 0 }], checkpointsMax: 5 });
  await collectorOf(bucket).collect();
  equal(kinds(bucket)["checkpoint"], 6);
});

test("an abandoned collection stays open, and the next run goes on", async () => {
  const bucket = new MemoryBucket();
  await history(bucket, nothingKept);
  const expected = await contents(copyOf(bucket));
  let deletes = 0;
  const failing = new FaultyStore(new MemoryStore(runtime, bucket), runtime, ({ operation }) =>
    operation === "delete" && ++deletes > 3 ? { kind: "errorAfter" } : null,
  );
  await rejects(collectorOf(bucket, { store: failing }).collect(), { kind: "storeUnavailable" });
  deepEqual([kinds(bucket)["collection"], kinds(bucket)["collectionDone"]], [1, undefined]);
  const { collections } = await collectorOf(bucket).collect();
  deepEqual(collections, [1]);
  deepEqual([kinds(bucket)["checkpoint"], kinds(bucket)["collectionDone"]], [2, 1]);
  equal(await contents(bucket), expected);
});

test("an abandoned collection goes when nothing is left that it names, not before", async () => {
  const bucket = new MemoryBucket();
  const open = (): string[] =>
    [...bucket.entries.keys()].filter(
      (key) => parseKey(key)?.kind === "collection" && !bucket.entries.has(`${key}-done`),
    );
  for (let round = 0; round < 4; round++) {
    await history(bucket, nothingKept);
    let deletes = 0;
    const failing = new FaultyStore(new MemoryStore(runtime, bucket), runtime, ({ operation }) =>
      operation === "delete" && ++deletes > 3 ? { kind: "errorAfter" } : null,
    );
    const before = new Map(bucket.entries);
    await rejects(collectorOf(bucket, { store: failing }).collect(), { kind: "storeUnavailable" });
    if (round > 0) continue;
    // One object that it names is there for longer: whoever lists does not see it, and does not delete it.
    const kept = [...before.keys()].find((key) => !bucket.entries.has(key))!;
    bucket.set(kept, before.get(kept)!);
    const store = new MemoryStore(runtime, bucket) as ObjectStore;
    const hidden = changed(store, {
      list: async (prefix, options) => {
        const page = await store.list(prefix, options);
        return { ...page, objects: page.objects.filter(({ key }) => key !== kept) };
      },
    });
    for (let n = 0; n < 3; n++) {
      await history(bucket, nothingKept);
      await collectorOf(bucket, { store: hidden }).collect();
    }
    equal(open().length, 1, "it stays while something that it names is there");
    bucket.delete(kept);
  }
  ok(open().length >= 2);
  let spent = 0;
  for (let n = 0; n < 2; n++) {
    await history(bucket, nothingKept);
    const { byReason } = await collectorOf(bucket).collect();
    spent += byReason["spent collection"]?.objects ?? 0;
  }
  ok(spent > 0);
  deepEqual(open(), []);
});

test("told to end, it confirms what it has sent and marks its collection as done", async () => {
  const bucket = new MemoryBucket();
  await history(bucket, nothingKept);
  const stop = new AbortController();
  const report = await collectorOf(bucket).collect({ signal: stop.signal, onProgress: () => stop.abort() });
  equal(report.interrupted, true);
  ok(report.objects > 0 && report.objects <= 16);
  deepEqual([kinds(bucket)["collection"], kinds(bucket)["collectionDone"]], [1, 1]);
});

test("a clock that differs from the store's by more than a minute deletes nothing", async () => {
  const bucket = new MemoryBucket();
  const skewed = (skewMs: number | null): ObjectStore =>
    changed(new MemoryStore(runtime, bucket) as ObjectStore, { clockSkewMs: () => skewMs });
  for (const skewMs of [61_000, -61_000, null]) {
    await rejects(collectorOf(bucket, { store: skewed(skewMs) }).collect(), (error: Error) => {
      match(error.message, /clock.*nothing is deleted/);
      return true;
    });
  }
  await collectorOf(bucket, { store: skewed(59_000) }).collect();
});

test("deletes keep to the rate", async () => {
  const bucket = new MemoryBucket();
  await history(bucket, nothingKept);
  const startMs = runtime.clock.monotonicMs();
  const { objects } = await collectorOf(bucket, { deletesPerSecond: 100 }).collect();
  const elapsedMs = runtime.clock.monotonicMs() - startMs;
  ok(elapsedMs >= objects * 10 - 50, `${objects} deletes in ${elapsedMs} ms`);
});

function copyOf(bucket: MemoryBucket): MemoryBucket {
  const copy = new MemoryBucket();
  for (const [key, entry] of bucket.entries) copy.set(key, entry);
  return copy;
}
