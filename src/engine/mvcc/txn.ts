import { assert, unreachable } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { revision } from "../../base/ids.ts";
import type { Version } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type {
  DeleteRangeRequest,
  DeleteRangeResult,
  PlainPuts,
  PutRequest,
  RangeRequest,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResult,
} from "../engine.ts";
import type { Reads } from "../reads.ts";
import { holds } from "./compare.ts";
import { readDeleted } from "./delete-range.ts";
import type { Gathered } from "./gathered.ts";
import { OwnWrites } from "./own-writes.ts";
import { applyPut, checkLease, checkPrevious, type LeaseLookup } from "./put.ts";
import { type Found, find, type RangePoint, rangeResult } from "./range.ts";

/**
 * A transaction, in etcd's order (T10 to T14, Q4):
 *
 *   1. all comparisons, those of nested transactions on the path too, against the state before it
 *   2. all checks of the operations on the path, and everything that they read, against the state before it
 *   3. the operations, one after the other, each seeing what the earlier ones wrote
 *
 * Reads end with step 2, so it may be suspended and run again until then.
 */
export function txn(draft: Draft, leases: LeaseLookup, request: TxnRequest): TxnResult {
  const { reads } = draft;
  if (request.plain !== undefined) return plainTxn(draft, request.plain);
  const taken = choose(reads, request);
  const writes = new PathWrites();
  const steps = prepare(taken, { draft, reads, leases, point: draft, writes, gathered: request.gathered ?? null });
  const own = writes.isEmpty || !meet(steps) ? null : new OwnWrites();
  const responses = execute(steps, { draft, own });
  return { kind: "txn", revision: draft.revisionSoFar, succeeded: taken.succeeded, responses };
}

/** The same where all operations are plain puts, of which none meets another (T5): all are read, then written. */
function plainTxn(draft: Draft, puts: PlainPuts): TxnResult {
  const { nextRevision } = draft;
  draft.putAll(puts, areAllNew(draft.reads, puts) ? null : puts.keys.map((key) => draft.reads.get(key)));
  const response: ResponseOp = { kind: "put", revision: nextRevision, prev: null };
  const responses = new Array<ResponseOp>(puts.keys.length).fill(response);
  return { kind: "txn", revision: nextRevision, succeeded: true, responses };
}

/** Known by one look for all of them, where they come in order and none lies between, as those of loaders do. */
const areAllNew = (reads: Reads, { keys, inOrder }: PlainPuts): boolean =>
  inOrder && keys.length >= ALL_NEW_MIN && reads.tree.isEmptyBetween(keys[0]!, keys.at(-1)!);

/** Fewer keys are looked for one by one. */
const ALL_NEW_MIN = 8;

/**
 * Whether one of these may meet what another one writes. One operation alone does not; nor do puts by themselves, as no
 * key is put twice (T5).
 */
function meet(steps: readonly Step[]): boolean {
  if (steps.length === 1) return steps[0]!.kind === "txn";
  return !steps.every(({ kind }) => kind === "put");
}

/** T13: nothing but ranges in either branch. Such a transaction does not pass the sequencer. */
export const isReadOnly = (request: TxnRequest): boolean =>
  request.plain === undefined && request.success.every(isRange) && request.failure.every(isRange);

const isRange = (op: RequestOp): boolean => op.kind === "range";

/**
 * Whether it may be answered without proof of leading: every range says so. One without any range may in etcd, too;
 * here it needs the proof, as it cannot have asked to do without.
 */
export const isSerializable = ({ success, failure }: TxnRequest): boolean =>
  success.length + failure.length > 0 && success.every(isSerializableRange) && failure.every(isSerializableRange);

const isSerializableRange = (op: RequestOp): boolean => op.kind === "range" && op.serializable;

/** A read-only transaction at a point in the past or present; `reads` are at the same one. */
export function readOnlyTxn(reads: Reads, point: RangePoint, request: TxnRequest): TxnResult {
  const taken = choose(reads, request);
  const responses: ResponseOp[] = [];
  for (const op of taken.ops) {
    assert(op.kind === "range", "a read-only transaction holds ranges");
    responses.push(
      rangeResult(
        point.revision,
        prepareRange({ reads, point, writes: NO_WRITES, gathered: request.gathered ?? null }, op),
        op,
      ),
    );
  }
  return { kind: "txn", revision: point.revision, succeeded: taken.succeeded, responses };
}

/** A transaction with its branch chosen, and those of the nested ones in it, in order. */
interface Taken {
  readonly succeeded: boolean;
  readonly ops: readonly RequestOp[];
  readonly nested: readonly Taken[];
}

const NO_NESTED: readonly Taken[] = [];

function choose(reads: Reads, request: TxnRequest): Taken {
  const succeeded = request.compare.every((compare) => holds(reads, compare)); // T8
  const ops = succeeded ? request.success : request.failure;
  let nested: Taken[] | null = null;
  for (const op of ops) if (op.kind === "txn") (nested ??= []).push(choose(reads, op));
  return { succeeded, ops, nested: nested ?? NO_NESTED };
}

/** An operation with what it reads, as of before the transaction. */
type Step =
  | { readonly kind: "range"; readonly op: RangeRequest; readonly found: Found; readonly seesOwn: boolean }
  | { readonly kind: "put"; readonly op: PutRequest; readonly prev: Version | null }
  | { readonly kind: "deleteRange"; readonly op: DeleteRangeRequest; readonly versions: readonly Version[] }
  | { readonly kind: "txn"; readonly taken: Taken; readonly steps: readonly Step[] };

interface Preparing {
  readonly reads: Reads;
  readonly point: RangePoint;
  readonly writes: PathWrites;
  readonly gathered: Gathered | null;
}

/** What the operations on the path before this one write. */
class PathWrites {
  isEmpty = true;
  /** How many rows of a range they may take away. */
  deletesMax = 0;

  add(op: PutRequest | DeleteRangeRequest): void {
    this.isEmpty = false;
    if (op.kind === "deleteRange") this.deletesMax += op.rangeEnd === "" ? 1 : Number.POSITIVE_INFINITY;
  }
}

const NO_WRITES = new PathWrites();

function prepare(taken: Taken, context: Preparing & { draft: Draft; leases: LeaseLookup }): Step[] {
  const { reads, leases, writes } = context;
  const steps: Step[] = [];
  let nested = 0;
  for (const op of taken.ops) {
    switch (op.kind) {
      case "range":
        steps.push({ kind: "range", op, found: prepareRange(context, op), seesOwn: op.revision <= 0 });
        break;
      case "put": {
        const prev = reads.get(op.key);
        checkPrevious(op, prev);
        checkLease(leases, op);
        writes.add(op);
        steps.push({ kind: "put", op, prev });
        break;
      }
      case "deleteRange":
        writes.add(op);
        steps.push({ kind: "deleteRange", op, versions: readDeleted(reads, op) });
        break;
      case "txn": {
        const chosen = taken.nested[nested++]!;
        steps.push({ kind: "txn", taken: chosen, steps: prepare(chosen, context) });
        break;
      }
      case "empty":
        throw new DbError("keyNotFound");
      default:
        unreachable(op);
    }
  }
  return steps;
}

/** T10. A negative revision is compared like any other (Q3): with the compact revision at −1, −1 passes. */
function prepareRange({ reads, point, writes, gathered }: Preparing, op: RangeRequest): Found {
  if (op.revision !== 0) {
    if (op.revision > point.revision) throw new DbError("futureRevision");
    if (op.revision < point.compactRevision) throw new DbError("compacted");
  }
  const at = op.revision > 0 ? op.revision : point.revision;
  // So many rows beyond the limit that enough are left, whatever is deleted before this range is evaluated.
  const extra = op.revision > 0 ? 0 : writes.deletesMax;
  return reads.once(() =>
    gathered === null ? find(reads.tree, op, at, extra) : gathered.find(reads.tree, op, at, extra),
  );
}

/** `own` is null where no operation can meet another's write. */
interface Executing {
  readonly draft: Draft;
  readonly own: OwnWrites | null;
}

function execute(steps: readonly Step[], context: Executing): ResponseOp[] {
  const { draft, own } = context;
  const responses: ResponseOp[] = [];
  for (const step of steps) {
    switch (step.kind) {
      case "range": {
        const found = own !== null && step.seesOwn ? own.found(step.found, step.op) : step.found;
        responses.push(rangeResult(draft.revisionSoFar, found, step.op));
        break;
      }
      case "put":
        responses.push({ kind: "put", revision: draft.nextRevision, prev: executePut(step.op, step.prev, context) });
        break;
      case "deleteRange":
        responses.push(executeDelete(step.op, step.versions, context));
        break;
      case "txn": {
        const { succeeded } = step.taken;
        // etcd leaves the header of a nested transaction's response empty.
        responses.push({ kind: "txn", revision: revision(0), succeeded, responses: execute(step.steps, context) });
        break;
      }
      default:
        unreachable(step);
    }
  }
  return responses;
}

function executePut(op: PutRequest, version: Version | null, { draft, own }: Executing): Version | null {
  const prev = own === null ? version : (own.current(op.key, version) as Version | null);
  // Deleted by this transaction itself, in a way that T5 lets pass: etcd 3.6.16 aborts here, after its checks (Q10).
  // The draft is dropped.
  checkPrevious(op, prev);
  const row = applyPut(draft, op, prev);
  own?.set(op.key, { current: row, before: own.before(op.key, version) });
  return op.prevKv ? prev : null;
}

function executeDelete(
  op: DeleteRangeRequest,
  versions: readonly Version[],
  { draft, own }: Executing,
): DeleteRangeResult {
  const rows = own === null ? versions : own.merge(versions, op);
  for (const row of rows) {
    const before = own === null ? row : own.before(row.key, row);
    draft.delete(row.key, { prev: row, before });
    own?.set(row.key, { current: null, before });
  }
  return { kind: "deleteRange", revision: draft.revisionSoFar, deleted: rows.length, prevs: op.prevKv ? rows : [] };
}
