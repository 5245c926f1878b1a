import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch } from "../base/ids.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { LogPosition, LogRecord, LogSettings } from "./log.ts";

export interface LogWriterOptions {
  readonly runtime: Runtime;
  readonly store: ObjectStore;
  readonly branch: BranchId;
  readonly epoch: Epoch;
  /** 16 random hex digits, one a writer. */
  readonly nonce: string;
  /** Behind all fences of the takeover. */
  readonly position: LogPosition;
  readonly settings: LogSettings;
  /**
   * Records behind `position` that an earlier leadership sequenced and this disk has (tailToReappend): uploaded first.
   */
  readonly reappend?: readonly LogRecord[];
}

export const closedError = (): DbError => new DbError("stopped", "the log's writer was closed");

/** At the bound of what is acknowledged or pending and not in the bucket. Nothing of the call was carried out. */
export function fullError(pendingBytes: number, bytesMax: number, trouble: DbError | null): DbError {
  const full = `${pendingBytes} bytes wait to be uploaded, limit ${bytesMax}`;
  // Where the store is what stands in the way, the answer says so.
  if (trouble !== null) return new DbError(trouble.kind, `${full}: ${trouble.message}`, { cause: trouble });
  return new DbError("tooManyRequests", full);
}

/** Rejects with `canceled` when the signal fires first. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const aborted = () => reject(new DbError("canceled", "waiting for the upload was given up"));
    if (signal.aborted) aborted();
    signal.addEventListener("abort", aborted, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", aborted));
  });
}
