import { DbError } from "../../base/errors.ts";
import type { Entry } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { PutRequest, PutResult, Row } from "../engine.ts";
import { KeyValueReader } from "./key-value.ts";

/** Whether a lease may be put on a key: as of the head. */
export interface LeaseLookup {
  exists(id: bigint): boolean;
}

/**
 * A put by itself. etcd looks for the lease first, then for the key that ignore_* needs; within a transaction the other
 * way round.
 */
export function put(draft: Draft, leases: LeaseLookup, request: PutRequest): PutResult {
  checkLease(leases, request); // P5
  const prev = draft.reads.get(request.key);
  checkPrevious(request, prev); // P4
  applyPut(draft, request, prev);
  return { kind: "put", revision: draft.nextRevision, prev: request.prevKv ? prev : null };
}

export function checkLease(leases: LeaseLookup, request: PutRequest): void {
  if (request.lease !== 0n && !leases.exists(request.lease)) throw new DbError("leaseNotFound");
}

export function checkPrevious(request: PutRequest, prev: Row | null): void {
  if (prev === null && (request.ignoreValue || request.ignoreLease)) throw new DbError("keyNotFound");
}

const previous = new KeyValueReader();

/** `prev`: the key's pair as it is at this point of the request. */
export function applyPut(draft: Draft, request: PutRequest, prev: Row | null): Entry {
  const { key } = request;
  let { value, lease } = request as { value: Uint8Array; lease: bigint };
  let valueStart = 0;
  let valueEnd = value.length;
  if (prev !== null && (request.ignoreValue || request.ignoreLease)) {
    previous.read(prev);
    if (request.ignoreLease) lease = previous.lease;
    if (request.ignoreValue) {
      value = prev.bytes;
      valueStart = previous.valueStart;
      valueEnd = previous.valueEnd;
    }
  }
  return draft.put({ key, value, valueStart, valueEnd, lease, prev });
}
