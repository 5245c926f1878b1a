import { leaseId } from "../base/ids.ts";
import type { Compare, CompareResult, RequestOp, ResponseOp, TxnRequest } from "../engine/engine.ts";
import { type Bytes, type Keys, type KeyValue, keyOf, pairOf, rangeOf, rangeToFind, valueBytes } from "./pairs.ts";

/**
 * Holds if `key`'s version, revision, lease or value is so; of a key that is missing all numbers are 0, and no value
 * compares.
 */
export type Condition = { key: Keys } & (
  | { target: "version" | "createRevision" | "modRevision" | "lease"; is: Comparison; than: number | bigint }
  | { target: "value"; is: Comparison; than: Bytes }
);
export type Comparison = "=" | "!=" | "<" | ">";

export interface PutOptions {
  /** Attaches the key to this lease; without one the key leaves the lease that it has. */
  lease?: bigint;
  prevKv?: boolean;
  /** Keep the key's value, or its lease; the key must be there. */
  ignoreValue?: boolean;
  ignoreLease?: boolean;
}

export interface GetOptions {
  /** As of this revision; else the newest. */
  revision?: number;
  limit?: number;
  sort?: { by: "key" | "version" | "createRevision" | "modRevision" | "value"; descending?: boolean };
  /** Read what is here, without proof that nothing newer was acknowledged elsewhere. */
  serializable?: boolean;
  countOnly?: boolean;
}

export type Operation =
  | ({ put: Bytes; value: Bytes } & PutOptions)
  | ({ get: Keys } & GetOptions)
  | { delete: Keys; prevKv?: boolean }
  | { txn: Transaction };

export interface Transaction {
  /** All must hold (none: they do). */
  compare?: Condition[];
  /** What is done if they hold, */
  success?: Operation[];
  /** and if not. */
  failure?: Operation[];
}

export interface GetResult {
  /** The database's revision at the read. */
  revision: number;
  kvs: KeyValue[];
  /** Of all keys that match, whatever the limit. */
  count: number;
  more: boolean;
}

export interface PutResult {
  revision: number;
  prev: KeyValue | null;
}

export interface DeleteResult {
  revision: number;
  deleted: number;
  prevs: KeyValue[];
}

export interface TransactionResult {
  revision: number;
  /** Whether all compares held: `success` was carried out, else `failure`. */
  succeeded: boolean;
  /** One for each operation carried out, in order. */
  results: OperationResult[];
}
export type OperationResult = GetResult | PutResult | DeleteResult | TransactionResult;

const SORT_TARGETS = { key: 0, version: 1, createRevision: 2, modRevision: 3, value: 4 } as const;

export const rangeRequest = (keys: Keys, options: GetOptions = {}) => ({
  kind: "range" as const,
  ...rangeToFind(keys),
  limit: options.limit ?? 0,
  revision: options.revision ?? 0,
  sortOrder: options.sort === undefined ? 0 : options.sort.descending ? 2 : 1,
  sortTarget: SORT_TARGETS[options.sort?.by ?? "key"],
  serializable: options.serializable ?? false,
  keysOnly: false,
  countOnly: options.countOnly ?? false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
});

export const putRequest = (key: Bytes, value: Bytes, options: PutOptions = {}) => ({
  kind: "put" as const,
  key: keyOf(key),
  value: valueBytes(value),
  lease: leaseId(options.lease ?? 0n),
  prevKv: options.prevKv ?? false,
  ignoreValue: options.ignoreValue ?? false,
  ignoreLease: options.ignoreLease ?? false,
});

export const deleteRequest = (keys: Keys, options: { prevKv?: boolean } = {}) => ({
  kind: "deleteRange" as const,
  ...rangeOf(keys),
  prevKv: options.prevKv ?? false,
});

export const txnRequest = (transaction: Transaction): TxnRequest => ({
  kind: "txn",
  compare: (transaction.compare ?? []).map(compareOf),
  success: (transaction.success ?? []).map(requestOf),
  failure: (transaction.failure ?? []).map(requestOf),
});

function requestOf(operation: Operation): RequestOp {
  if ("put" in operation) return putRequest(operation.put, operation.value, operation);
  if ("get" in operation) return rangeRequest(operation.get, operation);
  if ("delete" in operation) return deleteRequest(operation.delete, operation);
  return txnRequest(operation.txn);
}

const RESULTS: Record<Comparison, CompareResult> = { "=": "equal", "!=": "notEqual", "<": "less", ">": "greater" };
const TARGETS = { version: "version", createRevision: "create", modRevision: "mod", lease: "lease" } as const;

function compareOf(condition: Condition): Compare {
  const base = { ...rangeOf(condition.key), result: RESULTS[condition.is] };
  if (condition.target === "value") return { ...base, target: "value", operand: valueBytes(condition.than) };
  return { ...base, target: TARGETS[condition.target], operand: BigInt(condition.than) };
}

export function resultOf(response: ResponseOp): OperationResult {
  const { revision } = response;
  switch (response.kind) {
    case "range":
      return { revision, kvs: response.rows.map(pairOf), count: response.count, more: response.more };
    case "put":
      return { revision, prev: response.prev === null ? null : pairOf(response.prev) };
    case "deleteRange":
      return { revision, deleted: response.deleted, prevs: response.prevs.map(pairOf) };
    case "txn":
      return { revision, succeeded: response.succeeded, results: response.responses.map(resultOf) };
  }
}
