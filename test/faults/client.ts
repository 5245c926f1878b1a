import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { create, type DescMessage, type DescMethodUnary, fromBinary, toBinary } from "@bufbuild/protobuf";
import { KV, Maintenance, WatchRequestSchema, WatchResponseSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { Event_EventType } from "../../src/gen/mvccpb/kv_pb.ts";
import { type RawStream, RpcFailure } from "../compat/endpoint.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import type { Written } from "./journal.ts";

/** gRPC's Unavailable. */
export const UNAVAILABLE = 14;

/** etcd's texts, by the rows of its table of errors. */
export const texts = {
  noLeader: "etcdserver: no leader", // E44
  stopped: "etcdserver: server stopped", // E48
  timeout: "etcdserver: request timed out", // E49
  leaderFailed: "etcdserver: request timed out, possibly due to previous leader failure", // E50
  tooManyRequests: "etcdserver: too many requests", // E26
};

/** What a call came to, and how long that took. */
export type Outcome<T> = { ok: true; answer: T; ms: number } | { ok: false; code: number; text: string; ms: number };

export const show = (outcome: Outcome<unknown>): string =>
  `${outcome.ok ? "done" : `${outcome.code} ${outcome.text}`} after ${outcome.ms.toFixed(0)} ms`;

/** Calls a server and tells what came of each, errors of the server's as values. */
export class FaultClient {
  readonly #endpoint: SocketEndpoint;

  constructor(address: string) {
    this.#endpoint = new SocketEndpoint(address);
  }

  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
  ): Promise<Outcome<MessageShape<O>>> {
    const begunMs = performance.now();
    try {
      const path = `/${method.parent.typeName}/${method.name}`;
      const answer = await this.#endpoint.unary(path, toBinary(method.input, create(method.input, init)));
      return { ok: true, answer: fromBinary(method.output, answer), ms: performance.now() - begunMs };
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      return { ok: false, code: error.code, text: error.text, ms: performance.now() - begunMs };
    }
  }

  put(key: string, value: string) {
    return this.putWith({ key: Buffer.from(key), value: Buffer.from(value) });
  }

  putWith(request: MessageInitShape<typeof KV.method.put.input>) {
    return this.call(KV.method.put, request);
  }

  get(key: string, how: "linearizable" | "serializable" = "linearizable") {
    return this.call(KV.method.range, { key: Buffer.from(key), serializable: how === "serializable" });
  }

  status() {
    return this.call(Maintenance.method.status, {});
  }

  /** Everything from `revision` on. */
  async watch(revision: number): Promise<FaultWatch> {
    const stream = this.#endpoint.stream("/etcdserverpb.Watch/Watch");
    const value = { key: Buffer.of(0), rangeEnd: Buffer.of(0), startRevision: BigInt(revision) };
    stream.send(
      toBinary(WatchRequestSchema, create(WatchRequestSchema, { requestUnion: { case: "createRequest", value } })),
    );
    const watch = new FaultWatch(stream);
    await watch.created();
    return watch;
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }
}

/** A watch of everything: what it was told, and how its stream ended. */
export class FaultWatch {
  readonly events: Written[] = [];
  readonly #stream: RawStream;
  readonly #ended: Promise<RpcFailure | null>;
  readonly #created = Promise.withResolvers<void>();

  constructor(stream: RawStream) {
    this.#stream = stream;
    this.#ended = this.#read();
  }

  async created(): Promise<void> {
    await Promise.race([
      this.#created.promise,
      this.#ended.then(() => Promise.reject(new Error("the watch has ended"))),
    ]);
  }

  /** Resolves with what the stream ended with: null for OK. */
  get ended(): Promise<RpcFailure | null> {
    return this.#ended;
  }

  cancel(): void {
    this.#stream.cancel();
  }

  async #read(): Promise<RpcFailure | null> {
    try {
      for (;;) {
        const message = await this.#stream.next(WATCH_MS_MAX);
        if (message === null) return null;
        const response = fromBinary(WatchResponseSchema, message);
        if (response.created) this.#created.resolve();
        for (const { kv, type } of response.events) {
          this.events.push({
            revision: Number(kv!.modRevision),
            key: Buffer.from(kv!.key).toString(),
            value: type === Event_EventType.DELETE ? null : Buffer.from(kv!.value).toString(),
          });
        }
      }
    } catch (error) {
      if (error instanceof RpcFailure) return error;
      throw error;
    }
  }
}

/** No test watches longer. */
const WATCH_MS_MAX = 120_000;
