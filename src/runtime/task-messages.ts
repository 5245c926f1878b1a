import { AssertionError } from "../base/assert.ts";
import { DbError, type ErrorKind, isDbError, messageOf } from "../base/errors.ts";

/** What goes between the event loop and the thread of tasks (node-tasks.ts, task-worker.ts). */
export type ToTask =
  | { kind: "start"; task: number; module: string; name: string; input: unknown }
  | { kind: "reply"; task: number; call: number; reply: unknown }
  | { kind: "refusal"; task: number; call: number; error: SentError }
  | { kind: "cancel"; task: number };

export type FromTask =
  | { kind: "call"; task: number; call: number; request: unknown }
  | { kind: "done"; task: number; result: unknown }
  | { kind: "failed"; task: number; error: SentError };

/** An error between threads: a clone would lose its class. */
export interface SentError {
  readonly kind: ErrorKind | "assertion" | "other";
  readonly message: string;
  readonly stack: string;
}

export function sendError(error: unknown): SentError {
  const kind = isDbError(error) ? error.kind : error instanceof AssertionError ? "assertion" : "other";
  return { kind, message: messageOf(error), stack: error instanceof Error ? (error.stack ?? "") : "" };
}

export function receiveError({ kind, message, stack }: SentError): Error {
  const cause = new Error(`in a worker thread: ${stack}`);
  if (kind === "other") return new Error(message, { cause });
  return kind === "assertion" ? new AssertionError(message, { cause }) : new DbError(kind, message, { cause });
}
