import {
  create,
  type DescMessage,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import type { Event } from "../../../src/gen/mvccpb/kv_pb.ts";
import { type Endpoint, type RawStream, RpcFailure } from "../endpoint.ts";
import type { Answer } from "./compare.ts";
import { watchCreate, watchProgress } from "./messages.ts";
import type { WatchSpec } from "./operations.ts";

/** One of the two servers that are compared. */
export class Side {
  readonly #endpoint: Endpoint;
  readonly #keepAlives: RawStream;
  #watches: OpenWatch[] = [];

  constructor(endpoint: Endpoint) {
    this.#endpoint = endpoint;
    this.#keepAlives = endpoint.stream("/etcdserverpb.Lease/LeaseKeepAlive");
  }

  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
  ): Promise<Answer> {
    const message = toBinary(method.input, create(method.input, init));
    try {
      return { bytes: await this.#endpoint.unary(`/${method.parent.typeName}/${method.name}`, message) };
    } catch (error) {
      if (error instanceof RpcFailure) return { code: error.code, text: error.text };
      throw error;
    }
  }

  async keepAlive(ID: bigint): Promise<Answer> {
    this.#keepAlives.send(toBinary(pb.LeaseKeepAliveRequestSchema, create(pb.LeaseKeepAliveRequestSchema, { ID })));
    return { bytes: (await this.#keepAlives.next())! };
  }

  /** Begins the watches; resolves when each is told of everything up to `head`. */
  async beginWatches(specs: readonly WatchSpec[], head: number): Promise<void> {
    this.#watches = specs.map((spec) => new OpenWatch(this.#endpoint, spec, head));
    await Promise.all(this.#watches.map((watch) => watch.reach(head)));
  }

  /** Ends the watches; what each was told up to `head`, as text. */
  async endWatches(head: number): Promise<string[]> {
    const watches = this.#watches;
    this.#watches = [];
    await Promise.all(watches.map((watch) => watch.reach(head)));
    return watches.map((watch) => watch.end());
  }

  close(): Promise<void> {
    this.#keepAlives.cancel();
    for (const watch of this.#watches) watch.end();
    return this.#endpoint.close();
  }
}

const PROGRESS_TRY_MS = 60;
const PROGRESS_TRIES = 100;

/** A watch on a stream of its own: so that progress is told even while another one's start lies in the future. */
class OpenWatch {
  readonly #stream: RawStream;
  readonly #told: string[] = [];
  readonly #start: number;
  #canceled = false;

  constructor(endpoint: Endpoint, spec: WatchSpec, head: number) {
    this.#stream = endpoint.stream("/etcdserverpb.Watch/Watch");
    this.#stream.send(watchCreate(spec, head));
    this.#start = "absolute" in spec.start ? spec.start.absolute : head - spec.start.back;
  }

  /** Takes messages until a progress answer promises that all up to `head` has been told. */
  async reach(head: number): Promise<void> {
    if (this.#start > head) {
      // Nothing is told, progress neither, before its start.
      if (this.#told.length === 0) await this.#take(5000);
      return;
    }
    for (let tries = 0; !this.#canceled; tries++) {
      if (tries === PROGRESS_TRIES) throw new Error(`a watch is not told of revision ${head}: ${this.#told.join(" ")}`);
      this.#stream.send(watchProgress());
      for (;;) {
        const message = await this.#take(PROGRESS_TRY_MS);
        if (message === null || this.#canceled) break;
        if (message.watchId === -1n && !message.created && Number(message.header!.revision) >= head) return;
      }
    }
  }

  /** The next message, noted; null if none comes in time. */
  async #take(timeoutMs: number): Promise<pb.WatchResponse | null> {
    let bytes: Uint8Array | null;
    try {
      bytes = await this.#stream.next(timeoutMs);
    } catch (error) {
      if (error instanceof Error && error.message.startsWith("no message within")) return null;
      throw error;
    }
    const message = fromBinary(pb.WatchResponseSchema, bytes!);
    if (message.canceled) this.#canceled = true;
    if (message.created || message.canceled) {
      const { watchId, created, canceled, compactRevision, cancelReason, header } = message;
      this.#told.push([watchId, created, canceled, compactRevision, cancelReason, header!.revision].join());
    }
    for (const event of message.events) this.#told.push(eventText(event));
    return message;
  }

  end(): string {
    this.#stream.cancel();
    return this.#told.join("\n    ");
  }
}

const eventText = (event: Event): string =>
  JSON.stringify([event.type, event.kv, event.prevKv ?? null], (_name, value) =>
    typeof value === "bigint"
      ? String(value)
      : value instanceof Uint8Array
        ? Buffer.from(value).toString("latin1")
        : value,
  );
