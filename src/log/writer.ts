import type { LocalLog } from "./local-log.ts";
import { LocalLogWriter } from "./local-writer.ts";
import type { LogWriter } from "./log.ts";
import { ObjectLogWriter } from "./object-writer.ts";
import type { LogWriterOptions } from "./writer-options.ts";

/** Group commit of one leadership: with a local log its records are durable there, without one in the bucket. */
export function createLogWriter(options: LogWriterOptions & { readonly log?: LocalLog }): LogWriter {
  const { log } = options;
  return log === undefined ? new ObjectLogWriter(options) : new LocalLogWriter({ ...options, log });
}

export type { LogWriterOptions } from "./writer-options.ts";
