import { type DbError, isDbError } from "../base/errors.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Database } from "../engine/engine.ts";
import { type Call, type Encodable, GrpcError, type UnaryHandler } from "../transport/transport.ts";
import { admit } from "./admission.ts";
import { asCaller } from "./authorize.ts";
import type { CallCounts, MethodCounts } from "./call-counts.ts";
import { codes, unaryError } from "./errors.ts";
import type { FairShare } from "./fair-share.ts";
import type { DatabaseOf } from "./settings.ts";

/**
 * A method: decodes, calls the engine, wraps the answer. Throws DbError, GrpcError or WireError; may give a
 * promise. `database` is what the caller may use of it (authorize.ts).
 */
export type Method = (database: Database, message: Buffer, call: Call) => MaybePromise<Encodable>;

export interface UnarySurroundings {
  readonly counts: MethodCounts;
  readonly all: CallCounts;
  readonly onCorrupt?: ((error: DbError) => void) | undefined;
  /** Left out: calls of all branches are carried out as they come. */
  readonly share?: FairShare | undefined;
}

/**
 * The same steps around every method: find the database, check metadata, call, count, map errors. No promise where
 * none is needed.
 */
export function unaryHandler(databaseOf: DatabaseOf, surroundings: UnarySurroundings, method: Method): UnaryHandler {
  const { counts, onCorrupt, share } = surroundings;
  const counting = { counts: surroundings.all, type: "unary" } as const;
  const fail = (error: unknown): never => {
    if (isDbError(error, "corrupt")) onCorrupt?.(error);
    const mapped = unaryError(error);
    counts.ended(mapped instanceof GrpcError ? mapped.code : codes.internal);
    throw mapped;
  };
  const succeed = (answer: Encodable): Encodable => {
    counts.ended(codes.ok);
    return answer;
  };
  const run = (database: Database, message: Buffer, call: Call): MaybePromise<Encodable> => {
    admit(database, call, counting);
    return method(asCaller(database, call), message, call);
  };
  const inTurn = (database: Database, message: Buffer, call: Call): MaybePromise<Encodable> => {
    const { branchName } = database.identity;
    if (share === undefined || share.isAlone(branchName)) return run(database, message, call);
    return share.run(branchName, () => run(database, message, call));
  };
  return (message, call) => {
    counts.started++;
    try {
      const database = databaseOf(call);
      const answer = isPromise(database)
        ? database.then((opened) => inTurn(opened, message, call))
        : inTurn(database, message, call);
      return isPromise(answer) ? answer.then(succeed, fail) : succeed(answer);
    } catch (error) {
      return fail(error);
    }
  };
}

/** The answer's encoding: at once if it is at hand. */
export const encoded = <T>(result: MaybePromise<T>, encode: (result: T) => Encodable): MaybePromise<Encodable> =>
  isPromise(result) ? result.then(encode) : encode(result);
