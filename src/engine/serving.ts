import type { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Leadership } from "../leadership/leadership.ts";
import { notCarriedOut } from "./call-outcome.ts";
import { HeldOpen } from "./held-open.ts";
import type { Sequencer } from "./sequencer.ts";

/**
 * Whether a branch answers under this leadership, and how a read proves it.
 *
 *   open ──► closing: nothing more is sequenced, reads go on ──► ended, by the sequencer's end: nothing is answered
 *
 * A linearizable read asks for the proof of leading when it has arrived, never before.
 */
export class Serving {
  readonly #leadership: Leadership;
  readonly #sequencer: Sequencer;
  readonly #heldOpen: HeldOpen;
  /** What calls are told from now on. */
  #closing: DbError | null = null;

  constructor(leadership: Leadership, sequencer: Sequencer, { readsMax }: { readsMax: number }) {
    this.#leadership = leadership;
    this.#sequencer = sequencer;
    this.#heldOpen = new HeldOpen({ readsMax });
  }

  /** Nothing more is sequenced; the first reason is what calls are told. */
  takeNoMore(error: DbError): void {
    this.#closing ??= error;
  }

  /** Answers nothing any more; what is pending is told that its outcome is unknown. */
  end(error: DbError): void {
    this.takeNoMore(error);
    this.#sequencer.fail(error);
  }

  /** Throws once nothing is answered any more. */
  checkOpen(): void {
    const { end } = this.#sequencer;
    if (end !== null) throw notCarriedOut(end);
  }

  /** Throws once nothing is sequenced any more. */
  checkTaking(): void {
    if (this.#closing !== null) throw notCarriedOut(this.#closing);
    this.checkOpen();
  }

  /** Answers once leading is proven: no promise where the proof is at hand, nor a closure. */
  onceProven<Request, Context, Result>(
    answer: (request: Request, context: Context) => MaybePromise<Result>,
    request: Request,
    context: Context,
  ): MaybePromise<Result> {
    this.checkOpen();
    const why = this.#leadership.proof();
    if (why instanceof Promise) return this.#afterProof(why, () => answer(request, context));
    if (why !== null) throw why;
    return answer(request, context);
  }

  #afterProof<T>(proof: Promise<DbError | null>, answer: () => MaybePromise<T>): Promise<T> {
    return this.#heldOpen.byRead(async () => {
      const why = await proof;
      this.checkOpen();
      if (why !== null) throw why;
      return await answer();
    });
  }

  unprovenBecause(): DbError | null {
    const { end } = this.#sequencer;
    return end === null ? this.#leadership.unprovenBecause() : notCarriedOut(end);
  }

  /** Calls that have no answer yet, and streams: a branch with one is not idle. */
  get callsPending(): number {
    return this.#sequencer.callsPending + this.#heldOpen.count;
  }

  holdOpen(): () => void {
    return this.#heldOpen.byStream();
  }
}
