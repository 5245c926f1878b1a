import type {
  Compare,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "../../src/engine/engine.ts";
import { fc } from "../properties.ts";
import { del, lease, put, range } from "./requests.ts";

/** Requests over so few keys, values and leases that everything meets everything. */

const key = fc.constantFrom("a", "b", "c", "d", "e");
const rangeEnd = fc.oneof(
  { weight: 4, arbitrary: fc.constant("") },
  { weight: 2, arbitrary: fc.constant("\0") },
  { weight: 3, arbitrary: fc.constantFrom("b", "d", "f", "a") },
);
const value = fc.constantFrom("", "x", "y", "zz");
export const leaseIds = [lease(5), lease(-6)];

export const anyPut: fc.Arbitrary<PutRequest> = fc
  .record({
    key,
    value,
    lease: fc.constantFrom(lease(0), lease(0), lease(0), ...leaseIds, lease(99)),
    prevKv: fc.boolean(),
    ignore: fc.constantFrom("", "", "", "", "value", "lease"),
  })
  .map((made) =>
    put(made.key, made.ignore === "value" ? "" : made.value, {
      prevKv: made.prevKv,
      lease: made.ignore === "lease" ? lease(0) : made.lease,
      ignoreValue: made.ignore === "value",
      ignoreLease: made.ignore === "lease",
    }),
  );

export const anyDelete: fc.Arbitrary<DeleteRangeRequest> = fc
  .tuple(key, rangeEnd, fc.boolean())
  .map(([from, to, prevKv]) => del(from, to, prevKv));

const bound = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.integer({ min: -1, max: 12 }) },
);

export const anyRange: fc.Arbitrary<RangeRequest> = fc
  .record({
    key,
    rangeEnd,
    limit: fc.constantFrom(0, 0, 1, 2, 3, -1),
    revision: fc.oneof(
      { weight: 5, arbitrary: fc.constant(0) },
      { weight: 1, arbitrary: fc.integer({ min: -2, max: 15 }) },
    ),
    order: fc.constantFrom([0, 0], [0, 0], [1, 0], [2, 0], [0, 3], [1, 3], [2, 3], [0, 2], [1, 2]),
    countOnly: fc.constantFrom(false, false, false, true),
    minModRevision: bound,
    maxModRevision: bound,
    minCreateRevision: bound,
    maxCreateRevision: bound,
  })
  .map(({ key: from, rangeEnd: to, order, ...more }) =>
    range(from, to, { ...more, sortOrder: order[0]!, sortTarget: order[1]! }),
  );

const target = fc.oneof(
  fc.record({ target: fc.constantFrom("version", "create", "mod"), operand: fc.bigInt({ min: 0n, max: 8n }) }),
  fc.record({ target: fc.constant("lease"), operand: fc.constantFrom(0n, 5n, -6n) }),
  fc.record({ target: fc.constant("value"), operand: value.map((text) => Buffer.from(text)) }),
);

const anyCompare: fc.Arbitrary<Compare> = fc
  .tuple(key, rangeEnd, fc.constantFrom("equal", "greater", "less", "notEqual"), target)
  .map(([from, to, result, of]) => ({ key: from, rangeEnd: to, result, ...of }) as Compare);

const anyOp = (depth: number): fc.Arbitrary<RequestOp> => {
  const plain = [
    { weight: 3, arbitrary: anyPut as fc.Arbitrary<RequestOp> },
    { weight: 2, arbitrary: anyDelete as fc.Arbitrary<RequestOp> },
    { weight: 3, arbitrary: anyRange as fc.Arbitrary<RequestOp> },
  ];
  if (depth === 0) return fc.oneof(...plain);
  return fc.oneof(...plain, { weight: 2, arbitrary: anyTxn(depth - 1) as fc.Arbitrary<RequestOp> });
};

export const anyTxn = (depth: number): fc.Arbitrary<TxnRequest> =>
  fc
    .record({
      compare: fc.array(anyCompare, { maxLength: 2 }),
      success: fc.array(anyOp(depth), { maxLength: 4 }),
      failure: fc.array(anyOp(depth), { maxLength: 3 }),
    })
    .map((made) => ({ kind: "txn", ...made }));
