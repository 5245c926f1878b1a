import {
  type DiffSummary,
  type History,
  type MergePage,
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
  /**
   * Is told of what is taken and of the conflicts as they are found, page by page, each before the next is looked for:
   * then the result has none of them, and nothing is held in memory. What it throws ends the merge.
   */
  onPage?: (page: MergeFound) => void | Promise<void>;
  signal?: AbortSignal;
}

export interface MergeFound {
  readonly taken: readonly { readonly key: Buffer; readonly delete: boolean }[];
  readonly conflictsFound: readonly Conflict[];
}

/** With all that was, or would be, taken; in memory, unless `onPage` is told of it. */
export interface MergeResult extends MergeSummary, MergeFound {}

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
    const { into = this.#own, keys, onConflict = "fail", exact = false, dryRun = false, onPage, signal } = options;
    const all: { taken: MergeFound["taken"][number][]; conflictsFound: Conflict[] } = { taken: [], conflictsFound: [] };
    const range = keyRange(keys);
    const pages = this.#history.merge({ source, into, range, onConflict, exact, apply: !dryRun, signal });
    try {
      for (;;) {
        const { value, done } = await pages.next();
        if (done) return { ...value, ...all };
        const found = foundIn(value);
        if (onPage === undefined) {
          for (const each of found.taken) all.taken.push(each);
          for (const each of found.conflictsFound) all.conflictsFound.push(each);
        } else if (found.taken.length + found.conflictsFound.length > 0) await onPage(found);
      }
    } finally {
      // Who is told and throws: what is open for it is closed.
      await pages.return(undefined as never);
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

const foundIn = ({ changes, conflicts }: MergePage): MergeFound => ({
  taken: changes.map((each) => ({ key: Buffer.from(each.key, "latin1"), delete: each.delete })),
  conflictsFound: conflicts.map(({ key, base, ours, theirs }) => ({
    key: Buffer.from(key, "latin1"),
    ...{ base: pairOrNull(base), ours: pairOrNull(ours), theirs: pairOrNull(theirs) },
  })),
});

const pairOrNull = (row: Row | null): KeyValue | null => (row === null ? null : pairOf(row));

function keyRange(keys: Keys | undefined) {
  if (keys === undefined) return rangeOfKeys("", "");
  const { key, rangeEnd } = rangeOf(keys);
  return rangeOfKeys(key, rangeEnd);
}
