import type { ObjectKey } from "../base/ids.ts";

/** The most objects that one page of a list holds. */
export const LIST_LIMIT_MAX = 1000;

/**
 * What t4 asks of object storage: read-after-write and list-after-write consistency, immutable-by-convention objects,
 * and conditional writes of which at most one wins. Implementations: fs, memory, s3; wrappers: faulty, metered.
 * All pass test/contract/objects.ts.
 *
 * A conditional write is never sent again by a store unless the store itself has said that nothing was written; who
 * called decides what an `unknown` outcome means (conditional.ts).
 */
export interface ObjectStore {
  /** For messages: "file:///data/store", "s3://bucket/prefix". No credentials. */
  readonly name: string;
  /** True for a directory or memory of this machine: sets the default durability. */
  readonly local: boolean;

  /** The object, or null if there is none. */
  get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null>;
  /** Writes the whole object, or nothing. Never throws but for a bug: an outcome is a value. */
  put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome>;
  /**
   * Objects whose keys begin with `prefix`, in byte order, from the first one after `startAfter`; at most `limit` (≤
   * 1000).
   */
  list(prefix: string, options: ListOptions): Promise<ListPage>;
  /**
   * Deletes; a missing object is no error. Throws `storeUnavailable` when the outcome is unknown: deleting again is
   * safe.
   */
  delete(key: ObjectKey, options: RequestOptions): Promise<void>;
  /**
   * The store's clock minus this machine's, in ms, to about a second; null before the first answer. Absent where the
   * store has no clock of its own.
   */
  clockSkewMs?(): number | null;
  close(): Promise<void>;
}

/**
 * `timeoutMs` bounds the whole call with its retries. Reads, lists and deletes are tried again within it, with jitter,
 * where the failure is of a passing kind; then they throw DbError: `storeUnavailable`, `storeRefused` or `corrupt`, or
 * `canceled` when `signal` has fired (a put answers that with an outcome, too).
 */
export interface RequestOptions {
  timeoutMs: number;
  signal?: AbortSignal;
}

export interface GetOptions extends RequestOptions {
  /** Bytes [start, end); clipped at the object's end. Or the last `suffix` bytes. */
  range?: { start: number; end: number } | { suffix: number };
  /** For a cache in front of the store: what is read will not be read again soon, and is not worth keeping. */
  once?: boolean;
  /** For a cache in front of the store: what it gave was wrong; ask the store. */
  fresh?: boolean;
}

export interface StoredObject {
  /** Belongs to the caller. */
  body: Buffer;
  /** Opaque; for `match`, which needs that of a whole read (or of a put): a ranged read's may be a weak one. */
  etag: string;
  /** Of the whole object, also for a ranged read. */
  bytes: number;
}

export type PutCondition =
  | { kind: "none" }
  /** Only if no object has this key (If-None-Match: *). */
  | { kind: "absent" }
  /** Only if the object's etag is this one (If-Match); a missing object fails it. */
  | { kind: "match"; etag: string };

export interface PutOptions extends RequestOptions {
  condition: PutCondition;
}

export type PutOutcome =
  | { kind: "written"; etag: string }
  /** Nothing was written by this call. */
  | { kind: "preconditionFailed" }
  /** The write may have been applied, may be applied later, or never. */
  | { kind: "unknown"; cause: Error }
  /**
   * Nothing was written, and trying again as it is will not help (credentials, no such bucket) or not soon (throttled).
   */
  | { kind: "refused"; cause: Error; retryable: boolean };

export interface ListOptions extends RequestOptions {
  startAfter?: ObjectKey;
  limit: number;
  /** Sizes and times are not looked at: a store for which they are work of their own gives 0. */
  keysOnly?: boolean;
}

export interface ListPage {
  objects: { key: ObjectKey; bytes: number; modifiedMs: number }[];
  /** More may follow after the last one. */
  more: boolean;
}
