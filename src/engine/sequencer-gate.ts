import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Guard } from "./auth-desk.ts";
import type { Draft } from "./draft.ts";
import type { Evaluate, Sequencer } from "./sequencer.ts";
import type { Serving } from "./serving.ts";

/** What every change of a branch passes before it is sequenced: the branch takes changes, and there is room for one. */
export class SequencerGate {
  readonly #serving: Serving;
  readonly #sequencer: Sequencer;
  readonly #room: () => Promise<void> | null;

  /** `room`: what a change waits for; null: for nothing. */
  constructor(serving: Serving, sequencer: Sequencer, room: () => Promise<void> | null) {
    this.#serving = serving;
    this.#sequencer = sequencer;
    this.#room = room;
  }

  /** `guard` is asked at each evaluation, against the head that it is made against; null: the program's own change. */
  run<Request, Result>(
    evaluate: Evaluate<Request, Result>,
    request: Request,
    guard: Guard | null = null,
  ): MaybePromise<Result> {
    this.#serving.checkTaking();
    const guardedEvaluate = guard === null ? evaluate : guarded(guard, evaluate);
    const room = this.#room();
    if (room === null) return this.#sequencer.run(guardedEvaluate, request);
    return room.then(() => {
      // The branch may have been given up meanwhile: nothing is sequenced behind its last record.
      this.#serving.checkTaking();
      return this.#sequencer.run(guardedEvaluate, request);
    });
  }
}

const guarded =
  <Request, Result>(guard: Guard, evaluate: Evaluate<Request, Result>): Evaluate<Request, Result> =>
  (draft: Draft, request: Request) => {
    guard(draft);
    return evaluate(draft, request);
  };
