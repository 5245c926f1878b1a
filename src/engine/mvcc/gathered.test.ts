import { deepEqual, equal, ok, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { openRig, SlowTree } from "../../../test/engine/doubles.ts";
import { del, everything, put, range, shown, txn } from "../../../test/engine/requests.ts";
import { isDbError } from "../../base/errors.ts";
import { KEYS } from "../../storage/storage.ts";
import { GatherBudget, Gathered } from "./gathered.ts";
import { find } from "./range.ts";

const ROWS = 500;

function filledTree(): SlowTree {
  const tree = new SlowTree();
  for (let n = 0; n < ROWS; n++) {
    const bytes = Buffer.alloc(1000, n);
    const key = `k${String(n).padStart(5, "0")}`;
    const fields = { space: KEYS, key, main: n + 2, sub: 0, tombstone: false, effect: 1 } as const;
    tree.apply({ ...fields, bytes, start: 0, end: bytes.length });
  }
  return tree;
}

const requests = [
  range(...everything),
  range(...everything, { limit: 11 }),
  range(...everything, { limit: ROWS - 1 }),
  range(...everything, { limit: ROWS }),
  range("k00100", "k00350", { limit: 200, sortOrder: 2 }),
  range("k00100", "k00350", { sortOrder: 1, sortTarget: 4, limit: 20 }),
  range("x", "y"),
];

test("what is gathered is what a range finds, at hand or not, and is counted until it is released", async () => {
  for (const away of [false, true]) {
    const tree = filledTree();
    tree.isAway = () => away;
    const budget = new GatherBudget(2 << 20);
    for (const request of requests) {
      const gathered = new Gathered(budget);
      const found = await gathered.find(tree, request, ROWS + 2, 0);
      deepEqual(found, await find(tree, request, ROWS + 2, 0));
      equal(budget.bytes, found.rows.length * 1100);
      // Read anew by a later run: counted once.
      await gathered.find(tree, request, ROWS + 2, 0);
      equal(budget.bytes, found.rows.length * 1100);
      gathered.release();
      gathered.release();
      equal(budget.bytes, 0);
    }
  }
});

test("what there is no room for is refused, over all transactions, and nothing of it stays counted", async () => {
  const tree = filledTree();
  const budget = new GatherBudget(800_000);
  const first = new Gathered(budget);
  await first.find(tree, range(...everything), ROWS + 2, 0);
  for (const away of [false, true]) {
    tree.isAway = () => away;
    const second = new Gathered(budget);
    const refused = (error: unknown): boolean => isDbError(error, "tooManyRequests");
    if (away) await rejects(async () => second.find(tree, range(...everything), ROWS + 2, 0), refused);
    else throws(() => second.find(tree, range(...everything), ROWS + 2, 0), refused);
    second.release();
    equal(budget.bytes, ROWS * 1100);
  }
  first.release();
  const third = new Gathered(budget);
  await third.find(tree, range(...everything), ROWS + 2, 0);
  equal(budget.bytes, ROWS * 1100);
});

test("who is released while pages are on their way counts nothing any more", async () => {
  const tree = filledTree();
  tree.isAway = (what) => what === "scan";
  const budget = new GatherBudget(2 << 20);
  const gathered = new Gathered(budget);
  const gathering = gathered.find(tree, range(...everything), ROWS + 2, 0) as Promise<unknown>;
  gathered.release();
  await rejects(gathering, (error) => isDbError(error, "canceled"));
  equal(budget.bytes, 0);
});

test("a transaction's answer that may hold more than a few rows is released; others need not be", async () => {
  const { database } = await openRig();
  for (const key of ["a", "b", "c"]) await database.put(put(key, key));
  const asks = txn([range(...everything), put("d", "1"), del("a"), range(...everything)]);
  const answer = await database.txn(asks);
  const rows = answer.responses.map((each) => (each.kind === "range" ? each.rows.map(shown) : each.kind));
  equal(rows[0]!.length, 3);
  deepEqual((rows[3] as string[]).length, 3);
  ok(answer.release !== undefined);
  answer.release();
  equal((await database.txn(txn([range(...everything, { limit: 10 })]))).release, undefined);
  equal((await database.txn(txn([range("b")]))).release, undefined);
});
