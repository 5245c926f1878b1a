import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { anyTxn, leaseIds } from "../../../test/engine/arbitrary.ts";
import { openRig } from "../../../test/engine/doubles.ts";
import { NaiveStore } from "../../../test/engine/naive-store.ts";
import { hasEtcd, RealEtcd } from "../../../test/engine/real-etcd.ts";
import { plain } from "../../../test/engine/requests.ts";
import { fc, propertySeed } from "../../../test/properties.ts";
import { isDbError } from "../../base/errors.ts";
import type { BranchDatabase } from "../database.ts";
import type { TxnRequest } from "../engine.ts";
import { checkTxn } from "./check-request.ts";

const skip = hasEtcd ? false : "needs etcd (test/peers/build.sh)";

const ours = async (database: BranchDatabase, request: TxnRequest): Promise<unknown> => {
  try {
    return plain(await database.txn(request));
  } catch (error) {
    if (!isDbError(error)) throw error;
    return error.kind;
  }
};

/** Whether etcd survives a transaction: the model knows which one aborts it. */
function isFatal(model: NaiveStore, request: TxnRequest): boolean {
  try {
    checkTxn(request, 128);
  } catch {
    return false;
  }
  model.txn(request);
  return model.etcdAborts;
}

test("T1–T14, R3–R11, Q1, Q3–Q5: transactions answer as etcd's do", { skip, timeout: 120_000 }, async () => {
  await using etcd = await RealEtcd.start();
  const rig = await openRig();
  const model = new NaiveStore();
  for (const id of leaseIds) {
    await rig.database.leaseGrant({ id, ttlSeconds: 6000n });
    await etcd.call("lease/grant", { ID: String(id), TTL: "6000" });
    model.leases.add(id);
  }
  const requests = fc.sample(anyTxn(2), 800);
  let refused = 0;
  for (const [index, request] of requests.entries()) {
    if (isFatal(model, request)) continue;
    const answer = await ours(rig.database, request);
    deepEqual(answer, await etcd.txn(request), `seed ${propertySeed}, transaction ${index}: ${fc.stringify(request)}`);
    if (typeof answer === "string") refused++;
    if (index === 500) {
      const { committed } = rig.database;
      await rig.database.compact({ revision: committed, physical: false });
      await etcd.call("kv/compaction", { revision: String(committed) });
      model.compactRevision = committed;
    }
  }
  equal(rig.database.committed, model.revision);
  ok(refused > 20, "some were refused");
});
