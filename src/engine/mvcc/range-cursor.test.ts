import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig } from "../../../test/engine/doubles.ts";
import { del, plain, put, range } from "../../../test/engine/requests.ts";
import { fc } from "../../../test/properties.ts";
import type { RangeCursor, RangeRequest, RangeResult, Row } from "../engine.ts";

/** A hundred keys, some written again, some gone. */
async function filled(): Promise<Rig> {
  const rig = await openRig();
  const { database } = rig;
  for (let i = 0; i < 100; i++) await database.put(put(`k${(i * 37) % 100}`, `${i % 7}`.repeat(i % 11)));
  for (let i = 0; i < 100; i += 3) await database.put(put(`k${i}`, "again"));
  for (let i = 0; i < 100; i += 5) await database.deleteRange(del(`k${i}`));
  return rig;
}

async function readAll(cursor: RangeCursor, rowsMax: number, bytesMax: number): Promise<RangeResult> {
  const rows: Row[] = [];
  while (!cursor.ended) rows.push(...(await cursor.next(rowsMax, bytesMax)));
  deepEqual([...(await cursor.next(1, 1))], []);
  const { revision, more, count } = cursor;
  return { kind: "range", revision, rows, more, count };
}

test("a range read page by page is the range, whatever is asked and written meanwhile, and once more", async () => {
  const rig = await filled();
  const { database } = rig;
  const bound = fc.constantFrom(0, 0, 0, 20, 90, 130);
  const request = fc.record<Partial<RangeRequest>>({
    limit: fc.constantFrom(0, 0, 1, 5, 53, 80, 1000),
    revision: fc.constantFrom(0, 0, 60, 120),
    sortOrder: fc.constantFrom(0, 1, 2),
    sortTarget: fc.constantFrom(0, 0, 0, 1, 2, 3, 4),
    countOnly: fc.constantFrom(false, false, false, true),
    minModRevision: bound,
    maxModRevision: bound,
    minCreateRevision: bound,
    maxCreateRevision: bound,
  });
  const keys = fc.constantFrom(["k", "l"], ["k3", "k7"], ["k4", "\\0"], ["k11", ""], ["z", "zz"], ["k9", "k1"]);
  await fc.assert(
    fc.asyncProperty(
      keys,
      request,
      fc.constantFrom(1, 3, 1000),
      fc.constantFrom(1, 40, 1 << 20),
      fc.boolean(),
      async ([key, end], more, rowsMax, bytesMax, away) => {
        const asked = range(key!, end!, more);
        const want = plain(await database.range(asked));
        rig.tree.isAway = (what) => away && what !== "history";
        const cursor = await database.openRange(asked);
        // What is written after the question is not seen.
        await database.put(put(`k3${rowsMax}`, "later"));
        deepEqual(plain(await readAll(cursor, rowsMax, bytesMax)), want);
        deepEqual(plain(await readAll(cursor.again(), rowsMax, bytesMax)), want);
        rig.tree.isAway = () => false;
      },
    ),
    { numRuns: 500 },
  );
});

test("pages are as large as was asked: a limit reads no further, a byte bound ends a page", async () => {
  const { database, tree } = await filled();
  const reads = tree.reads;
  const limited = await database.openRange(range("k", "l", { limit: 7 }));
  equal((await limited.next(5, 1 << 20)).length, 5);
  equal(limited.ended, false);
  equal((await limited.next(5, 1 << 20)).length, 2);
  equal(limited.ended, true);
  equal(limited.more, true);
  equal(limited.count, 80);
  // The count, and two pages.
  equal(tree.reads - reads, 3);
  const narrow = await database.openRange(range("k", "l"));
  equal((await narrow.next(1000, 1)).length, 1);
});
