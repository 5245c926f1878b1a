import { assert } from "../../base/assert.ts";
import { DbError, isDbError } from "../../base/errors.ts";
import { beginsAtOrigin } from "../../collector/branch-references.ts";
import type { Leadership } from "../../leadership/leadership.ts";
import type { Origin } from "../../leadership/origin.ts";
import type { LocalLog } from "../../log/local-log.ts";
import type { LogPosition, LogWriter } from "../../log/log.ts";
import { orAborted } from "../../log/writer-options.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import type { RetentionPolicy } from "../../storage/checkpoint-retention.ts";
import type { CheckpointWriter } from "../../storage/checkpoint-store.ts";
import type { BranchTree } from "../../storage/tree.ts";
import { policyOf, RETENTION_SETTING, settingOf } from "../branches/branch-retention.ts";
import type { CutLeader, CutParent } from "../branches/cut-branch.ts";
import type { RetentionText } from "../branches/history.ts";
import type { BranchDatabase } from "../database.ts";
import type { BranchStart } from "./branch-start.ts";
import type { Checkpointer } from "./checkpointer.ts";
import { closeAll } from "./close-all.ts";
import type { OutageNotices } from "./outage-notices.ts";

export interface OpenBranchParts {
  readonly database: BranchDatabase;
  readonly tree: BranchTree;
  readonly log: LogWriter;
  readonly localLog: LocalLog | null;
  readonly leadership: Leadership;
  readonly checkpointer: Checkpointer;
  readonly checkpoints: Pick<CheckpointWriter, "newest" | "unanswered">;
  readonly outages: OutageNotices;
  /** Sets what the next checkpoint retains; null: what the node has set. */
  readonly useRetention: (policy: RetentionPolicy | null) => void;
  /** What it was opened from. */
  readonly start: BranchStart;
  /** Reads the branch's origin, which a cut far back may begin with. */
  readonly readOrigin: () => Promise<Origin>;
}

/** A branch that is being led, with all that must be ended when it is given up. */
export class OpenBranch {
  readonly #parts: OpenBranchParts;
  #ended = false;

  constructor(parts: OpenBranchParts) {
    this.#parts = parts;
  }

  get database(): BranchDatabase {
    return this.#parts.database;
  }

  /** Writes a checkpoint of all that has happened before the call. */
  checkpoint(): Promise<void> {
    return this.#parts.checkpointer.checkpointFromNow();
  }

  /** Begins to write one, where none is being written: what memory holds goes with it. */
  relieve(): void {
    void this.#parts.checkpointer.checkpoint();
  }

  /** Of this branch, whoever leads it, from the next checkpoint on. Null: that of the node. */
  async setRetention(retention: RetentionText | null): Promise<void> {
    const policy = retention === null ? null : policyOf(retention);
    await this.#parts.database.settings.write(RETENTION_SETTING, settingOf(retention));
    // It is durable: what it lets go of may go.
    this.#parts.useRetention(policy);
  }

  get memtableBytes(): number {
    return this.#parts.tree.memtableBytes;
  }

  /** Uploads all that has been acknowledged; resolves with where the log in the store then ends. */
  flush(signal?: AbortSignal): Promise<LogPosition> {
    return this.#parts.log.drain(signal);
  }

  /** After a branch was cut off this one. */
  wasCut(): void {
    this.#parts.checkpointer.wasCut();
  }

  /** For who cuts a branch off this one. */
  cutLeader(): CutLeader {
    const { database, leadership, checkpoints, start } = this.#parts;
    let origin = start.origin;
    const originOf = async (newest: Checkpoint | null): Promise<Origin | null> => {
      if (newest !== null && newest.firstLogSlot > 1) return null;
      origin ??= await this.#parts.readOrigin();
      return newest === null || beginsAtOrigin(newest, origin) ? origin : null;
    };
    const parent = async (): Promise<CutParent> => {
      const why = database.unprovenBecause();
      if (why !== null) throw why;
      // In one turn: the one that is unanswered, and the one before it.
      const { newest: last, unanswered } = checkpoints;
      // Before the first one of its own: what the branch itself was cut with.
      const newest = this.#isOwn(last) ? last : null;
      return { branch: leadership.branch, newest, unanswered, origin: () => originOf(newest) };
    };
    return { epoch: leadership.epoch, parent };
  }

  #isOwn(checkpoint: Checkpoint | null): boolean {
    return checkpoint?.branch === this.#parts.leadership.branch;
  }

  /**
   * Gives the branch up cleanly: no more writes, everything uploaded, a checkpoint of it as far as there is time, the
   * leadership released, so that the next leader waits for nothing and replays nothing. Rejects with DbError when the
   * store does not take what was acknowledged in time: then it is as after a crash, and nothing of that is lost.
   */
  async release(signal: AbortSignal): Promise<void> {
    const { log, leadership } = this.#parts;
    try {
      await this.#logRelease(signal);
      const { lastRecord } = await log.drain(signal);
      assert(lastRecord === log.head, "nothing is sequenced behind the last record of a leadership that gives up");
      // Dying amid this leaves tables that nothing names, or a checkpoint: the log has all of it either way. One whose
      // outcome is open when the leadership is released is as one of a deposed leader, and may come late.
      await orAborted(this.#parts.checkpointer.checkpointLast(), signal).catch((error: unknown) => {
        if (!isDbError(error, "canceled")) throw error;
      });
      await this.#stop(new DbError("stopped"));
      await leadership.release();
    } catch (error) {
      const left = this.#left();
      await this.abandon(new DbError("stopped"));
      throw left === null ? error : new DbError("storeUnavailable", left, { cause: error });
    }
  }

  /**
   * Logs how long leases have left. At a bound (of calls, of the log) there is room for that once all that goes before
   * is uploaded; where there still is none, leases have their full TTL again, which is all that is missed.
   */
  async #logRelease(signal: AbortSignal): Promise<void> {
    const { database, log } = this.#parts;
    try {
      await orAborted(database.release(), signal);
    } catch (error) {
      if (!isDbError(error) || signal.aborted) throw error;
      await log.drain(signal);
      await orAborted(database.release(), signal).catch((again: unknown) => {
        if (!isDbError(again) || signal.aborted) throw again;
      });
    }
  }

  /** What is not in the bucket, in words; null if that is nothing. */
  #left(): string | null {
    const { log, leadership } = this.#parts;
    const { pendingRecords, pendingBytes } = log.stats();
    if (pendingRecords === 0) return null;
    const fate =
      leadership.durability === "local"
        ? "those acknowledged are on this disk, and the next start with this data directory uploads them"
        : "they were not acknowledged, and may be in the store or not";
    const why = log.trouble === null ? "" : `; ${log.trouble.message}`;
    return `${pendingRecords} records (${pendingBytes} bytes) are not in the store: ${fate}${why}`;
  }

  /** Ends everything as a crash would: what is pending is told `error`. Safe at any time, also after `release`. */
  async abandon(error: DbError): Promise<void> {
    await closeAll([() => this.#stop(error), () => this.#parts.leadership.abandon()]);
  }

  async #stop(error: DbError): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    const { database, log, localLog, checkpointer, tree, outages } = this.#parts;
    outages.close();
    database.close(error);
    await closeAll([
      () => log.close(),
      // A checkpoint under way is given up, as by a crash: a store that is away would hold the end up for minutes.
      () => Promise.all([checkpointer.close(), tree.close()]),
      () => localLog?.close(),
    ]);
  }
}
