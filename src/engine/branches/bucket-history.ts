import { DbError } from "../../base/errors.ts";
import type { BranchId, Revision } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import { Turns } from "../../base/turns.ts";
import { branchByNameOrId } from "../../leadership/branch-name.ts";
import { readOrigin } from "../../leadership/origin.ts";
import { MeteredStore } from "../../objects/metered.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import type { RetentionPolicy } from "../../storage/checkpoint-retention.ts";
import { newestCheckpoint } from "../../storage/checkpoint-store.ts";
import type { Database, RangeRequest, RangeResult, Row } from "../engine.ts";
import { openRange } from "../mvcc/range-cursor.ts";
import { readNames } from "./branch-list.ts";
import { policyOf, readRetention, retainedBy, textOf } from "./branch-retention.ts";
import { type CheckpointLog, readCheckpointLog } from "./checkpoint-log.ts";
import { StateDiff } from "./diff.ts";
import { Footprint } from "./footprint.ts";
import { forkPoint } from "./fork-point.ts";
import {
  ANSWER_BYTES_MAX,
  type BranchUsage,
  type DiffRequest,
  type DiffSummary,
  type History,
  type KeyDifference,
  type MergePage,
  type MergeRequest,
  type MergeSummary,
  type RetentionEffect,
  type RetentionFound,
  type RetentionText,
  type StateName,
  type Usage,
  type UsageRequest,
} from "./history.ts";
import {
  applyTransaction,
  isTaken,
  Merge,
  type MergeEntry,
  MergeTransactions,
  type TransactionLimits,
} from "./merge.ts";
import { openPast, type PastOptions, type PastState } from "./past-state.ts";
import { SharedSegments } from "./shared-segments.ts";
import { branchUsage, prefixUsage } from "./usage.ts";

export interface BucketHistoryOptions {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  readonly request: RequestOptions;
  /**
   * Has what this process has acknowledged of a branch put into the bucket first; nothing to do where it leads none.
   */
  readonly settle: (name: string) => Promise<void>;
  /** What merges are written with; null: nobody leads here, so none can be. */
  readonly writer: {
    readonly databaseOf: (name: string) => MaybePromise<Database>;
    readonly limits: TransactionLimits;
    readonly setRetention: (branch: string, retention: RetentionText | null) => Promise<void>;
  } | null;
  /** Of branches that have none of their own: that of this node, or what nodes have by default. */
  readonly retention: RetentionPolicy;
}

/** Each may hold the log behind a checkpoint in memory. */
const CALLS_AT_ONCE = 4;
const CALLS_WAITING_MAX = 100;
const CACHE_BYTES = 32 << 20;
/** A merge whose keys are written meanwhile is begun anew so often. */
const MERGE_ATTEMPTS_MAX = 5;
const PAGE_ROWS = 4096;
const PAGE_BYTES = 1 << 20;

/** The history of branches as their bucket has it. */
export class BucketHistory implements History {
  readonly #options: BucketHistoryOptions;
  readonly #turns = new Turns(CALLS_AT_ONCE, CALLS_WAITING_MAX);

  constructor(options: BucketHistoryOptions) {
    this.#options = options;
  }

  async *diff(request: DiffRequest): AsyncGenerator<readonly KeyDifference[], DiffSummary, undefined> {
    const bucket = this.#bucket(request.signal);
    const open: PastState[] = [];
    const leave = await this.#turns.take(request.signal);
    try {
      for (const state of [request.from, request.to]) open.push(await this.open(bucket, state));
      const [from, to] = [open[0]!, open[1]!];
      const fork = await forkPoint(bucket, from, to);
      const { runtime, signal } = { ...this.#options, signal: request.signal };
      const diff = new StateDiff(from, to, {
        runtime,
        range: request.range,
        forkRevision: fork?.revision ?? null,
        signal,
      });
      let [added, removed, changed] = [0, 0, 0];
      for await (const batch of diff.batches()) {
        for (const { before, after } of batch) {
          if (before === null) added++;
          else if (after === null) removed++;
          else changed++;
        }
        yield batch;
      }
      return {
        added,
        removed,
        changed,
        fromRevision: from.revision,
        toRevision: to.revision,
        blocksRead: diff.blocksRead,
        bytesRead: bytesReadFrom(bucket.requests),
      };
    } finally {
      leave();
      for (const state of open) await state.close();
    }
  }

  async rangeAt(name: StateName, request: RangeRequest): Promise<RangeResult & { wallMs: number }> {
    const leave = await this.#turns.take(undefined);
    let state: PastState | null = null;
    try {
      state = await this.open(this.#bucket(), name);
      const { revision, wallMs } = state;
      // What was compacted is seen as well: it is as of a moment before.
      const point = { revision: revision as Revision, compactRevision: -1 };
      const { timers } = this.#options.runtime;
      const cursor = await openRange(state.tree, point, { ...request, revision: 0 }, { timers });
      const rows: Row[] = [];
      let bytes = 0;
      while (!cursor.ended) {
        for (const row of await cursor.next(PAGE_ROWS, PAGE_BYTES)) {
          rows.push(row);
          bytes += row.end - row.start;
        }
        if (bytes > ANSWER_BYTES_MAX) {
          cursor.close?.();
          throw new DbError("requestTooLarge", `over ${ANSWER_BYTES_MAX >> 20} MiB are asked for: limit the range`);
        }
      }
      const { more, count } = cursor;
      cursor.close?.();
      return { kind: "range", revision: point.revision, rows, more, count, wallMs };
    } finally {
      leave();
      await state?.close();
    }
  }

  /**
   * Looks first, at all of it, and applies nothing unless all can be. What fits one transaction is one; else what was
   * applied before an interruption is no difference any more when the same request is made again.
   */
  async *merge(request: MergeRequest): AsyncGenerator<MergePage, MergeSummary, undefined> {
    const { writer } = this.#options;
    if (request.apply && writer === null) {
      throw new DbError("unimplemented", "a merge is applied by a server that leads the branch: ask one (--endpoints)");
    }
    const earlier = { applied: 0, transactions: 0 };
    for (let attempt = 1; ; attempt++) {
      const leave = await this.#turns.take(request.signal);
      const work = await MergeWork.open(this, this.#bucket(request.signal), request).catch((error: unknown) => {
        leave();
        throw error;
      });
      try {
        const planned = yield* work.plan(writer?.limits ?? DEFAULT_LIMITS, attempt === 1);
        if (!request.apply || (planned.conflicts > 0 && request.onConflict === "fail")) return planned;
        const database = await writer!.databaseOf(request.into);
        const soFar = (done: Applied): MergePage => ({
          ...{ changes: [], conflicts: [] },
          soFar: { ...planned, applied: earlier.applied + done.applied, revision: done.revision ?? planned.revision },
        });
        const applying = work.apply(database, writer!.limits);
        let step = await applying.next();
        for (; !step.done; step = await applying.next()) if (planned.transactions > 1) yield soFar(step.value);
        const done = step.value;
        earlier.applied += done.applied;
        earlier.transactions += done.transactions;
        if (done.revision !== null) return { ...planned, ...earlier, revision: done.revision || planned.revision };
      } finally {
        leave();
        await work.close();
      }
      if (attempt === MERGE_ATTEMPTS_MAX) {
        throw new DbError(
          "tooManyRequests",
          `keys of ${request.into} are written all the time: ${earlier.applied} changes were applied, merge again`,
        );
      }
    }
  }

  async retention(branch: string): Promise<RetentionFound> {
    const own = await this.#ownRetention(branch);
    return { retention: textOf(own ?? this.#options.retention), own: own !== null };
  }

  async #ownRetention(branch: string): Promise<RetentionPolicy | null> {
    const state = await this.open(this.#bucket(), { branch, moment: { kind: "newest" } });
    try {
      return await readRetention(state.tree);
    } finally {
      await state.close();
    }
  }

  async setRetention(asked: {
    branch: string;
    retention: RetentionText | null;
    preview: boolean;
  }): Promise<RetentionFound & RetentionEffect> {
    const { branch, retention, preview } = asked;
    const { store, runtime, request, writer } = this.#options;
    const policy = retention === null ? this.#options.retention : policyOf(retention);
    const id = await this.#find(branch);
    if (!preview) {
      if (writer === null) throw new DbError("unimplemented", "retention is set by a server that leads the branch");
      await writer.setRetention(branch, retention === null ? null : textOf(policy));
    }
    const found = { retention: textOf(policy), own: retention !== null };
    const newest = await newestCheckpoint(store, id, request);
    const beginning = async (): Promise<number> => (await readOrigin(store, id, request)).position.revision;
    if (newest === null) return { ...found, checkpointsDropped: 0, bytesFreed: 0, firstRevision: await beginning() };
    const footprint = await Footprint.read(store, request);
    const by = retainedBy(policy, newest, runtime.clock.wallMs());
    const stay = new Set(by.retained.map((each) => each.id));
    const base = by.retained.find(({ nextSlot }) => nextSlot === by.firstLogSlot);
    const { position } = newest.point;
    const first = base?.revision ?? (by.firstLogSlot === position.nextSlot ? position.revision : null);
    return {
      ...found,
      checkpointsDropped: newest.retained.filter((each) => !stay.has(each.id)).length,
      bytesFreed: footprint.freed(id, footprint.kept(id, newest, by)).bytes,
      firstRevision: first ?? (await beginning()),
    };
  }

  async usage(asked: UsageRequest): Promise<Usage> {
    const leave = await this.#turns.take(asked.signal);
    try {
      return await this.#usage(asked);
    } finally {
      leave();
    }
  }

  async #usage({ branch, prefixDepth, signal }: UsageRequest): Promise<Usage> {
    const { store, runtime } = this.#options;
    const bucket = this.#bucket(signal);
    const { request } = bucket;
    const only = branch === null ? null : await this.#find(branch);
    const named = (await readNames({ store, runtime, request })).filter(({ body }) => !body.tombstone);
    const names = new Map(named.map(({ name, body }) => [body.branch, name]));
    const footprint = await Footprint.read(store, request);
    const branches: BranchUsage[] = [];
    for (const references of footprint.branches.values()) {
      const { branch: id, tombstone } = references;
      if (tombstone || (only !== null && only !== id)) continue;
      const prefixes = prefixDepth === 0 ? [] : await prefixUsage(bucket, id, prefixDepth);
      branches.push({ ...branchUsage(footprint, references), name: names.get(id) ?? id, prefixes });
    }
    const { all, garbage } = footprint;
    const { bytes, objects } = all;
    return { branches, bytes, objects, garbageBytes: garbage.bytes, garbageObjects: garbage.objects };
  }

  async log(branch: string): Promise<CheckpointLog> {
    const { store, request } = this.#options;
    return readCheckpointLog(store, await this.#find(branch), request);
  }

  /** A state by its name; to be closed. */
  async open(bucket: PastOptions, { branch, moment }: StateName): Promise<PastState> {
    return openPast(bucket, await this.#find(branch), moment);
  }

  /** By its name, or by its id of 32 hexadecimal digits. */
  async #find(branch: string): Promise<BranchId> {
    const { store, runtime, request, settle } = this.#options;
    const { branch: id, name } = await branchByNameOrId(store, branch, runtime, request);
    if (name !== null) await settle(name);
    return id;
  }

  /** One view of the bucket for all that belongs to a call: its requests are counted, what it reads kept together. */
  #bucket(signal?: AbortSignal): PastOptions & { readonly requests: MeteredStore } {
    const { store, runtime, request } = this.#options;
    const requests = new MeteredStore(store, runtime.clock);
    return {
      requests,
      store: new SharedSegments(requests),
      runtime,
      request: signal === undefined ? request : { ...request, signal },
      cache: new BlockCache({ bytesMax: CACHE_BYTES }),
    };
  }
}

/** Where nobody says otherwise, as a server does by default. */
const DEFAULT_LIMITS: TransactionLimits = { opsMax: 128, bytesMax: 1 << 20 };

interface Applied {
  readonly applied: number;
  readonly transactions: number;
  /** Null where a key was written meanwhile, 0 where there was nothing to apply. */
  readonly revision: number | null;
}

/** One attempt of a merge: two states, gone through as often as need be. */
class MergeWork {
  readonly #request: MergeRequest;
  readonly #bucket: PastOptions;
  readonly #states: readonly PastState[];
  readonly #merge: Merge;
  /** Null: it is more than one transaction, and made anew as it is applied. */
  #one: MergeTransactions | null = null;

  private constructor(request: MergeRequest, bucket: PastOptions, states: readonly PastState[], merge: Merge) {
    this.#request = request;
    this.#bucket = bucket;
    this.#states = states;
    this.#merge = merge;
  }

  static async open(history: BucketHistory, bucket: PastOptions, request: MergeRequest): Promise<MergeWork> {
    const newest = { kind: "newest" } as const;
    const states: PastState[] = [];
    try {
      for (const branch of [request.source, request.into]) {
        states.push(await history.open(bucket, { branch, moment: newest }));
      }
      const merge = await Merge.begin(bucket, [states[0]!, states[1]!], { exact: request.exact ?? false });
      return new MergeWork(request, bucket, states, merge);
    } catch (error) {
      for (const state of states) await state.close();
      throw error;
    }
  }

  async *plan(limits: TransactionLimits, tell: boolean): AsyncGenerator<MergePage, MergeSummary, undefined> {
    let [changes, conflicts, transactions] = [0, 0, 0];
    const gathered = new MergeTransactions(limits);
    for await (const entries of this.#batches()) {
      const taken = entries.filter((entry) => isTaken(entry, this.#request.onConflict));
      const against = entries.filter(({ conflict }) => conflict);
      changes += taken.length;
      conflicts += against.length;
      for (const entry of taken) gathered.add(entry);
      if (gathered.full.length > 1) {
        transactions += gathered.full.length;
        gathered.full.length = 0;
      }
      if (tell && entries.length > 0) {
        yield { changes: taken.map(({ key, theirs }) => ({ key, delete: theirs === null })), conflicts: against };
      }
    }
    gathered.finish();
    transactions += gathered.full.length;
    if (transactions === 1) this.#one = gathered;
    const { revision } = this.#states[1]!;
    return { changes, conflicts, applied: 0, transactions, baseRevision: this.#merge.fork.revision, revision };
  }

  /** Gives where it is after each transaction. */
  async *apply(database: Database, limits: TransactionLimits): AsyncGenerator<Applied, Applied, undefined> {
    let done: Applied = { applied: 0, transactions: 0, revision: 0 };
    async function* carryOut(gathered: MergeTransactions): AsyncGenerator<Applied, void, undefined> {
      for (const request of gathered.full.splice(0)) {
        const revision = await applyTransaction(database, request);
        const more = revision === null ? 0 : 1;
        const applied = done.applied + more * request.success.length;
        done = { applied, transactions: done.transactions + more, revision };
        if (revision === null) return;
        yield done;
      }
    }
    if (this.#one !== null) {
      yield* carryOut(this.#one);
      return done;
    }
    const gathered = new MergeTransactions(limits);
    for await (const entries of this.#batches()) {
      for (const entry of entries) if (isTaken(entry, this.#request.onConflict)) gathered.add(entry);
      // Dying between two of them leaves a part applied, which is no difference any more.
      yield* carryOut(gathered);
      if (done.revision === null) return done;
    }
    gathered.finish();
    yield* carryOut(gathered);
    return done;
  }

  #batches(): AsyncGenerator<readonly MergeEntry[], void, undefined> {
    const { range, signal } = this.#request;
    return this.#merge.batches({ runtime: this.#bucket.runtime, range, signal });
  }

  async close(): Promise<void> {
    await this.#merge.close();
    for (const state of this.#states) await state.close();
  }
}

function bytesReadFrom(store: MeteredStore): number {
  let bytes = 0;
  for (const series of store.series()) if (series.operation === "get") bytes += series.bytes;
  return bytes;
}
