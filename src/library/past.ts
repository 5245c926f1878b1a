import {
  type DiffSummary,
  type History,
  type MergeSummary,
  type OnConflict,
  type RetentionEffect,
  type RetentionFound,
  type RetentionText,
  rangeOf as rangeOfKeys,
  type Usage,
} from "../engine/branches/history.ts";
import type { Moment } from "../engine/branches/moment.ts";
import type { Row } from "../engine/engine.ts";
import { type Keys, type KeyValue, pairOf, rangeOf } from "./pairs.ts";
import { type GetOptions, type GetResult, rangeRequest, resultOf } from "./transaction.ts";

/** One of: the newest state where it is left out. */
export type At = { readonly revision: number } | { readonly time: Date } | { readonly checkpoint: string };

/** A branch as it is, or as it was at a retained moment. */
export type State = string | { readonly branch: string; readonly at?: At };

/** Null: the key is not there. */
export interface Difference {
  readonly key: Buffer;
  readonly before: KeyValue | null;
  readonly after: KeyValue | null;
}

/** Null: the key is, or was, not there. */
export interface Conflict {
  readonly key: Buffer;
  /** Where the two parted. */
  readonly base: KeyValue | null;
  /** Of the branch that is merged into. */
  readonly ours: KeyValue | null;
  readonly theirs: KeyValue | null;
}

export interface MergeOptions {
  /** The branch that the changes go into. Default: the one that this was opened with. */
  into?: string;
  /** Only these keys; default: all. */
  keys?: Keys;
  /** Of a key that both have changed, to different values. Default `fail`: nothing is changed. */
  onConflict?: OnConflict;
  /** The keys become as the source has them, whichever side has changed them since: no conflicts. */
  exact?: boolean;
  /** Changes nothing, and tells what it would. */
  dryRun?: boolean;
  signal?: AbortSignal;
}

export interface MergeResult extends MergeSummary {
  /** All that was, or would be, taken; in memory. */
  readonly taken: readonly { readonly key: Buffer; readonly delete: boolean }[];
  readonly conflictsFound: readonly Conflict[];
}

/** What can be asked of branches as they were, and done by it (docs/operating/time-travel.md). */
export class Past {
  readonly #history: History;
  readonly #own: string;

  constructor(history: History, own: string) {
    this.#history = history;
    this.#own = own;
  }

  /** The pairs of a state, though etcd's compaction has taken them away. At most 64 MiB, else `requestTooLarge`. */
  async getAt(state: State, keys: Keys, options: Omit<GetOptions, "revision"> = {}): Promise<GetResult> {
    const { wallMs: _, ...result } = await this.#history.rangeAt(stateOf(state), rangeRequest(keys, options));
    return resultOf(result) as GetResult;
  }

  /** In the order of keys, read as they are taken; then the sums. */
  async *diff(
    from: State,
    to: State,
    { keys, signal }: { keys?: Keys; signal?: AbortSignal } = {},
  ): AsyncGenerator<Difference, DiffSummary, undefined> {
    const asked = { from: stateOf(from), to: stateOf(to), range: keyRange(keys), signal };
    const pages = this.#history.diff(asked);
    try {
      for (;;) {
        const { value, done } = await pages.next();
        if (done) return value;
        for (const { key, before, after } of value) {
          yield { key: Buffer.from(key, "latin1"), before: pairOrNull(before), after: pairOrNull(after) };
        }
      }
    } finally {
      // Who takes no more of it: what is open for it is closed.
      await pages.return(undefined as never);
    }
  }

  /** What `source` has changed since the two parted, into another branch. */
  async merge(source: string, options: MergeOptions = {}): Promise<MergeResult> {
    const { into = this.#own, keys, onConflict = "fail", exact = false, dryRun = false, signal } = options;
    const taken: { key: Buffer; delete: boolean }[] = [];
    const conflictsFound: Conflict[] = [];
    const range = keyRange(keys);
    const pages = this.#history.merge({ source, into, range, onConflict, exact, apply: !dryRun, signal });
    for (;;) {
      const { value, done } = await pages.next();
      if (done) return { ...value, taken, conflictsFound };
      for (const each of value.changes) taken.push({ key: Buffer.from(each.key, "latin1"), delete: each.delete });
      for (const { key, base, ours, theirs } of value.conflicts) {
        const rows = { base: pairOrNull(base), ours: pairOrNull(ours), theirs: pairOrNull(theirs) };
        conflictsFound.push({ key: Buffer.from(key, "latin1"), ...rows });
      }
    }
  }

  /** What branches take of the store, and what deleting each would free. Costs a listing of the repository. */
  usage(options: { branch?: string; prefixDepth?: number; signal?: AbortSignal } = {}): Promise<Usage> {
    const { branch = null, prefixDepth = 0, signal } = options;
    return this.#history.usage({ branch, prefixDepth, signal });
  }

  /** How long the past of a branch can be had again. */
  retention(branch: string = this.#own): Promise<RetentionFound> {
    return this.#history.retention(branch);
  }

  /** Null: that of who leads the branch. `preview`: changes nothing, and tells what would go. */
  setRetention(
    retention: RetentionText | null,
    { branch = this.#own, preview = false }: { branch?: string; preview?: boolean } = {},
  ): Promise<RetentionFound & RetentionEffect> {
    return this.#history.setRetention({ branch, retention, preview });
  }
}

export function momentOf(at: At | undefined): Moment {
  if (at === undefined) return { kind: "newest" };
  if ("revision" in at) return { kind: "revision", revision: at.revision };
  if ("time" in at) return { kind: "time", wallMs: at.time.getTime() };
  return { kind: "checkpoint", name: at.checkpoint };
}

const stateOf = (state: State): { branch: string; moment: Moment } =>
  typeof state === "string"
    ? { branch: state, moment: momentOf(undefined) }
    : { branch: state.branch, moment: momentOf(state.at) };

const pairOrNull = (row: Row | null): KeyValue | null => (row === null ? null : pairOf(row));

function keyRange(keys: Keys | undefined) {
  if (keys === undefined) return rangeOfKeys("", "");
  const { key, rangeEnd } = rangeOf(keys);
  return rangeOfKeys(key, rangeEnd);
}
