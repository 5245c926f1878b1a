import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { pagesOf } from "../../test/storage/history.ts";
import { StorageBench } from "../../test/storage/storage-bench.ts";
import { HistoryWindow } from "./history-window.ts";
import { KEYS, type Version } from "./storage.ts";

const PAGE_BYTES = 1 << 20;
const all = { from: "", to: null };

function version(main: number, sub: number, bytes: Buffer): Version {
  return { key: "k", main, sub, tombstone: false, effect: 0, bytes, start: 0, end: bytes.length };
}

test("history ends behind a mebibyte of values and the transaction at hand, in memory and in tables", async () => {
  const value = Buffer.alloc(PAGE_BYTES / 4, "v");
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
    const pages = await pagesOf(bench.tree, { range: all, after: 1, upTo: bench.revision, limit: 512 });
    for (const page of pages) equal(page.length <= 4, true, `${page.length} versions of a quarter in ${where}`);
    deepEqual(
      pages.flat().map(({ main }) => main),
      Array.from({ length: 20 }, (_, n) => 2 + (n >> 1)),
    );
    equal(pages.length >= 5 && pages.length <= 7, true, `${pages.length} pages in ${where}`);
    await bench.close();
  }
});

test("a transaction far over the limits is gathered whole, and sorted a few times, not for each version", () => {
  const window = new HistoryWindow(1, 9, { versions: 10, bytes: 1 << 20 });
  // Sorted for each version this would take hours.
  const value = Buffer.alloc(100);
  for (let sub = 100_000; sub > 0; sub--) window.addCopy(version(2, sub, value));
  window.addCopy(version(3, 1, value));
  const versions = window.take();
  equal(versions.length, 100_000);
  equal(window.through, 2);
  equal(versions[0]!.sub, 1);
});
