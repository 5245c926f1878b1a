import type { Dispatcher } from "undici";
import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

export interface HttpRequest {
  method: "GET" | "PUT" | "DELETE";
  /** Escaped, with the query. */
  path: string;
  headers: Record<string, string>;
  body: Uint8Array | null;
  /** The answer is given up when it is longer. */
  answerBytesMax: number;
}

export interface HttpTimes {
  timeoutMs: number;
  /** Until the answer begins; unset: `timeoutMs`. */
  firstByteMs?: number;
  signal?: AbortSignal;
}

export class HttpAnswer {
  readonly status: number;
  readonly body: Buffer;
  readonly #headers: Record<string, string | string[] | undefined>;

  constructor(status: number, headers: Record<string, string | string[] | undefined>, body: Buffer) {
    this.status = status;
    this.#headers = headers;
    this.body = body;
  }

  /** By its lower-case name; "" if there is none. */
  header(name: string): string {
    const value = this.#headers[name];
    return (Array.isArray(value) ? value[0] : value) ?? "";
  }
}

/** No answer, or not all of it. */
export class HttpFailure extends Error {
  override readonly name = "HttpFailure";
  /** Whether the server may have got any of the request. */
  readonly sent: boolean;

  constructor(sent: boolean, message: string, cause?: unknown) {
    super(message, { cause });
    this.sent = sent;
  }

  /** What has to be set otherwise, where no waiting mends it; null where it may. */
  get remedy(): string | null {
    const { cause, sent } = this;
    if (sent || !(cause instanceof Error && "code" in cause && typeof cause.code === "string")) return null;
    return remedies.get(cause.code) ?? null;
  }
}

const UNTRUSTED = "the server's certificate is not trusted: name its authority by ca=FILE";
const remedies: ReadonlyMap<string, string> = new Map([
  ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", UNTRUSTED],
  ["UNABLE_TO_GET_ISSUER_CERT", UNTRUSTED],
  ["UNABLE_TO_GET_ISSUER_CERT_LOCALLY", UNTRUSTED],
  ["SELF_SIGNED_CERT_IN_CHAIN", UNTRUSTED],
  ["DEPTH_ZERO_SELF_SIGNED_CERT", UNTRUSTED],
  ["ERR_TLS_CERT_ALTNAME_INVALID", "the server's certificate is not for the endpoint's host"],
  ["ERR_SSL_WRONG_VERSION_NUMBER", "the server does not speak TLS: an http endpoint?"],
  ["ERR_SSL_PACKET_LENGTH_TOO_LONG", "the server does not speak TLS: an http endpoint?"],
]);

export interface HttpSettings {
  origin: string;
  /** Certificates to trust instead of the system's. */
  ca: Buffer | null;
  /** URL of a proxy to go through. */
  proxy: string | null;
  connectionsMax: number;
}

const CONNECT_TIMEOUT_MS = 10_000;
/**
 * Longer than the interval of a heartbeat, so that it need not connect anew each time; servers say if they close
 * earlier.
 */
const KEEP_ALIVE_MS = 20_000;

/**
 * One request, one answer over undici's pool. Its own timeouts are off, as they are coarse: time is kept by the
 * runtime's timers. Nothing is ever sent twice: the pool does not, and neither does this.
 */
export class HttpClient {
  readonly #dispatcher: Dispatcher;
  readonly #origin: string;
  readonly #timers: Runtime["timers"];

  private constructor(dispatcher: Dispatcher, origin: string, timers: Runtime["timers"]) {
    this.#dispatcher = dispatcher;
    this.#origin = origin;
    this.#timers = timers;
  }

  static async create(settings: HttpSettings, runtime: Pick<Runtime, "timers">): Promise<HttpClient> {
    const { Pool, ProxyAgent } = await import("undici");
    const { origin, ca, proxy, connectionsMax } = settings;
    const tls = ca ? { ca } : {};
    const shared = {
      connections: connectionsMax,
      pipelining: 1,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: 0,
      bodyTimeout: 0,
      allowH2: false,
    };
    const dispatcher = proxy
      ? new ProxyAgent({ ...shared, uri: proxy, requestTls: { ...tls, timeout: CONNECT_TIMEOUT_MS } })
      : new Pool(origin, { ...shared, connect: { ...tls, timeout: CONNECT_TIMEOUT_MS } });
    return new HttpClient(dispatcher, origin, runtime.timers);
  }

  /** Rejects with HttpFailure, `canceled`, or `storeRefused` for an answer that is too long. */
  send(request: HttpRequest, times: HttpTimes): Promise<HttpAnswer> {
    return new Promise((resolve, reject) => {
      const exchange = new Exchange(this.#timers, request, times, resolve, reject);
      if (!exchange.begin()) return;
      const { method, path, headers, body } = request;
      try {
        this.#dispatcher.dispatch({ origin: this.#origin, method, path, headers, body }, exchange);
      } catch (error) {
        exchange.fail(error);
      }
    });
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }
}

/** The course of one request. It settles once; what comes later is dropped. */
class Exchange implements Dispatcher.DispatchHandler {
  readonly #timers: Runtime["timers"];
  readonly #request: HttpRequest;
  readonly #times: HttpTimes;
  readonly #resolve: (answer: HttpAnswer) => void;
  readonly #reject: (error: Error) => void;
  #controller: Dispatcher.DispatchController | null = null;
  #timer: Timer | null = null;
  #settled = false;
  #status = 0;
  #headers: Record<string, string | string[] | undefined> = {};
  #chunks: Buffer[] = [];
  #bytes = 0;

  constructor(
    timers: Runtime["timers"],
    request: HttpRequest,
    times: HttpTimes,
    resolve: (answer: HttpAnswer) => void,
    reject: (error: Error) => void,
  ) {
    this.#timers = timers;
    this.#request = request;
    this.#times = times;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  /** False when there is nothing to send any more. */
  begin(): boolean {
    const { timeoutMs, signal } = this.#times;
    const firstByteMs = Math.min(this.#times.firstByteMs ?? timeoutMs, timeoutMs);
    if (signal?.aborted) this.#giveUp();
    else if (timeoutMs <= 0) this.fail(new Error("no time left"));
    else {
      signal?.addEventListener("abort", this.#giveUp);
      this.#timer = this.#timers.set(firstByteMs, () => this.#timeUp(timeoutMs - firstByteMs));
    }
    return !this.#settled;
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // Given up while it waited for a connection: not a byte leaves.
    if (this.#settled) controller.abort(new Error("given up"));
    else this.#controller = controller;
  }

  onResponseStart(
    _controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    // An interim answer (1xx) is followed by the real one.
    this.#status = status;
    this.#headers = headers;
    const length = Number(headers["content-length"]);
    if (length > this.#request.answerBytesMax) this.#tooLong();
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#settled) return;
    this.#bytes += chunk.length;
    if (this.#bytes > this.#request.answerBytesMax) this.#tooLong();
    else this.#chunks.push(chunk);
  }

  onResponseEnd(): void {
    if (this.#settled) return;
    this.#settle();
    // A copy: the chunks are slices of the connection's larger buffers.
    this.#resolve(new HttpAnswer(this.#status, this.#headers, Buffer.concat(this.#chunks, this.#bytes)));
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    this.fail(error);
  }

  fail(error: unknown): void {
    const code = error instanceof Error && "code" in error && typeof error.code === "string" ? `${error.code}: ` : "";
    const message = messageOf(error);
    const text = message.includes(code.slice(0, -2)) ? message : code + message;
    this.#end(new HttpFailure(this.#controller !== null, text === "" ? "connection failed" : text, error));
  }

  readonly #giveUp = (): void => {
    this.#end(new DbError("canceled", "given up by the caller"));
  };

  #timeUp(moreMs: number): void {
    if (this.#status !== 0 && moreMs > 0) {
      this.#timer = this.#timers.set(moreMs, () => this.#timeUp(0));
      return;
    }
    const what =
      this.#controller === null ? "no connection" : this.#status === 0 ? "no answer" : "not the whole answer";
    this.fail(new Error(`${what} in ${Math.round(this.#times.timeoutMs - moreMs)} ms`));
  }

  #tooLong(): void {
    const { method, answerBytesMax } = this.#request;
    this.#end(new DbError("storeRefused", `answer to ${method} is over ${answerBytesMax} bytes long`));
  }

  #end(error: Error): void {
    if (this.#settled) return;
    this.#settle();
    this.#reject(error);
    this.#controller?.abort(error);
  }

  #settle(): void {
    assert(!this.#settled, "an exchange settles once");
    this.#settled = true;
    this.#timer?.cancel();
    this.#times.signal?.removeEventListener("abort", this.#giveUp);
  }
}
