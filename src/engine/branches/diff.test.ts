import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { randomOf } from "../../../test/branches/random.ts";
import {
  atRevision,
  newest,
  readings,
  runtime,
  smallTables,
  TestRepository,
  write,
} from "../../../test/branches/repository.ts";
import { AT_HEAD, KEYS, type Version } from "../../storage/storage.ts";
import { defaultTreeSettings } from "../../storage/tree.ts";
import type { Database } from "../engine.ts";
import { KeyValueReader } from "../mvcc/key-value.ts";
import { StateDiff } from "./diff.ts";
import { forkPoint } from "./fork-point.ts";
import type { Moment } from "./moment.ts";
import { openPast, type PastOptions, type PastState } from "./past-state.ts";

const all = { from: "", to: null };
const pairs = new KeyValueReader();
const textOf = (version: Version | null): string | null =>
  version === null ? null : Buffer.from(pairs.read(version).value).toString("latin1");

type Row = [key: string, before: string | null, after: string | null];

async function diffOf(
  bucket: PastOptions,
  a: PastState,
  b: PastState,
  range = all as { from: string; to: string | null },
) {
  const fork = await forkPoint(bucket, a, b);
  const diff = new StateDiff(a, b, { runtime, range, forkRevision: fork?.revision ?? null });
  const rows: Row[] = [];
  for await (const batch of diff.batches()) {
    for (const { key, before, after } of batch) rows.push([key, textOf(before), textOf(after)]);
  }
  return { rows, fork };
}

async function naive(
  a: PastState,
  b: PastState,
  { from, to } = all as { from: string; to: string | null },
): Promise<Row[]> {
  const [left, right] = await Promise.all(
    [a, b].map(async ({ tree }) => {
      const versions = await tree.scan(KEYS, { from, to }, AT_HEAD, { limit: 0 });
      return new Map(versions.map((version) => [version.key, textOf(version)]));
    }),
  );
  const keys = [...new Set([...left!.keys(), ...right!.keys()])].sort();
  const rows = keys.map((key): Row => [key, left!.get(key) ?? null, right!.get(key) ?? null]);
  return rows.filter(([, before, after]) => before !== after);
}

const SEEDS = [1, 2, 3];

for (const seed of SEEDS) {
  test(`the difference of any two states is that of all their pairs (seed ${seed})`, async () => {
    await using repository = await TestRepository.open({ tree: smallTables(defaultTreeSettings) });
    const random = randomOf(seed);
    const names = ["main"];
    await repository.serve("main");
    const change = async (name: string, database: Database): Promise<void> => {
      const key = `key/${String(random(120)).padStart(3, "0")}`;
      await write(database, key, random(4) === 0 ? null : `${name} ${random(5)}${"x".repeat(random(60))}`);
    };
    for (let step = 0; step < 60; step++) {
      const name = names[random(names.length)]!;
      const served = await repository.serve(name);
      const { database } = served;
      for (let n = random(30); n >= 0; n--) await change(name, database);
      const what = random(8);
      if (what < 3) await served.checkpoint();
      else if (what === 3 && database.committed > database.compactRevision + 2) {
        const span = database.committed - Math.max(1, database.compactRevision);
        await database.compact({ revision: database.committed - random(span), physical: false });
      } else if (what === 4 && names.length < 6) {
        const child = `b${names.length}`;
        const moment: Moment = random(2) === 0 ? newest : atRevision(Math.max(1, database.committed - random(20)));
        await repository.cut(child, name, moment);
        names.push(child);
      } else if (what === 5) await database.maintenance.defragment(AbortSignal.timeout(10_000));
    }
    const bucket = repository.reader();
    let differences = 0;
    for (let n = 0; n < 60; n++) {
      const states: PastState[] = [];
      for (let side = 0; side < 2; side++) {
        const name = names[random(names.length)]!;
        const { committed } = await repository.database(name);
        const moment = random(2) === 0 ? newest : atRevision(Math.max(1, committed - random(60)));
        const state = await openPast(bucket, await repository.idOf(name), moment).catch(() => null);
        if (state !== null) states.push(state);
      }
      const [a, b] = states;
      if (a !== undefined && b !== undefined) {
        const { rows } = await diffOf(bucket, a, b);
        deepEqual(rows, await naive(a, b));
        differences += rows.length;
        const range = { from: "key/03", to: "key/05" };
        deepEqual((await diffOf(bucket, a, b, range)).rows, await naive(a, b, range));
      }
      for (const state of states) await state.close();
    }
    ok(differences > 200, `${differences} differences were seen`);
  });
}

test("one changed key in a large database costs a few blocks", async (t) => {
  const settings = { ...defaultTreeSettings, tableBytes: 1 << 20, blockBytes: 4 << 10 };
  await using repository = await TestRepository.open({ tree: settings });
  const main = await repository.serve("main");
  const random = randomOf(7);
  const value = () => Array.from({ length: 200 }, () => String.fromCharCode(random(256))).join("");
  for (let n = 0; n < 40_000; n += 100) {
    await Promise.all(Array.from({ length: 100 }, (_, i) => write(main.database, `key/${n + i}`, value())));
  }
  await main.checkpoint();
  const child = await repository.cut("child");
  await write(child, "key/12345", "changed");
  await write(child, "key/777", null);
  await (await repository.serve("child")).checkpoint();
  const tableBytes = [...repository.bucket.entries].reduce(
    (sum, [key, { body }]) => sum + (key.startsWith("sst/") ? body.length : 0),
    0,
  );
  ok(tableBytes > 8 << 20, `${tableBytes} bytes of tables`);
  const bucket = repository.reader();
  const a = await openPast(bucket, await repository.idOf("main"), newest);
  const b = await openPast(bucket, await repository.idOf("child"), newest);
  const { rows } = await diffOf(bucket, a, b);
  deepEqual(
    rows.map(([key, before, after]) => [key, before?.length, after]),
    [
      ["key/12345", 200, "changed"],
      ["key/777", 200, null],
    ],
  );
  const read = readings(bucket.store);
  t.diagnostic(`${tableBytes} bytes of tables; read ${read.tableBytes} of them, ${read.gets} requests in all`);
  ok(read.gets < 25, `${read.gets} requests`);
  ok(read.tableBytes < tableBytes / 8, `${read.tableBytes} of ${tableBytes} bytes`);
  await a.close();
  await b.close();
  const same = await openPast(bucket, await repository.idOf("main"), newest);
  const again = await openPast(bucket, await repository.idOf("main"), newest);
  const before = readings(bucket.store).tableBytes;
  equal((await diffOf(bucket, same, again)).rows.length, 0);
  equal(readings(bucket.store).tableBytes, before, "equal states are not read");
});

/**
 * A side that has rewritten its oldest table, after a compaction, to nothing: all in it was superseded by a table that
 * both sides name. What the other side has of it is older than what both show.
 */
for (const between of [0, 200]) {
  test(`what a shared table holds is newer than what one side alone has (${between} keys between)`, async () => {
    await using repository = await TestRepository.open();
    const main = await repository.serve("main");
    await write(main.database, "changed", "old");
    await write(main.database, "gone", "old");
    for (let n = 0; n < between; n++) await write(main.database, `d${n}`, "between");
    await main.checkpoint();
    await write(main.database, "changed", "new");
    await write(main.database, "gone", null);
    await main.checkpoint();
    const bucket = repository.reader();
    const id = await repository.idOf("main");
    const [a, b] = [await openPast(bucket, id, newest), await openPast(bucket, id, newest)];
    const { memtables, runs } = a.tree.layers;
    equal(runs.length, 2, "nothing was merged");
    const [young] = runs;
    const tree = {
      layers: { memtables, runs: [young] },
      checkpoint: { point: { compactRevision: a.revision + 1 } },
      count: (...args: Parameters<typeof a.tree.count>) => a.tree.count(...args),
      walk: (...args: Parameters<typeof a.tree.walk>) => a.tree.walk(...args),
      get: (...args: Parameters<typeof a.tree.get>) => a.tree.get(...args),
    } as unknown as typeof a.tree;
    const rewritten = { tree, revision: a.revision, compactRevision: a.revision + 1 };
    for (const [before, after] of [
      [rewritten, b],
      [b, rewritten],
    ] as const) {
      const diff = new StateDiff(before, after, { runtime, range: all, forkRevision: a.revision });
      const rows: string[] = [];
      for await (const batch of diff.batches()) rows.push(...batch.map(({ key }) => key));
      deepEqual(rows, []);
      ok(diff.blocksRead > 0, "the older table is read");
    }
    await a.close();
    await b.close();
  });
}
