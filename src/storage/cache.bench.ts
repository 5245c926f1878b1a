import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { BRANCH, StorageBench } from "../../test/storage/storage-bench.ts";
import type { ObjectKey } from "../base/ids.ts";
import { MeteredStore } from "../objects/metered.ts";
import type { GetOptions, StoredObject } from "../objects/objects.ts";
import { BlockCache } from "./block-cache.ts";
import { CachedStore } from "./cached-store.ts";
import { DiskCache, defaultDiskCacheSettings } from "./disk-cache.ts";
import { AT_HEAD, KEYS } from "./storage.ts";
import { type BranchTree, defaultTreeSettings, openTree } from "./tree.ts";

/**
 * Rates of reading through the caches: `t4-node src/storage/cache.bench.ts [keys] [directory]`. Values are 256 random
 * bytes. The store is memory that answers after 2 ms, so that requests show.
 */
const total = Number(process.argv[2] ?? 1_000_000);
const STORE_MS = 2;
const READS_AT_ONCE = 32;
const directory = mkdtempSync(join(process.argv[3] ?? tmpdir(), "t4-cache-bench-"));
const name = (i: number): string =>
  Buffer.from(`/registry/pods/default/pod-${String(i).padStart(9, "0")}`).latin1Slice();
const all = { from: "", to: null };

const bench = new StorageBench({ cacheBytes: 8 << 20, settings: {} });
const { runtime } = bench;
const slow = new (class extends MeteredStore {
  override async get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    await new Promise<void>((resolve) => runtime.timers.set(STORE_MS, resolve));
    return super.get(key, options);
  }
})(bench.store, runtime.clock);

let seed = 1;
function random(): number {
  seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
  return seed;
}

async function load(): Promise<void> {
  const value = Buffer.alloc(256);
  for (let i = 0; i < total; i++) {
    for (let at = 0; at < 256; at += 4) value.writeUInt32LE(random(), at);
    const { revision } = bench.begin(true);
    const key = name((i * 7919) % total);
    bench.tree.apply({
      space: KEYS,
      key,
      main: revision,
      sub: 0,
      tombstone: false,
      effect: 1,
      bytes: value,
      start: 0,
      end: 256,
    });
    if (i % 200_000 === 199_999) await bench.persist(-1);
  }
  await bench.persist(-1);
  await bench.tree.settled();
  await bench.persist(-1);
}

/** The requests so far, and their bytes. */
function requests(): { count: number; bytes: number } {
  let [count, bytes] = [0, 0];
  for (const series of slow.series()) {
    count += series.count;
    bytes += series.bytes;
  }
  return { count, bytes };
}

async function measure(what: string, count: number, work: () => Promise<void> | void): Promise<void> {
  const before = requests();
  const [fromMs, cpu] = [performance.now(), process.threadCpuUsage()];
  await work();
  const ms = performance.now() - fromMs;
  const { user, system } = process.threadCpuUsage(cpu);
  const asked = requests();
  const each = `${((1000 * ms) / count).toFixed(2)} µs each, ${((user + system) / count).toFixed(2)} of this thread`;
  const got = `${asked.count - before.count} requests, ${((asked.bytes - before.bytes) / 1e6).toFixed(0)} MB`;
  console.log(`${what}: ${Math.round((1000 * count) / ms).toLocaleString("en")}/s (${each}; ${got})`);
}

async function pointReads(tree: BranchTree, count: number, keys = total): Promise<void> {
  let left = count;
  const reader = async (): Promise<void> => {
    while (left-- > 0) {
      const found = tree.get(KEYS, name(random() % keys), AT_HEAD);
      if ((found instanceof Promise ? await found : found) === null) throw new Error("a key is missing");
    }
  };
  await Promise.all(Array.from({ length: READS_AT_ONCE }, reader));
}

function pointReadsWarm(tree: BranchTree, count: number, keys: number): void {
  for (let i = 0; i < count; i++) {
    if (tree.get(KEYS, name(random() % keys), AT_HEAD) instanceof Promise) throw new Error("a block is missing");
  }
}

async function scan(tree: BranchTree, from: number, rows: number): Promise<void> {
  for (let at = from; at < from + rows; at += 10_000) {
    const page = await tree.scan(KEYS, { from: name(at), to: null }, AT_HEAD, { limit: 10_000 });
    if (page.length !== 10_000) throw new Error(`${page.length} rows`);
  }
}

async function main(): Promise<void> {
  await load();
  const { checkpoint } = bench.tree;
  const { tables, tableBytes } = bench.tree.stats();
  console.log(`${total} keys, ${tables} tables, ${(tableBytes / 1e6).toFixed(0)} MB`);
  const open = (
    cacheBytes: number,
  ): { tree: BranchTree; cache: BlockCache; disk: DiskCache; close: () => Promise<void> } => {
    const notices = { warn: console.log, info: console.log };
    const disk = DiskCache.open({ runtime, directory, settings: defaultDiskCacheSettings, notices })!;
    const cache = new BlockCache({ bytesMax: cacheBytes });
    const store = new CachedStore(slow, disk);
    const tree = openTree({ store, runtime, branch: BRANCH, cache, checkpoint, settings: defaultTreeSettings });
    return { tree, cache, disk, close: async () => Promise.all([tree.close(), disk.close()]).then(() => {}) };
  };
  const scanned = Math.floor(Math.min(total, 500_000) / 10_000) * 10_000;

  const cold = open(32 << 20);
  await measure("first read, nothing cached", 1, () => pointReads(cold.tree, 1));
  await measure("scan, nothing cached", scanned, () => scan(cold.tree, 0, scanned));
  await measure("point reads, filling the disk cache", 2000, () => pointReads(cold.tree, 2000));
  await scan(cold.tree, 0, Math.floor(total / 10_000) * 10_000);
  await cold.disk.settled();
  console.log(JSON.stringify(cold.disk.stats()));
  await cold.close();

  const warm = open(32 << 20);
  await measure("first read after a restart, warm disk", 1, () => pointReads(warm.tree, 1));
  await pointReads(warm.tree, 20_000);
  for (let round = 0; round < 5; round++) {
    await measure("point reads from the disk cache", 30_000, () => pointReads(warm.tree, 30_000));
  }
  await measure("scan from the disk cache", scanned, () => scan(warm.tree, 0, scanned));
  console.log(JSON.stringify(warm.disk.stats()), `memory ${(warm.cache.bytes / 1e6).toFixed(1)} MB`);
  await warm.close();

  const before = process.memoryUsage();
  const hot = open(1 << 30);
  const keys = Math.min(total, 500_000);
  await scan(hot.tree, 0, Math.floor(keys / 10_000) * 10_000);
  pointReadsWarm(hot.tree, 50_000, keys);
  for (let round = 0; round < 5; round++) {
    await measure(`point reads from memory, of ${keys} keys`, 100_000, () => pointReadsWarm(hot.tree, 100_000, keys));
  }
  await measure("scan from memory", scanned, () => scan(hot.tree, 0, scanned));
  await measure("scans of ten rows from memory", 20_000, async () => {
    for (let i = 0; i < 20_000; i++)
      await hot.tree.scan(KEYS, { from: name(random() % (keys - 10)), to: null }, AT_HEAD, { limit: 10 });
  });
  globalThis.gc?.();
  const after = process.memoryUsage();
  const taken = after.heapUsed + after.external - before.heapUsed - before.external;
  console.log(
    `block cache says ${(hot.cache.bytes / 1e6).toFixed(1)} MB; the process took ${(taken / 1e6).toFixed(1)} MB`,
  );
  if ((await hot.tree.count(KEYS, all, AT_HEAD)) !== total) throw new Error("a count is wrong");
  await hot.close();
}

try {
  await main();
} finally {
  await bench.close();
  rmSync(directory, { recursive: true });
}
