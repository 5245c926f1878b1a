import type { DbError } from "../base/errors.ts";

/**
 * Batches proofs that cost a request: whoever asks gets the answer of a check that began after it asked.
 *
 *   asks      a ──────► answered by check 1        b, c ──────► answered by check 2
 *   checks    └─ check 1 ────────────────┘└─ check 2 ─────────┘
 *                  b arrives, c arrives: too late for check 1
 *
 * At most one check is under way and one is waiting, however many ask.
 */
export class BatchedCheck {
  readonly #check: () => Promise<DbError | null>;
  #current: Promise<DbError | null> | null = null;
  #next: Promise<DbError | null> | null = null;

  /** `check` answers by a value; what it throws is a bug or a DbError, and goes to all who asked. */
  constructor(check: () => Promise<DbError | null>) {
    this.#check = check;
  }

  ask(): Promise<DbError | null> {
    if (this.#next !== null) return this.#next;
    if (this.#current === null) return this.#begin();
    const begin = () => {
      this.#next = null;
      return this.#begin();
    };
    this.#next = this.#current.then(begin, begin);
    return this.#next;
  }

  #begin(): Promise<DbError | null> {
    const current = this.#check().finally(() => {
      if (this.#current === current) this.#current = null;
    });
    this.#current = current;
    return current;
  }
}
