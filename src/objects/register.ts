import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { readDecoded } from "./checked-read.ts";
import { attemptMs, type ConditionalOptions, isPassing, readBack, refusal, sameBytes } from "./conditional.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import type { ObjectStore, PutCondition, RequestOptions, StoredObject } from "./objects.ts";
import { RetryBudget, type RetryRuntime } from "./retry.ts";

/** A version of a register. Its etag is what the next swap is conditional on. */
export interface RegisterState<Body> {
  readonly body: Body;
  readonly etag: string;
  /** 1 for the first version, one more for each later one. */
  readonly counter: number;
}

export type SwapOutcome<Body> =
  | { kind: "swapped"; state: RegisterState<Body> }
  /** Nothing was or will be written by this call; `found` is there now, null if nothing. */
  | { kind: "conflict"; found: RegisterState<Body> | null }
  /** The swap may have been applied, may be applied later as long as the register is as expected, or never. */
  | { kind: "unknown"; cause: Error };

/**
 * One object that is overwritten, by compare-and-swap alone.
 *
 * An outcome that is not known is resolved by reading back. With expected counter c, our version has counter c + 1:
 *
 *   found            means
 *   our bytes        applied (by us, or the same bytes by a clone of us)
 *   as expected      not applied, or not yet: the same swap is tried again, and at most one of the two can be applied
 *   c + 1, others'   not applied, and can never be
 *   above c + 1      others wrote since: it cannot be told whether ours was between → unknown
 *
 * A conflict that the store states at the first try is one even if our very bytes are found: another has written them.
 */
export class Register<Body> {
  readonly key: ObjectKey;
  readonly #store: ObjectStore;
  readonly #runtime: RetryRuntime;
  readonly #decode: (json: unknown) => Body;

  /** `decode` checks what JSON.parse gave and throws an Error that says what is wrong with it. */
  constructor(store: ObjectStore, key: ObjectKey, options: { runtime: RetryRuntime; decode: (json: unknown) => Body }) {
    this.#store = store;
    this.key = key;
    this.#runtime = options.runtime;
    this.#decode = options.decode;
  }

  /** Null if nothing was ever written. Throws DbError as ObjectStore.get does, and `corrupt`. */
  read(options: RequestOptions): Promise<RegisterState<Body> | null> {
    return readDecoded(this.#store, this.key, options, (object) => this.#state(object));
  }

  /** `expected` null: the register has never been written. Throws DbError only when nothing was or will be written. */
  async swap(
    expected: RegisterState<Body> | null,
    body: Body,
    options: Omit<ConditionalOptions, "runtime">,
  ): Promise<SwapOutcome<Body>> {
    const budget = new RetryBudget(this.#runtime, options);
    const attempt = { ...options, runtime: this.#runtime };
    const what = `swapping ${this.key} in ${this.#store.name}`;
    const counter = (expected?.counter ?? 0) + 1;
    const bytes = encodeEnvelope(this.key, { counter, body });
    const condition: PutCondition = expected ? { kind: "match", etag: expected.etag } : { kind: "absent" };
    let unknown: Error | null = null;
    let cause: Error | undefined;
    /** What was read back was wrong: it is asked for once more. */
    let damaged = false;
    let step: "put" | "read" = "put";
    do {
      if (step === "put") {
        const put = { ...budget.request(attemptMs(budget, attempt)), condition };
        const outcome = await this.#store.put(this.key, bytes, put);
        if (outcome.kind === "written") return { kind: "swapped", state: { body, etag: outcome.etag, counter } };
        if (outcome.kind !== "preconditionFailed") cause = outcome.cause;
        if (outcome.kind === "unknown") unknown = outcome.cause;
        if (outcome.kind === "refused") {
          if (outcome.retryable) continue;
          if (unknown) return { kind: "unknown", cause: unknown };
          throw refusal(what, outcome.cause);
        }
        step = "read";
      }
      const object = await readBack(this.#store, this.key, budget.request(attemptMs(budget, attempt)));
      if (object instanceof DbError) {
        cause = object;
        if (isPassing(object)) continue;
        if (unknown) return { kind: "unknown", cause: object };
        throw object;
      }
      if (unknown && object && sameBytes(object.body, bytes)) {
        return { kind: "swapped", state: { body, etag: object.etag, counter } };
      }
      if (object?.etag === expected?.etag) {
        step = "put";
        continue;
      }
      const found = this.#found(object);
      if (found instanceof DbError && !damaged) {
        damaged = true;
        cause = found;
        continue;
      }
      if (!(found instanceof DbError)) {
        if (!unknown || found?.counter === counter) return { kind: "conflict", found };
        return { kind: "unknown", cause: unknown };
      }
      if (unknown) return { kind: "unknown", cause: found };
      throw found;
    } while (await budget.wait());
    if (unknown) return { kind: "unknown", cause: unknown };
    throw budget.failure(`${what}: nothing was written`, cause);
  }

  #found(object: StoredObject | null): RegisterState<Body> | null | DbError {
    try {
      return object && this.#state(object);
    } catch (error) {
      if (error instanceof DbError) return error;
      throw error;
    }
  }

  #state(object: StoredObject): RegisterState<Body> {
    const { counter, body } = decodeEnvelope(this.key, object.body);
    if (counter < 1) throw new DbError("corrupt", `object ${this.key}: counter 0 in an object that is overwritten`);
    assert(object.etag !== "", "a stored object has an etag");
    try {
      return { body: this.#decode(body), etag: object.etag, counter };
    } catch (error) {
      throw new DbError("corrupt", `object ${this.key}: ${messageOf(error)}`, { cause: error });
    }
  }
}
