import { performance } from "node:perf_hooks";
import { BRANCH } from "../../test/storage/storage-bench.ts";
import type { Epoch, RecordNumber, Revision, Slot } from "../base/ids.ts";
import { MemoryStore } from "../objects/memory.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { BlockCache } from "./block-cache.ts";
import { defaultRetention } from "./checkpoint-retention.ts";
import { CheckpointWriter } from "./checkpoint-store.ts";
import { AT_HEAD, KEYS } from "./storage.ts";
import { type BranchTree, defaultTreeSettings, openTree } from "./tree.ts";

/** Rates of tables: `t4-node src/storage/tree.bench.ts [keys]`. Values are 120 bytes, as packable as JSON is. */
const total = Number(process.argv[2] ?? 200_000);
const runtime = createNodeRuntime();
const store = new MemoryStore(runtime);
const cache = new BlockCache({ bytesMax: 256 << 20 });
const name = (i: number): string =>
  Buffer.from(`/registry/pods/default/pod-${String(i).padStart(9, "0")}`).latin1Slice();

const open = (checkpoint: BranchTree["checkpoint"]): BranchTree => {
  const tree = openTree({
    store,
    runtime,
    branch: BRANCH,
    cache,
    checkpoint,
    settings: { ...defaultTreeSettings, runsMax: 2 },
  });
  tree.lead(
    new CheckpointWriter({
      store,
      runtime,
      branch: BRANCH,
      epoch: 1 as Epoch,
      newest: checkpoint,
      firstSlot: 1 as Slot,
      retention: defaultRetention,
      timeoutMs: 60_000,
    }),
  );
  return tree;
};

let slot = 1;
let revision = 1;
function fill(tree: BranchTree, effect: 0 | 1): void {
  for (let i = 0; i < total; i++) {
    const place = (i * 7919) % total;
    const value = Buffer.from(
      JSON.stringify({
        name: `pod-${place}`,
        node: `n${place % 97}`,
        phase: "Running",
        ip: `10.0.${place % 250}.${i % 250}`,
        uid: `${(place * 2654435761) >>> 0}-${i}`,
      }),
    );
    tree.apply({
      space: KEYS,
      key: name(place),
      main: ++revision,
      sub: 0,
      tombstone: false,
      effect,
      bytes: value,
      start: 0,
      end: value.length,
    });
  }
}

async function persist(tree: BranchTree, compactRevision: number): Promise<void> {
  tree.freeze();
  slot++;
  await tree.persist({
    position: {
      nextSlot: slot as Slot,
      highestEpoch: 1 as Epoch,
      lastHash: "0".repeat(64),
      lastRecord: 1 as RecordNumber,
      lastRecordEpoch: 1 as Epoch,
      revision: revision as Revision,
      wallMs: 1,
    },
    compactRevision: compactRevision as Revision | -1,
    wallMs: slot,
  });
}

/** The longest that the event loop was held up while `work` ran. */
async function timed(what: string, work: () => Promise<unknown>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const beats: number[] = [];
  let on = true;
  const beat = (): void => {
    const now = performance.now();
    beats.push(now - last);
    longest = Math.max(longest, now - last);
    last = now;
    if (on) setImmediate(beat);
  };
  setImmediate(beat);
  const from = process.threadCpuUsage();
  await work();
  const used = process.threadCpuUsage(from);
  const ms = (used.user + used.system) / 1000;
  on = false;
  beats.sort((a, b) => a - b);
  const p99 = beats[Math.floor(beats.length * 0.99)] ?? 0;
  const held = `event loop held up at most ${longest.toFixed(1)} ms, p99 ${p99.toFixed(1)}`;
  console.log(`${what}: ${ms.toFixed(0)} ms of this thread, ${held}`);
  return ms;
}

const megabytes = (count: number): string => (count / 1e6).toFixed(1);

const tree = open(null);
fill(tree, 1);
const bytes = tree.memtableBytes;
const valueBytes = total * 160;
let ms = await timed("flush", () => persist(tree, -1));
console.log(
  `flush of ${megabytes(bytes)} MB memtable, ${megabytes(valueBytes)} MB of keys and values:`,
  `${(valueBytes / ms / 1000).toFixed(0)} MB/s; tables ${megabytes(tree.stats().tableBytes)} MB`,
);
fill(tree, 0);
await persist(tree, -1);
fill(tree, 0);
ms = await timed("flush and merge of 3 runs, compacted", async () => {
  await persist(tree, revision);
  await tree.settled();
});
console.log(
  `entries ${tree.stats().entries}, merges ${tree.stats().merges}, ${((4 * valueBytes) / ms / 1000).toFixed(0)} MB/s`,
);
await persist(tree, revision);

const cold = open(tree.checkpoint);
const all = { from: "", to: null };
await timed("scan of everything, cold blocks", async () => {
  const rows = await cold.scan(KEYS, all, AT_HEAD, { limit: 0 });
  if (rows.length !== total) throw new Error(`${rows.length} rows`);
});
/** The best of five rounds, in processor time of this thread. */
function rate(what: string, count: number, work: () => void): void {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 5; round++) {
    const from = process.threadCpuUsage();
    work();
    const used = process.threadCpuUsage(from);
    best = Math.min(best, (used.user + used.system) / 1000);
  }
  console.log(`${what}: ${((best / count) * 1e6).toFixed(0)} ns each, ${(count / best / 1000).toFixed(2)} M/s`);
}
rate("scan of everything, cached", total, () => {
  const rows = cold.scan(KEYS, all, AT_HEAD, { limit: 0 });
  if (rows instanceof Promise) throw new Error("not all cached");
});
const picks = Array.from({ length: 100_000 }, (_, i) => name((i * 104_729) % total));
rate("point read, cached", picks.length, () => {
  for (const pick of picks) if (cold.get(KEYS, pick, AT_HEAD) instanceof Promise) throw new Error("not cached");
});
rate("point read of a missing key", picks.length, () => {
  for (const pick of picks) void cold.get(KEYS, `${pick}x`, AT_HEAD);
});
rate("count from a key on", 10_000, () => {
  for (let i = 0; i < 10_000; i++) void cold.count(KEYS, { from: picks[i]!, to: null }, AT_HEAD);
});
rate("scan of ten rows", 10_000, () => {
  for (let i = 0; i < 10_000; i++) void cold.scan(KEYS, { from: picks[i]!, to: null }, AT_HEAD, { limit: 10 });
});
console.log(`cache ${(cache.bytes / 1e6).toFixed(0)} MB`);
await tree.close();
await cold.close();
