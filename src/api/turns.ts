import { DbError, isDbError } from "../base/errors.ts";
import type { LeaseId, Revision } from "../base/ids.ts";
import type {
  Compare,
  Database,
  PutRequest,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseOp,
  TxnResult,
} from "../engine/engine.ts";
import { sortOrders, sortTargets } from "../engine/engine.ts";
import { GrpcError } from "../transport/transport.ts";
import { codes, textOf } from "./errors.ts";
import { WatchedKeys } from "./watched-keys.ts";
import { pairOfRow, readEvent, type StoredPair } from "./wire/stored-pairs.ts";

/**
 * What v3lock and v3election have in common (K1 to K3), in the manner of etcd's client-side recipes, so that both sides
 * queue with each other: whoever wants a turn under a name puts a key NAME/LEASE with that lease; the oldest such key
 * has it. Each waits for the youngest one older than its own to go, so an end wakes one waiter.
 */

/** Waiting calls of a process; each has a watch stream. */
const WAITING_MAX = 10_000;
let waiting = 0;

const SESSION_TTL_SECONDS = 60n;
/** Of the key of a lock. */
export const NO_VALUE = new Uint8Array(0);

/** A candidate's own key. */
export interface Place {
  readonly prefix: string;
  readonly key: string;
  readonly lease: LeaseId;
  readonly createRevision: number;
}

/** The lease that a call brings, or a new one that nobody keeps alive. */
export async function sessionLease(database: Database, lease: LeaseId): Promise<LeaseId> {
  if (lease !== 0n) return lease;
  return (await database.leaseGrant({ id: lease, ttlSeconds: SESSION_TTL_SECONDS })).id;
}

export const prefixOf = (name: string): string => `${name}/`;

/** Behind all that begin with the prefix, which ends with a slash. */
export const endOf = (prefix: string): string => `${prefix.slice(0, -1)}0`;

/** As Go prints an int64 in hexadecimal: with a sign. */
export const keyOf = (prefix: string, lease: LeaseId): string => prefix + lease.toString(16);

export function rangeOf(key: string, rangeEnd = "", more: Partial<RangeRequest> = {}): RangeRequest {
  return {
    ...{ kind: "range", key, rangeEnd, limit: 0, revision: 0 },
    ...{ sortOrder: sortOrders.none, sortTarget: sortTargets.key, serializable: false, keysOnly: false },
    ...{ countOnly: false, minModRevision: 0, maxModRevision: 0, minCreateRevision: 0, maxCreateRevision: 0 },
    ...more,
  };
}

/** The oldest key of a name: whose turn it is. */
export const oldest = (prefix: string): RangeRequest =>
  rangeOf(prefix, endOf(prefix), { limit: 1, sortOrder: sortOrders.ascend, sortTarget: sortTargets.create });

export function putOf(key: string, value: Uint8Array, lease: LeaseId): PutRequest {
  return { kind: "put", key, value, lease, prevKv: false, ignoreValue: false, ignoreLease: false };
}

export const deleteOf = (key: string): RequestOp => ({ kind: "deleteRange", key, rangeEnd: "", prevKv: false });

const createdAt = (key: string, revision: bigint): Compare => ({
  ...{ key, rangeEnd: "", result: "equal", target: "create", operand: revision },
});

/** Does something if the key was created at that revision (0: does not exist), else something else. */
export async function ifCreatedAt(
  database: Database,
  { key, revision }: { key: string; revision: bigint },
  branches: { success: RequestOp[]; failure?: RequestOp[] },
): Promise<TxnResult> {
  const { success, failure = [] } = branches;
  return await database.txn({ kind: "txn", compare: [createdAt(key, revision)], success, failure });
}

/** The first row of a range's answer. */
export function firstPair(answer: ResponseOp | RangeResult | undefined): StoredPair | null {
  if (answer?.kind !== "range" || answer.rows.length === 0) return null;
  return pairOfRow(answer.rows[0]!);
}

/**
 * Resolves when nobody is before this place any more; false where the place itself is gone (its lease has ended, or it
 * was deleted). Rejects when the signal fires, which is the bound of its waiting: the call's cancellation or deadline.
 */
export async function isMyTurn(database: Database, place: Place, signal: AbortSignal): Promise<boolean> {
  const before = rangeOf(place.prefix, endOf(place.prefix), {
    ...{ limit: 1, sortOrder: sortOrders.descend, sortTarget: sortTargets.create },
    maxCreateRevision: place.createRevision - 1,
  });
  // Each round ends with a key of an older one gone, of which there are no new ones.
  for (;;) {
    const own = await ownRevision(database, place);
    if (own === null) return false;
    // The filter by 0 would be none.
    const found = place.createRevision <= 1 ? null : await database.range(before);
    const ahead = firstPair(found ?? undefined);
    if (found === null || ahead === null) return true;
    if (signal.aborted) throw new DbError("canceled");
    await untilOneGoes(database, signal, [
      { key: place.key, after: own },
      { key: ahead.key, after: found.revision },
    ]);
  }
}

/** The revision at which the place was found to exist; null: it does not. */
export async function ownRevision(database: Database, place: Place): Promise<Revision | null> {
  const answer = await database.range(rangeOf(place.key));
  return firstPair(answer)?.createRevision === place.createRevision ? answer.revision : null;
}

async function untilOneGoes(
  database: Database,
  signal: AbortSignal,
  keys: readonly { key: string; after: Revision }[],
): Promise<void> {
  if (waiting >= WAITING_MAX) throw new DbError("tooManyRequests");
  waiting++;
  const watched = new WatchedKeys(database, signal);
  try {
    for (const { key, after } of keys) watched.add({ key, rangeEnd: "", startRevision: after + 1, deletesOnly: true });
    // What is compacted meanwhile is looked at anew, as is what has gone.
    for (let events = await watched.next(); events !== null; events = await watched.next())
      if (events.some((event) => readEvent(event).isDelete)) return;
  } finally {
    waiting--;
    watched.close();
  }
}

/** Gives a place up for a caller who does not wait any more. If it cannot be done now, the lease's end does it. */
export async function leave(database: Database, { key, createRevision }: Place): Promise<void> {
  try {
    await ifCreatedAt(database, { key, revision: BigInt(createRevision) }, { success: [deleteOf(key)] });
  } catch (error) {
    if (!isDbError(error)) throw error;
  }
}

/** Errors of these two services come with etcd's texts, but without their codes, in etcd too. */
export async function uncoded<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw isDbError(error) ? new GrpcError(codes.unknown, textOf(error)) : error;
  }
}
