import { DbError } from "../base/errors.ts";
import type { Deferring } from "../base/event-loop.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Tree } from "../storage/storage.ts";
import type { Access } from "./access.ts";
import type { AuthState } from "./auth/auth-state.ts";
import type {
  KeyVersion,
  OrderedVersionsRequest,
  RangeCursor,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
} from "./engine.ts";
import { checkRange } from "./mvcc/check-request.ts";
import { range } from "./mvcc/range.ts";
import { openRange } from "./mvcc/range-cursor.ts";
import { isSerializable } from "./mvcc/txn.ts";
import { PermittedRange } from "./permitted-range.ts";
import { readOnlyTxnAt } from "./read-only-txn.ts";
import type { Committed } from "./sequencer.ts";
import type { Serving } from "./serving.ts";
import { versionsInOrder } from "./versions-in-order.ts";

export interface KeyReadsParts {
  readonly serving: Serving;
  readonly tree: Tree;
  readonly committed: Committed;
  readonly timers: Deferring;
}

/**
 * Reads of the keys at `committed`, which no write waits for:
 *
 *   check ─► proof ─► permission ─► tree        no promise where proof and tree have the answer at hand
 *
 * `access`: whose call it is; null: the program's own.
 */
export class KeyReads {
  readonly #parts: KeyReadsParts;
  readonly #serving: Serving;
  readonly #tree: Tree;
  readonly #committed: Committed;

  constructor(parts: KeyReadsParts) {
    this.#parts = parts;
    this.#serving = parts.serving;
    this.#tree = parts.tree;
    this.#committed = parts.committed;
  }

  range(request: RangeRequest, access: Access | null): MaybePromise<RangeResult> {
    checkRange(request);
    if (!request.serializable) return this.#serving.onceProven(this.#range, request, access);
    this.#serving.checkOpen();
    return this.#range(request, access);
  }

  openRange(request: RangeRequest, access: Access | null): MaybePromise<RangeCursor> {
    checkRange(request);
    if (!request.serializable) return this.#serving.onceProven(this.#openRange, request, access);
    this.#serving.checkOpen();
    return this.#openRange(request, access);
  }

  /** A transaction that writes nothing, whatever it finds. */
  txn(request: TxnRequest, access: Access | null): MaybePromise<TxnResult> {
    if (!isSerializable(request)) return this.#serving.onceProven(this.#txn, request, access);
    this.#serving.checkOpen();
    return this.#txn(request, access);
  }

  /** For the program itself. */
  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]> {
    this.#serving.checkOpen();
    if (request.upTo > this.#committed.revision) throw new DbError("futureRevision");
    return versionsInOrder(this.#tree, request);
  }

  readonly #range = (request: RangeRequest, access: Access | null): MaybePromise<RangeResult> => {
    if (access === null) return range(this.#tree, this.#committed, request);
    const permittedBy = access.range(request);
    return stillPermitted(access, permittedBy, range(this.#tree, this.#committed, request));
  };

  readonly #openRange = (request: RangeRequest, access: Access | null): MaybePromise<RangeCursor> => {
    const { timers } = this.#parts;
    if (access === null) return openRange(this.#tree, this.#committed, request, { timers });
    const permittedBy = access.range(request);
    const rows = openRange(this.#tree, this.#committed, request, { timers });
    if (!isPromise(rows)) return new PermittedRange(rows, access, permittedBy);
    return rows.then((opened) => new PermittedRange(opened, access, permittedBy));
  };

  readonly #txn = (request: TxnRequest, access: Access | null): MaybePromise<TxnResult> => {
    if (access === null) return readOnlyTxnAt(this.#tree, this.#committed, request);
    const permittedBy = access.readOnlyTxn(request);
    return stillPermitted(access, permittedBy, readOnlyTxnAt(this.#tree, this.#committed, request));
  };
}

/** An answer that took its time is given only while the caller's permissions are what it was held against. */
function stillPermitted<T>(access: Access, permittedBy: AuthState, answer: MaybePromise<T>): MaybePromise<T> {
  if (!isPromise(answer)) return answer;
  return answer.then((result) => {
    access.unchanged(permittedBy);
    return result;
  });
}
