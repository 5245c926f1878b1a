import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { HISTORY_BYTES, KEYS, type Version } from "./storage.ts";
import { HistoryWindow } from "./tree-history.ts";

const all = { from: "", to: null };

function version(main: number, sub: number, bytes: Buffer): Version {
  return { key: "k", main, sub, tombstone: false, effect: 0, bytes, start: 0, end: bytes.length };
}

test("history ends behind a mebibyte of values and the transaction at hand, in memory and in tables", async () => {
  const value = Buffer.alloc(HISTORY_BYTES / 4, "v");
  for (const where of ["memtable", "tables", "both"]) {
    const bench = new StorageBench({ cacheBytes: 8 << 20, settings: {} });
    for (let n = 0; n < 10; n++) {
      const { revision } = bench.begin(true);
      for (const sub of [0, 1]) {
        bench.tree.apply({ ...version(revision, sub, value), key: `k${n}/${sub}`, space: KEYS, effect: 1 });
      }
      if (where === "both" && n === 4) await bench.persist(-1);
    }
    if (where === "tables") await bench.persist(-1);
    const seen: number[] = [];
    let pages = 0;
    for (let after = 1; after < bench.revision; pages++) {
      const page = await bench.tree.history(all, after, bench.revision, 512);
      equal(page.versions.length <= 4, true, `${page.versions.length} versions of a quarter in ${where}`);
      for (const { main } of page.versions) seen.push(main);
      after = page.through;
    }
    deepEqual(
      seen,
      Array.from({ length: 20 }, (_, n) => 2 + (n >> 1)),
    );
    equal(pages >= 5 && pages <= 7, true, `${pages} pages in ${where}`);
    await bench.close();
  }
});

test("a transaction far over the limits is gathered whole, and sorted a few times, not for each version", () => {
  const window = new HistoryWindow(1, 9, 10);
  // Sorted for each version this would take hours.
  const value = Buffer.alloc(100);
  for (let sub = 100_000; sub > 0; sub--) window.add(version(2, sub, value));
  window.add(version(3, 1, value));
  const versions = window.take();
  equal(versions.length, 100_000);
  equal(window.through, 2);
  equal(versions[0]!.sub, 1);
});
