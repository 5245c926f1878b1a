import { type DbError, isDbError } from "../base/errors.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { Database } from "../engine/engine.ts";
import { GrpcError, type GrpcStream, type StreamHandler } from "../transport/transport.ts";
import { admit, requiresLeader } from "./admission.ts";
import { asCaller } from "./authorize.ts";
import type { CallCounts, MethodCounts } from "./call-counts.ts";
import { codes, streamError } from "./errors.ts";
import type { LeaderWatch } from "./leader-watch.ts";
import type { DatabaseOf } from "./settings.ts";

/** A streaming call as a service sees it: ends once, with the right status for whatever was thrown. */
export class StreamCall {
  readonly stream: GrpcStream;
  /** What its caller may use of it (authorize.ts). */
  readonly database: Database;
  readonly #counts: MethodCounts;
  readonly #surroundings: StreamSurroundings;
  #ended = false;
  readonly #onEnd: (() => void)[] = [];

  constructor(stream: GrpcStream, database: Database, surroundings: StreamSurroundings) {
    this.stream = stream;
    this.database = database;
    this.#counts = surroundings.counts;
    this.#surroundings = surroundings;
    stream.onCancel(() => this.#finish(codes.canceled));
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Called once, when the call is over, whoever ended it. */
  onEnd(handler: () => void): void {
    this.#onEnd.push(handler);
  }

  end(): void {
    if (this.#ended) return;
    this.stream.end(codes.ok);
    this.#finish(codes.ok);
  }

  /** Ends the call with an error's status; a bug's is Internal. Never throws. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#finish(endWith(this.stream, error, this.#surroundings));
  }

  /** Calls `handle`, and fails the call with what it throws. */
  guard(handle: () => void): void {
    if (this.#ended) return;
    try {
      handle();
    } catch (error) {
      this.fail(error);
    }
  }

  #finish(code: number): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#counts.ended(code);
    for (const handler of this.#onEnd.splice(0)) {
      try {
        handler();
      } catch (error) {
        this.#surroundings.onBug(error);
      }
    }
  }
}

/** Sets the stream's callbacks. Everything it does runs under the call's guard. */
export type StreamService = (call: StreamCall) => void;

export interface StreamSurroundings {
  readonly counts: MethodCounts;
  readonly all: CallCounts;
  readonly leaders: LeaderWatch;
  /** Told of what was thrown and is no error of operation. */
  readonly onBug: (error: unknown) => void;
  readonly onCorrupt?: ((error: DbError) => void) | undefined;
}

/**
 * For methods with one request and many responses: `answer` is called when the client has sent its one message and
 * said that it is all, as by gRPC for Go; more or fewer are refused with its texts.
 */
export function withOneRequest(answer: (call: StreamCall, message: Buffer) => void): StreamService {
  return (call) => {
    let request: Buffer | null = null;
    call.stream.onMessage = (message) =>
      call.guard(() => {
        if (request !== null) throw cardinality("multiple request messages for");
        request = message;
      });
    call.stream.onHalfClose = () =>
      call.guard(() => {
        if (request === null) throw cardinality("no request message from");
        answer(call, request);
      });
  };
}

const cardinality = (what: string): GrpcError =>
  new GrpcError(codes.internal, `cardinality violation: received ${what} non-client-streaming RPC`);

export function streamHandler(
  databaseOf: DatabaseOf,
  surroundings: StreamSurroundings,
  service: StreamService,
): StreamHandler {
  const { counts, leaders } = surroundings;
  const counting = { counts: surroundings.all, type: "stream" } as const;
  const open = (stream: GrpcStream, database: Database): void => {
    const call = new StreamCall(stream, asCaller(database, stream), surroundings);
    call.onEnd(database.holdOpen());
    call.guard(() => {
      admit(database, stream, counting);
      service(call);
      if (requiresLeader(stream)) leaders.add(call);
    });
  };
  return (stream) => {
    counts.started++;
    const refuse = (error: unknown): void => counts.ended(endWith(stream, error, surroundings));
    try {
      const database = databaseOf(stream);
      if (isPromise(database)) openLater(stream, database, { open, refuse, left: () => counts.ended(codes.canceled) });
      else open(stream, database);
    } catch (error) {
      refuse(error);
    }
  };
}

/** Ends a stream with what was thrown; returns the status. */
function endWith(stream: GrpcStream, error: unknown, { onBug, onCorrupt }: StreamSurroundings): number {
  if (isDbError(error, "corrupt")) onCorrupt?.(error);
  const mapped = streamError(error);
  if (mapped instanceof GrpcError) {
    stream.end(mapped.code, mapped.message);
    return mapped.code;
  }
  onBug(mapped);
  stream.end(codes.internal, "internal error");
  return codes.internal;
}

/** Messages wait, unread, until the branch is open. The client may have gone by then: then nothing is opened. */
function openLater(
  stream: GrpcStream,
  database: Promise<Database>,
  {
    open,
    refuse,
    left,
  }: {
    open: (stream: GrpcStream, database: Database) => void;
    refuse: (error: unknown) => void;
    /** The client went before. */
    left: () => void;
  },
): void {
  let gone = false;
  let opening = true;
  stream.onCancel(() => {
    gone = true;
    if (opening) left();
  });
  stream.pauseMessages();
  database
    .then((opened) => {
      opening = false;
      if (gone) return;
      open(stream, opened);
      stream.resumeMessages();
    })
    .catch((error: unknown) => {
      opening = false;
      if (!gone) refuse(error);
    });
}
