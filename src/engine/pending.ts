import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { Revision } from "../base/ids.ts";
import type { CommittedRevision } from "./changes.ts";

/**
 * A call that was sequenced and is not answered, or a record whose call was answered already (out of time) and that is
 * not durable.
 */
export class Pending {
  /** All up to this record must be durable. */
  readonly record: number;
  readonly deadlineMs: number;
  outcome: unknown = undefined;
  resolve: (result: unknown) => void = neverCalled;
  reject: (error: unknown) => void = neverCalled;
  isSettled = false;
  /** Size of its own record's payload; 0 if it wrote none. */
  bytes = 0;
  /** What watchers are told; null if it changed no keys. */
  committed: CommittedRevision | null = null;
  /** The revision that its record goes up to without a change of keys; null: none. */
  bump: Revision | null = null;
  /** After its own record. */
  compactRevision = -1;
  afterCommit: (() => void) | null = null;

  constructor(record: number, deadlineMs: number) {
    this.record = record;
    this.deadlineMs = deadlineMs;
  }
}

const neverCalled = (): void => assert(false, "a call is settled after it was made");

/**
 * First in, first out; both the records and the deadlines ascend (but for calls that waited for reads, which are told
 * late at worst).
 */
export class PendingQueue {
  #items: Pending[] = [];
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }

  push(pending: Pending): void {
    this.#items.push(pending);
  }

  first(): Pending | null {
    return this.#first < this.#items.length ? this.#items[this.#first]! : null;
  }

  shift(): void {
    this.#items[this.#first++] = GONE;
    if (this.#first === this.#items.length) {
      this.#items.length = 0;
      this.#first = 0;
    } else if (this.#first >= 4096 && this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
  }

  /** Tells calls that are out of time; returns when the next one is (infinity without any). */
  timeOut(nowMs: number): number {
    let nextMs = Number.POSITIVE_INFINITY;
    for (let i = this.#first; i < this.#items.length; i++) {
      const pending = this.#items[i]!;
      if (pending.isSettled) continue;
      if (pending.deadlineMs > nowMs) {
        nextMs = Math.min(nextMs, pending.deadlineMs);
        continue;
      }
      pending.isSettled = true;
      pending.reject(new DbError("timeout"));
    }
    return nextMs;
  }
}

const GONE = new Pending(0, 0);
