import { DbError, isDbError } from "../../base/errors.ts";
import type { BranchId, Slot } from "../../base/ids.ts";
import { type Origin, readOrigin } from "../../leadership/origin.ts";
import { firstPosition } from "../../log/chain.ts";
import type { LogPosition, LogRecord } from "../../log/log.ts";
import { readLog } from "../../log/reader.ts";
import { readRuns } from "../../log/run-reader.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { BlockCache } from "../../storage/block-cache.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import { newestCheckpoint, readCheckpoint } from "../../storage/checkpoint-store.ts";
import { type BranchTree, defaultTreeSettings, openTree } from "../../storage/tree.ts";
import { readCompactRevision } from "../meta.ts";
import { applyRecord } from "../record.ts";
import { type Base, checkBegun, isRetained, type Moment, notInLog, type Route, routeTo } from "./moment.ts";

/**
 * A branch as it was at a moment, built from the bucket alone. Memory: the log from the checkpoint before it on.
 * Reading it throws `notRetained` once that checkpoint was let go of, and collected.
 */
export interface PastState {
  readonly branch: BranchId;
  readonly tree: BranchTree;
  readonly revision: number;
  /** Of the last record in it, ms since 1970; 0 before the first. */
  readonly wallMs: number;
  readonly record: number;
  readonly compactRevision: number;
  /** The one that it was built from: the branch's own, or that of its origin. */
  readonly checkpoint: Checkpoint | null;
  readonly recordsReplayed: number;
  close(): Promise<void>;
}

export interface PastOptions {
  readonly store: ObjectStore;
  readonly runtime: Runtime;
  /** Bound of one object request; `signal` gives all of it up. */
  readonly request: RequestOptions;
  /** Blocks of several states are kept together; by default each has its own. */
  readonly cache?: BlockCache | undefined;
}

const CACHE_BYTES = 32 << 20;
/** A collector may take away what was just named; then a newer checkpoint is there. */
const ATTEMPTS_MAX = 5;

/** Throws `notRetained` for a moment that is not retained, naming the nearest ones; `notFound` for no such branch. */
export async function openPast(options: PastOptions, branch: BranchId, moment: Moment): Promise<PastState> {
  const { store, request } = options;
  for (let attempt = 1; ; attempt++) {
    const newest = await newestCheckpoint(store, branch, request);
    const origin = await readOrigin(store, branch, request);
    const building = new Building(options, origin);
    const state = await building.run(routeTo(moment, newest, origin.position));
    if (state === "gone" && attempt < ATTEMPTS_MAX) continue;
    if (state === "gone") throw new DbError("corrupt", `branch ${branch}: what its newest checkpoint names is missing`);
    try {
      checkBegun(moment, state);
      if (moment.kind === "revision" && state.revision < moment.revision) {
        throw notInLog(moment.revision, state, { isPassed: building.isPassed });
      }
      return state;
    } catch (error) {
      await state.close();
      throw error;
    }
  }
}

type Point = Pick<LogRecord, "number" | "revision" | "wallMs">;

/** Ends the reading of a log at a record that lies beyond the moment. */
const BEYOND = new DbError("canceled", "beyond the moment asked for");

class Building {
  readonly #options: PastOptions;
  readonly #origin: Origin;
  #last: Point = { number: firstPosition.lastRecord, revision: firstPosition.revision, wallMs: 0 };
  #replayed = 0;
  /** The log goes on behind the moment. */
  isPassed = false;

  constructor(options: PastOptions, origin: Origin) {
    this.#options = options;
    this.#origin = origin;
  }

  async run({ base, replay }: Route): Promise<PastState | "gone"> {
    const { store, runtime, request, cache } = this.#options;
    const named =
      base.checkpoint === null ? this.#origin.checkpoint : { branch: this.#origin.branch, ...base.checkpoint };
    const checkpoint = named === null ? null : await readCheckpoint(store, named, request);
    if (named !== null && checkpoint === null) return "gone";
    const tree = openTree({
      store,
      runtime,
      branch: this.#origin.branch,
      cache: cache ?? new BlockCache({ bytesMax: CACHE_BYTES }),
      checkpoint,
      settings: { ...defaultTreeSettings, requestTimeoutMs: request.timeoutMs },
      whyMissing: () => this.#whyMissing(base),
    });
    try {
      const from = checkpoint?.point.position ?? firstPosition;
      this.#reached(from);
      const start = base.checkpoint === null ? await this.#replayRuns(tree, from) : from;
      if (replay !== null && (await this.#replayLog(tree, start, replay)) === "gone") {
        await tree.close();
        return "gone";
      }
      return { ...this.#state(tree, checkpoint), compactRevision: await readCompactRevision(tree) };
    } catch (error) {
      await tree.close();
      if (isDbError(error, "notRetained")) return "gone";
      throw error;
    }
  }

  /** Nothing holds a state for who reads it: as long as that takes, it may be let go of. */
  async #whyMissing(base: Base): Promise<DbError | null> {
    const { store, request } = this.#options;
    const { branch } = this.#origin;
    const newest = await newestCheckpoint(store, branch, request);
    const origin = await readOrigin(store, branch, request);
    if (isRetained(base, newest, origin.position)) return null;
    const what = `revision ${base.revision} of branch ${branch}`;
    return new DbError("notRetained", `${what} is not retained any more: it was collected while it was read`);
  }

  #state(tree: BranchTree, checkpoint: Checkpoint | null): Omit<PastState, "compactRevision"> {
    const { number: record, revision, wallMs } = this.#last;
    const recordsReplayed = this.#replayed;
    const { branch } = this.#origin;
    return { branch, tree, revision, wallMs, record, checkpoint, recordsReplayed, close: () => tree.close() };
  }

  #reached({ lastRecord, revision, wallMs }: Pick<LogPosition, "lastRecord" | "revision" | "wallMs">): void {
    this.#last = { number: lastRecord, revision, wallMs };
  }

  #apply(tree: BranchTree, record: LogRecord): void {
    applyRecord(tree, record, this.#last.revision);
    this.#last = record;
    this.#replayed++;
  }

  /** What lies between the checkpoint that a cut branch begins with and its own log. */
  async #replayRuns(tree: BranchTree, from: LogPosition): Promise<LogPosition> {
    const { position, runs } = this.#origin;
    const { store, request } = this.#options;
    if (runs.length > 0) {
      await readRuns({
        store,
        from,
        runs,
        requestTimeoutMs: request.timeoutMs,
        ...(request.signal && { signal: request.signal }),
        onRecord: (record) => this.#apply(tree, record),
      });
    }
    this.#reached(position);
    return position;
  }

  async #replayLog(tree: BranchTree, from: LogPosition, wanted: NonNullable<Route["replay"]>): Promise<"gone" | null> {
    const { store, request } = this.#options;
    const { branch } = this.#origin;
    try {
      const read = await readLog({
        store,
        branch,
        from,
        requestTimeoutMs: request.timeoutMs,
        ...(request.signal && { signal: request.signal }),
        newestCheckpointSlot: async () => {
          const newest = await newestCheckpoint(store, branch, request);
          return newest?.point.position.nextSlot ?? (1 as Slot);
        },
        onSegment: ({ records }) => {
          for (const record of records) {
            if (!wanted(record)) throw BEYOND;
            this.#apply(tree, record);
          }
        },
      });
      if (read.kind === "broken") throw read.error;
      return read.kind === "passed" ? "gone" : null;
    } catch (error) {
      this.isPassed = error === BEYOND;
      if (this.isPassed) return null;
      throw error;
    }
  }
}
