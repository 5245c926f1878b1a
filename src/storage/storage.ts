import type { Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Scratch } from "./scratch.ts";

/**
 * A branch's state as a sorted set of entries: memtable over tables, read at a revision. Knows versions of keys, not
 * etcd.
 *
 * Entries are ordered and told apart by (space, key, main and sub newest first). In space 0 (the user's keys) every
 * version is kept until it is compacted, and main is the revision; in all other spaces only the newest version matters,
 * and main is the number of the record that wrote it.
 */
export const KEYS = 0;
/** Spaces beside the keys. A number is never given a second meaning. */
export const spaces = { keys: KEYS, meta: 1, leases: 2, leaseKeys: 3, users: 4, roles: 5, alarms: 6 } as const;
export type Space = (typeof spaces)[keyof typeof spaces];

/** What an entry adds to the number of live keys of its space: +1 birth, −1 death, 0 otherwise (DESIGN: counts). */
export type Effect = -1 | 0 | 1;

/** A stored version. Its value is `bytes[start, end)`, which never changes; empty for a tombstone. */
export interface Version {
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  readonly effect: Effect;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** What writes an entry: the value is copied. */
export interface Entry {
  readonly space: Space;
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  readonly effect: Effect;
  /** Value at bytes[start, end). */
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** Keys in [from, to); `to` null is open. An empty or backward range holds nothing. */
export interface KeyRange {
  readonly from: string;
  readonly to: string | null;
}

/**
 * What a compaction at `through` leaves as of revision `at`, through <= at: of the versions with main <= through only
 * those that are their key's newest at `at`, and of these no tombstone but one of `through` itself.
 *
 * With `at` = `through` that is what etcd keeps in its store when it compacts there; with `at` = the revision hashed,
 * and without the tombstone of `through`, what HashKV hashes.
 */
export interface Compacted {
  readonly through: number;
  readonly at: number;
}

/** Versions and tombstones in `range` with after < main <= upTo. */
export interface VersionsRequest {
  readonly range: KeyRange;
  readonly after: number;
  readonly upTo: number;
  /** Null: all that there is. */
  readonly compacted: Compacted | null;
  /** Fired: what is under way fails with `canceled`. */
  readonly signal?: AbortSignal | undefined;
}

/** Versions in the order of (main, sub), and the main up to which that is complete. */
export interface HistoryPage {
  readonly versions: readonly Version[];
  readonly through: number;
}

/** Reads versions in order, in bounded memory. One call at a time; a failure closes it. */
export interface OrderedVersions {
  /**
   * The next ones: at most about so many and of so many bytes, but always all of a main. May be empty before the end,
   * which is when `through` is the request's upTo.
   */
  next(limit: number, bytesMax: number): Promise<HistoryPage>;
  /** Gives up what it holds; to be called once it is not needed, also at its end. */
  close(): Promise<void>;
}

/** Newest of everything applied. */
export const AT_HEAD = Number.MAX_SAFE_INTEGER;

/**
 * Reads give a value when all that they need is in memory, else a promise; a promise's answer is as of the moment of
 * the call. `at`: versions with a greater main are not seen (AT_HEAD: all are).
 */
export interface Tree {
  /** The version of `key` at `at`, or null if it has none or is deleted there. */
  get(space: Space, key: string, at: number): MaybePromise<Version | null>;
  /** Live versions in key order (or backwards), at most `limit` (0: all). */
  scan(space: Space, range: KeyRange, at: number, options: ScanOptions): MaybePromise<Version[]>;
  /**
   * None of the user's keys from `first` to `last` has a version here, not even a tombstone. False also where that is
   * not known at once.
   */
  isEmptyBetween(first: string, last: string): boolean;
  /** The number of live keys. O(log n) at the head; also when nothing of the range is newer than `at`. */
  count(space: Space, range: KeyRange, at: number): MaybePromise<number>;
  /** Space 0, page by page: live versions in key order (or backwards), as of the moment of the call. */
  walk(range: KeyRange, at: number, reverse: boolean): Walk;
  /** Space 0 in the order of revisions, as of the moment of the call whatever happens after it. */
  versions(request: VersionsRequest): OrderedVersions;
  /** Adds an entry, newer than every other one of its key. In space 0 entries come in the order of (main, sub). */
  apply(entry: Entry): void;
  /** The same for an entry whose bytes never change: the memory that they are in may be kept instead of a copy. */
  applyKept(entry: Entry): void;
  /** The same for all entries of a record. */
  applyAllKept(entries: readonly Entry[]): void;
  /** Where what memory has no room for is sorted; null, or not there: nowhere. */
  readonly scratch?: Scratch | null;
}

/** Goes through a range in bounded memory. One call at a time. Holds nothing that must be given back. */
export interface Walk {
  /** The next versions: until so many are there, or their values have so many bytes. None: the end. */
  next(rowsMax: number, bytesMax: number): MaybePromise<Version[]>;
  /** Nothing is left. May be false at the end, too: then the next page is empty. */
  readonly ended: boolean;
  /** The same once more from the beginning, whatever happened meanwhile. */
  again(): Walk;
}

export interface ScanOptions {
  limit: number;
  reverse?: boolean;
}

/** The state that a checkpoint covers; the log's part is a LogPosition. */
export interface CheckpointPoint<Position> {
  readonly position: Position;
  readonly compactRevision: Revision | -1;
  readonly wallMs: number;
}
