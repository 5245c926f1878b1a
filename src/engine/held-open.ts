import { DbError } from "../base/errors.ts";

/** What holds a branch open beside the calls that its sequencer knows: a branch with any of it is not idle. */
export class HeldOpen {
  readonly #readsMax: number;
  /** Reads that wait for the proof of leading. */
  #reads = 0;
  /** Streams and large answers under way. */
  #streams = 0;

  constructor({ readsMax }: { readsMax: number }) {
    this.#readsMax = readsMax;
  }

  get count(): number {
    return this.#reads + this.#streams;
  }

  /** Until the result is called, once or more often. */
  byStream(): () => void {
    this.#streams++;
    let isHeld = true;
    return () => {
      if (isHeld) this.#streams--;
      isHeld = false;
    };
  }

  /** While `read` is under way; bounded like all that waits. */
  async byRead<T>(read: () => Promise<T>): Promise<T> {
    if (this.#reads >= this.#readsMax) throw new DbError("tooManyRequests");
    this.#reads++;
    try {
      return await read();
    } finally {
      this.#reads--;
    }
  }
}
