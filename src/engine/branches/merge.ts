import { DbError, isDbError } from "../../base/errors.ts";
import { leaseId } from "../../base/ids.ts";
import { KEYS, type KeyRange, type Version } from "../../storage/storage.ts";
import type { BranchTree } from "../../storage/tree.ts";
import type { Compare, Database, RequestOp, TxnRequest } from "../engine.ts";
import { KeyValueReader } from "../mvcc/key-value.ts";
import { type DiffOptions, hasLost, StateDiff, valuesDiffer } from "./diff.ts";
import { type ForkPoint, forkPoint } from "./fork-point.ts";
import type { OnConflict } from "./history.ts";
import { openPast, type PastOptions, type PastState } from "./past-state.ts";

/** A key whose values differ between the two, and that the source has changed since they parted. */
export interface MergeEntry {
  readonly key: string;
  readonly base: Version | null;
  /** What the branch has that is merged into. */
  readonly ours: Version | null;
  readonly theirs: Version | null;
  /** Both have changed it. */
  readonly conflict: boolean;
}

const LOOKUPS_AT_ONCE = 16;

/**
 * A three-way merge of two states from where they parted. Values are compared, not leases: a key keeps the lease that
 * it has, a new one has none. Both states and the base stay as they are, so it can be gone through again.
 */
export class Merge {
  readonly fork: ForkPoint;
  readonly #source: PastState;
  readonly #into: PastState;
  /** Null: whatever differs is taken. */
  readonly #base: BaseState | null;

  private constructor(parts: { fork: ForkPoint; source: PastState; into: PastState; base: BaseState | null }) {
    this.fork = parts.fork;
    this.#source = parts.source;
    this.#into = parts.into;
    this.#base = parts.base;
  }

  /**
   * The two states stay the caller's. Throws `notRetained` where nobody knows any more what both began with. `exact`:
   * that plays no part, and `into` becomes as the source is.
   */
  static async begin(
    bucket: PastOptions,
    [source, into]: readonly [PastState, PastState],
    { exact }: { exact: boolean },
  ): Promise<Merge> {
    const fork = await forkPoint(bucket, source, into);
    if (fork === null) {
      throw new DbError(
        "notRetained",
        "where the two branches parted cannot be told: a branch between them is deleted",
      );
    }
    return new Merge({ fork, source, into, base: exact ? null : await openBase(bucket, fork, [source, into]) });
  }

  async *batches(
    options: Pick<DiffOptions, "runtime" | "signal"> & { range: KeyRange },
  ): AsyncGenerator<readonly MergeEntry[], void, undefined> {
    const forkRevision = this.fork.revision;
    const diff = new StateDiff(this.#into, this.#source, { ...options, forkRevision, differ: valuesDiffer });
    const base = this.#base;
    for await (const differences of diff.batches()) {
      const entries: MergeEntry[] = [];
      if (base === null) {
        for (const { key, before: ours, after: theirs } of differences) {
          entries.push({ key, base: ours, ours, theirs, conflict: false });
        }
        yield entries;
        continue;
      }
      for (let at = 0; at < differences.length; at += LOOKUPS_AT_ONCE) {
        const some = differences.slice(at, at + LOOKUPS_AT_ONCE);
        const bases = await Promise.all(some.map(({ key }) => base.tree.get(KEYS, key, forkRevision)));
        for (const [i, { key, before: ours, after: theirs }] of some.entries()) {
          const base = bases[i]!;
          if (!changed(base, theirs)) continue;
          entries.push({ key, base, ours, theirs, conflict: changed(base, ours) });
        }
      }
      yield entries;
    }
  }

  async close(): Promise<void> {
    await this.#base?.close();
  }
}

interface BaseState {
  readonly tree: BranchTree;
  close(): Promise<void>;
}

/** What both began with: seen through one of them, if nothing of it was dropped there, else as a state of its own. */
async function openBase(bucket: PastOptions, fork: ForkPoint, states: readonly PastState[]): Promise<BaseState> {
  const whole = states.find((state) => !hasLost(state, fork.revision));
  if (whole !== undefined) return { tree: whole.tree, close: async () => {} };
  const moment = { kind: "revision", revision: fork.revision } as const;
  let failure: DbError | null = null;
  for (const branch of new Set([fork.branch, ...states.map((state) => state.branch)])) {
    try {
      return await openPast(bucket, branch, moment);
    } catch (error) {
      if (!isDbError(error, "notRetained") && !isDbError(error, "notFound")) throw error;
      failure ??= error;
    }
  }
  const why = `what both had at ${fork.revision}, where they parted, is needed to merge them: ${failure?.message}`;
  throw new DbError("notRetained", why);
}

const changed = (base: Version | null, now: Version | null): boolean =>
  base === null || now === null ? base !== now : valuesDiffer(base, now);

/** Whether an entry is carried out. */
export const isTaken = ({ conflict }: MergeEntry, onConflict: OnConflict): boolean =>
  !conflict || onConflict === "theirs";

export interface TransactionLimits {
  readonly opsMax: number;
  readonly bytesMax: number;
}

/** Gathers changes as transactions within limits, each guarded: it fails if one of its keys was written since. */
export class MergeTransactions {
  /** Those that are full. */
  readonly full: TxnRequest[] = [];
  readonly #limits: TransactionLimits;
  #open: TxnRequest = emptyTransaction();
  #bytes = 0;

  constructor(limits: TransactionLimits) {
    this.#limits = limits;
  }

  add(entry: MergeEntry): void {
    const bytes = entry.key.length * 2 + (entry.theirs === null ? 0 : entry.theirs.end - entry.theirs.start);
    const { opsMax, bytesMax } = this.#limits;
    const { success } = this.#open;
    if (success.length > 0 && (success.length >= opsMax || this.#bytes + bytes > bytesMax)) this.finish();
    this.#open.compare.push(guardOf(entry));
    this.#open.success.push(operationOf(entry));
    this.#bytes += bytes;
  }

  finish(): void {
    if (this.#open.success.length > 0) this.full.push(this.#open);
    this.#open = emptyTransaction();
    this.#bytes = 0;
  }
}

const emptyTransaction = (): TxnRequest => ({ kind: "txn", compare: [], success: [], failure: [] });

const pair = new KeyValueReader();

const guardOf = ({ key, ours }: MergeEntry): Compare => ({
  key,
  rangeEnd: "",
  result: "equal",
  target: "mod",
  operand: ours === null ? 0n : BigInt(pair.read(ours).modRevision),
});

function operationOf({ key, ours, theirs }: MergeEntry): RequestOp {
  if (theirs === null) return { kind: "deleteRange", key, rangeEnd: "", prevKv: false };
  return {
    kind: "put",
    key,
    value: pair.read(theirs).value,
    lease: leaseId(0n),
    prevKv: false,
    ignoreValue: false,
    ignoreLease: ours !== null,
  };
}

/** Null: a key was written meanwhile, and nothing of this transaction was carried out. */
export async function applyTransaction(database: Database, request: TxnRequest): Promise<number | null> {
  const { succeeded, revision } = await database.txn(request);
  return succeeded ? revision : null;
}
