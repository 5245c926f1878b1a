import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { Runtime } from "../runtime/runtime.ts";
import {
  type GetOptions,
  LIST_LIMIT_MAX,
  type ListOptions,
  type ListPage,
  type ObjectStore,
  type PutOptions,
  type PutOutcome,
  type RequestOptions,
  type StoredObject,
} from "./objects.ts";
import { rangeOf } from "./range.ts";
import { LATE, RetryBudget, within } from "./retry.ts";
import { errorOf, type S3Error } from "./s3-errors.ts";
import { type HttpAnswer, HttpClient, HttpFailure, type HttpSettings } from "./s3-http.ts";
import { listQuery, parseList } from "./s3-list.ts";
import { pathOf, queryOf, rangeHeader, totalOf, writeHeaders } from "./s3-request.ts";
import { type CredentialSource, Signer } from "./s3-signing.ts";
import type { S3StoreSettings } from "./store-url.ts";

export type S3Runtime = Pick<Runtime, "clock" | "timers" | "random" | "offload">;

export interface S3Options {
  /** Where the URL names no region. */
  region: string;
  ca: Buffer | null;
  proxy: string | null;
  credentials: CredentialSource | null;
  connectionsMax?: number;
  objectBytesMax?: number;
  /** Told of each request that was sent, with its status (0: no answer), for metrics and cost. */
  onRequest?: (request: S3RequestReport) => void;
}

export interface S3RequestReport {
  operation: "get" | "put" | "list" | "delete";
  status: number;
  elapsedMs: number;
}

const EMPTY_SHA256 = hash("sha256", "");
/** Larger bodies are hashed off the event loop: a mebibyte takes about a millisecond. */
const HASH_INLINE_BYTES_MAX = 1 << 20;
const LIST_BYTES_MAX = 8 << 20;
const ERROR_BYTES_MAX = 64 << 10;
/** Requests under way or waiting for a connection: at the bound the next one is turned away. */
const REQUESTS_MAX = 1024;
const TRIES_MAX = 12;
/** A read that has not begun to be answered is tried again after a third of its time, but not sooner than this. */
const FIRST_BYTE_MS_MIN = 1000;

interface Call {
  operation: S3RequestReport["operation"];
  method: "GET" | "PUT" | "DELETE";
  key: string;
  query: Record<string, string>;
  headers: Record<string, string>;
  body: Uint8Array | null;
  answerBytesMax: number;
}

interface Judged {
  answer: HttpAnswer;
  error: S3Error;
}

/**
 * A bucket of Amazon S3, or of a server that speaks its protocol.
 *
 * 1. A PUT is sent once. It is sent again only when the server has said that it wrote nothing because of a race (409
 *    ConditionalRequestConflict) or because of how it was signed (clock, expired token), or when no byte of it left.
 * 2. A PUT is `unknown` when it was sent and there is no answer, or one of 5xx that does not exclude a write.
 * 3. Reads, lists and deletes are tried again within their time where that may help, at most 12 times.
 * 4. Nothing that the server says is believed beyond its bounds: length of an answer, order and prefix of a list.
 */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly local = false;
  readonly #settings: S3StoreSettings;
  readonly #options: S3Options;
  readonly #runtime: S3Runtime;
  readonly #origin: string;
  /** "/bucket/" or "/". */
  readonly #base: string;
  /** "" or "prefix/". */
  readonly #root: string;
  readonly #signer: Signer;
  readonly #objectBytesMax: number;
  #client: Promise<HttpClient> | null = null;
  #requests = 0;
  #closed = false;
  #skewMs: number | null = null;

  constructor(settings: S3StoreSettings, options: S3Options, runtime: S3Runtime) {
    const region = settings.region ?? options.region;
    const url = new URL(settings.endpoint ?? `https://s3.${region}.amazonaws.com`);
    if (!settings.pathStyle) url.hostname = `${settings.bucket}.${url.hostname}`;
    this.#settings = settings;
    this.#options = options;
    this.#runtime = runtime;
    this.#origin = url.origin;
    this.#base = settings.pathStyle ? `/${settings.bucket}/` : "/";
    this.#root = settings.prefix === "" ? "" : `${settings.prefix}/`;
    this.#objectBytesMax = options.objectBytesMax ?? 1 << 30;
    const endpoint = settings.endpoint === null ? "" : `?endpoint=${settings.endpoint}`;
    this.name = `s3://${settings.bucket}/${settings.prefix}${endpoint}`;
    const { profile } = settings;
    this.#signer = new Signer({ host: url.host, region, profile, credentials: options.credentials }, runtime.clock);
  }

  /** The server's clock minus ours in ms, to about a second, as of its newest answer; null before the first. */
  clockSkewMs(): number | null {
    return this.#skewMs;
  }

  async get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    const { range } = options;
    const wanted = !range ? Number.POSITIVE_INFINITY : "end" in range ? range.end - range.start : range.suffix;
    const bytesMax = Math.min(wanted, this.#objectBytesMax);
    const call = this.#call("get", "GET", key, { answerBytesMax: Math.max(bytesMax, ERROR_BYTES_MAX) });
    if (range) call.headers["range"] = rangeHeader(range);
    const { answer, error } = await this.#retry(`get ${key}`, call, options);
    if (error.verdict === "missing") return null;
    const etag = answer.header("etag");
    if (range && error.verdict === "outOfRange") {
      return { body: Buffer.alloc(0), etag, bytes: await this.#sizeBeyond(key, range, answer, options) };
    }
    if (etag === "") throw new DbError("storeRefused", `${this.name}: get ${key}: answer without an ETag`);
    if (!range) return { body: answer.body, etag, bytes: answer.body.length };
    if (answer.status !== 206) {
      // The server ignores ranges, or need not honour one of everything.
      const { start, end } = rangeOf(range, answer.body.length);
      return { body: answer.body.subarray(start, end), etag, bytes: answer.body.length };
    }
    const bytes = totalOf(answer);
    if (bytes === null) throw new DbError("storeRefused", `${this.name}: get ${key}: no size in Content-Range`);
    const { start, end } = rangeOf(range, bytes);
    const body = answer.body.subarray(0, end - start);
    if (body.length !== end - start) {
      throw new DbError("storeRefused", `${this.name}: get ${key}: ${body.length} bytes, expected ${end - start}`);
    }
    return { body, etag, bytes };
  }

  /** Size of an object that ends before a range begins. Not every server says it with 416. */
  async #sizeBeyond(
    key: ObjectKey,
    range: NonNullable<GetOptions["range"]>,
    answer: HttpAnswer,
    options: RequestOptions,
  ): Promise<number> {
    const said = totalOf(answer);
    if (said !== null) return said;
    if ("suffix" in range || range.start === 0) return 0;
    const first = await this.get(key, { ...options, range: { start: 0, end: 1 } });
    return first?.bytes ?? 0;
  }

  async list(prefix: string, options: ListOptions): Promise<ListPage> {
    const { limit, startAfter } = options;
    assert(limit >= 1 && limit <= LIST_LIMIT_MAX, "a page has 1 to 1000 objects");
    const request = { root: this.#root, prefix, startAfter, limit };
    const call = this.#call("list", "GET", null, { answerBytesMax: LIST_BYTES_MAX });
    call.query = listQuery(request);
    const { answer, error } = await this.#retry(`list ${prefix}`, call, options);
    if (error.verdict !== "done") throw new DbError("storeRefused", `${this.name}: list ${prefix}: ${error.text}`);
    return parseList(answer.body, request);
  }

  async delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    const { error } = await this.#retry(`delete ${key}`, this.#call("delete", "DELETE", key), options);
    if (error.verdict === "outOfRange") throw new DbError("storeRefused", `${this.name}: delete ${key}: ${error.text}`);
  }

  async put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    assert(!this.#closed, "the store is open");
    const call = this.#call("put", "PUT", key, { body });
    Object.assign(call.headers, writeHeaders(this.#settings));
    if (options.condition.kind === "absent") call.headers["if-none-match"] = "*";
    if (options.condition.kind === "match") call.headers["if-match"] = options.condition.etag;
    const budget = new RetryBudget(this.#runtime, options);
    const failed = (what: string) => new DbError("storeUnavailable", `${this.name}: put ${key}: ${what}`);
    let nothingWritten: Error = failed("no time left");
    for (let tries = 1; tries <= TRIES_MAX && budget.leftMs() > 0; tries++) {
      let judged: Judged;
      try {
        judged = await this.#send(call, budget, budget.leftMs());
      } catch (error) {
        if (error instanceof HttpFailure && error.sent) return { kind: "unknown", cause: failed(error.message) };
        // Given up, or the answer too long: it may have been written.
        if (error instanceof DbError) return { kind: "unknown", cause: error };
        if (!(error instanceof HttpFailure)) throw error;
        return { kind: "refused", cause: failed(error.message), retryable: true };
      }
      const outcome = this.#putOutcome(judged, options, failed);
      if (outcome) return outcome;
      nothingWritten = failed(judged.error.text);
      if (!(await budget.wait())) break;
    }
    return { kind: "refused", cause: nothingWritten, retryable: true };
  }

  /** Null: nothing was written, and the same request may be sent again. */
  #putOutcome(judged: Judged, options: PutOptions, failed: (what: string) => DbError): PutOutcome | null {
    const { answer, error } = judged;
    const cause = failed(error.text);
    switch (error.verdict) {
      case "done": {
        const etag = answer.header("etag");
        return etag === "" ? { kind: "unknown", cause: failed("answer without an ETag") } : { kind: "written", etag };
      }
      case "preconditionFailed":
        return { kind: "preconditionFailed" };
      case "missing":
        // If-Match on a missing object.
        return options.condition.kind === "match"
          ? { kind: "preconditionFailed" }
          : { kind: "refused", cause, retryable: false };
      case "conflict":
      case "skewed":
      case "expired":
        return null;
      case "throttled":
        return { kind: "refused", cause, retryable: true };
      case "outOfRange":
      case "refused":
        return { kind: "refused", cause, retryable: false };
      case "broken":
        return { kind: "unknown", cause };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await (await this.#client)?.close();
  }

  /** Sends what may be repeated until it is answered; gives `done`, `missing` or `outOfRange`. */
  async #retry(what: string, call: Call, options: RequestOptions): Promise<Judged> {
    assert(!this.#closed, "the store is open");
    const budget = new RetryBudget(this.#runtime, options);
    let last: Error | undefined;
    for (let tries = 1; tries <= TRIES_MAX && budget.leftMs() > 0; tries++) {
      try {
        const judged = await this.#send(call, budget, Math.max(FIRST_BYTE_MS_MIN, budget.leftMs() / 3));
        const { verdict, text } = judged.error;
        if (verdict === "done" || verdict === "missing" || verdict === "outOfRange") return judged;
        if (verdict === "refused" || verdict === "preconditionFailed") {
          throw new DbError("storeRefused", `${this.name}: ${what}: ${text}`);
        }
        last = new Error(text);
      } catch (error) {
        if (!(error instanceof HttpFailure)) throw error;
        last = error;
      }
      if (!(await budget.wait())) break;
    }
    throw budget.failure(`${this.name}: ${what}`, last);
  }

  /** Signs and sends once. Rejects with HttpFailure, or DbError where nothing can mend it. */
  async #send(call: Call, budget: RetryBudget, firstByteMs: number): Promise<Judged> {
    if (this.#requests >= REQUESTS_MAX) throw new HttpFailure(false, `${REQUESTS_MAX} requests are under way`);
    this.#requests++;
    try {
      const headers = await this.#sign(call, budget);
      this.#client ??= HttpClient.create(this.#httpSettings(), this.#runtime);
      const client = await this.#client;
      const request = {
        method: call.method,
        path: pathOf(this.#base + call.key) + queryOf(call.query),
        headers,
        body: call.body,
        answerBytesMax: call.answerBytesMax,
      };
      const sentMs = this.#runtime.clock.monotonicMs();
      let status = 0;
      try {
        const answer = await client.send(request, { ...budget.request(), firstByteMs });
        status = answer.status;
        this.#noteClock(answer);
        const error = await errorOf(answer);
        if (error.verdict === "expired") this.#signer.forget();
        if (error.verdict === "skewed" && this.#skewMs !== null) this.#signer.correct(this.#skewMs);
        return { answer, error };
      } finally {
        const elapsedMs = this.#runtime.clock.monotonicMs() - sentMs;
        this.#options.onRequest?.({ operation: call.operation, status, elapsedMs });
      }
    } finally {
      this.#requests--;
    }
  }

  /** Credentials may have to be fetched from elsewhere: bounded like the request, and nothing has been sent yet. */
  async #sign(call: Call, budget: RetryBudget): Promise<Record<string, string>> {
    const work = async () =>
      this.#signer.sign({
        method: call.method,
        path: pathOf(this.#base + call.key),
        query: call.query,
        headers: call.headers,
        bodyHash: await this.#hash(call.body),
      });
    try {
      const headers = await within(this.#runtime, budget.request(), work());
      if (headers !== LATE) return headers;
    } catch (error) {
      throw new HttpFailure(false, messageOf(error), error);
    }
    throw new HttpFailure(false, budget.canceled ? "given up by the caller" : "no credentials in time");
  }

  async #hash(body: Uint8Array | null): Promise<string> {
    if (body === null) return EMPTY_SHA256;
    if (body.length <= HASH_INLINE_BYTES_MAX) return hash("sha256", body);
    return (await this.#runtime.offload.sha256(body)).toString("hex");
  }

  #noteClock(answer: HttpAnswer): void {
    const theirsMs = Date.parse(answer.header("date"));
    // The header is cut to whole seconds: half of one is the best guess of the rest.
    if (Number.isFinite(theirsMs)) this.#skewMs = theirsMs + 500 - this.#runtime.clock.wallMs();
  }

  #call(
    operation: Call["operation"],
    method: Call["method"],
    key: ObjectKey | null,
    parts: { body?: Uint8Array; answerBytesMax?: number } = {},
  ): Call {
    return {
      operation,
      method,
      key: key === null ? "" : this.#root + key,
      query: {},
      headers: {},
      body: parts.body ?? null,
      answerBytesMax: parts.answerBytesMax ?? ERROR_BYTES_MAX,
    };
  }

  #httpSettings(): HttpSettings {
    const { ca, proxy, connectionsMax = 64 } = this.#options;
    return { origin: this.#origin, ca, proxy, connectionsMax };
  }
}
