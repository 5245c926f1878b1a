import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { NaiveTree, shown } from "../../test/storage/naive-tree.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { KEYS, type Walk } from "./storage.ts";

const all = { from: "", to: null };
const settings = { tableBytes: 2000, blockBytes: 200, runsMax: 100, sortWindowBytes: 4000 };
const ROUNDS = 4;
const KEY_COUNT = 200;

/** Several runs of the same keys, nothing of them cached. */
async function filled(): Promise<{ bench: StorageBench; naive: NaiveTree }> {
  const bench = new StorageBench({ cacheBytes: 1000, settings });
  const naive = new NaiveTree();
  for (let round = 0; round < ROUNDS; round++) {
    for (let n = 0; n < KEY_COUNT; n++) put(bench, naive, `key${n}`, `value ${round}`.repeat(1 + (n % 7)));
    for (let n = 0; n < KEY_COUNT; n += 9) put(bench, naive, `key${n}`, null);
    await bench.persist(-1);
  }
  await bench.tree.settled();
  return { bench, naive };
}

function put(bench: StorageBench, naive: NaiveTree, key: string, value: string | null): void {
  const { revision } = bench.begin(true);
  const entry = naive.write(KEYS, key, revision, 0, value);
  if (entry !== null) bench.tree.apply(entry);
}

/** Everything is merged, and what was merged is collected, as if retention and grace were over. */
async function mergeAndCollect(bench: StorageBench, compactRevision: number): Promise<void> {
  await bench.persist(compactRevision);
  await bench.tree.mergeEverything();
  await bench.persist(compactRevision);
  const kept = new Set<ObjectKey>(bench.tree.checkpoint!.runs.flat().map(({ key }) => key));
  for (const key of [...bench.bucket.entries.keys()]) {
    if (key.startsWith("sst/") && !kept.has(key as ObjectKey)) bench.bucket.delete(key as ObjectKey);
  }
}

async function rest(walk: Walk): Promise<(string | null)[]> {
  const rows: (string | null)[] = [];
  while (!walk.ended) {
    const page = await walk.next(17, 1 << 20);
    if (page.length === 0) break;
    rows.push(...page.map(shown));
  }
  return rows;
}

for (const reverse of [false, true]) {
  test(`a walk goes on in what its tables were merged into${reverse ? ", backwards" : ""}`, async () => {
    const { bench, naive } = await filled();
    const at = bench.revision;
    const expected = naive.scan(KEYS, all, at, 0, reverse).map(shown);
    const walk = bench.tree.walk(all, at, reverse);
    const first = (await walk.next(30, 1 << 20)).map(shown);
    const unbegun = bench.tree.walk(all, at, reverse);
    for (let n = 0; n < KEY_COUNT; n += 3) put(bench, naive, `key${n}`, n % 2 === 0 ? "newer" : null);
    put(bench, naive, "key0000", "new");
    await mergeAndCollect(bench, at);
    deepEqual([...first, ...(await rest(walk))], expected);
    deepEqual(await rest(unbegun), expected);
    deepEqual(await rest(walk.again()), expected);
    await bench.close();
  });
}

test("a walk whose revision was compacted since ends as compacted", async () => {
  const { bench, naive } = await filled();
  const walk = bench.tree.walk(all, bench.revision, false);
  await walk.next(30, 1 << 20);
  for (let n = 0; n < KEY_COUNT; n++) put(bench, naive, `key${n}`, "newer");
  await mergeAndCollect(bench, bench.revision);
  await rejects(rest(walk), { kind: "compacted" });
  await bench.close();
});

test("versions in order go on, unless what is left of them was compacted", async () => {
  for (const isCompacted of [false, true]) {
    const { bench, naive } = await filled();
    const upTo = bench.revision;
    const expected = naive.history(all, 0, upTo).map(shown);
    const reader = bench.tree.versions({ range: all, after: 0, upTo, compacted: null });
    const found = (await reader.next(40, 1 << 20)).versions.map(shown);
    for (let n = 0; n < KEY_COUNT; n++) put(bench, naive, `key${n}`, "newer");
    await mergeAndCollect(bench, isCompacted ? upTo : -1);
    const others = async (): Promise<void> => {
      for (;;) {
        const { versions, through } = await reader.next(40, 1 << 20);
        found.push(...versions.map(shown));
        if (through >= upTo) return;
      }
    };
    if (isCompacted) await rejects(others(), { kind: "compacted" });
    else {
      await others();
      deepEqual(found, expected);
    }
    await reader.close();
    await bench.close();
  }
});

test("a point read, a scan and a count that are under way while their tables go are answered", async () => {
  const { bench, naive } = await filled();
  const at = bench.revision;
  const { store } = bench;
  const get = store.get.bind(store);
  const gone = Promise.withResolvers<void>();
  let held = 0;
  let isHeld = true;
  store.get = async (key, options) => {
    if (isHeld && key.startsWith("sst/")) {
      held++;
      await gone.promise;
    }
    return get(key, options);
  };
  const range = { from: "key1", to: "key5" };
  const reads = [
    bench.tree.get(KEYS, "key7", at),
    bench.tree.scan(KEYS, range, at, { limit: 0 }),
    bench.tree.count(KEYS, range, at),
  ] as const;
  isHeld = false;
  for (let n = 0; n < KEY_COUNT; n++) put(bench, naive, `key${n}`, "newer");
  await mergeAndCollect(bench, at);
  ok(held > 0);
  gone.resolve();
  const [version, rows, count] = await Promise.all(reads);
  equal(shown(version), shown(naive.get(KEYS, "key7", at)));
  const expected = naive.scan(KEYS, range, at, 0, false).map(shown);
  deepEqual(rows.map(shown), expected);
  equal(count, expected.length);
  await bench.close();
});

test("a table that is listed and missing stays corruption", async () => {
  const { bench } = await filled();
  const walk = bench.tree.walk(all, bench.revision, false);
  for (const key of [...bench.bucket.entries.keys()]) if (key.startsWith("sst/")) bench.bucket.delete(key as ObjectKey);
  await rejects(rest(walk), { kind: "corrupt", message: /is missing, though a checkpoint lists it/ });
  await rejects(async () => bench.tree.get(KEYS, "key7", bench.revision), { kind: "corrupt" });
  // Whoever leads by now may have merged it away.
  bench.deposed = new DbError("noLeader", "others lead");
  await rejects(async () => bench.tree.get(KEYS, "key7", bench.revision), { kind: "noLeader" });
  await bench.close();
});
