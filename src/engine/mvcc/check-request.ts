import { DbError } from "../../base/errors.ts";
import type { DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest } from "../engine.ts";
import { checkDuplicateKeys, checkDuplicatePuts } from "./check-duplicates.ts";

/**
 * What can be told of a request without the data, in etcd's order: it decides which error a doubly wrong request gets.
 */

export function checkRange(request: RangeRequest): void {
  if (request.key === "") throw new DbError("emptyKey"); // R1
  if (!isEnum(request.sortOrder, 2) || !isEnum(request.sortTarget, 4)) throw new DbError("invalidSortOption"); // R2
}

const isEnum = (value: number, max: number): boolean => Number.isInteger(value) && value >= 0 && value <= max;

export function checkPut(request: PutRequest): void {
  if (request.key === "") throw new DbError("emptyKey"); // P1
  if (request.ignoreValue && request.value.length !== 0) throw new DbError("valueProvided"); // P2
  if (request.ignoreLease && request.lease !== 0n) throw new DbError("leaseProvided"); // P3
}

export function checkDeleteRange(request: DeleteRangeRequest): void {
  if (request.key === "") throw new DbError("emptyKey"); // D1
}

/** T1 to T5. */
export function checkTxn(request: TxnRequest, opsMax: number): void {
  const { plain } = request;
  if (plain !== undefined) {
    if (plain.keys.length > opsMax) throw new DbError("tooManyOps"); // T1
    checkDuplicatePuts(plain);
    return;
  }
  checkOps(request, opsMax);
  checkDuplicateKeys(request.success);
  checkDuplicateKeys(request.failure);
}

/** `budget`: what the levels above leave over (B1.3); so it bounds the depth of nesting, too. */
function checkOps(request: TxnRequest, budget: number): void {
  const count = Math.max(request.compare.length, request.success.length, request.failure.length);
  if (count > budget) throw new DbError("tooManyOps"); // T1
  for (const compare of request.compare) if (compare.key === "") throw new DbError("emptyKey"); // T2
  for (const op of request.success) checkOp(op, budget - count);
  for (const op of request.failure) checkOp(op, budget - count);
}

function checkOp(op: RequestOp, budget: number): void {
  switch (op.kind) {
    case "range":
      checkRange(op);
      break;
    case "put":
      checkPut(op);
      break;
    case "deleteRange":
      checkDeleteRange(op);
      break;
    case "txn":
      checkOps(op, budget);
      break;
    case "empty":
      throw new DbError("keyNotFound"); // T3
  }
}
