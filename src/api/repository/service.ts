import { assert } from "../../base/assert.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import type { Branches } from "../../engine/branches/branches.ts";
import type { History } from "../../engine/branches/history.ts";
import type { Database } from "../../engine/engine.ts";
import type { Call, GrpcStream, StreamHandler, UnaryHandler } from "../../transport/transport.ts";
import { GrpcError } from "../../transport/transport.ts";
import type { CallCounts, MethodCounts } from "../call-counts.ts";
import { codes, streamError, unaryError } from "../errors.ts";
import { authorize } from "./authorize.ts";
import type { StoreRequests } from "./history-methods.ts";
import type { RepositoryContext, StreamMethod, UnaryMethod } from "./method.ts";
import type { RepositoryMethods } from "./methods.ts";

/** What the service stands on; each throws `noLeader` while the store has not answered yet. */
export interface RepositorySource {
  readonly branches: () => Branches;
  readonly history: () => History;
  readonly requests: () => StoreRequests;
  readonly databaseOf: (name: string) => MaybePromise<Database>;
  /** The same, also of a branch that is being replaced: to ask it who calls. */
  readonly guardOf: (name: string) => MaybePromise<Database>;
  readonly onBug: (error: unknown) => void;
}

export interface RepositoryRoutes {
  readonly unary: ReadonlyMap<string, UnaryHandler>;
  readonly streams: ReadonlyMap<string, StreamHandler>;
}

const SERVICE = "/t4.v1.Repository/";
const UNARY = [
  "BranchCreate",
  "BranchList",
  "BranchShow",
  "BranchUpdate",
  "BranchDelete",
  "BranchUndelete",
  "BranchPromote",
  "BranchRestore",
  "RangeAt",
  "Usage",
  "RetentionGet",
  "RetentionSet",
];
const STREAMS = ["Log", "Diff", "Merge"];

/** The methods, and what encodes their messages. */
type Loaded = typeof import("./methods.ts") & { readonly methods: RepositoryMethods };
type WithMethod<M> = Loaded & { readonly method: M };

/** With the first call: the messages' descriptors would make each start longer. */
class Loader {
  readonly #source: RepositorySource;
  #loading: Promise<Loaded> | null = null;

  constructor(source: RepositorySource) {
    this.#source = source;
  }

  async method<M>(name: string, among: (methods: RepositoryMethods) => ReadonlyMap<string, M>): Promise<WithMethod<M>> {
    this.#loading ??= this.#load();
    const loaded = await this.#loading;
    return { ...loaded, method: among(loaded.methods).get(name)! };
  }

  async #load(): Promise<Loaded> {
    const module = await import("./methods.ts");
    const methods = module.repositoryMethods(this.#source);
    assert(isExactly(methods.unary, UNARY) && isExactly(methods.streams, STREAMS), "each method has its path");
    return { ...module, methods };
  }
}

const isExactly = (methods: ReadonlyMap<string, unknown>, names: readonly string[]): boolean =>
  methods.size === names.length && names.every((name) => methods.has(name));

/** t4.v1.Repository (proto/t4/v1/repository.proto). Its calls are few: what is common to all is done here, plainly. */
export function repositoryRoutes(source: RepositorySource, counts: CallCounts): RepositoryRoutes {
  const loader = new Loader(source);
  return {
    unary: byPath(UNARY, (name, path) =>
      unaryHandler(source, () => loader.method(name, ({ unary }) => unary), counts.of(path, "unary")),
    ),
    streams: byPath(STREAMS, (name, path) =>
      streamHandler(source, () => loader.method(name, ({ streams }) => streams), counts.of(path, "server_stream")),
    ),
  };
}

const byPath = <H>(names: readonly string[], make: (name: string, path: string) => H): Map<string, H> =>
  new Map(names.map((name) => [SERVICE + name, make(name, SERVICE + name)]));

type Load<M> = () => Promise<WithMethod<M>>;

function contextOf(call: Call, { databaseOf }: RepositorySource): RepositoryContext {
  const gone = new AbortController();
  call.onCancel(() => gone.abort());
  return { signal: gone.signal, databaseOf };
}

function unaryHandler(source: RepositorySource, load: Load<UnaryMethod>, counts: MethodCounts): UnaryHandler {
  return async (message, call) => {
    counts.started++;
    const context = contextOf(call, source);
    try {
      const { method, decode, encode } = await load();
      const request = decode(method.method.input, message);
      await authorize(call, method.names(request), source.guardOf);
      const answer = encode(method.method.output, await method.run(request, context));
      counts.ended(codes.ok);
      return answer;
    } catch (error) {
      const mapped = unaryError(error);
      counts.ended(mapped instanceof GrpcError ? mapped.code : codes.internal);
      throw mapped;
    }
  };
}

/** A request that is one message, an answer of many: they are made no faster than the client takes them. */
function streamHandler(source: RepositorySource, load: Load<StreamMethod>, counts: MethodCounts): StreamHandler {
  return (stream) => {
    counts.started++;
    const context = contextOf(stream, source);
    let request: Buffer | null = null;
    stream.onMessage = (message) => {
      request ??= message;
    };
    stream.onHalfClose = () => {
      void answer(stream, request ?? Buffer.alloc(0), { source, load, context }).then((code) => counts.ended(code));
    };
  };
}

async function answer(
  stream: GrpcStream,
  message: Buffer,
  { source, load, context }: { source: RepositorySource; load: Load<StreamMethod>; context: RepositoryContext },
): Promise<number> {
  const { signal } = context;
  try {
    const { method, decode, encode } = await load();
    const request = decode(method.method.input, message);
    await authorize(stream, method.names(request), source.guardOf);
    for await (const each of method.run(request, context)) {
      if (signal.aborted) return codes.canceled;
      if (!stream.send(encode(method.method.output, each))) await drained(stream, signal);
    }
    if (signal.aborted) return codes.canceled;
    stream.end(codes.ok);
    return codes.ok;
  } catch (error) {
    if (signal.aborted) return codes.canceled;
    const mapped = streamError(error);
    if (mapped instanceof GrpcError) {
      stream.end(mapped.code, mapped.message);
      return mapped.code;
    }
    source.onBug(mapped);
    stream.end(codes.internal, "internal error");
    return codes.internal;
  }
}

/** Resolves when the client has taken enough, or has gone. */
const drained = (stream: GrpcStream, signal: AbortSignal): Promise<void> =>
  new Promise((resolve) => {
    stream.onDrain = resolve;
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
