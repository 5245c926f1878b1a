import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { SlowTree } from "../../../test/engine/doubles.ts";
import { everything, range } from "../../../test/engine/requests.ts";
import { MemoryScratch } from "../../../test/storage/memory-scratch.ts";
import { isDbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import { KEYS } from "../../storage/storage.ts";
import { type RangeCursor, type RangeRequest, type RangeResult, type Row, sortOrders, sortTargets } from "../engine.ts";
import { GatherBudget } from "./gathered.ts";
import { keyValueBytes, writeKeyValue } from "./key-value.ts";
import { range as atOnce } from "./range.ts";
import { openRange } from "./range-cursor.ts";

const ROWS = 9_000;
const point = { revision: (ROWS + 1) as Revision, compactRevision: -1 };

/** More rows than are read in one page; of their values many tie. */
function filledTree(): SlowTree {
  const tree = new SlowTree();
  for (let n = 0; n < ROWS; n++) {
    const key = `k${String((n * 7919) % ROWS).padStart(5, "0")}`;
    const revisions = { createRevision: n + 2, modRevision: n + 2, version: 1 };
    const value = Buffer.from(`v${n % 13}`);
    const pair = { key, ...revisions, value, valueStart: 0, valueEnd: value.length, lease: 0n };
    const bytes = Buffer.alloc(keyValueBytes(pair));
    writeKeyValue(bytes, 0, pair);
    const fields = { space: KEYS, key, main: n + 2, sub: 0, tombstone: false, effect: 1 } as const;
    tree.apply({ ...fields, bytes, start: 0, end: bytes.length });
  }
  return tree;
}

const tree = filledTree();
let turns = 0;
const timers = {
  defer: (fire: () => void): void => {
    turns++;
    fire();
  },
};
const opened = async (request: RangeRequest, budget: GatherBudget): Promise<RangeCursor> =>
  openRange(tree, point, request, { timers, sorting: { budget } });

async function readAll(cursor: RangeCursor): Promise<RangeResult> {
  const rows: Row[] = [];
  while (!cursor.ended) rows.push(...(await cursor.next(700, 100_000)));
  const { revision, more, count } = cursor;
  return { kind: "range", revision, rows, more, count };
}

/** The very same rows. */
function same(got: RangeResult, want: RangeResult): void {
  deepEqual({ ...got, rows: got.rows.length }, { ...want, rows: want.rows.length });
  ok(got.rows.every((row, n) => row.bytes === want.rows[n]!.bytes));
}

const byValue = { sortTarget: sortTargets.value, sortOrder: sortOrders.descend };
const requests = [
  range(...everything, { ...byValue, limit: 10 }),
  range(...everything, { ...byValue, limit: 4_000 }),
  range(...everything, { ...byValue }),
  range(...everything, { ...byValue, limit: 5, minModRevision: 8_900 }),
  range(...everything, { ...byValue, limit: 5, minModRevision: 90_000 }),
  range(...everything, { sortTarget: sortTargets.mod, sortOrder: sortOrders.ascend, limit: 1 }),
  range(...everything, { sortTarget: sortTargets.create, limit: 5_000 }),
];

test("R8 Q1 what is sorted is the range, ties in the order of keys; others have turns between pages", async () => {
  const budget = new GatherBudget(1 << 30);
  for (const request of requests) {
    turns = 0;
    const cursor = await opened(request, budget);
    const want = await atOnce(tree, point, request);
    same(await readAll(cursor), want);
    same(await readAll(cursor.again()), want);
    ok(turns >= 1, `${turns} turns`);
    cursor.close?.();
    cursor.close?.();
    equal(budget.bytes, 0);
  }
});

test("with a limit, or filters, little is held, whatever the range has; without there is a bound", async () => {
  const budget = new GatherBudget(900_000);
  const [limited, , unlimited, filtered] = requests as [RangeRequest, ...RangeRequest[]];
  const held = await opened(limited, budget);
  ok(budget.bytes > 0 && budget.bytes < 2000, `${budget.bytes} bytes`);
  await rejects(opened(unlimited!, budget), (error) => isDbError(error, "tooManyRequests"));
  const other = await opened(filtered!, budget);
  held.close?.();
  other.close?.();
  equal(budget.bytes, 0);
});

/** What the tree's rows hold, wherever it lies. */
const contents = ({ rows, ...rest }: RangeResult) => ({
  ...rest,
  rows: rows.map(({ bytes, start, end }) => Buffer.from(bytes.subarray(start, end)).toString("latin1")),
});

/** Files are removed behind the close. */
const discarded = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function spilling(options: { windowBytes: number; budgetBytes: number }) {
  const scratch = new MemoryScratch();
  const budget = new GatherBudget(options.budgetBytes);
  const sorting = { budget, windowBytes: options.windowBytes };
  const withScratch = Object.assign(filledTree(), { scratch });
  const open = async (request: RangeRequest) => openRange(withScratch, point, request, { timers, sorting });
  return { scratch, budget, open };
}

test("R8 what has no room in memory is sorted in scratch files: the same rows, ties too, read twice", async () => {
  const { scratch, budget, open } = spilling({ windowBytes: 50_000, budgetBytes: 1_300_000 });
  let spilled = 0;
  for (const request of requests) {
    const before = scratch.created;
    const cursor = await open(request);
    if (scratch.created > before) spilled++;
    const want = contents(await atOnce(tree, point, request));
    const again = cursor.again();
    deepEqual(contents(await readAll(cursor)), want);
    deepEqual(contents(await readAll(again)), want);
    cursor.close?.();
    await discarded();
    deepEqual([budget.bytes, scratch.files], [0, 0]);
  }
  ok(spilled >= 3, `${spilled} were spilled`);
});

test("a scratch disk that is full, or has not kept what was written, is told; nothing is left there", async () => {
  const { scratch, budget, open } = spilling({ windowBytes: 50_000, budgetBytes: 1_300_000 });
  scratch.failAt = 3;
  await rejects(
    open(requests[2]!),
    (error) => isDbError(error, "tooManyRequests") && /to be sorted.*full/.test(error.message),
  );
  await discarded();
  deepEqual([budget.bytes, scratch.files], [0, 0]);
  scratch.failAt = Number.POSITIVE_INFINITY;
  const cursor = await open(requests[2]!);
  scratch.damage();
  await rejects(readAll(cursor), (error) => isDbError(error, "diskFailed"));
  cursor.close?.();
  await discarded();
  deepEqual([budget.bytes, scratch.files], [0, 0]);
});
