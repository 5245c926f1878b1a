import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
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
import { Patience } from "./patience.ts";
import { rangeOf } from "./range.ts";
import { RetryBudget } from "./retry.ts";
import { type HttpAnswer, HttpFailure } from "./s3-http.ts";
import { listQuery, parseList } from "./s3-list.ts";
import { pathOf, rangeHeader, type S3Call, totalOf, writeHeaders } from "./s3-request.ts";
import { type Judged, type S3Runtime, S3Sender, type SenderSettings } from "./s3-sender.ts";
import type { S3StoreSettings } from "./store-url.ts";

export interface S3Options extends Omit<SenderSettings, "origin" | "host" | "profile" | "region"> {
  /** Where the URL names no region. */
  region: string;
  objectBytesMax?: number;
}

const LIST_BYTES_MAX = 8 << 20;
const ERROR_BYTES_MAX = 64 << 10;
const TRIES_MAX = 12;
/**
 * A read that has not begun to be answered in the time that patience allows is tried again, each time with twice as
 * much, and after a third of its time whatever is usual.
 */
const FIRST_BYTE_MS_MIN = 1000;
const FIRST_BYTE_SHARE = 1 / 3;

/**
 * A bucket of Amazon S3, or of a server that speaks its protocol.
 *
 * 1. A PUT is sent once. It is sent again only when the server has said that it wrote nothing because of a race (409
 *    ConditionalRequestConflict) or because of how it was signed (clock, expired token).
 * 2. A PUT is `unknown` when it was sent and there is no answer, or one of 5xx that does not exclude a write.
 * 3. Reads, lists and deletes are tried again within their time where that may help, at most 12 times.
 * 4. Nothing that the server says is believed beyond its bounds: length of an answer, order and prefix of a list.
 */
export class S3Store implements ObjectStore {
  readonly name: string;
  readonly local = false;
  readonly #settings: S3StoreSettings;
  readonly #runtime: S3Runtime;
  /** "/bucket/" or "/". */
  readonly #base: string;
  /** "" or "prefix/". */
  readonly #root: string;
  readonly #sender: S3Sender;
  readonly #objectBytesMax: number;
  /** With reads, lists and deletes. */
  readonly #patience = new Patience(FIRST_BYTE_MS_MIN);
  #closed = false;

  constructor(settings: S3StoreSettings, options: S3Options, runtime: S3Runtime) {
    const region = settings.region ?? options.region;
    const url = new URL(settings.endpoint ?? `https://s3.${region}.amazonaws.com`);
    if (!settings.pathStyle) url.hostname = `${settings.bucket}.${url.hostname}`;
    this.#settings = settings;
    this.#runtime = runtime;
    this.#base = settings.pathStyle ? `/${settings.bucket}/` : "/";
    this.#root = settings.prefix === "" ? "" : `${settings.prefix}/`;
    this.#objectBytesMax = options.objectBytesMax ?? 1 << 30;
    const endpoint = settings.endpoint === null ? "" : `?endpoint=${settings.endpoint}`;
    this.name = `s3://${settings.bucket}/${settings.prefix}${endpoint}`;
    const { profile } = settings;
    this.#sender = new S3Sender({ ...options, region, origin: url.origin, host: url.host, profile }, runtime);
  }

  /** The server's clock minus ours in ms, to about a second, as of its newest answer; null before the first. */
  clockSkewMs(): number | null {
    return this.#sender.skewMs;
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
    let nothingWritten = "no time left";
    for (let tries = 1; tries <= TRIES_MAX && budget.leftMs() > 0; tries++) {
      let judged: Judged;
      try {
        judged = await this.#sender.send(call, budget, budget.leftMs());
      } catch (error) {
        if (error instanceof HttpFailure && error.sent) return { kind: "unknown", cause: failed(error.message) };
        // Given up, or the answer too long: it may have been written.
        if (error instanceof DbError) return { kind: "unknown", cause: failed(error.message) };
        if (!(error instanceof HttpFailure)) throw error;
        return { kind: "refused", cause: failed(error.remedy ?? error.message), retryable: error.remedy === null };
      }
      const outcome = this.#putOutcome(judged, options, failed);
      if (outcome) return outcome;
      nothingWritten = judged.error.text;
      if (!(await budget.wait())) break;
    }
    return { kind: "refused", cause: failed(nothingWritten), retryable: true };
  }

  /** Null: nothing was written, and the same request may be sent again. */
  #putOutcome(judged: Judged, options: PutOptions, failed: (what: string) => DbError): PutOutcome | null {
    const { answer, error } = judged;
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
          : { kind: "refused", cause: failed(error.text), retryable: false };
      case "conflict":
      case "skewed":
      case "expired":
        return null;
      case "throttled":
        return { kind: "refused", cause: failed(error.text), retryable: true };
      case "outOfRange":
      case "refused":
        return { kind: "refused", cause: failed(error.text), retryable: false };
      case "broken":
        return { kind: "unknown", cause: failed(error.text) };
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#sender.close();
  }

  /** Sends what may be repeated until it is answered; gives `done`, `missing` or `outOfRange`. */
  async #retry(what: string, call: S3Call, options: RequestOptions): Promise<Judged> {
    assert(!this.#closed, "the store is open");
    const budget = new RetryBudget(this.#runtime, options);
    let last: Error | undefined;
    for (let tries = 1; tries <= TRIES_MAX && budget.leftMs() > 0; tries++) {
      const sentMs = this.#runtime.clock.monotonicMs();
      try {
        const judged = await this.#sender.send(call, budget, this.#patienceMs(tries, budget));
        this.#patience.answered(this.#runtime.clock.monotonicMs() - sentMs);
        const { verdict, text } = judged.error;
        if (verdict === "done" || verdict === "missing" || verdict === "outOfRange") return judged;
        if (verdict === "refused" || verdict === "preconditionFailed") {
          throw new DbError("storeRefused", `${this.name}: ${what}: ${text}`);
        }
        last = new Error(text);
      } catch (error) {
        // Who sees to the exchange knows nothing of objects.
        if (isDbError(error, "storeRefused")) throw new DbError(error.kind, `${this.name}: ${what}: ${error.message}`);
        if (!(error instanceof HttpFailure)) throw error;
        if (error.remedy !== null) throw new DbError("storeRefused", `${this.name}: ${what}: ${error.remedy}`);
        last = error;
      }
      if (!(await budget.wait())) break;
    }
    throw budget.failure(`${this.name}: ${what}`, last);
  }

  #patienceMs(tries: number, budget: RetryBudget): number {
    const usualMs = this.#patience.ms * 2 ** (tries - 1);
    return Math.min(usualMs, Math.max(FIRST_BYTE_MS_MIN, budget.leftMs() * FIRST_BYTE_SHARE));
  }

  #call(
    operation: S3Call["operation"],
    method: S3Call["method"],
    key: ObjectKey | null,
    parts: { body?: Uint8Array; answerBytesMax?: number } = {},
  ): S3Call {
    return {
      operation,
      method,
      path: key === null ? this.#base : pathOf(this.#base + this.#root + key),
      query: {},
      headers: {},
      body: parts.body ?? null,
      answerBytesMax: parts.answerBytesMax ?? ERROR_BYTES_MAX,
    };
  }
}
