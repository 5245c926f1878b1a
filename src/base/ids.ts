import { assert } from "./assert.ts";

declare const brand: unique symbol;
type Branded<T, B extends string> = T & { readonly [brand]: B };

/** etcd's store revision: 1 on a fresh branch, plus one per writing transaction. A safe integer. */
export type Revision = Branded<number, "Revision">;
/** Number of a leadership of a branch; only grows. 0 = before any. */
export type Epoch = Branded<number, "Epoch">;
/** Place of a segment in its branch's dense sequence 1, 2, 3 … */
export type Slot = Branded<number, "Slot">;
/** Dense number of a record within its branch: 1, 2, 3 … (0 = before any). Reported as raft index. */
export type RecordNumber = Branded<number, "RecordNumber">;
/** etcd's lease id: any non-zero int64, exact. */
export type LeaseId = Branded<bigint, "LeaseId">;
/** 32 lower-case hex digits; never reused. */
export type BranchId = Branded<string, "BranchId">;
/** Name of an object below the repository's root, without leading slash. Made by objects/keys.ts alone. */
export type ObjectKey = Branded<string, "ObjectKey">;

function count(value: number, what: string): number {
  assert(Number.isSafeInteger(value) && value >= 0, `${what} is a safe integer >= 0, not ${value}`);
  return value;
}

export const revision = (value: number): Revision => count(value, "revision") as Revision;
export const epoch = (value: number): Epoch => count(value, "epoch") as Epoch;
export const slot = (value: number): Slot => count(value, "slot") as Slot;
export const recordNumber = (value: number): RecordNumber => count(value, "record number") as RecordNumber;

export function leaseId(value: bigint): LeaseId {
  assert(value === BigInt.asIntN(64, value), "lease id is an int64");
  return value as LeaseId;
}

export function branchId(value: string): BranchId {
  assert(/^[0-9a-f]{32}$/.test(value), "branch id is 32 hex digits");
  return value as BranchId;
}
