import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Timers } from "../runtime/runtime.ts";

/**
 * The first moments of a process. Clients that were connected to it before come back as soon as its port is bound; what
 * they ask waits until the branch is open, or until it is known why it will not be soon (another node leads, the store
 * is away), or for `waitMs` at most. Told at once that nobody leads, etcd's clients would end their watches for good.
 */
export class Opening {
  #isOver = false;
  readonly #over = Promise.withResolvers<void>();

  constructor(timers: Timers, waitMs: number) {
    timers.set(waitMs, () => this.end(), { background: true });
  }

  /** What is asked is answered from now on, whatever the answer is. */
  end(): void {
    this.#isOver = true;
    this.#over.resolve();
  }

  /** `ask` at once, or once this is over. */
  before<T>(ask: () => MaybePromise<T>): MaybePromise<T> {
    return this.#isOver ? ask() : this.#over.promise.then(ask);
  }
}
