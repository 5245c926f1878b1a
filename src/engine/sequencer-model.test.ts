import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { anyRange, leaseIds } from "../../test/engine/arbitrary.ts";
import { openRig, settle } from "../../test/engine/doubles.ts";
import { NaiveStore } from "../../test/engine/naive-store.ts";
import { compareMod, del, plain, put, txn } from "../../test/engine/requests.ts";
import { fc } from "../../test/properties.ts";
import type { TxnRequest, TxnResult } from "./engine.ts";

/**
 * Many calls at once, over a tree that is slow at times and a log that becomes durable in odd steps: each answer is the
 * one that the plainest store gives when it takes the requests one by one in the order of their revisions, and none
 * leaves before its revision is committed.
 */
test("calls at the same time have one order, and none is answered before it is durable", async () => {
  const key = fc.constantFrom("a", "b", "c");
  // Each of them writes, so that its revision tells its place.
  const request = fc
    .record({
      key,
      other: key,
      mod: fc.nat(6),
      range: anyRange.map((of) => ({ ...of, revision: 0 })),
      deletes: fc.boolean(),
    })
    .map((made) =>
      txn(
        [made.range, put("count", made.key), made.deletes ? del("a", "b") : put(made.other, "x", { prevKv: true })],
        [put("count", made.other, { prevKv: true }), made.range],
        [compareMod(made.key, made.mod, "greater")],
      ),
    );
  const step = fc.oneof(
    { weight: 5, arbitrary: fc.record({ kind: fc.constant("call" as const), request }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constant("commit" as const), share: fc.double({ min: 0, max: 1, noNaN: true }) }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("settle" as const) }) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 40 }),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 9 }),
      fc.array(fc.nat(3), { minLength: 1, maxLength: 5 }),
      async (steps, away, turns) => {
        const rig = await openRig({ auto: false });
        rig.tree.isAway = () => away[rig.tree.reads % away.length]!;
        rig.tree.arrival = async () => {
          for (let turn = turns[rig.tree.reads % turns.length]!; turn > 0; turn--) await settle();
        };
        const answers: { request: TxnRequest; result: TxnResult }[] = [];
        const calls: Promise<unknown>[] = [];
        const call = async (of: TxnRequest): Promise<void> => {
          const result = await rig.database.txn(of);
          ok(result.revision <= rig.database.committed, "no answer before durability");
          answers.push({ request: of, result });
        };
        for (const made of steps) {
          if (made.kind === "call") calls.push(call(made.request));
          else if (made.kind === "settle") await settle();
          else {
            const { durable, head } = rig.log;
            rig.log.commit(durable + Math.floor((head - durable) * made.share));
          }
        }
        for (let turn = 0; rig.database.callsPending > 0; turn++) {
          ok(turn < 1000, "every call is answered in the end");
          rig.log.commit();
          await settle();
        }
        await Promise.all(calls);
        const model = new NaiveStore();
        for (const id of leaseIds) model.leases.add(id);
        answers.sort((a, b) => a.result.revision - b.result.revision);
        for (const { request: asked, result } of answers) deepEqual(plain(result), model.txn(asked));
        equal(model.revision, rig.database.committed);
        deepEqual(
          rig.watch.revisions.map(({ revision }) => revision),
          answers.map(({ result }) => result.revision),
        );
      },
    ),
    { numRuns: 200 },
  );
});
