import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { DbError } from "../../src/base/errors.ts";
import { BucketHistory } from "../../src/engine/branches/bucket-history.ts";
import type { MergePage, MergeRequest, MergeSummary } from "../../src/engine/branches/history.ts";
import type { Database } from "../../src/engine/engine.ts";
import { KeyValueReader } from "../../src/engine/mvcc/key-value.ts";
import { defaultRetention } from "../../src/storage/checkpoint-retention.ts";
import { defaultTreeSettings } from "../../src/storage/tree.ts";
import { everything, range } from "../engine/requests.ts";
import { fc } from "../properties.ts";
import { request, runtime, smallTables, TestRepository, write } from "./repository.ts";

const KEYS = 24;
const RUNS = 6;

/** What happens to a key, by its number; null: it is deleted. */
type Changes = readonly (readonly [key: number, value: number | null])[];

const changes = fc.array(
  fc.tuple(fc.integer({ min: 0, max: KEYS - 1 }), fc.option(fc.integer({ min: 0, max: 3 }), { freq: 3 })),
  { minLength: 5, maxLength: 40, size: "max" },
);

const open = () => TestRepository.open({ tree: smallTables(defaultTreeSettings) });

async function carryOut(database: Database, all: Changes): Promise<void> {
  for (const [key, value] of all) await write(database, `key/${key}`, value === null ? null : `value ${value}`);
}

async function pairsOf(repository: TestRepository, name: string): Promise<[string, string][]> {
  const { rows } = await (await repository.database(name)).range(range(...everything));
  const pairs = new KeyValueReader();
  return rows.map((row) => [pairs.read(row).key, Buffer.from(pairs.read(row).value).toString("latin1")]);
}

function historyOf(repository: TestRepository, opsMax: number, transactionsMax = Number.POSITIVE_INFINITY) {
  let left = transactionsMax;
  const databaseOf = async (name: string): Promise<Database> => {
    const database = await repository.database(name);
    const txn: Database["txn"] = (asked) => {
      if (left-- <= 0) throw new DbError("leadershipLost", "interrupted");
      return database.txn(asked);
    };
    return { txn } as Database;
  };
  const setRetention = () => Promise.reject(new Error("it is not asked for"));
  const writer = { databaseOf, limits: { opsMax, bytesMax: 1 << 20 }, setRetention };
  const { store } = repository;
  return new BucketHistory({ store, runtime, request, settle: async () => {}, writer, retention: defaultRetention });
}

async function merge(
  history: BucketHistory,
  given: Pick<MergeRequest, "source" | "into"> & Partial<MergeRequest>,
): Promise<MergeSummary> {
  const merging = history.merge({ range: { from: "", to: null }, onConflict: "fail", apply: true, ...given });
  let step: IteratorResult<MergePage, MergeSummary>;
  do step = await merging.next();
  while (!step.done);
  return step.value;
}

test("merges of changes to different keys give the same in either order", async () => {
  const property = fc.asyncProperty(changes, changes, changes, async (base, one, other) => {
    await using repository = await open();
    await carryOut(await repository.database("main"), base);
    await (await repository.serve("main")).checkpoint();
    for (const name of ["odd", "even", "first", "second"]) await repository.cut(name);
    await carryOut(
      await repository.database("odd"),
      one.filter(([key]) => key % 2 === 1),
    );
    await carryOut(
      await repository.database("even"),
      other.filter(([key]) => key % 2 === 0),
    );
    const history = historyOf(repository, 128);
    for (const source of ["odd", "even"]) equal((await merge(history, { source, into: "first" })).conflicts, 0);
    for (const source of ["even", "odd"]) equal((await merge(history, { source, into: "second" })).conflicts, 0);
    deepEqual(await pairsOf(repository, "first"), await pairsOf(repository, "second"));
  });
  await fc.assert(property, { numRuns: RUNS });
});

test("a merge that is made again changes nothing", async () => {
  const onConflict = fc.constantFrom("ours" as const, "theirs" as const);
  const property = fc.asyncProperty(changes, changes, changes, onConflict, async (base, ours, theirs, how) => {
    await using repository = await open();
    await carryOut(await repository.database("main"), base);
    await repository.cut("theirs");
    await carryOut(await repository.database("theirs"), theirs);
    await carryOut(await repository.database("main"), ours);
    const history = historyOf(repository, 7);
    const asked = { source: "theirs", into: "main", onConflict: how };
    await merge(history, asked);
    const merged = await pairsOf(repository, "main");
    const { committed } = await repository.database("main");
    const again = await merge(history, asked);
    equal(again.applied, 0);
    equal((await repository.database("main")).committed, committed);
    deepEqual(await pairsOf(repository, "main"), merged);
    if (how === "theirs") deepEqual(again.conflicts, 0);
  });
  await fc.assert(property, { numRuns: RUNS });
});

test("a series that is interrupted anywhere and gone on with gives what one transaction gives", async () => {
  let interrupted = 0;
  const property = fc.asyncProperty(changes, changes, changes, fc.nat(), async (base, ours, theirs, stop) => {
    await using repository = await open();
    await carryOut(await repository.database("main"), base);
    for (const name of ["theirs", "whole", "series"]) await repository.cut(name);
    await carryOut(await repository.database("theirs"), theirs);
    for (const name of ["whole", "series"]) await carryOut(await repository.database(name), ours);
    const asked = { source: "theirs", onConflict: "theirs" as const };
    const whole = await merge(historyOf(repository, 1000), { ...asked, into: "whole" });
    ok(whole.transactions <= 1);
    const needed = Math.ceil(whole.applied / 3);
    if (needed > 0) {
      const begun = merge(historyOf(repository, 3, stop % needed), { ...asked, into: "series" });
      await rejects(begun, /interrupted/);
      if (needed > 1) interrupted++;
    }
    await merge(historyOf(repository, 3), { ...asked, into: "series" });
    deepEqual(await pairsOf(repository, "series"), await pairsOf(repository, "whole"));
  });
  await fc.assert(property, { numRuns: RUNS });
  ok(interrupted > 0, "some were interrupted");
});
