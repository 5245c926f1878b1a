import { isDbError, messageOf } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import type { LogPosition, LogWriter } from "../../log/log.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import type { CheckpointPoint } from "../../storage/storage.ts";
import type { Notices } from "./notices.ts";

/** What checkpointing needs of the tree. */
export interface CheckpointedTree {
  /** What was applied since the last `freeze`. */
  readonly activeBytes: number;
  /** Merging has changed what the newest checkpoint lists, and has come to rest. */
  readonly unlisted: boolean;
  /** The newest revision applied. */
  readonly head: number;
  /** What was applied before goes no further; what comes goes into a new memtable. */
  freeze(): void;
  /**
   * Begins to write as tables what is frozen, all of which the next `persist` covers. Versions hidden at this revision
   * may go: not one above what readers have been told of.
   */
  writeFrozen(compactRevision: number): void;
  /** Writes all that is frozen, and a checkpoint. May be called again after it rejected. */
  persist(point: CheckpointPoint<LogPosition>): Promise<Checkpoint>;
}

export interface CheckpointerSettings {
  readonly memtableBytes: number;
  /** Bytes of log behind the newest checkpoint at which a new one is made. */
  readonly logBytes: number;
  /**
   * Segments behind it at which one is made: each is a request of the next start, about 2 ms of two processors with an
   * S3 server on loopback.
   */
  readonly logSegments: number;
  readonly intervalMs: number;
}

export const defaultCheckpointerSettings: CheckpointerSettings = {
  memtableBytes: 16 << 20,
  logBytes: 64 << 20,
  logSegments: 500,
  intervalMs: 15 * 60_000,
};

/** How often it is looked at whether one is due. */
const LOOK_MS = 100;
const QUIET_LOOK_MS = 500;
/** What was merged is listed by a checkpoint of its own when none came by itself for so long. */
const UNLISTED_MS = 10_000;
const RETRY_MS = 5000;
/** A branch that is cut off replays the log behind the newest checkpoint whenever it is opened. */
const CUT_BYTES_MIN = 1 << 20;
const CUT_MS_MIN = 10_000;
/**
 * Where no revision came, a clean end leaves so many records of leases and the like, and slots with fences among them,
 * to the next start: opening and closing a branch that nobody writes costs no tables.
 */
const LEFT_MAX = 8;

export interface CheckpointerOptions {
  readonly tree: CheckpointedTree;
  readonly log: LogWriter;
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  readonly settings: CheckpointerSettings;
  readonly notices: Notices;
  /** The newest sequenced compact revision: it is below any cut made in the same turn. */
  readonly compactRevision: () => number;
  /** The newest one that readers have been told of: not above it. */
  readonly compactRevisionSeen: () => number;
  /** The newest checkpoint that there is, and its position; what is newer is counted from it. */
  readonly start: { readonly checkpoint: Checkpoint | null; readonly position: LogPosition };
  readonly onFailed: (error: unknown) => void;
}

/**
 * Writes checkpoints of a branch, one at a time, when the memtable or the log behind the newest one is large or old.
 *
 *   cut the log and freeze the memtable in one turn ─► all slots below the cut are in the bucket ─┐
 *                                                   └► tables of the memtable are in the bucket ──┴► checkpoint
 *
 * A crash in between leaves tables that nothing names. A store that is away is tried again, with what came meanwhile.
 */
export class Checkpointer {
  readonly #options: CheckpointerOptions;
  #timer: Timer | null = null;
  #running: Promise<void> | null = null;
  #closed = false;
  #newest: Checkpoint | null;
  #newestAtMs: number;
  /** Of the newest one. */
  #at: LogPosition;
  #bytesAt = 0;
  #retryAtMs = 0;
  #trouble: string | null = null;
  #headSeen = -1;
  /** A cut that was not persisted yet: later than any before it, and what is frozen belongs to it. */
  #point: CheckpointPoint<LogPosition> | null = null;

  constructor(options: CheckpointerOptions) {
    this.#options = options;
    this.#newest = options.start.checkpoint;
    this.#at = options.start.position;
    this.#newestAtMs = options.runtime.clock.monotonicMs();
    this.#look();
  }

  /** Why the last try failed; null when it did not. */
  get trouble(): string | null {
    return this.#trouble;
  }

  get newest(): Checkpoint | null {
    return this.#newest;
  }

  /** Since the newest one was written, by this process or, as its wall time tells, before; null where there is none. */
  ageMs(wallMs: number): number | null {
    return this.#newest === null ? null : Math.max(0, wallMs - this.#newest.point.wallMs);
  }

  #look(): void {
    if (this.#closed) return;
    const { log, tree, runtime } = this.#options;
    // A branch that nobody writes is looked at less: a node may have a hundred of them.
    const isQuiet = log.head === this.#headSeen && this.#running === null && !tree.unlisted;
    this.#headSeen = log.head;
    this.#timer = runtime.timers.set(isQuiet ? QUIET_LOOK_MS : LOOK_MS, () => this.#look(), { background: true });
    if (this.#running === null && this.#isDue()) void this.checkpoint();
  }

  #isDue(): boolean {
    const { tree, log, settings, runtime } = this.#options;
    const nowMs = runtime.clock.monotonicMs();
    if (nowMs < this.#retryAtMs) return false;
    if (this.#point !== null || tree.activeBytes >= settings.memtableBytes) return true;
    if (tree.unlisted && nowMs - this.#newestAtMs >= UNLISTED_MS) return true;
    const { bytesUploaded, nextSlot } = log.stats();
    if (bytesUploaded - this.#bytesAt >= settings.logBytes || nextSlot - this.#at.nextSlot >= settings.logSegments)
      return true;
    return log.durable > this.#at.lastRecord && nowMs - this.#newestAtMs >= settings.intervalMs;
  }

  /**
   * Makes one now, or waits for the one being made. Never rejects: what is wrong is told to `onFailed` or the notices.
   */
  checkpoint(): Promise<void> {
    this.#running ??= this.#make().finally(() => {
      this.#running = null;
      // Writes that came meanwhile may have filled the next memtable: they wait for it already.
      if (!this.#closed && this.#isDue()) void this.checkpoint();
    });
    return this.#running;
  }

  /** A branch was cut off: the next ones shall find less of a log behind the newest checkpoint. Waits for nothing. */
  wasCut(): void {
    const { tree, runtime } = this.#options;
    const nowMs = runtime.clock.monotonicMs();
    if (this.#closed || nowMs < this.#retryAtMs || nowMs - this.#newestAtMs < CUT_MS_MIN) return;
    if (tree.activeBytes >= CUT_BYTES_MIN) void this.checkpoint();
  }

  /** As `checkpoint`, but for one that has begun before: it does not cover what has happened since. */
  async checkpointFromNow(): Promise<void> {
    await this.#running;
    await this.checkpoint();
  }

  /**
   * At a clean end, with nothing appended any more: what the next start would have to read and apply, or merge again,
   * becomes a checkpoint. None is made where that is next to nothing. Never rejects.
   */
  async checkpointLast(): Promise<void> {
    await this.#running;
    const { tree, log } = this.#options;
    const slots = log.stats().nextSlot - this.#at.nextSlot;
    const isLittle = tree.head <= this.#at.revision && log.head - this.#at.lastRecord <= LEFT_MAX && slots <= LEFT_MAX;
    if (!isLittle || tree.unlisted) await this.checkpoint();
  }

  async #make(): Promise<void> {
    const { tree, runtime, notices, onFailed } = this.#options;
    try {
      this.#point ??= await this.#cut();
      const checkpoint = await tree.persist(this.#point);
      this.#at = this.#point.position;
      this.#point = null;
      this.#newest = checkpoint;
      this.#trouble = null;
      this.#newestAtMs = runtime.clock.monotonicMs();
      const { nextSlot, revision } = checkpoint.point.position;
      notices.info("checkpoint written", { nextSlot, revision, id: checkpoint.id });
    } catch (error) {
      if (this.#closed) return;
      // A store that refuses (a quota, credentials that expired) is no reason to end the branch: its log is whole.
      if (!isDbError(error, "storeUnavailable") && !isDbError(error, "storeRefused")) {
        this.#retryAtMs = Number.POSITIVE_INFINITY;
        return onFailed(error);
      }
      this.#retryAtMs = runtime.clock.monotonicMs() + RETRY_MS;
      const why = messageOf(error);
      this.#trouble = `no checkpoint can be written: ${why}`;
      notices.warn("a checkpoint could not be written, it will be tried again", { why });
    }
  }

  async #cut(): Promise<CheckpointPoint<LogPosition>> {
    const { tree, log, compactRevision } = this.#options;
    // One turn: what is applied so far is what the slots below the cut hold.
    const cut = log.cut();
    tree.freeze();
    // Beside the upload of the log below the cut, which it must not be listed before.
    tree.writeFrozen(this.#options.compactRevisionSeen());
    const compacted = compactRevision() as Revision | -1;
    this.#bytesAt = log.stats().bytesUploaded;
    const position = await cut;
    return { position, compactRevision: compacted, wallMs: position.wallMs };
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    // Bounded by the log's and the store's own time limits, once the log is closed.
    await this.#running;
  }
}
