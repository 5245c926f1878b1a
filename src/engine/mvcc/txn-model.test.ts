import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { anyTxn, leaseIds } from "../../../test/engine/arbitrary.ts";
import { openRig, type Rig } from "../../../test/engine/doubles.ts";
import { NaiveStore, shownPair } from "../../../test/engine/naive-store.ts";
import { everything, plain, put, range, shown } from "../../../test/engine/requests.ts";
import { fc } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import { AT_HEAD, KEYS, spaces } from "../../storage/storage.ts";
import type { TxnRequest } from "../engine.ts";
import { checkTxn } from "./check-request.ts";
import { KeyValueReader } from "./key-value.ts";

const outcome = async (rig: Rig, request: TxnRequest): Promise<unknown> => {
  try {
    return plain(await rig.database.txn(request));
  } catch (error) {
    if (!isDbError(error)) throw error;
    return error.kind;
  }
};

const isAllowed = (request: TxnRequest): boolean => {
  try {
    checkTxn(request, 128);
    return true;
  } catch {
    return false;
  }
};

/** Histories of transactions, over a tree that has part of its answers at hand and of others only a promise. */
const histories = fc.record({
  requests: fc.array(anyTxn(2), { minLength: 1, maxLength: 10 }),
  away: fc.array(fc.boolean(), { minLength: 1, maxLength: 12 }),
  compactAfter: fc.nat(20),
});

async function check(rig: Rig, model: NaiveStore, request: TxnRequest): Promise<void> {
  const told = rig.watch.revisions.length;
  deepEqual(await outcome(rig, request), model.txn(request));
  equal(rig.database.committed, model.revision);
  const changes = rig.watch.revisions.slice(told).flatMap(({ changes }) => changes);
  deepEqual(
    changes.map(({ key, deleted }) => (deleted ? "-" : "+") + key),
    model.changes,
  );
  const before = model.states[model.revision - 1]!;
  for (const { key, deleted, prev, kv } of changes) {
    const created = !deleted && new KeyValueReader().read(kv).createRevision === model.revision;
    const old = before.get(key);
    // W10: the pair before the transaction, also where it changes a key twice; none for a birth.
    equal(shown(prev), old === undefined || created ? null : shownPair(old));
    if (deleted) equal(shown(kv), `${key}=@0/${model.revision}/0`);
  }
}

/** Counts, history and attachments agree with the model: what a replay would find. */
async function checkState(rig: Rig, model: NaiveStore): Promise<void> {
  const tree = rig.tree.inner;
  const rows = [...model.state.values()].sort((a, b) => (a.key < b.key ? -1 : 1)).map(shownPair);
  deepEqual((await rig.database.range(range(...everything))).rows.map(shown), rows);
  equal(await tree.count(KEYS, { from: "", to: null }, AT_HEAD), rows.length);
  for (let at = Math.max(1, model.compactRevision); at <= model.revision; at++)
    equal(await tree.count(KEYS, { from: "b", to: null }, at), countFrom(model, at), `count at ${at}`);
  const attached = await tree.scan(spaces.leaseKeys, { from: "", to: null }, AT_HEAD, { limit: 0 });
  const wanted = [...model.state.values()].filter(({ lease }) => lease !== 0n).map(({ key }) => key);
  deepEqual(attached.map(({ key }) => key.slice(8)).sort(), wanted.sort());
  equal(await tree.count(spaces.leaseKeys, { from: "", to: null }, AT_HEAD), wanted.length);
}

const countFrom = (model: NaiveStore, at: number): number =>
  [...model.states[at]!.keys()].filter((key) => key >= "b").length;

test("T6–T14, Q1, Q3–Q5, W10, W11: transactions answer and change keys as the plainest store does", async () => {
  let nested = 0;
  await fc.assert(
    fc.asyncProperty(histories, async ({ requests, away, compactAfter }) => {
      const rig = await openRig();
      const model = new NaiveStore();
      for (const id of leaseIds) {
        await rig.database.leaseGrant({ id, ttlSeconds: 60n });
        model.leases.add(id);
      }
      for (const name of ["b", "d"])
        await check(rig, model, { kind: "txn", compare: [], success: [put(name)], failure: [] });
      rig.tree.isAway = () => away[rig.tree.reads % away.length]!;
      for (const [index, request] of requests.entries()) {
        if (!isAllowed(request)) continue;
        if (request.success.some(({ kind }) => kind === "txn")) nested++;
        await check(rig, model, request);
        if (index === compactAfter && model.revision > 1) {
          await rig.database.compact({ revision: model.revision, physical: false });
          model.compactRevision = model.revision;
        }
      }
      rig.tree.isAway = () => false;
      await checkState(rig, model);
      const again = await openRig({ replay: rig.log.records });
      equal(again.database.committed, model.revision);
      await checkState(again, model);
    }),
    { numRuns: 300 },
  );
  equal(nested > 20, true, "nested transactions were among them");
});
