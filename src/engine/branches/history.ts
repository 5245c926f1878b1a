import type { KeyRange } from "../../storage/storage.ts";
import type { RangeRequest, RangeResult, Row } from "../engine.ts";
import type { CheckpointLog } from "./checkpoint-log.ts";
import type { Moment } from "./moment.ts";

/**
 * What can be asked of the past of branches: of any retained moment, compacted by etcd or not. From the bucket, so that
 * it does not matter who leads. Every method rejects with a DbError; `notRetained` names the nearest moments.
 */
export interface History {
  /** Batches in the order of keys, made as they are taken; then the sums. */
  diff(request: DiffRequest): AsyncGenerator<readonly KeyDifference[], DiffSummary, undefined>;
  /** Its rows take no more than `ANSWER_BYTES_MAX`. */
  rangeAt(state: StateName, range: RangeRequest): Promise<RangeResult & { wallMs: number }>;
  /** The checkpoints that are retained, each proved to be of the newest one's history. */
  log(branch: string): Promise<CheckpointLog>;
  usage(request: UsageRequest): Promise<Usage>;
  retention(branch: string): Promise<RetentionFound>;
  /** Null: that of the node that leads it. With `preview` nothing is changed. */
  setRetention(request: {
    branch: string;
    retention: RetentionText | null;
    preview: boolean;
  }): Promise<RetentionFound & RetentionEffect>;
  /** What it would change, and what stands against it; then, if it is to, it does. */
  merge(request: MergeRequest): AsyncGenerator<MergePage, MergeSummary, undefined>;
}

/** A state of a branch. */
export interface StateName {
  readonly branch: string;
  readonly moment: Moment;
}

export interface DiffRequest {
  readonly from: StateName;
  readonly to: StateName;
  readonly range: KeyRange;
  readonly signal?: AbortSignal | undefined;
}

/** Null: the key is not there. */
export interface KeyDifference {
  readonly key: string;
  readonly before: Row | null;
  readonly after: Row | null;
}

export interface DiffSummary {
  readonly added: number;
  readonly removed: number;
  readonly changed: number;
  readonly fromRevision: number;
  readonly toRevision: number;
  /** Of tables, to find out which keys may differ. */
  readonly blocksRead: number;
  /** Of objects of any kind. */
  readonly bytesRead: number;
}

/**
 * Keys as a range of etcd's names them: an empty end is one key, or, with an empty key, all; "\0" all from `key` on.
 */
export function rangeOf(key: string, rangeEnd: string): KeyRange {
  if (rangeEnd === "") return key === "" ? { from: "", to: null } : { from: key, to: `${key}\0` };
  return { from: key === "\0" ? "" : key, to: rangeEnd === "\0" ? null : rangeEnd };
}

export const ANSWER_BYTES_MAX = 64 << 20;

export type OnConflict = "fail" | "ours" | "theirs";

/** The changes of `source` since the two parted, into `into`. */
export interface MergeRequest {
  readonly source: string;
  readonly into: string;
  readonly range: KeyRange;
  /** Of a key that both have changed, to different values: `ours` is what `into` has. */
  readonly onConflict: OnConflict;
  /** The keys become as `source` has them, whichever side has changed them since: no conflicts. */
  readonly exact?: boolean | undefined;
  /** Unless this is set nothing is changed. */
  readonly apply: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface MergePage {
  readonly changes: readonly { readonly key: string; readonly delete: boolean }[];
  readonly conflicts: readonly MergeConflict[];
  /** Only while it is applied as a series, after each transaction; the other two are empty then. */
  readonly soFar?: MergeSummary;
}

/** Null: the key is, or was, not there. */
export interface MergeConflict {
  readonly key: string;
  readonly base: Row | null;
  readonly ours: Row | null;
  readonly theirs: Row | null;
}

export interface MergeSummary {
  readonly changes: number;
  readonly conflicts: number;
  readonly applied: number;
  /** So many it takes, or took. More than one: a series, which the same request goes on with after an interruption. */
  readonly transactions: number;
  readonly baseRevision: number;
  /** Of `into`, behind the last of them; else as it was looked at. */
  readonly revision: number;
}

/** As --retain-log and --retain-checkpoints have it. */
export interface RetentionText {
  readonly log: string;
  readonly checkpoints: string;
}

export interface RetentionFound {
  readonly retention: RetentionText;
  /** False: those of the node that leads it. */
  readonly own: boolean;
}

/** What a retention lets go of: at the branch's next checkpoint, and for good with the collection after it. */
export interface RetentionEffect {
  readonly checkpointsDropped: number;
  readonly bytesFreed: number;
  /**
   * No revision before this one can be had any more, but those of retained checkpoints; from it on, every one that
   * there was: those that a promotion has passed over never were.
   */
  readonly firstRevision: number;
}

export interface UsageRequest {
  /** Null: all. */
  readonly branch: string | null;
  /** Sizes and counts by key prefix, up to the n-th slash: all live pairs are read for it. 0: none. */
  readonly prefixDepth: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Usage {
  readonly branches: readonly BranchUsage[];
  /** Of all tables, and all that branches have. */
  readonly bytes: number;
  readonly objects: number;
  /** Named by nothing: the next collections delete it. */
  readonly garbageBytes: number;
  readonly garbageObjects: number;
}

export interface BranchUsage {
  /** Its id where no name points to it. */
  readonly name: string;
  readonly id: string;
  /** What deleting it alone frees. */
  readonly ownBytes: number;
  /** Other branches need them, too. */
  readonly sharedBytes: number;
  /** Of tables that only older retained moments need. */
  readonly historyBytes: number;
  readonly logBytes: number;
  readonly objects: number;
  /** Of tables, a day, since the oldest retained checkpoint; null where there is no other one. */
  readonly growthBytes: number | null;
  readonly prefixes: readonly PrefixUsage[];
}

export interface PrefixUsage {
  readonly prefix: string;
  readonly keys: number;
  /** Of keys and values. */
  readonly bytes: number;
}
