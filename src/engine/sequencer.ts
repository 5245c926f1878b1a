import { AssertionError, assert } from "../base/assert.ts";
import { ClosedByBug, DbError, isDbError } from "../base/errors.ts";
import type { RecordNumber, Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { LogWriter } from "../log/log.ts";
import type { Clock, Timer, Timers } from "../runtime/runtime.ts";
import type { Tree } from "../storage/storage.ts";
import { notCarriedOut, type Outcome, Refused, unknownOutcome } from "./call-outcome.ts";
import type { CommittedRevision } from "./changes.ts";
import { Draft } from "./draft.ts";
import { liveChange } from "./maintenance/live-bytes.ts";
import { Pending, PendingQueue } from "./pending.ts";
import { suspension } from "./reads.ts";
import { SUSPENDED, SuspendedCall, SuspendedCalls } from "./suspended-calls.ts";

/**
 * The one place where a branch is written: requests are evaluated one after the other against the head, and answered
 * when that is durable.
 *
 *   run ─► evaluate against head ─► append to the log, apply to the tree ─► head moves
 *   log durable ─► committed moves ─► answers leave ─► watchers are told
 *
 * Invariants:
 *   1. Each record that changes keys takes the next revision (DESIGN invariant 1); a record is in the tree only with
 *      its payload in the log.
 *   2. No answer, an error or a refusal that an evaluation made included, leaves before everything that it was
 *      evaluated against is durable. One that wrote nothing also needs the proof of leading, asked for after that.
 *   3. An evaluation is synchronous. One that must wait for a read has changed nothing, and is run again from its
 *      start (suspended-calls.ts).
 *   4. When durability fails for good nothing is undone or sent again: every call gets an error that says its
 *      outcome is unknown, and the sequencer never answers anything else again.
 *   5. Calls not yet answered, and the bytes of records not yet durable, are bounded.
 *   6. A bug where nothing was changed yet (a compare, a permission, a read: not an assertion) ends its call alone.
 *      Any other, from the moment that state may have changed until it is committed, ends the branch: its state is
 *      thrown away and built anew from what is durable.
 */
export class Sequencer {
  readonly #draft: Draft;
  readonly #tree: Tree;
  readonly #log: LogWriter;
  readonly #options: SequencerOptions;
  readonly #pending = new PendingQueue();
  readonly #suspended: SuspendedCalls;
  #head: { revision: Revision; compactRevision: number; record: number };
  #durable: RecordNumber;
  #pendingBytes = 0;
  #liveBytes = 0;
  #timer: Timer | null = null;
  #end: DbError | null = null;

  constructor(tree: Tree, log: LogWriter, options: SequencerOptions) {
    assert(log.head === log.durable, "a sequencer starts where everything is durable");
    this.#tree = tree;
    this.#log = log;
    this.#options = options;
    this.#draft = new Draft(tree, { leasesStripped: options.leasesStripped ?? false });
    this.#head = { revision: options.revision, compactRevision: options.compactRevision, record: log.head };
    this.#durable = log.durable;
    this.#suspended = new SuspendedCalls({
      runAgain: (call) => this.#runAgain(call),
      bug: (error) => this.#bug(error),
    });
    log.onDurable = (durable) => {
      try {
        this.#onDurable(durable);
      } catch (error) {
        // With it the order in which answers leave is lost: nothing more may become visible.
        this.#bug(error);
      }
    };
    log.onFailed = (error) => this.fail(error);
  }

  /** Newest sequenced: not to be shown. */
  get head(): { readonly revision: Revision; readonly compactRevision: number; readonly record: number } {
    return this.#head;
  }

  /** Calls that have no answer yet. */
  get callsPending(): number {
    return this.#pending.length + this.#suspended.size;
  }

  /** From now on what would write is answered with this, and what only looks as ever; null: everything is taken. */
  refuseWrites(refusal: DbError | null): void {
    this.#draft.refusal = refusal;
  }

  get end(): DbError | null {
    return this.#end;
  }

  /**
   * Evaluates a request and answers it. `evaluate` may be run more than once, must read all that it needs before it
   * changes anything outside the draft, and must not keep the draft.
   */
  run<Request, Result>(evaluate: Evaluate<Request, Result>, request: Request): MaybePromise<Result> {
    const refusal = this.#refusal();
    if (refusal !== null) throw refusal;
    const deadlineMs = this.#options.clock.monotonicMs() + this.#options.requestTimeoutMs;
    if (!this.#suspended.isHeld) {
      const outcome = this.#evaluate(evaluate, request, null);
      if (outcome !== SUSPENDED) return this.#accept(outcome as Outcome<Result>, deadlineMs);
    }
    this.#watchTime(deadlineMs);
    // Nothing was kept of its first run: what that waits for counts if it asked for nothing else before.
    const keptAt = !this.#suspended.isHeld && this.#draft.reads.isFirst ? this.#head.record : null;
    return this.#suspended.add(new SuspendedCall(evaluate, request, deadlineMs), keptAt);
  }

  #refusal(): DbError | null {
    if (this.#end !== null) return notCarriedOut(this.#end);
    const { callsMax, bytesMax } = this.#options;
    if (this.callsPending >= callsMax || this.#pendingBytes >= bytesMax) return new DbError("tooManyRequests");
    return this.#writeRefusal();
  }

  /** What is written goes into the log and the memtable: either may be full. */
  #writeRefusal(): DbError | null {
    return this.#log.refusal() ?? this.#options.storageRefusal();
  }

  #runAgain(call: SuspendedCall): MaybePromise<unknown> | typeof SUSPENDED {
    const refusal = this.#writeRefusal();
    if (refusal !== null) throw refusal;
    // What it was answered is true for as long as nothing else was sequenced.
    if (call.answersAt !== this.#head.record) call.keepAt(this.#head.record);
    const outcome = this.#evaluate(call.evaluate, call.request, call.answers);
    return outcome === SUSPENDED ? SUSPENDED : this.#accept(outcome, call.deadlineMs);
  }

  /** A result, an error that the evaluation made, or SUSPENDED; anything else that is thrown is a bug (invariant 6). */
  #evaluate<Request, Result>(
    evaluate: Evaluate<Request, Result>,
    request: Request,
    answers: unknown[] | null,
  ): Outcome<Result> | typeof SUSPENDED {
    const draft = this.#draft;
    draft.begin(this.#head, answers);
    try {
      return evaluate(draft, request);
    } catch (error) {
      if (error === suspension) return SUSPENDED;
      if (!isDbError(error) && (error instanceof AssertionError || draft.mayHaveLeft)) throw this.#bug(error);
      draft.begin(this.#head, null);
      if (!isDbError(error)) throw error;
      return new Refused(error);
    }
  }

  /** What the draft holds becomes part of the branch; the answer waits for it. */
  #accept<Result>(outcome: Outcome<Result>, deadlineMs: number): MaybePromise<Result> {
    const draft = this.#draft;
    if (draft.isEmpty) {
      if (this.#head.record <= this.#durable) return this.#proven(outcome);
      return this.#push(new Pending(this.#head.record, deadlineMs), outcome);
    }
    assert(!(outcome instanceof Refused), "what is refused writes nothing");
    const pending = new Pending(draft.record, deadlineMs);
    try {
      this.#append(draft, pending);
    } catch (error) {
      throw this.#bug(error);
    }
    return this.#push(pending, outcome);
  }

  /** Bytes of live pairs that were added since this began, less those that were taken away. */
  get liveBytes(): number {
    return this.#liveBytes;
  }

  #append(draft: Draft, pending: Pending): void {
    const { changes, entries } = draft;
    const revision = changes.length === 0 ? (draft.bump ?? this.#head.revision) : draft.nextRevision;
    const payload = draft.finish();
    const number = this.#log.append({ payload, revision });
    assert(number === draft.record, "the log numbers records densely");
    if (draft.isInOnePiece) this.#tree.applyAllKept(entries);
    else for (const entry of entries) this.#tree.apply(entry);
    if (changes.length !== 0) this.#liveBytes += liveChange(changes);
    pending.bytes = payload.length;
    this.#pendingBytes += payload.length;
    if (changes.length !== 0) pending.committed = { revision, changes };
    pending.bump = draft.bump;
    pending.afterCommit = draft.afterCommit;
    pending.compactRevision = draft.compactRevision;
    this.#head = { revision, compactRevision: draft.compactRevision, record: number };
  }

  #push<Result>(pending: Pending, outcome: Outcome<Result>): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    pending.outcome = outcome;
    pending.resolve = resolve as (result: unknown) => void;
    pending.reject = reject;
    if (this.#end !== null) {
      // The log came to its end while it took the record.
      reject(unknownOutcome(this.#end));
      return promise;
    }
    this.#pending.push(pending);
    this.#watchTime(pending.deadlineMs);
    return promise;
  }

  /** Answers what wrote nothing and was evaluated against what is durable by now: once leading is proven. */
  #proven<Result>(outcome: Outcome<Result>): MaybePromise<Result> {
    const why = this.#options.proof();
    if (why instanceof Promise) return why.then((error) => this.#answer(outcome, error));
    return this.#answer(outcome, why);
  }

  #answer<Result>(outcome: Outcome<Result>, unproven: DbError | null): Result {
    if (this.#end !== null) throw unknownOutcome(this.#end);
    if (unproven !== null) throw unproven;
    if (outcome instanceof Refused) throw outcome.error;
    return outcome;
  }

  // --- durability ---

  #onDurable(durable: RecordNumber): void {
    if (this.#end !== null) return;
    assert(durable >= this.#durable && durable <= this.#head.record, "durability grows up to the head");
    this.#durable = durable;
    const commits: CommittedRevision[] = [];
    const compactBefore = this.#options.committed.compactRevision;
    for (let first = this.#pending.first(); first !== null && first.record <= durable; first = this.#pending.first()) {
      this.#pending.shift();
      this.#commit(first, commits);
    }
    // Asking for proof may have been what told that leadership is lost.
    if (this.#end !== null) return;
    const { committed } = this.#options;
    if (commits.length > 0) this.#options.onCommitted(commits);
    if (committed.compactRevision !== compactBefore) this.#options.onCompacted(committed.compactRevision as Revision);
  }

  #commit(pending: Pending, commits: CommittedRevision[]): void {
    const { committed } = this.#options;
    if (pending.bytes > 0) {
      this.#pendingBytes -= pending.bytes;
      committed.compactRevision = pending.compactRevision;
    }
    if (pending.bump !== null) committed.revision = pending.bump;
    if (pending.committed !== null) {
      assert(pending.committed.revision === committed.revision + 1, "revisions are committed one after the other");
      committed.revision = pending.committed.revision;
      commits.push(pending.committed);
    }
    pending.afterCommit?.();
    if (pending.isSettled) return;
    if (pending.bytes > 0) pending.resolve(pending.outcome);
    else this.#settleProven(pending);
  }

  #settleProven(pending: Pending): void {
    try {
      pending.resolve(this.#proven(pending.outcome as Outcome<unknown>));
    } catch (error) {
      pending.reject(error);
    }
  }

  /**
   * Nothing more becomes durable. Every call under way is told that its outcome is unknown.
   */
  fail(error: DbError): void {
    if (this.#end !== null) return;
    this.#end = error;
    this.#timer?.cancel();
    this.#timer = null;
    const unknown = unknownOutcome(error);
    for (let first = this.#pending.first(); first !== null; first = this.#pending.first()) {
      this.#pending.shift();
      if (!first.isSettled) first.reject(unknown);
    }
    this.#suspended.refuse(unknown);
    this.#options.onEnd(error);
  }

  /**
   * Whoever still waits for a read is told `error`, and writes nothing any more. For a leadership that gives its branch
   * up: what would be sequenced behind its last record would be answered, and be in no log that the next one reads.
   */
  refuseWaiting(error: DbError): void {
    this.#suspended.refuse(error);
  }

  /** A broken promise of the program: the branch ends with it. Gives the error back, for the caller to throw. */
  #bug(error: unknown): unknown {
    this.fail(new ClosedByBug(error));
    return error;
  }

  // --- time ---

  #watchTime(deadlineMs: number): void {
    if (this.#timer !== null) return;
    const delayMs = Math.max(TIME_STEP_MS, deadlineMs - this.#options.clock.monotonicMs());
    this.#timer = this.#options.timers.set(delayMs, () => this.#timeOut(), { background: true });
  }

  /**
   * Calls past their time are told that their outcome is unknown; what they wrote stays pending, and is committed if it
   * becomes durable.
   */
  #timeOut(): void {
    this.#timer = null;
    const nowMs = this.#options.clock.monotonicMs();
    const nextMs = Math.min(this.#suspended.timeOut(nowMs), this.#pending.timeOut(nowMs));
    if (nextMs !== Number.POSITIVE_INFINITY) this.#watchTime(nextMs);
  }
}

/**
 * Evaluates a request: returns its answer, its writes in the draft, or throws a DbError and has written nothing. What
 * changes anything outside the draft writes into it first, as a record of another kind than a transaction.
 */
export type Evaluate<Request, Result> = (draft: Draft, request: Request) => Result;

/** What readers may see; moved by the sequencer alone. */
export interface Committed {
  revision: Revision;
  compactRevision: number;
}

export interface SequencerOptions {
  readonly revision: Revision;
  readonly compactRevision: number;
  readonly committed: Committed;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly requestTimeoutMs: number;
  /** Leases were left out when the branch was cut. */
  readonly leasesStripped?: boolean;
  readonly callsMax: number;
  readonly bytesMax: number;
  proof(): MaybePromise<DbError | null>;
  /** Why the storage takes nothing more now; null when all is well. */
  storageRefusal(): DbError | null;
  onCommitted(commits: readonly CommittedRevision[]): void;
  onCompacted(compactRevision: Revision): void;
  /** Called once: nothing is sequenced or answered after it. */
  onEnd(error: DbError): void;
}

/** Calls are told that they are out of time at most this much late. */
const TIME_STEP_MS = 10;
