import { DbError, type ErrorKind } from "../base/errors.ts";

/** How a call that was evaluated is answered, once that may be told. */
export type Outcome<Result> = Result | Refused;

/** An error that an evaluation made: an answer like any other. */
export class Refused {
  readonly error: DbError;

  constructor(error: DbError) {
    this.error = error;
  }
}

const UNKNOWN_KINDS: ReadonlySet<ErrorKind> = new Set(["leadershipLost", "timeout", "stopped", "connectionLost"]);

/**
 * The error for a call that was under way when the sequencer came to its end: never one that promises it was not
 * carried out.
 */
export const unknownOutcome = (error: DbError): DbError =>
  UNKNOWN_KINDS.has(error.kind) ? error : new DbError("leadershipLost", error.message, { cause: error });

/** The error for a call that comes after the end. */
export const notCarriedOut = (error: DbError): DbError =>
  error.kind === "stopped" || error.kind === "frozen"
    ? error
    : new DbError("noLeader", error.message, { cause: error });
