import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { openRig, type Rig } from "../../../test/engine/doubles.ts";
import { fc } from "../../../test/properties.ts";
import { leaseId } from "../../base/ids.ts";
import { KEYS } from "../../storage/storage.ts";
import type { PlainPuts, PutRequest, TxnRequest } from "../engine.ts";

/** The oracle is the same transaction as a list of operations. */

interface Pair {
  readonly key: string;
  readonly value: Buffer;
}

const putOf = ({ key, value }: Pair, lease = 0n): PutRequest => ({
  kind: "put",
  key,
  value,
  lease: lease === 0n ? (0n as PutRequest["lease"]) : leaseId(lease),
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
});

const operations = (pairs: readonly Pair[]): TxnRequest => ({
  kind: "txn",
  compare: [],
  success: pairs.map((pair) => putOf(pair)),
  failure: [],
});

function plain(pairs: readonly Pair[]): TxnRequest {
  const bounds: number[] = [];
  let at = 0;
  let pairBytes = 0;
  for (const { key, value } of pairs) {
    bounds.push(at, at + value.length);
    at += value.length;
    pairBytes += key.length + value.length;
  }
  const bytes = Buffer.concat(pairs.map(({ value }) => value));
  const keys = pairs.map(({ key }) => key);
  const inOrder = keys.every((key, n) => n === 0 || key > keys[n - 1]!);
  const puts: PlainPuts = { keys, bytes, bounds, pairBytes, inOrder };
  return { ...operations(pairs), plain: puts };
}

const value = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 0, max: 100 }) },
  { weight: 4, arbitrary: fc.integer({ min: 100, max: 9000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 30_000, max: 70_000 }) },
);
const pairs = fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), value), { minLength: 1, maxLength: 30 });

const shown = async (rig: Rig) => {
  const rows = await rig.tree.scan(KEYS, { from: "", to: null }, Number.MAX_SAFE_INTEGER, { limit: 0 });
  return rows.map(({ key, main, sub, effect, bytes, start, end }) => {
    return { key, main, sub, effect, value: Buffer.from(bytes.subarray(start, end)).toString("hex") };
  });
};
const records = ({ log }: Rig) => log.records.map(({ payload }) => Buffer.from(payload).toString("hex"));

test("plain puts make the record and the state that the operations make, also over pairs with leases", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(pairs, { maxLength: 12 }), fc.boolean(), async (transactions, slow) => {
      const rigs = [await openRig(), await openRig()] as const;
      for (const { database, tree } of rigs) {
        await database.leaseGrant({ id: leaseId(5n), ttlSeconds: 60n });
        await database.put(putOf({ key: "k3", value: Buffer.from("leased") }, 5n));
        if (slow) tree.isAway = () => tree.reads % 3 === 0;
      }
      for (const [n, pairsOf] of transactions.entries()) {
        const made = pairsOf.map(([k, bytes]) => ({ key: `k${k}`, value: Buffer.alloc(bytes, 97 + (n % 20)) }));
        const answers = [];
        for (const [{ database }, request] of [
          [rigs[0], operations(made)],
          [rigs[1], plain(made)],
        ] as const) {
          try {
            const { revision, succeeded, responses } = await database.txn(request);
            answers.push({ revision, succeeded, responses });
          } catch (error) {
            answers.push((error as { kind?: string }).kind);
          }
        }
        deepEqual(answers[1], answers[0]);
      }
      for (const { tree } of rigs) tree.isAway = () => false;
      deepEqual(records(rigs[1]), records(rigs[0]));
      deepEqual(await shown(rigs[1]), await shown(rigs[0]));
    }),
    { numRuns: 60 },
  );
});

test("a key that is put twice is refused wherever it stands, and so are too many", async () => {
  const { database } = await openRig({ settings: { txnOpsMax: 4 } });
  const of = (...keys: string[]) => plain(keys.map((key) => ({ key, value: Buffer.from("v") })));
  const kind = async (request: TxnRequest) => {
    try {
      await database.txn(request);
      return null;
    } catch (error) {
      return (error as { kind?: string }).kind;
    }
  };
  equal(await kind(of("a", "a")), "duplicateKey");
  equal(await kind(of("b", "a", "c", "b")), "duplicateKey");
  equal(await kind(of("a", "b", "b")), "duplicateKey");
  equal(await kind(of("a", "b", "c", "d", "e")), "tooManyOps");
  equal(await kind(of("d", "c", "b", "a")), null);
});

test("who is told of plain puts is told what the operations would tell", async () => {
  const [one, other] = [await openRig(), await openRig()];
  const made = [1, 300, 5].map((bytes, n) => ({ key: `k${2 - n}`, value: Buffer.alloc(bytes, 120) }));
  await one.database.txn(operations(made));
  await other.database.txn(plain(made));
  const told = ({ watch }: Rig) =>
    watch.revisions.map(({ revision, changes }) => ({
      revision,
      changes: changes.map(({ key, kv, deleted, prev }) => {
        return { key, kv: Buffer.from(kv.bytes.subarray(kv.start, kv.end)).toString("hex"), deleted, prev };
      }),
    }));
  deepEqual(told(other), told(one));
  equal(told(one).length, 1);
});
