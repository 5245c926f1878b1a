import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
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

interface Entry {
  /** Never changed. */
  readonly body: Buffer;
  readonly etag: string;
  readonly modifiedMs: number;
}

/**
 * The objects themselves: several MemoryStores (one for each node of a test) may share one bucket and outlive each
 * other.
 */
export class MemoryBucket {
  readonly entries = new Map<string, Entry>();
  /** The keys of `entries` in order. */
  readonly sorted: string[] = [];

  set(key: string, entry: Entry): void {
    if (!this.entries.has(key)) this.sorted.splice(this.#place(key), 0, key);
    this.entries.set(key, entry);
  }

  delete(key: string): void {
    if (this.entries.delete(key)) this.sorted.splice(this.#place(key), 1);
  }

  /** Index of the first key that is not below `key`. */
  #place(key: string): number {
    let low = 0;
    let high = this.sorted.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.sorted[middle]! < key) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Index of the first key that is >= prefix and > startAfter. */
  first(prefix: string, startAfter: string | undefined): number {
    // A key directly behind `startAfter` in byte order is the same text with a NUL appended.
    const after = startAfter === undefined ? prefix : `${startAfter}\0`;
    return this.#place(after > prefix ? after : prefix);
  }
}

/** A store in memory, for tests and for databases that need not survive. Its etags are content hashes, as S3's are. */
export class MemoryStore implements ObjectStore {
  readonly name = "memory:";
  readonly local = true;
  readonly bucket: MemoryBucket;
  readonly #runtime: Pick<Runtime, "clock">;
  #closed = false;

  constructor(runtime: Pick<Runtime, "clock">, bucket: MemoryBucket = new MemoryBucket()) {
    this.#runtime = runtime;
    this.bucket = bucket;
  }

  async get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    this.#check(options);
    const entry = this.bucket.entries.get(key);
    if (!entry) return null;
    const { start, end } = rangeOf(options.range, entry.body.length);
    return { body: Buffer.from(entry.body.subarray(start, end)), etag: entry.etag, bytes: entry.body.length };
  }

  async put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    assert(!this.#closed, "the store is open");
    if (options.signal?.aborted) return { kind: "refused", cause: canceled(), retryable: true };
    const present = this.bucket.entries.get(key);
    const condition = options.condition;
    if (condition.kind === "absent" && present) return { kind: "preconditionFailed" };
    if (condition.kind === "match" && present?.etag !== condition.etag) return { kind: "preconditionFailed" };
    const etag = `"${hash("sha256", body).slice(0, 32)}"`;
    this.bucket.set(key, { body: Buffer.from(body), etag, modifiedMs: this.#runtime.clock.wallMs() });
    return { kind: "written", etag };
  }

  async list(prefix: string, options: ListOptions): Promise<ListPage> {
    this.#check(options);
    assert(options.limit >= 1 && options.limit <= LIST_LIMIT_MAX, "a page has 1 to 1000 objects");
    const { sorted, entries } = this.bucket;
    const objects: ListPage["objects"] = [];
    let at = this.bucket.first(prefix, options.startAfter);
    for (; at < sorted.length && objects.length < options.limit; at++) {
      const key = sorted[at]!;
      if (!key.startsWith(prefix)) break;
      const entry = entries.get(key)!;
      objects.push({ key: key as ObjectKey, bytes: entry.body.length, modifiedMs: entry.modifiedMs });
    }
    return { objects, more: at < sorted.length && sorted[at]!.startsWith(prefix) };
  }

  async delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    this.#check(options);
    this.bucket.delete(key);
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  #check(options: RequestOptions): void {
    assert(!this.#closed, "the store is open");
    if (options.signal?.aborted) throw canceled();
  }
}

const canceled = (): DbError => new DbError("canceled", "memory: the request was given up before it began");
