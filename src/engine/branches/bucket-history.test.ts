import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { randomOf } from "../../../test/branches/random.ts";
import {
  atRevision,
  newest,
  request,
  runtime,
  smallTables,
  TestRepository,
  write,
} from "../../../test/branches/repository.ts";
import { range } from "../../../test/engine/requests.ts";
import { parseKey } from "../../objects/keys.ts";
import { MeteredStore } from "../../objects/metered.ts";
import { defaultRetention } from "../../storage/checkpoint-retention.ts";
import { defaultTreeSettings } from "../../storage/tree.ts";
import type { Database, Row } from "../engine.ts";
import { KeyValueReader } from "../mvcc/key-value.ts";
import { BucketHistory, type BucketHistoryOptions } from "./bucket-history.ts";
import type { MergePage, MergeRequest, MergeSummary, OnConflict } from "./history.ts";

const all = { from: "", to: null };
const pairs = new KeyValueReader();
const textOf = (row: Row | null): string | null =>
  row === null ? null : Buffer.from(pairs.read(row).value).toString("latin1");

type Writer = NonNullable<BucketHistoryOptions["writer"]>;

function historyOf(repository: TestRepository, change: Partial<Writer> = {}): BucketHistory {
  const databaseOf = (name: string) => repository.database(name);
  const setRetention: Writer["setRetention"] = async (name, retention) =>
    (await repository.serve(name)).leading.setRetention(retention);
  const writer = { databaseOf, limits: { opsMax: 128, bytesMax: 1 << 20 }, setRetention, ...change };
  const retention = defaultRetention;
  return new BucketHistory({ store: repository.store, runtime, request, settle: async () => {}, writer, retention });
}

async function mergeOf(history: BucketHistory, given: Partial<MergeRequest> & Pick<MergeRequest, "source" | "into">) {
  const pages: MergePage[] = [];
  const merging = history.merge({ range: all, onConflict: "fail", apply: false, ...given });
  for (;;) {
    const { value, done } = await merging.next();
    if (done)
      return { changes: pages.flatMap(({ changes }) => changes), conflicts: conflictsOf(pages), summary: value };
    pages.push(value as MergePage);
  }
}

const conflictsOf = (pages: readonly MergePage[]) =>
  pages.flatMap(({ conflicts }) =>
    conflicts.map(({ key, base, ours, theirs }) => [key, textOf(base), textOf(ours), textOf(theirs)]),
  );

async function pairsOf(database: Database): Promise<Map<string, string>> {
  const { rows } = await database.range(range("\0", "\0"));
  return new Map(rows.map((row) => [pairs.read(row).key, textOf(row)!]));
}

/** What a three-way merge is, key by key. */
function naive(base: Map<string, string>, ours: Map<string, string>, theirs: Map<string, string>) {
  const changes: { key: string; delete: boolean }[] = [];
  const conflicts: (string | null)[][] = [];
  for (const key of [...new Set([...base.keys(), ...ours.keys(), ...theirs.keys()])].sort()) {
    const [was, our, their] = [base, ours, theirs].map((map) => map.get(key) ?? null);
    if (their === was || their === our) continue;
    if (our !== was) conflicts.push([key, was!, our!, their!]);
    else changes.push({ key, delete: their === null });
  }
  return { changes, conflicts };
}

function applied(ours: Map<string, string>, theirs: Map<string, string>, keys: readonly string[]): Map<string, string> {
  const result = new Map(ours);
  for (const key of keys) {
    const their = theirs.get(key);
    if (their === undefined) result.delete(key);
    else result.set(key, their);
  }
  return new Map([...result].sort(([a], [b]) => (a < b ? -1 : 1)));
}

for (const seed of [11, 12, 13, 14]) {
  test(`a merge is the three-way merge of all pairs (seed ${seed})`, async () => {
    await using repository = await TestRepository.open({ tree: smallTables(defaultTreeSettings) });
    const random = randomOf(seed);
    const history = historyOf(repository, { limits: { opsMax: seed % 2 === 0 ? 100 : 7, bytesMax: 1 << 20 } });
    const main = await repository.serve("main");
    const change = async (name: string): Promise<void> => {
      const served = await repository.serve(name);
      for (let n = 10 + random(30); n > 0; n--) {
        const key = `key/${String(random(80)).padStart(3, "0")}`;
        await write(served.database, key, random(4) === 0 ? null : `value ${random(4)}`);
      }
      const { committed, compactRevision } = served.database;
      if (random(3) === 0) await served.checkpoint();
      if (random(3) === 0) await served.database.compact({ revision: committed, physical: false });
      if (random(3) === 0) await served.database.maintenance.defragment(AbortSignal.timeout(10_000));
      ok(compactRevision <= committed);
    };
    await change("main");
    await main.checkpoint();
    for (let round = 0; round < 6; round++) {
      await change("main");
      const base = await pairsOf(main.database);
      const child = `child-${round}`;
      const database = await repository.cut(child);
      await change(child);
      if (random(2) === 0) await change("main");
      const [source, into] = random(2) === 0 ? [child, "main"] : ["main", child];
      const [theirs, ours] = [
        await pairsOf(await repository.database(source)),
        await pairsOf(await repository.database(into)),
      ];
      const expected = naive(base, ours, theirs);
      const dry = await mergeOf(history, { source, into });
      deepEqual(dry.changes, expected.changes);
      deepEqual(dry.conflicts, expected.conflicts);
      deepEqual(await pairsOf(await repository.database(into)), ours, "nothing is applied unless asked");
      const onConflict = (["fail", "ours", "theirs"] as const)[random(3)] as OnConflict;
      const done = await mergeOf(history, { source, into, apply: true, onConflict });
      const taken = expected.changes.map(({ key }) => key);
      if (onConflict === "theirs") taken.push(...expected.conflicts.map(([key]) => key!));
      const refused = onConflict === "fail" && expected.conflicts.length > 0;
      deepEqual(await pairsOf(await repository.database(into)), applied(ours, theirs, refused ? [] : taken));
      const summary: MergeSummary = done.summary as MergeSummary;
      equal(summary.applied, refused ? 0 : taken.length);
      equal(summary.transactions, Math.ceil(taken.length / (seed % 2 === 0 ? 100 : 7)));
      if (!refused) equal((await mergeOf(history, { source, into })).changes.length, 0, "again: nothing is left");
      ok(database.committed > 0);
    }
  });
}

test("a key that is written while a merge is applied is not overwritten unseen", async () => {
  await using repository = await TestRepository.open();
  const main = await repository.database("main");
  await write(main, "a", "base");
  await write(main, "b", "base");
  const child = await repository.cut("child");
  await write(child, "a", "theirs");
  let interfered = 0;
  const databaseOf = async (name: string): Promise<Database> => {
    // Between the look at it and the transaction.
    if (interfered++ === 0) await write(main, "a", "written meanwhile");
    return repository.database(name);
  };
  const history = historyOf(repository, { databaseOf });
  const { summary } = await mergeOf(history, { source: "child", into: "main", apply: true });
  deepEqual([summary.conflicts, summary.applied], [1, 0]);
  deepEqual(
    [...(await pairsOf(main))],
    [
      ["a", "written meanwhile"],
      ["b", "base"],
    ],
  );
});

test("exactly as the source has it: deletions are taken back, later writes too, of the range alone", async () => {
  await using repository = await TestRepository.open();
  const main = await repository.database("main");
  for (const key of ["a/1", "a/2", "b/1"]) await write(main, key, "old");
  await repository.cut("before");
  await write(main, "a/1", null);
  await write(main, "a/2", "new");
  await write(main, "a/3", "new");
  await write(main, "b/1", null);
  const history = historyOf(repository);
  const asked = { source: "before", into: "main", range: { from: "a/", to: "a0" } };
  equal((await mergeOf(history, { ...asked, apply: true })).summary.applied, 0, "it has changed nothing itself");
  const dry = await mergeOf(history, { ...asked, exact: true });
  deepEqual(dry.changes, [
    { key: "a/1", delete: false },
    { key: "a/2", delete: false },
    { key: "a/3", delete: true },
  ]);
  const { summary } = await mergeOf(history, { ...asked, exact: true, apply: true });
  deepEqual([summary.applied, summary.conflicts], [3, 0]);
  deepEqual(
    [...(await pairsOf(main))],
    [
      ["a/1", "old"],
      ["a/2", "old"],
    ],
  );
});

test("a range as of any retained revision, though it is compacted", async () => {
  await using repository = await TestRepository.open();
  const served = await repository.serve("main");
  const main = served.database;
  for (let n = 0; n < 10; n++) await write(main, `k${n}`, `v${n}`);
  await main.compact({ revision: main.committed, physical: false });
  await write(main, "k3", null);
  const history = historyOf(repository);
  const at = async (revision: number, more = {}) => {
    const found = await history.rangeAt({ branch: "main", moment: atRevision(revision) }, range("k", "l", more));
    return { keys: found.rows.map((row) => pairs.read(row).key), count: found.count, more: found.more };
  };
  deepEqual(await at(4), { keys: ["k0", "k1", "k2"], count: 3, more: false });
  deepEqual(await at(11, { limit: 2 }), { keys: ["k0", "k1"], count: 10, more: true });
  deepEqual(await at(12, { countOnly: true }), { keys: [], count: 9, more: false });
  await rejects(at(99), /revision 99 is not there yet/);
  const child = await repository.cut("child", "main", atRevision(5));
  await write(child, "only", "here");
  const ofChild = await history.rangeAt({ branch: "child", moment: newest }, range("\0", "\0"));
  equal(ofChild.count, 5, "a branch without a checkpoint of its own, too");
  await rejects(
    history.rangeAt({ branch: "child", moment: atRevision(3) }, range("k")),
    /revision 3 is not retained; the nearest: revision 5 \(the beginning\)/,
  );
  const retention = { log: "1h", checkpoints: "1h:all" };
  const preview = await history.setRetention({ branch: "child", retention, preview: true });
  equal(preview.firstRevision, 5);
});

test("the log that two branches have in common is read once to compare them", async () => {
  await using repository = await TestRepository.open();
  const main = await repository.database("main");
  for (let n = 0; n < 30; n++) await write(main, `k${n}`, "v");
  const child = await repository.cut("child");
  await write(child, "k7", "changed");
  const metered = new MeteredStore(repository.store, runtime.clock);
  const options = { runtime, request, settle: async () => {}, writer: null, retention: defaultRetention };
  const history = new BucketHistory({ ...options, store: metered });
  const state = (branch: string) => ({ branch, moment: newest });
  const differences = [];
  for await (const page of history.diff({ from: state("main"), to: state("child"), range: all })) {
    differences.push(...page.map(({ key }) => key));
  }
  deepEqual(differences, ["k7"]);
  const isSegment = (series: { operation: string; object: string; outcome: string }) =>
    series.operation === "get" && series.object === "segment" && series.outcome === "done";
  const read = [...metered.series()].filter(isSegment).reduce((sum, { count }) => sum + count, 0);
  equal(read, repository.bucket.sorted.filter((key) => parseKey(key)?.kind === "segment").length);
});

test("a branch is found by its id, and by a name that could be one", async () => {
  await using repository = await TestRepository.open();
  await write(await repository.database("main"), "k", "main");
  const name = "0123456789abcdef0123456789abcdef";
  const child = await repository.cut(name);
  await write(child, "k", "child");
  const history = historyOf(repository);
  const shown = async (branch: string): Promise<string | null> =>
    textOf((await history.rangeAt({ branch, moment: newest }, range("k"))).rows[0]!);
  equal(await shown(name), "child");
  equal(await shown(await repository.idOf(name)), "child");
  equal(await shown(await repository.idOf("main")), "main");
  await rejects(shown("f".repeat(32)), { kind: "notFound" });
});
