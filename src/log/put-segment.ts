import { DbError, type ErrorKind, isDbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { sameBytes } from "../objects/conditional.ts";
import type { ObjectStore, StoredObject } from "../objects/objects.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import type { HedgedCreate } from "./hedged-create.ts";
import type { Waits } from "./waits.ts";

const FIRST_WAIT_MS = 20;
const WAIT_MS_MAX = 2000;

export interface PutSegmentOptions {
  readonly runtime: RetryRuntime;
  readonly store: ObjectStore;
  /** Creates in `store`. */
  readonly hedged: HedgedCreate;
  readonly requestTimeoutMs: number;
  /** The only end of trying: a leader keeps its tail for as long as it lives. */
  readonly signal: AbortSignal;
  /** Told what the store last said against the segment; null once it has answered. */
  readonly onTrouble: (trouble: DbError | null) => void;
  /** Where it waits between two tries. */
  readonly waits: Waits;
}

export type PutSegmentOutcome =
  /**
   * The slot holds these bytes. `atOnce`: by the first request, and no other one is under way that still reads them.
   */
  { kind: "created"; atOnce: boolean } | { kind: "taken"; object: StoredObject } | { kind: "aborted" };

/**
 * Creates the object of one slot, whatever it takes: the same bytes under the same name until it is known what the slot
 * holds.
 *
 *   PUT if absent ─ written ───────────────────────────────► created
 *     ▲  │ preconditionFailed, unknown      ┌ same bytes ──► created
 *     │  └──────────────► GET (until told) ─┤ other bytes ─► taken
 *     └── wait ◄── nothing there ◄──────────┘
 *
 * A PUT is two where the first one is stuck (hedged-create.ts).
 * A PUT that was given up may still be applied at any later time. That is harmless: it carries the same bytes, or finds
 * the slot taken.
 */
export async function putSegment(
  key: ObjectKey,
  bytes: Uint8Array,
  options: PutSegmentOptions,
): Promise<PutSegmentOutcome> {
  const { store, hedged, requestTimeoutMs, signal } = options;
  const request = { timeoutMs: requestTimeoutMs, signal };
  const back = new BackOff(options);
  let first = true;
  while (!signal.aborted) {
    const { outcome, alone } = await hedged.create(key, bytes, request);
    if (outcome.kind === "written") {
      options.onTrouble(null);
      return { kind: "created", atOnce: first && alone };
    }
    first = false;
    if (outcome.kind === "refused") {
      await back.wait(trouble(outcome.retryable ? "storeUnavailable" : "storeRefused", key, store, outcome.cause));
      continue;
    }
    if (outcome.kind === "unknown") {
      options.onTrouble(trouble("storeUnavailable", key, store, outcome.cause));
    }
    const found = await readBack(key, back, options);
    if (found === "aborted") break;
    if (found !== null) {
      options.onTrouble(null);
      return sameBytes(found.body, bytes) ? { kind: "created", atOnce: false } : { kind: "taken", object: found };
    }
    await back.wait(null);
  }
  return { kind: "aborted" };
}

/** Names the object and the store, where the cause does not. */
function trouble(kind: ErrorKind, key: ObjectKey, store: ObjectStore, cause: Error): DbError {
  const text = messageOf(cause);
  return new DbError(kind, text.includes(key) ? text : `${key} in ${store.name}: ${text}`, { cause });
}

/** What the slot holds, asked until the store tells. */
async function readBack(
  key: ObjectKey,
  back: BackOff,
  options: PutSegmentOptions,
): Promise<StoredObject | null | "aborted"> {
  const { store, requestTimeoutMs, signal } = options;
  while (!signal.aborted) {
    try {
      return await store.get(key, { timeoutMs: requestTimeoutMs, signal });
    } catch (error) {
      if (!isDbError(error)) throw error;
      if (error.kind !== "canceled") await back.wait(error);
    }
  }
  return "aborted";
}

/**
 * Doubled each time up to a maximum, half to all of it, so that those who failed together do not come back together.
 */
class BackOff {
  private readonly options: PutSegmentOptions;
  private waitMs = FIRST_WAIT_MS;

  constructor(options: PutSegmentOptions) {
    this.options = options;
  }

  async wait(trouble: DbError | null): Promise<void> {
    const { runtime, signal, onTrouble, waits } = this.options;
    if (trouble) onTrouble(trouble);
    const jitteredMs = this.waitMs * (0.5 + runtime.random.float() / 2);
    this.waitMs = Math.min(this.waitMs * 2, WAIT_MS_MAX);
    await waits.wait(jitteredMs, signal);
  }
}
