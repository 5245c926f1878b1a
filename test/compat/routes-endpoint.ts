import type { EtcdRoutes } from "../../src/api/api.ts";
import { type Call, type Encodable, GrpcError, type GrpcStream } from "../../src/transport/transport.ts";
import { type Endpoint, Inbox, type RawStream, RpcFailure } from "./endpoint.ts";

/**
 * Calls the services in this process, without a transport: what is sent is encoded, and every answer is encoded and
 * copied.
 */
export class RoutesEndpoint implements Endpoint {
  readonly #routes: EtcdRoutes;
  readonly #close: () => Promise<void>;

  constructor(routes: EtcdRoutes, close: () => Promise<void>) {
    this.#routes = routes;
    this.#close = close;
  }

  get paths(): { unary: string[]; streams: string[] } {
    return { unary: [...this.#routes.unary.keys()], streams: [...this.#routes.streams.keys()] };
  }

  /** `signal`: the caller goes away when it fires. */
  async unary(
    path: string,
    message: Uint8Array,
    metadata?: Record<string, string>,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const handler = this.#routes.unary.get(path);
    if (handler === undefined) throw unknownMethod(path);
    const call = new LocalCall(path, metadata);
    signal?.addEventListener("abort", () => call.cancel(), { once: true });
    try {
      return bytesOf(await handler(Buffer.from(message), call));
    } catch (error) {
      throw failureOf(error);
    }
  }

  stream(path: string, metadata?: Record<string, string>): RawStream {
    const inbox = new Inbox();
    const handler = this.#routes.streams.get(path);
    if (handler === undefined) {
      inbox.end(unknownMethod(path));
      return { send() {}, halfClose() {}, cancel() {}, next: (timeoutMs) => inbox.next(timeoutMs) };
    }
    const stream = new LocalStream(path, metadata, inbox);
    handler(stream);
    return {
      send: (message) => stream.receive(Buffer.from(message)),
      halfClose: () => stream.receive(null),
      cancel: () => {
        stream.cancel();
        inbox.end(new RpcFailure(1, "Cancelled on client"));
      },
      next: (timeoutMs) => inbox.next(timeoutMs),
    };
  }

  close(): Promise<void> {
    return this.#close();
  }
}

class LocalCall implements Call {
  readonly path: string;
  readonly authority = "local";
  readonly remoteAddress = "local";
  readonly peer = null;
  readonly #metadata: Record<string, string>;
  readonly #onCancel: (() => void)[] = [];

  constructor(path: string, metadata: Record<string, string> = {}) {
    this.path = path;
    this.#metadata = metadata;
  }

  metadata(name: string): string | undefined {
    return this.#metadata[name];
  }

  timeLeftMs(): number | undefined {
    return undefined;
  }

  onCancel(handler: () => void): void {
    this.#onCancel.push(handler);
  }

  cancel(): void {
    for (const handler of this.#onCancel.splice(0)) handler();
  }
}

/** What is sent counts as handed on at the next turn, so that a stream's queue fills and drains as over a socket. */
const QUEUE_BYTES_MAX = 64 * 1024;

class LocalStream extends LocalCall implements GrpcStream {
  onMessage: (message: Buffer) => void = () => {};
  onHalfClose: () => void = () => {};
  onDrain: () => void = () => {};
  queuedBytes = 0;
  readonly #inbox: Inbox;
  readonly #waiting: (Buffer | null)[] = [];
  #paused = false;
  #over = false;
  #drainDue = false;

  constructor(path: string, metadata: Record<string, string> | undefined, inbox: Inbox) {
    super(path, metadata);
    this.#inbox = inbox;
  }

  hasRoom(): boolean {
    return true;
  }

  send(message: Encodable): boolean {
    if (this.#over) return false;
    const bytes = bytesOf(message);
    this.#inbox.push(bytes);
    this.queuedBytes += bytes.length;
    setImmediate(() => this.#sent(bytes.length));
    this.#drainDue ||= this.queuedBytes > QUEUE_BYTES_MAX;
    return !this.#drainDue;
  }

  #sent(bytes: number): void {
    this.queuedBytes -= bytes;
    if (!this.#drainDue || this.queuedBytes > QUEUE_BYTES_MAX / 2 || this.#over) return;
    this.#drainDue = false;
    this.onDrain();
  }

  receive(message: Buffer | null): void {
    this.#waiting.push(message);
    this.#deliver();
  }

  pauseMessages(): void {
    this.#paused = true;
  }

  resumeMessages(): void {
    this.#paused = false;
    this.#deliver();
  }

  #deliver(): void {
    while (!this.#paused && !this.#over && this.#waiting.length > 0) {
      const message = this.#waiting.shift()!;
      if (message === null) this.onHalfClose();
      else this.onMessage(message);
    }
  }

  end(code: number, message = ""): void {
    if (this.#over) return;
    this.#over = true;
    this.#inbox.end(code === 0 ? null : new RpcFailure(code, message));
    this.cancel();
  }
}

function bytesOf(message: Encodable): Buffer {
  const length = message.byteLength();
  const buffer = Buffer.alloc(length);
  if (message.encodeInto(buffer, 0) !== length) throw new Error("a message is not as long as it said");
  return buffer;
}

function failureOf(error: unknown): unknown {
  return error instanceof GrpcError ? new RpcFailure(error.code, error.message) : error;
}

/** As the transport answers. */
function unknownMethod(path: string): RpcFailure {
  const [service, method] = path.slice(1).split("/");
  return new RpcFailure(12, `unknown method ${method} for service ${service}`);
}
