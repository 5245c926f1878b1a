import { assert } from "./assert.ts";
import { DbError } from "./errors.ts";

/** Lets so many work at once; others wait in line, and past a bound are refused. */
export class Turns {
  readonly #most: number;
  readonly #waitingMax: number;
  readonly #waiting: (() => void)[] = [];
  #taken = 0;

  constructor(most: number, waitingMax: number) {
    this.#most = most;
    this.#waitingMax = waitingMax;
  }

  /** Resolves with what ends the turn, to be called once. Rejects with `tooManyRequests`, or when `signal` fires. */
  async take(signal?: AbortSignal): Promise<() => void> {
    if (this.#taken < this.#most) this.#taken++;
    else await this.#wait(signal);
    let ended = false;
    return () => {
      assert(!ended, "a turn ends once");
      ended = true;
      const next = this.#waiting.shift();
      if (next !== undefined) next();
      else this.#taken--;
    };
  }

  #wait(signal: AbortSignal | undefined): Promise<void> {
    if (this.#waiting.length >= this.#waitingMax) throw new DbError("tooManyRequests");
    return new Promise((resolve, reject) => {
      const start = (): void => {
        signal?.removeEventListener("abort", giveUp);
        resolve();
      };
      const giveUp = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(start), 1);
        reject(new DbError("canceled", "given up while waiting in line"));
      };
      this.#waiting.push(start);
      if (signal?.aborted) giveUp();
      else signal?.addEventListener("abort", giveUp, { once: true });
    });
  }
}
