import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import type { SimMachine } from "../../test/sim/machine.ts";
import { createSimulation } from "../../test/sim/simulation.ts";
import { buildTable, type Row } from "../../test/storage/table-samples.ts";
import { isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { isPromise } from "../base/maybe-promise.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import type { GetOptions, StoredObject } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { BlockCache } from "./block-cache.ts";
import { CachedStore } from "./cached-store.ts";
import { DiskCache } from "./disk-cache.ts";
import { PointLookup } from "./point-lookup.ts";
import { Run } from "./run.ts";
import { RunCursor } from "./run-cursor.ts";
import { AT_HEAD, KEYS } from "./storage.ts";
import { Table } from "./table.ts";

const PIECE = 4096;
const rows: Row[] = Array.from({ length: 3000 }, (_, i) => ({
  space: KEYS,
  key: `key${String(i).padStart(5, "0")}`,
  main: i + 1,
  // Not to be packed: as many bytes in the table as here.
  value: Buffer.from(Array.from({ length: 40 }, (_byte, at) => (Math.imul(i * 40 + at, 2654435761) >>> 13) & 0xff)),
}));
const made = await buildTable(rows, { blockBytes: 1000 });

/** A store that counts what is asked of it, and may give wrong bytes. */
class CountingStore extends MemoryStore {
  gets: { start: number; end: number }[] = [];
  flip: ((range: { start: number; end: number }, body: Buffer) => void) | null = null;

  override async get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    const found = await super.get(key, options);
    const { range } = options;
    if (found === null || range === undefined || !("start" in range)) return found;
    this.gets.push(range);
    this.flip?.(range, found.body);
    return found;
  }
}

interface World {
  machine: SimMachine;
  runtime: Runtime;
  store: CountingStore;
  disk: DiskCache;
  cached: CachedStore;
  /** A run of the one table, with its own cache in memory. */
  run: (memoryBytes?: number) => { run: Run; table: Table; cache: BlockCache };
}

async function story(tell: (world: World) => Promise<void>): Promise<void> {
  for (let seed = 1; seed <= 6; seed++) {
    const simulation = createSimulation(seed);
    await simulation.run(async () => {
      const machine = simulation.machine("a");
      const { runtime } = machine.start();
      const store = new CountingStore(runtime, new MemoryBucket());
      await store.put(made.key, made.body, { condition: { kind: "none" }, timeoutMs: 1000 });
      const settings = { bytesMax: 4 << 20, pieceBytes: PIECE, piecesPerFile: 64 };
      const notices = { warn() {}, info() {} };
      const disk = DiskCache.open({ runtime, directory: "/cache", settings, notices })!;
      const cached = new CachedStore(store, disk);
      const run = (memoryBytes = 1 << 20): { run: Run; table: Table; cache: BlockCache } => {
        const cache = new BlockCache({ bytesMax: memoryBytes });
        const ref = { ...made.facts, key: made.key, bytes: made.body.length };
        const table = new Table(ref, { store: cached, runtime, cache, requestTimeoutMs: 1000 });
        return { run: new Run([table]), table, cache };
      };
      await tell({ machine, runtime, store, disk, cached, run });
      await disk.close();
    });
  }
}

async function read(run: Run, i: number): Promise<void> {
  const { key, value } = rows[i]!;
  const found = await run.get(new PointLookup(KEYS, key, AT_HEAD), true);
  deepEqual(Buffer.from(found!.bytes.subarray(found!.start, found!.end)), value);
}

async function scan(run: Run, from: number, count: number, reverse = false): Promise<void> {
  const cursor = new RunCursor(run, KEYS, { from: rows[from]!.key, to: null }, AT_HEAD, reverse);
  await cursor.start();
  for (let n = 0; n < count; n++) {
    const i = reverse ? rows.length - 1 - n : from + n;
    equal(cursor.version?.key, rows[i]!.key);
    await cursor.advance();
  }
}

test("a range comes from the store once, in whole pieces, and then from the disk, also after a restart", () =>
  story(async ({ cached, store, disk, runtime }) => {
    const ask = async (from: CachedStore, start: number, end: number): Promise<void> => {
      const found = await from.get(made.key, { range: { start, end }, timeoutMs: 1000 });
      deepEqual(found!.body, made.body.subarray(start, end));
      equal(found!.bytes, made.body.length);
    };
    await ask(cached, 5000, 9000);
    deepEqual(store.gets, [{ start: PIECE, end: 3 * PIECE }]);
    await ask(cached, PIECE, 3 * PIECE);
    await disk.settled();
    await ask(cached, 5000, 9000);
    // The last piece is as long as there is left of the table.
    await ask(cached, made.body.length - 10, made.body.length);
    equal(store.gets.length, 2);
    // What lies between pieces that are there is fetched with those beyond it, in one request.
    await ask(cached, 0, 5 * PIECE);
    deepEqual(store.gets[2], { start: 0, end: 5 * PIECE });
    await disk.close();
    const settings = { bytesMax: 4 << 20, pieceBytes: PIECE, piecesPerFile: 64 };
    const again = DiskCache.open({ runtime, directory: "/cache", settings, notices: { warn() {}, info() {} } })!;
    await ask(new CachedStore(store, again), 5000, 9000);
    equal(store.gets.length, 3);
    await again.close();
  }));

test("concurrent misses of one piece share one request, and its failure", () =>
  story(async ({ cached, store }) => {
    const ask = (start: number): Promise<StoredObject | null> =>
      cached.get(made.key, { range: { start, end: start + 100 }, timeoutMs: 1000 });
    const found = await Promise.all([10, 500, 1000, 10, 5000, 4000].map(ask));
    deepEqual(found[5]!.body, made.body.subarray(4000, 4100));
    deepEqual(
      store.gets.toSorted((a, b) => a.start - b.start),
      [
        { start: 0, end: PIECE },
        { start: PIECE, end: 2 * PIECE },
      ],
    );
    store.get = () => Promise.reject(new Error("away"));
    for (const outcome of await Promise.allSettled([20_000, 20_100].map(ask))) equal(outcome.status, "rejected");
  }));

test("what is read once is not kept; what is not a table goes through; what was written is there", () =>
  story(async ({ cached, store, disk }) => {
    await cached.get(made.key, { range: { start: 0, end: 100 }, timeoutMs: 1000, once: true });
    deepEqual(store.gets, [{ start: 0, end: 100 }]);
    const other = "repository.json" as ObjectKey;
    await cached.put(other, Buffer.from("{}"), { condition: { kind: "none" }, timeoutMs: 1000 });
    equal((await cached.get(other, { timeoutMs: 1000 }))!.body.toString(), "{}");
    await cached.get(other, { timeoutMs: 1000, range: { start: 0, end: 1 } });
    equal(await cached.get("sst/missing" as ObjectKey, { timeoutMs: 1000, range: { start: 0, end: 1 } }), null);
    await disk.settled();
    equal(disk.stats().written, 0);
    await cached.put(made.key, made.body, { condition: { kind: "none" }, timeoutMs: 1000 });
    store.gets = [];
    await cached.get(made.key, { range: { start: 9000, end: 90_000 }, timeoutMs: 1000, once: true });
    equal(store.gets.length, 0);
  }));

test("a point read asks for one object once the index and the filter are known", () =>
  story(async ({ store, disk, machine, run }) => {
    const { run: first } = run();
    await read(first, 0);
    // The index and the filter stay in memory; nothing else is anywhere.
    await disk.settled();
    for (const name of machine.volume.list("/cache")) machine.volume.remove(`/cache/${name}`);
    const reads = [500, 1700, 2999, 1234];
    for (const i of reads) {
      store.gets = [];
      await read(first, i);
      ok(store.gets.length <= 1, `${store.gets.length} requests`);
    }
  }));

test("a scan takes few requests, forwards and backwards, and leaves what is used in memory", () =>
  story(async ({ store, run }) => {
    const { run: forwards } = run(2 << 20);
    await read(forwards, 10);
    await read(forwards, 11);
    const before = store.gets.length;
    await scan(forwards, 0, rows.length);
    ok(store.gets.length - before <= 6, `${store.gets.length - before} requests for ${made.body.length} bytes`);
    for (const reverse of [true, false]) {
      const { run: small } = run(40_000);
      await scan(small, 0, rows.length, reverse);
    }
  }));

test("a long scan leaves a part of itself in memory, and there what others used", () =>
  story(async ({ store, run }) => {
    for (const reverse of [false, true]) {
      const bytesMax = 400_000;
      const { run: scanned, cache } = run(bytesMax);
      await read(scanned, 1500);
      await read(scanned, 1500);
      const before = cache.bytes;
      await scan(scanned, 0, rows.length, reverse);
      const grown = cache.bytes - before;
      ok(grown > bytesMax / 32 && grown < bytesMax / 8, `${grown} bytes more of ${bytesMax}`);
      store.gets = [];
      const misses = cache.misses;
      await read(scanned, 1500);
      equal(cache.misses, misses);
    }
  }));

test("flipped bits on the disk are noticed, and the piece is fetched again", () =>
  story(async ({ store, disk, machine, run }) => {
    await scan(run().run, 0, rows.length);
    await disk.settled();
    for (const name of machine.volume.list("/cache")) {
      const inode = machine.volume.findFile(`/cache/${name}`)!;
      for (let at = 4096 + 50; at < inode.bytes; at += 700) inode.write(Uint8Array.of(0x55), at);
    }
    store.gets = [];
    await scan(run().run, 0, rows.length);
    for (let i = 0; i < rows.length; i += 97) await read(run().run, i);
    ok(store.gets.length > 0 && disk.stats().bad > 0);
    await disk.settled();
    const { bad } = disk.stats();
    await scan(run().run, 0, rows.length);
    equal(disk.stats().bad, bad);
  }));

test("wrong bytes from the store are asked for once more; if they stay wrong it is told, with the object's name", () =>
  story(async ({ store, disk, run }) => {
    let wrong = 1;
    store.flip = (_range, body) => {
      if (wrong-- > 0) body[20] = body[20]! ^ 1;
    };
    await read(run().run, 5);
    wrong = 1;
    await read(run().run, 1500);
    await disk.settled();
    store.flip = ({ start, end }, body) => {
      if (start <= 60_000 && end > 60_000) body[60_000 - start]! ^= 1;
    };
    await rejects(
      scan(run(20_000).run, 0, rows.length),
      (error) => isDbError(error, "corrupt") && error.message.includes(made.key),
    );
    store.flip = null;
    await scan(run(20_000).run, 0, rows.length);
  }));

test("without the disk everything comes from the store; when it is back it is used again", () =>
  story(async ({ store, disk, machine, run }) => {
    Object.assign(machine.diskFaults, { readError: 1, writeError: 1 });
    await scan(run().run, 0, rows.length);
    await disk.settled();
    await scan(run().run, 0, rows.length);
    ok(disk.trouble !== null);
    Object.assign(machine.diskFaults, { readError: 0, writeError: 0 });
    await machine.simulation.sleep(120_000);
    equal(disk.trouble, null);
    await scan(run().run, 0, rows.length);
    await disk.settled();
    store.gets = [];
    await scan(run().run, 0, rows.length);
    equal(store.gets.length, 0);
  }));

test("what the disk has is read at once where the disk is quick, without a promise", async () => {
  let atOnce = 0;
  await story(async ({ disk, machine, run, store }) => {
    const first = run().run;
    for (let i = 100; i < 140; i++) await read(first, i);
    await disk.settled();
    const { run: second, cache } = run();
    await read(second, 100);
    const requests = store.gets.length;
    const misses = cache.misses;
    // Blocks that the disk has, and this memory has not.
    for (let i = 101; i < 140; i++) {
      const { key, value } = rows[i]!;
      const found = second.get(new PointLookup(KEYS, key, AT_HEAD), true);
      if (!isPromise(found)) {
        deepEqual(Buffer.from(found!.bytes.subarray(found!.start, found!.end)), value);
        if (cache.misses > misses) atOnce++;
      } else if (machine.diskBlocking === 1) ok(false, "a disk that is quick is not waited for");
      else await found;
    }
    equal(store.gets.length, requests);
  });
  ok(atOnce > 0);
});
