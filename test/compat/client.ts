import {
  create,
  type DescMessage,
  type DescMethodBiDiStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import * as pb from "../../src/gen/etcdserverpb/rpc_pb.ts";
import type { Event } from "../../src/gen/mvccpb/kv_pb.ts";
import { EventSchema } from "../../src/gen/mvccpb/kv_pb.ts";
import { type Endpoint, type RawStream, RpcFailure } from "./endpoint.ts";
import type { Transcript } from "./transcript.ts";

/** Keys and values are written as text; one character per byte. */
export const bytes = (text: string): Uint8Array<ArrayBuffer> => new Uint8Array(Buffer.from(text, "latin1"));
export const text = (value: Uint8Array): string => Buffer.from(value).toString("latin1");

type Metadata = Record<string, string>;
type Extra<D extends DescMessage> = Exclude<MessageInitShape<D>, MessageShape<D>>;

/** etcd's calls, typed, each with its answer written to the transcript. */
export class EtcdClient {
  readonly endpoint: Endpoint;
  readonly transcript: Transcript;
  /** Who it has logged in as, and the metadata that shows it. */
  readonly #who: { name: string; metadata: Metadata } | null;

  constructor(endpoint: Endpoint, transcript: Transcript, who: { name: string; metadata: Metadata } | null = null) {
    this.endpoint = endpoint;
    this.transcript = transcript;
    this.#who = who;
  }

  /** The same client with a token, as `name` in the transcript. */
  withToken(name: string, token: string): EtcdClient {
    return new EtcdClient(this.endpoint, this.transcript, { name, metadata: { token } });
  }

  /** Logs in; the token, which no two servers give alike, is not written down. */
  async login(name: string, password: string): Promise<EtcdClient> {
    const { token } = await this.transcript.silently(() => this.call(pb.Auth.method.authenticate, { name, password }));
    return this.withToken(name, token);
  }

  /** What its calls show of it. */
  get metadata(): Metadata {
    return this.#shown(undefined);
  }

  #shown(metadata: Metadata | undefined): Metadata {
    return { ...this.#who?.metadata, ...metadata };
  }

  #asker(): { as?: string } {
    return this.#who === null ? {} : { as: this.#who.name };
  }

  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    init: MessageInitShape<I>,
    metadata?: Metadata,
  ): Promise<MessageShape<O>> {
    const request = create(method.input, init);
    const asked = { ...this.#asker(), call: method.name, request: this.transcript.jsonOf(method.input, request) };
    const path = `/${method.parent.typeName}/${method.name}`;
    try {
      const answer = await this.endpoint.unary(path, toBinary(method.input, request), this.#shown(metadata));
      const response = fromBinary(method.output, answer);
      this.#nameLeases(request, response);
      this.transcript.add({ ...asked, response: this.transcript.jsonOf(method.output, response) });
      return response;
    } catch (error) {
      if (error instanceof RpcFailure) this.transcript.add({ ...asked, code: error.code, text: error.text });
      throw error;
    }
  }

  /** A lease id that the server chose gets a name, here and wherever it appears later. */
  #nameLeases(request: unknown, response: unknown): void {
    const asked = request as Partial<pb.LeaseGrantRequest>;
    const granted = response as Partial<pb.LeaseGrantResponse>;
    if (granted.$typeName === "etcdserverpb.LeaseGrantResponse" && asked.ID === 0n) {
      this.transcript.nameLease(granted.ID!);
    }
  }

  /** Sends bytes as they are. */
  async raw(path: string, message: Uint8Array, metadata?: Metadata): Promise<Uint8Array> {
    const asked = { call: path, bytes: Buffer.from(message).toString("hex") };
    try {
      const answer = await this.endpoint.unary(path, message, metadata);
      this.transcript.add({ ...asked, ok: true });
      return answer;
    } catch (error) {
      if (error instanceof RpcFailure) this.transcript.add({ ...asked, code: error.code, text: error.text });
      throw error;
    }
  }

  range(key: string, extra: Omit<Extra<typeof pb.RangeRequestSchema>, "key" | "rangeEnd"> & { end?: string } = {}) {
    const { end, ...rest } = extra;
    const rangeEnd = end === undefined ? {} : { rangeEnd: bytes(end) };
    return this.call(pb.KV.method.range, { key: bytes(key), ...rangeEnd, ...rest });
  }

  put(key: string, value: string, extra: Extra<typeof pb.PutRequestSchema> = {}) {
    return this.call(pb.KV.method.put, { key: bytes(key), value: bytes(value), ...extra });
  }

  del(key: string, end?: string, prevKv = false) {
    const rangeEnd = end === undefined ? {} : { rangeEnd: bytes(end) };
    return this.call(pb.KV.method.deleteRange, { key: bytes(key), ...rangeEnd, prevKv });
  }

  txn(init: Extra<typeof pb.TxnRequestSchema>) {
    return this.call(pb.KV.method.txn, init);
  }

  compact(revision: number, physical = false) {
    return this.call(pb.KV.method.compact, { revision: BigInt(revision), physical });
  }

  grant(ttl: bigint | number, id: bigint | number = 0) {
    return this.call(pb.Lease.method.leaseGrant, { TTL: BigInt(ttl), ID: BigInt(id) });
  }

  revoke(id: bigint) {
    return this.call(pb.Lease.method.leaseRevoke, { ID: id });
  }

  timeToLive(id: bigint, keys = false) {
    return this.call(pb.Lease.method.leaseTimeToLive, { ID: id, keys });
  }

  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodBiDiStreaming<I, O>,
    metadata?: Metadata,
  ): TypedStream<I, O> {
    const raw = this.endpoint.stream(`/${method.parent.typeName}/${method.name}`, this.#shown(metadata));
    return new TypedStream(method, raw, this.transcript);
  }

  watch(metadata?: Metadata): WatchClient {
    return new WatchClient(
      pb.Watch.method.watch,
      this.endpoint.stream("/etcdserverpb.Watch/Watch", this.#shown(metadata)),
      this.transcript,
    );
  }
}

export class TypedStream<I extends DescMessage, O extends DescMessage> {
  readonly raw: RawStream;
  protected readonly method: DescMethodBiDiStreaming<I, O>;
  protected readonly transcript: Transcript;

  constructor(method: DescMethodBiDiStreaming<I, O>, raw: RawStream, transcript: Transcript) {
    this.method = method;
    this.raw = raw;
    this.transcript = transcript;
  }

  send(init: MessageInitShape<I>): void {
    const message = create(this.method.input, init);
    this.transcript.add({ send: this.transcript.jsonOf(this.method.input, message) });
    this.raw.send(toBinary(this.method.input, message));
  }

  /** The next message; null at the end with OK. Recorded, a failure too. */
  async next(timeoutMs?: number): Promise<MessageShape<O> | null> {
    try {
      const message = await this.take(timeoutMs);
      const receive = message === null ? "end" : this.transcript.jsonOf(this.method.output, message);
      this.transcript.add({ receive });
      return message;
    } catch (error) {
      if (error instanceof RpcFailure) this.transcript.add({ code: error.code, text: error.text });
      throw error;
    }
  }

  protected async take(timeoutMs?: number): Promise<MessageShape<O> | null> {
    const message = await this.raw.next(timeoutMs);
    return message === null ? null : fromBinary(this.method.output, message);
  }
}

type WatchInit = Omit<Extra<typeof pb.WatchCreateRequestSchema>, "key" | "rangeEnd"> & { end?: string };

export class WatchClient extends TypedStream<typeof pb.WatchRequestSchema, typeof pb.WatchResponseSchema> {
  create(key: string, init: WatchInit = {}): void {
    const { end, ...rest } = init;
    const value = { key: bytes(key), ...(end === undefined ? {} : { rangeEnd: bytes(end) }), ...rest };
    this.send({ requestUnion: { case: "createRequest", value } });
  }

  /** Creates a watcher and takes its created message. */
  async created(key: string, init: WatchInit = {}): Promise<pb.WatchResponse> {
    this.create(key, init);
    return this.message();
  }

  cancel(watchId: bigint): void {
    this.send({ requestUnion: { case: "cancelRequest", value: { watchId } } });
  }

  progress(): void {
    this.send({ requestUnion: { case: "progressRequest", value: {} } });
  }

  /** The next message, which must be there. */
  async message(timeoutMs?: number): Promise<pb.WatchResponse> {
    const message = await this.next(timeoutMs);
    if (message === null) throw new Error("the stream has ended");
    return message;
  }

  /**
   * Takes messages until `count` events have come, and records them as one list: how events of several revisions are
   * gathered into messages is left to the server.
   */
  async events(count: number): Promise<Event[]> {
    const events: Event[] = [];
    while (events.length < count) {
      const message = await this.take();
      if (message === null) throw new Error("the stream has ended");
      if (message.canceled || message.created) throw new Error("not events but created or canceled");
      events.push(...message.events);
    }
    this.transcript.add({ events: events.map((event) => this.transcript.jsonOf(EventSchema, event)) });
    return events;
  }

  /** Nothing comes within `ms`. */
  async quiet(ms = 150): Promise<void> {
    let message: pb.WatchResponse | null;
    try {
      message = await this.take(ms);
    } catch (error) {
      if (error instanceof Error && error.message.startsWith("no message within")) return;
      throw error;
    }
    throw new Error(`a message came where none was expected: ${JSON.stringify(message, bigintAsText)}`);
  }
}

const bigintAsText = (_name: string, value: unknown): unknown => (typeof value === "bigint" ? String(value) : value);
