import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { DbError } from "../../base/errors.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import type { Database } from "../../engine/engine.ts";
import type { Encodable } from "../../transport/transport.ts";
import { GrpcError } from "../../transport/transport.ts";
import { codes } from "../errors.ts";

/** What a method is given beside its request. */
export interface RepositoryContext {
  /** The caller has gone. */
  readonly signal: AbortSignal;
  readonly databaseOf: (name: string) => MaybePromise<Database>;
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { readonly input: I; readonly output: O };

/** A method of t4.v1.Repository with one answer. */
export interface UnaryMethod<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly method: Method<I, O>;
  /** The branches that the caller must be allowed to have (authorize.ts); none: main alone is asked. */
  names(request: MessageShape<I>): readonly string[];
  run(request: MessageShape<I>, context: RepositoryContext): Promise<MessageInitShape<O>>;
}

/** One with a stream of answers: they are read as the client takes them. */
export interface StreamMethod<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> {
  readonly method: Method<I, O>;
  names(request: MessageShape<I>): readonly string[];
  run(request: MessageShape<I>, context: RepositoryContext): AsyncIterable<MessageInitShape<O>>;
}

/** Keeps the messages' types together where a method is written, and lets it into a list. */
export const unaryMethod = <I extends DescMessage, O extends DescMessage>(method: UnaryMethod<I, O>): UnaryMethod =>
  method as unknown as UnaryMethod;

export const streamMethod = <I extends DescMessage, O extends DescMessage>(method: StreamMethod<I, O>): StreamMethod =>
  method as unknown as StreamMethod;

export function decode<I extends DescMessage>(schema: I, message: Buffer): MessageShape<I> {
  try {
    return fromBinary(schema, message);
  } catch (error) {
    throw new GrpcError(codes.internal, `grpc: error unmarshalling request: ${(error as Error).message}`);
  }
}

export const encode = <O extends DescMessage>(schema: O, answer: MessageInitShape<O>): Encodable =>
  new Encoded(toBinary(schema, create(schema, answer)));

class Encoded implements Encodable {
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  byteLength(): number {
    return this.#bytes.length;
  }

  encodeInto(buffer: Buffer, at: number): number {
    buffer.set(this.#bytes, at);
    return at + this.#bytes.length;
  }
}

/** An int64 that is a count, a time or a revision. */
export function countOf(field: string, value: bigint): number {
  if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new DbError("invalidArgument", `${field}: expected 0 to ${Number.MAX_SAFE_INTEGER}, not ${value}`);
}
