import { setTimeout as sleep } from "node:timers/promises";
import type { MaybePromise } from "../../src/base/maybe-promise.ts";
import { DbError } from "../../src/index.ts";
import type { T4 } from "../../src/library/t4.ts";
import { rangeRequest } from "../../src/library/transaction.ts";
import { keyOf, type Opened, type Order, openMetered, type Place, requestsOf, valueFor } from "./database.ts";

/** What is measured within one process, each in one of its own (work.ts). */
export interface LibraryJob {
  readonly place: Place;
  readonly keys: number;
  readonly order: Order;
  /** Seconds of each phase of `latency`. */
  readonly seconds: number;
  readonly valueBytes: number;
}

export type Figures = Record<string, number>;
const BATCH = 100;
const CALLS_AT_ONCE = 20;

async function putBatch(db: T4, first: number, { keys, order, valueBytes }: LibraryJob): Promise<void> {
  const success = [];
  for (let n = first; n < Math.min(first + BATCH, keys); n++) {
    success.push({ put: keyOf(n, order), value: valueFor(n, valueBytes) });
  }
  for (;;) {
    try {
      await db.txn({ success });
      return;
    } catch (error) {
      // The stated behaviour at the bound of back-pressure: wait, and send it again.
      if (!(error instanceof DbError) || error.kind !== "tooManyRequests") throw error;
      refusals++;
      await sleep(20);
    }
  }
}
let refusals = 0;

/** Fills a database through transactions of 100 puts. */
export async function load(job: LibraryJob): Promise<Figures> {
  const { db, requests } = await openMetered(job.place);
  let rssMax = 0;
  const watch = setInterval(() => {
    rssMax = Math.max(rssMax, process.memoryUsage.rss());
  }, 20);
  const cpuBefore = process.cpuUsage();
  const mainBefore = process.threadCpuUsage();
  const beganMs = performance.now();
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < job.keys) {
      const first = next;
      next += BATCH;
      await putBatch(db, first, job);
    }
  };
  await Promise.all(Array.from({ length: CALLS_AT_ONCE }, caller));
  const seconds = (performance.now() - beganMs) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  const main = process.threadCpuUsage(mainBefore);
  await db.defragment();
  const settledSeconds = (performance.now() - beganMs) / 1000;
  const { tableBytesWritten } = requestsOf(requests);
  const { bytes } = db.status();
  clearInterval(watch);
  await db.close();
  return {
    keysPerSecond: job.keys / seconds,
    untilMergedSeconds: settledSeconds,
    cpuUsPerKey: (cpu.user + cpu.system) / job.keys,
    mainCpuUsPerKey: (main.user + main.system) / job.keys,
    rssMaxMiB: rssMax / 2 ** 20,
    refusals,
    writeAmplification: tableBytesWritten / bytes,
    bytesPerLogicalByte: bytes / (job.keys * (job.valueBytes + keyOf(0, job.order).length)),
  };
}

/** Opens what `load` left, and reads one key. */
export async function openAndRead(job: LibraryJob): Promise<Figures> {
  const beganMs = performance.now();
  const { db, requests } = await openMetered(job.place);
  const openedMs = performance.now() - beganMs;
  const { kvs } = await db.get(keyOf(job.keys >> 1, job.order));
  const firstReadMs = performance.now() - beganMs;
  if (kvs.length !== 1) throw new Error("the key in the middle is missing");
  const counted = requestsOf(requests).requests;
  await db.close();
  return { openMs: openedMs, firstReadMs, requests: counted };
}

/** Rates of reads within the process. */
export async function reads(job: LibraryJob): Promise<Figures> {
  const { db } = await openMetered(job.place);
  const { database } = db;
  const some = Math.min(job.keys, 100_000);
  const name = (n: number): string => keyOf(Math.floor((n * 7919) % some), job.order);
  const range = (from: string, to: string, limit: number, countOnly = false): MaybePromise<unknown> =>
    database.range({ ...rangeRequest({ from, to }, { limit }), countOnly });
  const point = (n: number): MaybePromise<unknown> => database.range(rangeRequest(name(n)));
  for (let n = 0; n < some; n++) await point(n);
  const pointsPerSecond = await rate(2 * some, point);
  const p50 = async (calls: number, call: (n: number) => MaybePromise<unknown>): Promise<number> => {
    const times: number[] = [];
    for (let n = 0; n < calls; n++) {
      const beganMs = performance.now();
      await call(n);
      times.push(performance.now() - beganMs);
    }
    return times.sort((a, b) => a - b)[calls >> 1]!;
  };
  const head10Ms = await p50(200, () => range(FIRST, LAST, 10));
  const countMs = await p50(50, () => range(FIRST, LAST, 0, true));
  const page = 5000;
  const scanned = Math.min(job.keys, 200_000);
  const scan = async (): Promise<number> => {
    let from = FIRST;
    let rows = 0;
    while (rows < scanned) {
      const { kvs } = await db.get({ from, to: LAST }, { limit: page });
      rows += kvs.length;
      if (kvs.length < page) break;
      from = `${Buffer.from(kvs.at(-1)!.key).latin1Slice()}\0`;
    }
    return rows;
  };
  /** The same as the server does it: rows as they are stored, no object for each pair. */
  const scanStored = async (): Promise<number> => {
    const cursor = await database.openRange(rangeRequest({ from: FIRST, to: LAST }));
    let rows = 0;
    while (rows < scanned && !cursor.ended) rows += (await cursor.next(page, 1 << 20)).length;
    return rows;
  };
  const rateOf = async (of: () => Promise<number>): Promise<number> => {
    await of();
    return medianRate(of);
  };
  const pairsPerSecond = await rateOf(scan);
  const rowsPerSecond = await rateOf(scanStored);
  await db.close();
  return { pointsPerSecond, rowsPerSecond, pairsPerSecond, head10Ms, countMs };
}

/** Points anywhere in the database, larger than the block cache: what is not in memory comes from the store. */
export async function readsAllOver(job: LibraryJob): Promise<Figures> {
  const opened = await openMetered(job.place);
  const figures = await pointsAllOver(opened, job);
  await opened.db.close();
  return figures;
}

/** The same, where the disk cache has all that memory has not. */
export async function readsFromDiskCache(job: LibraryJob): Promise<Figures> {
  const opened = await openMetered({ ...job.place, cacheDiskBytes: 10 * 2 ** 30 });
  await fillDiskCache(opened.db);
  const { diskPointsPerSecond, ...figures } = await pointsAllOver(opened, job);
  const { cacheDiskBytes } = opened.db.status();
  await opened.db.close();
  return { cachedPointsPerSecond: diskPointsPerSecond!, ...figures, diskCacheMiB: cacheDiskBytes / 2 ** 20 };
}

const FILLING_PASSES_MAX = 10;

/** Reads everything until nothing is missing any more: what waits to be written is bounded, more is not kept. */
async function fillDiskCache({ database }: T4): Promise<void> {
  for (let pass = 0; pass < FILLING_PASSES_MAX; pass++) {
    const before = database.status().cacheDiskMisses;
    const cursor = await database.openRange(rangeRequest({ from: FIRST, to: LAST }));
    while (!cursor.ended) {
      await cursor.next(5000, 1 << 20);
      // Pieces are written one in each turn of the loop.
      await sleep(1);
    }
    if (pass > 0 && database.status().cacheDiskMisses === before) return;
  }
  throw new Error("the disk cache does not take all of the database");
}

async function pointsAllOver({ db, requests }: Opened, job: LibraryJob): Promise<Figures> {
  const { database } = db;
  let seed = 1;
  const point = async (): Promise<void> => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    const answer = database.range(rangeRequest(keyOf(seed % job.keys, job.order)));
    const { count } = answer instanceof Promise ? await answer : answer;
    if (count !== 1) throw new Error(`there are ${count} of a key`);
  };
  const AT_ONCE = 32;
  const pointsFor = async (seconds: number): Promise<number> => {
    let points = 0;
    const beganMs = performance.now();
    const reader = async (): Promise<void> => {
      for (; performance.now() - beganMs < seconds * 1000; points++) await point();
    };
    await Promise.all(Array.from({ length: AT_ONCE }, reader));
    return points / ((performance.now() - beganMs) / 1000);
  };
  await pointsFor(job.seconds);
  const before = requestsOf(requests).requests;
  const diskPointsPerSecond = await pointsFor(job.seconds);
  const missed = (requestsOf(requests).requests - before) / (diskPointsPerSecond * job.seconds);
  const rssMiB = process.memoryUsage.rss() / 2 ** 20;
  return { diskPointsPerSecond, requestsPerPoint: missed, rssMiB };
}

const FIRST = "/bench/";
const LAST = "/bench0";

const rate = (count: number, call: (n: number) => MaybePromise<unknown>): Promise<number> =>
  medianRate(async () => {
    for (let n = 0; n < count; n++) {
      const answer = call(n);
      if (answer instanceof Promise) await answer;
    }
    return count;
  });

const ROUNDS = 5;

/** The middle one of some rounds: each is short, and a moment in which the machine stalls would be most of it. */
async function medianRate(of: () => Promise<number>): Promise<number> {
  const rates: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const beganMs = performance.now();
    const done = await of();
    rates.push(done / ((performance.now() - beganMs) / 1000));
  }
  return rates.sort((a, b) => a - b)[ROUNDS >> 1]!;
}

/** Put latency at a steady rate while nothing else goes on, and while everything is merged again and again. */
export async function latency(job: LibraryJob): Promise<Figures> {
  const { db } = await openMetered(job.place);
  const perSecond = 2000;
  // Whoever overwrites a key reads it first: what is measured is writing, not fetching what an opened database lacks.
  for (let n = 0; n < job.keys; n += BATCH) await putBatch(db, n, job);
  const idle = await steadyPuts(db, perSecond, job);
  let merging = true;
  const merger = (async () => {
    while (merging) {
      // Something to merge: a flush of keys that are spread over all tables.
      for (let n = 0; n < 20_000; n += BATCH) await putBatch(db, (n * 977) % job.keys, job);
      await db.compact(Number(db.status().revision));
      await db.defragment();
    }
  })();
  const busy = await steadyPuts(db, perSecond, job);
  merging = false;
  await merger;
  await db.close();
  return { idleP50Ms: idle.p50, idleP99Ms: idle.p99, mergingP50Ms: busy.p50, mergingP99Ms: busy.p99 };
}

async function steadyPuts(db: T4, perSecond: number, job: LibraryJob): Promise<{ p50: number; p99: number }> {
  const times: number[] = [];
  const pending: Promise<unknown>[] = [];
  const beganMs = performance.now();
  for (let sent = 0; sent < perSecond * job.seconds; ) {
    const due = Math.floor(((performance.now() - beganMs) / 1000) * perSecond);
    for (; sent < due; sent++) {
      // Counted from when it was due: a stall counts for all that should have come meanwhile.
      const dueMs = beganMs + (sent / perSecond) * 1000;
      const put = db.put(keyOf((sent * 7919) % job.keys, job.order), valueFor(sent));
      pending.push(put.then(() => times.push(performance.now() - dueMs)));
    }
    await sleep(1);
  }
  await Promise.all(pending);
  times.sort((a, b) => a - b);
  return { p50: times[times.length >> 1]!, p99: times[Math.floor(times.length * 0.99)]! };
}
