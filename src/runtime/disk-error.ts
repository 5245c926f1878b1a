import { DbError, messageOf } from "../base/errors.ts";

/**
 * What every method of Disk and DiskFile fails with. `code` is the system's (ENOSPC, EIO …) or, of our own refusals,
 * its like.
 */
export class DiskError extends DbError {
  readonly code: string;

  constructor(detail: string, code: string, options?: ErrorOptions) {
    super("diskFailed", detail, options);
    this.code = code;
  }
}

/** The system's code of anything that was thrown; "" where it has none. */
export function codeOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("code" in error)) return "";
  return typeof error.code === "string" ? error.code : "";
}

/**
 * `action` and `path` say what was tried: "cannot write the file /data/log: ENOSPC: no space left on device, write".
 */
export function diskError(action: string, path: string, cause: unknown): DiskError {
  const code = codeOf(cause);
  const message = messageOf(cause);
  const text = code === "" || message.includes(code) ? message : `${code}: ${message}`;
  return new DiskError(`cannot ${action} ${path}: ${text}`, code, { cause });
}
