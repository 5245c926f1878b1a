import { DbError } from "../base/errors.ts";
import type { PutOutcome } from "./objects.ts";

/** Failures of the system that may pass by themselves. */
export const passingCodes: ReadonlySet<string> = new Set(["EMFILE", "ENFILE", "EAGAIN", "EBUSY", "EINTR", "ENOMEM"]);
const refusingCodes: ReadonlySet<string> = new Set([
  "EACCES",
  "EPERM",
  "EROFS",
  "ENOTDIR",
  "EISDIR",
  "EEXIST",
  "ENAMETOOLONG",
  "EXDEV",
  "EFBIG",
]);

/** Of link and rename: it was not done. */
const stepRefusedCodes: ReadonlySet<string> = new Set([...refusingCodes, "ENOENT", "ENOSPC", "EDQUOT", "EMLINK"]);

export function codeOf(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return typeof code === "string" ? code : "";
}

export function readFailure(what: string, error: unknown): unknown {
  if (!(error instanceof DbError) || error.kind !== "diskFailed") return error;
  const kind = refusingCodes.has(codeOf(error)) ? "storeRefused" : "storeUnavailable";
  return new DbError(kind, `${what}: ${error.message}`, { cause: error });
}

export const refused = (cause: Error, retryable: boolean): PutOutcome => ({ kind: "refused", cause, retryable });

/** Of a failure after the step that takes effect. */
export function unknown(error: unknown): PutOutcome {
  if (!(error instanceof DbError)) throw error;
  return { kind: "unknown", cause: error };
}

/** Of a failure of that step itself: thrown where the system says that it was not done. */
export function unknownUnless(error: unknown): PutOutcome {
  if (stepRefusedCodes.has(codeOf(error))) throw error;
  return unknown(error);
}

/** Of a failure before that step. */
export function refusedBy(error: unknown): PutOutcome {
  if (!(error instanceof DbError)) throw error;
  return refused(error, !refusingCodes.has(codeOf(error)));
}
