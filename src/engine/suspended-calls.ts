import { AssertionError, assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { suspension } from "./reads.ts";
import type { Evaluate } from "./sequencer.ts";

/** What an evaluation that waits for a read gives instead of an outcome; `suspension` then holds the read. */
export const SUSPENDED = Symbol("suspended");

/** Runs of a request that has to wait for reads before it holds the sequencer. */
const OPEN_RUNS_MAX = 3;

/** A request whose evaluation has to wait for a read, or for the holder. */
export class SuspendedCall {
  readonly evaluate: Evaluate<unknown, unknown>;
  readonly request: unknown;
  readonly deadlineMs: number;
  /** What its reads were answered, in their order, and the head's record then; null: nothing was kept. */
  answers: unknown[] | null = null;
  answersAt = -1;
  runs = 0;
  resolve: (result: unknown) => void = neverCalled;
  reject: (error: unknown) => void = neverCalled;

  constructor(evaluate: Evaluate<never, unknown>, request: unknown, deadlineMs: number) {
    this.evaluate = evaluate as Evaluate<unknown, unknown>;
    this.request = request;
    this.deadlineMs = deadlineMs;
  }

  /** Its answers are kept from now on, with the head at `record`. */
  keepAt(record: number): void {
    this.answers = [];
    this.answersAt = record;
  }
}

const neverCalled = (): void => assert(false, "a call is settled after it was made");

/** Of the sequencer. */
export interface SuspendedCallsPort {
  /** One run from the start: the answer, or SUSPENDED; throws what the call is refused with. */
  runAgain(call: SuspendedCall): MaybePromise<unknown> | typeof SUSPENDED;
  /** A broken promise of the program: the branch ends with it. Gives the error back. */
  bug(error: unknown): unknown;
}

/**
 * Requests that wait for reads. Each is run again from its start when its read is done, with what it was answered so
 * far where nothing else was sequenced meanwhile. After OPEN_RUNS_MAX runs it holds the sequencer, so that the state
 * stands still and each run gets further.
 *
 * Invariants:
 *   1. While one holds, nothing else is sequenced: what comes waits in line behind it.
 *   2. A call is settled once, by whoever takes it out of the set: its run, its time, or the end.
 */
export class SuspendedCalls {
  readonly #port: SuspendedCallsPort;
  /** All of them, in order of arrival. */
  readonly #calls = new Set<SuspendedCall>();
  /** Those that wait for the holder. */
  readonly #queue: SuspendedCall[] = [];
  #holder: SuspendedCall | null = null;
  #releasing = false;

  constructor(port: SuspendedCallsPort) {
    this.#port = port;
  }

  get size(): number {
    return this.#calls.size;
  }

  /** Nothing else may be evaluated. */
  get isHeld(): boolean {
    return this.#holder !== null;
  }

  /**
   * Takes a call that was just suspended, or that comes while another one holds. `keptAt`: the head's record, where the
   * answer to the read that it waits for is to be kept.
   */
  add<Result>(call: SuspendedCall, keptAt: number | null): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    call.resolve = resolve as (result: unknown) => void;
    call.reject = reject;
    if (keptAt !== null) call.keepAt(keptAt);
    this.#calls.add(call);
    if (this.#holder !== null) this.#queue.push(call);
    else this.#own(this.#runAfter(call, suspension.take()));
    return promise;
  }

  /** All of them are told `error`, and write nothing any more. */
  refuse(error: DbError): void {
    for (const call of this.#calls) call.reject(error);
    this.#calls.clear();
    this.#queue.length = 0;
    this.#holder = null;
  }

  /** Tells those that are out of time; returns when the next one is (infinity without any). */
  timeOut(nowMs: number): number {
    for (const call of [...this.#calls]) {
      if (call.deadlineMs > nowMs) continue;
      this.#settle(call, () => call.reject(new DbError("timeout")));
      this.#release(call);
    }
    let nextMs = Number.POSITIVE_INFINITY;
    for (const { deadlineMs } of this.#calls) nextMs = Math.min(nextMs, deadlineMs);
    return nextMs;
  }

  /** Calls are answered within `work`: what it fails of itself has nobody else to be told. */
  #own(work: Promise<void>): void {
    work.catch((error: unknown) => this.#port.bug(error));
  }

  /** Runs a call again whenever its read is done; one that is settled meanwhile (time, the end) stops here. */
  async #runAfter(call: SuspendedCall, read: Promise<unknown>): Promise<void> {
    while (await this.#readDone(call, read)) {
      if (this.#holder !== null) {
        this.#queue.push(call);
        return;
      }
      if (++call.runs >= OPEN_RUNS_MAX) {
        this.#hold(call);
        return;
      }
      if (!this.#run(call)) return;
      read = suspension.take();
    }
  }

  /** True if the read is done and the call still wants it. */
  async #readDone(call: SuspendedCall, read: Promise<unknown>): Promise<boolean> {
    try {
      const answer = await read;
      call.answers?.push(answer);
    } catch (error) {
      this.#settle(call, () => call.reject(error instanceof AssertionError ? this.#port.bug(error) : error));
    }
    return this.#calls.has(call);
  }

  /** One run; true if it has to wait for another read. */
  #run(call: SuspendedCall): boolean {
    try {
      const answer = this.#port.runAgain(call);
      if (answer === SUSPENDED) return true;
      this.#settle(call, () => call.resolve(answer));
    } catch (error) {
      this.#settle(call, () => call.reject(error));
    }
    return false;
  }

  #settle(call: SuspendedCall, settle: () => void): void {
    if (this.#calls.delete(call)) settle();
  }

  /** From here on nothing else is sequenced until this call is, or gives up: so the answers to its reads stay true. */
  #hold(call: SuspendedCall): void {
    assert(this.#holder === null, "one request holds the sequencer");
    this.#holder = call;
    this.#own(this.#runHeld(call));
  }

  async #runHeld(call: SuspendedCall): Promise<void> {
    while (this.#calls.has(call) && this.#run(call)) if (!(await this.#readDone(call, suspension.take()))) break;
    this.#release(call);
  }

  #release(call: SuspendedCall): void {
    if (this.#holder !== call) return;
    this.#holder = null;
    // A queued one that holds and ends at once comes back here from within the loop, which then goes on: the stack
    // does not grow with the queue.
    if (this.#releasing) return;
    this.#releasing = true;
    while (this.#holder === null) {
      const queued = this.#queue.shift();
      if (queued === undefined) break;
      if (this.#calls.has(queued)) this.#resume(queued);
    }
    this.#releasing = false;
  }

  #resume(queued: SuspendedCall): void {
    if (queued.runs >= OPEN_RUNS_MAX - 1) this.#hold(queued);
    else if (this.#run(queued)) this.#own(this.#runAfter(queued, suspension.take()));
  }
}
