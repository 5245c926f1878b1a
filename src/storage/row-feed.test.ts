import { deepEqual, equal, notEqual, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { runtime } from "../../test/storage/table-samples.ts";
import type { ObjectKey } from "../base/ids.ts";
import { ContentHash } from "./content-hash.ts";
import { type EncodedBlock, passThrough } from "./encoded-block.ts";
import { Memtable } from "./memtable.ts";
import { Merge, type WrittenTable } from "./merge.ts";
import { type RowBatch, RowFeed, RowSource } from "./row-feed.ts";
import type { EntrySource } from "./run-source.ts";
import { type Effect, KEYS, type Space, spaces, type Version } from "./storage.ts";

const BLOCK_BYTES = 200;

/** The oracle: the same entries, one at a time. */
class OneAtATime implements EntrySource {
  readonly block = null;
  readonly #source: RowSource;

  constructor(source: RowSource) {
    this.#source = source;
  }

  get version(): Version | null {
    return this.#source.version;
  }

  get space(): Space {
    return this.#source.space;
  }

  advance() {
    return this.#source.advance();
  }

  pass(): void {}
}

interface Write {
  readonly key: number;
  readonly value: number | null;
  readonly lease: boolean;
  /** Goes on in the memtable that comes next. */
  readonly freezes: boolean;
}

const writes = fc.array(
  fc.record({
    key: fc.integer({ min: 0, max: 30 }),
    value: fc.option(fc.oneof(fc.integer({ min: 0, max: 30 }), fc.integer({ min: 30, max: 500 })), { freq: 4 }),
    lease: fc.boolean(),
    freezes: fc.integer({ min: 0, max: 40 }).map((n) => n === 0),
  }),
  { maxLength: 300, size: "max" },
);

const keyOf = (n: number): string =>
  n % 3 === 0 ? `key/${n}` : n % 3 === 1 ? `key/${n}/${"x".repeat(n * 3)}` : `k\u00ff${n}`;

/** Memtables as those writes make them, the youngest first. */
function memtablesOf(all: readonly Write[]): Memtable[] {
  const made = [new Memtable()];
  const alive = new Set<string>();
  all.forEach(({ key: n, value, lease, freezes }, i) => {
    const memtable = made[0]!;
    const key = keyOf(n);
    const tombstone = value === null;
    if (tombstone && !alive.has(key)) return;
    const effect: Effect = tombstone ? -1 : alive.has(key) ? 0 : 1;
    if (tombstone) alive.delete(key);
    else alive.add(key);
    const bytes = Buffer.alloc(value ?? 0, `${i}`);
    const [main, sub] = [2 + Math.floor(i / 3), i % 3];
    memtable.apply({ space: KEYS, key, main, sub, tombstone, effect, bytes, start: 0, end: bytes.length });
    if (lease && !tombstone) {
      const entry = { space: spaces.leaseKeys, key: `${main}.${sub}`, main, sub, tombstone: false, effect: 1 as const };
      memtable.apply({ ...entry, bytes, start: 0, end: Math.min(4, bytes.length) });
    }
    if (freezes) made.unshift(new Memtable());
  });
  for (const memtable of made) memtable.freeze();
  return made.filter((memtable) => memtable.entries > 0);
}

async function merged(
  memtables: readonly Memtable[],
  how: {
    compactRevision: number;
    tableBytes: number;
    wrap: (source: RowSource) => EntrySource;
    onSpare?: (spare: Uint8Array) => void;
  },
) {
  const sources: EntrySource[] = [];
  for (const memtable of memtables) {
    const feed = new RowFeed(memtable.source(), BLOCK_BYTES);
    const source = new RowSource(async (spare) => {
      if (spare !== null) how.onSpare?.(spare);
      return feed.next(spare);
    });
    await source.start();
    sources.push(how.wrap(source));
  }
  const tables: WrittenTable[] = [];
  const merge = new Merge({
    runtime: { ...runtime, random: { ...runtime.random, bytes: (count: number) => Buffer.alloc(count, 7) } },
    sources,
    bytesHint: 1000,
    compactRevision: how.compactRevision,
    bottom: true,
    tableBytes: how.tableBytes,
    blockBytes: BLOCK_BYTES,
    after: null,
    before: null,
    write: async (table) => {
      tables.push(table);
      return { ...table.facts, key: "" as ObjectKey, bytes: table.body.length };
    },
    signal: new AbortController().signal,
  });
  const { dropped, entries, effectSums } = await merge.run();
  const effects = [...effectSums].filter(([, sum]) => sum !== 0);
  return { tables, dropped: { hash: dropped.hash.hex(), entries: dropped.entries }, entries, effects };
}

/** What tables say of all that is in them. */
function sumsOf(tables: readonly WrittenTable[]) {
  const hash = new ContentHash();
  const sums = new Map<number, number[]>();
  for (const { facts } of tables) {
    hash.addAll(ContentHash.fromHex(facts.contentHash));
    for (const { space, entries, mainMin, mainMax, effectSum, effectMain, tombstones, valueBytes } of facts.spaces) {
      const all = sums.get(space) ?? [0, mainMin, 0, 0, 0, 0, 0];
      all[0]! += entries;
      all[1] = Math.min(all[1]!, mainMin);
      all[2] = Math.max(all[2]!, mainMax);
      all[3]! += effectSum;
      all[4] = Math.max(all[4]!, effectMain);
      all[5]! += tombstones;
      all[6]! += valueBytes;
      sums.set(space, all);
    }
  }
  return { hash: hash.hex(), sums: [...sums], keys: tables.length === 1 ? tables[0]!.facts.spaces : [] };
}

test("one memtable becomes the same bytes whether its blocks go whole or its entries one at a time", async () => {
  let whole = 0;
  await fc.assert(
    fc.asyncProperty(writes, async (all) => {
      const memtables = memtablesOf(all.map((each) => ({ ...each, freezes: false })));
      if (memtables.length === 0) return;
      const how = { compactRevision: -1, tableBytes: 1 << 20 };
      const one = await merged(memtables, { ...how, wrap: (source) => new OneAtATime(source) });
      const other = await merged(memtables, { ...how, wrap: (source) => source });
      equal(other.tables[0]!.body.toString("hex"), one.tables[0]!.body.toString("hex"));
      deepEqual(other, one);
      if (all.length > 50) whole++;
    }),
    { numRuns: 100 },
  );
  notEqual(whole, 0);
});

test("whatever is dropped wherever tables end, blocks that go whole make what entries one at a time do", async () => {
  const revision = fc.integer({ min: -1, max: 110 });
  await fc.assert(
    fc.asyncProperty(
      writes,
      revision,
      fc.constantFrom(300, 2000, 1 << 20),
      async (all, compactRevision, tableBytes) => {
        const memtables = memtablesOf(all);
        const how = { compactRevision, tableBytes };
        const one = await merged(memtables, { ...how, wrap: (source) => new OneAtATime(source) });
        const other = await merged(memtables, { ...how, wrap: (source) => source });
        const { tables: oneTables, ...oneRest } = one;
        const { tables: otherTables, ...otherRest } = other;
        deepEqual(otherRest, oneRest);
        if (tableBytes === 1 << 20) deepEqual(sumsOf(otherTables), sumsOf(oneTables));
        else equal(sumsOf(otherTables).hash, sumsOf(oneTables).hash);
      },
    ),
    { numRuns: 200 },
  );
});

test("a flush begins a table behind where the run below ends, and where younger keys begin: if they are few", () => {
  const memtable = new Memtable();
  for (let n = 0; n < 100; n++) {
    const bytes = Buffer.alloc(20, `${n}`);
    const key = `${n + 100}`;
    memtable.apply({ space: KEYS, key, main: n + 2, sub: 0, tombstone: false, effect: 1, bytes, start: 0, end: 20 });
  }
  memtable.freeze();
  const begun = (below: string | null, ...above: (string | null)[]): string[] => {
    let asked = 0;
    const ends = { entries: 100, below, above: () => above[Math.min(asked++, above.length - 1)]! };
    const feed = new RowFeed(memtable.source(), BLOCK_BYTES, ends);
    const { blocks, bytes } = feed.next();
    const firsts = blocks.flatMap(({ tableAt }, i) =>
      tableAt === null ? [] : [`${tableAt} ${firstKey(bytes, blocks[i - 1]!.end)}`],
    );
    equal(
      blocks.reduce((sum, { count }) => sum + count, 0),
      100,
    );
    return firsts;
  };
  deepEqual(begun(null, null), []);
  deepEqual(begun("1105", "1904"), ["1105 111", "1904 191"]);
  deepEqual(begun("110", "190"), ["110 110", "190 190"]);
  deepEqual(begun("100", "200"), [], "what lies before or behind all of them cuts nothing");
  deepEqual(begun("099", null), []);
  deepEqual(begun("150", "150"), [], "half of it is no end");
  deepEqual(begun(null, null, null, "195"), ["195 195"], "keys come while it is written");
  equal(begun(null, "199", "199", "199", "199", "150").length, 1, "and less ones than what was just written");
});

function firstKey(bytes: Uint8Array, at: number): string {
  const keyBytes = bytes[at + 1]!;
  return Buffer.from(bytes).latin1Slice(at + 2, at + 2 + keyBytes);
}

test("memory of a batch goes back when nobody looks at it, not where entries were given one by one", async () => {
  const writes = Array.from({ length: 9000 }, (_, key) => ({ key, value: 300, lease: key % 50 === 0, freezes: false }));
  const memtables = memtablesOf(writes.sort((a, b) => (keyOf(a.key) < keyOf(b.key) ? -1 : 1)));
  const hashes = async (wrap: (source: RowSource) => EntrySource, compactRevision: number) => {
    let spares = 0;
    const onSpare = (spare: Uint8Array): void => {
      spares++;
      spare.fill(0xee);
    };
    const { tables } = await merged(memtables, { compactRevision, tableBytes: 500_000, wrap, onSpare });
    return { spares, hashes: tables.map(({ sha256 }) => sha256) };
  };
  const whole = await hashes((source) => source, -1);
  const single = await hashes((source) => new OneAtATime(source), -1);
  ok(whole.spares >= 8, `${whole.spares} of some ten batches`);
  equal(single.spares, 0);
  deepEqual(whole.hashes, single.hashes);
  // Below the compaction versions are held on to while later ones are looked at; above it blocks go whole.
  const compacted = await hashes((source) => source, 1500);
  ok(compacted.spares > 0 && compacted.spares < whole.spares);
  deepEqual(compacted.hashes, (await hashes((source) => new OneAtATime(source), 1500)).hashes);
});

test("a block that is not what it is said to be is refused", async () => {
  const [memtable] = memtablesOf([1, 2, 4].map((key) => ({ key, value: 20, lease: false, freezes: false })));
  const feed = new RowFeed(memtable!.source(), 1000);
  const batch: RowBatch = feed.next();
  const source = new RowSource(async () => batch);
  await source.start();
  const block = source.block!;
  const pass = (changed: Partial<EncodedBlock>) => () => {
    return passThrough({ ...block, ...changed }, null, { lanes: new Uint32Array(4), onKey: () => {} });
  };
  equal(pass({})().keys, 3);
  throws(pass({ count: block.count - 1 }), RangeError);
  throws(pass({ count: block.count + 1 }), RangeError);
  throws(pass({ last: block.first }), RangeError);
  throws(pass({ first: block.last }), RangeError);
  throws(pass({ bytes: block.bytes.subarray(0, -1) }), RangeError);
  for (let at = 0; at < block.bytes.length; at++) {
    const bytes = Buffer.from(block.bytes);
    bytes[at]! ^= 0x80;
    try {
      pass({ bytes })();
    } catch (error) {
      equal(error instanceof RangeError, true, `${error}`);
    }
  }
});
