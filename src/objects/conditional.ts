import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { ObjectStore, RequestOptions, StoredObject } from "./objects.ts";
import { RetryBudget, type RetryRuntime } from "./retry.ts";

export interface ConditionalOptions extends RequestOptions {
  runtime: RetryRuntime;
  /** Bound of a single request, so that time is left to read back what became of it. Unset: half of what is left. */
  attemptTimeoutMs?: number;
}

export type CreateOutcome =
  /** The object exists with these bytes: by this call, or the same bytes by another's. */
  | { kind: "created" }
  /** The object exists with other bytes; nothing was or will be written by this call. */
  | { kind: "exists"; object: StoredObject };

/**
 * Creates an object that is never overwritten, exactly once, through every loss of an answer.
 *
 *   PUT if absent ─ written ──────────────────────────────────────► created
 *        │  ▲                                     ┌ same bytes ───► created
 *        │  └─────────── nothing there ◄─ GET ────┤
 *        └─ preconditionFailed, unknown ──► ▲     └ other bytes ──► exists
 *
 * 1. An outcome that is not known is resolved by reading back, and only when nothing is there by trying again, always
 *    with the same bytes: a first try that is applied late then makes the second one fail, and is found to be ours.
 * 2. "Ours" means the same bytes, whoever sent them: a nonce would be copied along with a cloned machine.
 *
 * Throws `storeUnavailable` (or `canceled`) when it stays unknown, and the object may still come to be: calling again
 * with the same bytes is safe. Throws `storeRefused` when nothing was written and nothing will be.
 */
export async function createOnce(
  store: ObjectStore,
  key: ObjectKey,
  body: Uint8Array,
  options: ConditionalOptions,
): Promise<CreateOutcome> {
  const budget = new RetryBudget(options.runtime, options);
  const what = `creating ${key} in ${store.name}`;
  let mayBeWritten = false;
  let cause: Error | undefined;
  let step: "put" | "read" = "put";
  do {
    const request = budget.request(attemptMs(budget, options));
    if (step === "put") {
      const outcome = await store.put(key, body, { ...request, condition: { kind: "absent" } });
      if (outcome.kind === "written") return { kind: "created" };
      if (outcome.kind !== "preconditionFailed") cause = outcome.cause;
      if (outcome.kind === "unknown") mayBeWritten = true;
      if (outcome.kind === "refused") {
        if (!outcome.retryable) throw mayBeWritten ? budget.failure(what, outcome.cause) : refusal(what, outcome.cause);
        continue;
      }
      step = "read";
    }
    const found = await readBack(store, key, budget.request(attemptMs(budget, options)));
    if (found instanceof DbError) {
      if (!isPassing(found)) throw mayBeWritten ? budget.failure(what, found) : found;
      cause = found;
      continue;
    }
    if (found) return sameBytes(found.body, body) ? { kind: "created" } : { kind: "exists", object: found };
    step = "put";
  } while (await budget.wait());
  throw budget.failure(what, cause);
}

/** The object or null, or why that is not known. */
export async function readBack(
  store: ObjectStore,
  key: ObjectKey,
  request: RequestOptions,
): Promise<StoredObject | null | DbError> {
  try {
    return await store.get(key, request);
  } catch (error) {
    if (error instanceof DbError) return error;
    throw error;
  }
}

/** Whether trying again may help. */
export const isPassing = (error: DbError): boolean => error.kind === "storeUnavailable" || error.kind === "canceled";

export const attemptMs = (budget: RetryBudget, options: ConditionalOptions): number =>
  options.attemptTimeoutMs ?? budget.leftMs() / 2;

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

export const refusal = (what: string, cause: Error): DbError =>
  new DbError("storeRefused", `${what}: ${messageOf(cause)}`, { cause });
