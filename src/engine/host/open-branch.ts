import { assert } from "../../base/assert.ts";
import { ClosedByBug, DbError, isDbError } from "../../base/errors.ts";
import type { BranchId, Revision } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import { type Acquired, acquireLeadership, type LocalDisk } from "../../leadership/acquire.ts";
import type { DataDirectory } from "../../leadership/data-directory.ts";
import { BranchDisk } from "../../leadership/disk-identity.ts";
import { clusterId, memberId } from "../../leadership/identity.ts";
import type { Leadership } from "../../leadership/leadership.ts";
import { readOrigin } from "../../leadership/origin.ts";
import type { Waiting } from "../../leadership/outlive.ts";
import type { Repository } from "../../leadership/repository.ts";
import type { NodeSession } from "../../leadership/session.ts";
import type { LeadershipSettings } from "../../leadership/settings.ts";
import { firstPosition } from "../../log/chain.ts";
import { createTakeoverLog, type FencingLog } from "../../log/fence.ts";
import type { LocalLog } from "../../log/local-log.ts";
import type { LocalLogContent } from "../../log/local-log-reader.ts";
import type { LogRecord, LogSettings, LogWriter, Segment } from "../../log/log.ts";
import { readRuns } from "../../log/run-reader.ts";
import { createLogWriter } from "../../log/writer.ts";
import { originKey } from "../../objects/keys.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { BlockCache } from "../../storage/block-cache.ts";
import { cacheStatus } from "../../storage/cache-status.ts";
import type { RetentionPolicy } from "../../storage/checkpoint-retention.ts";
import type { CheckpointSigner } from "../../storage/checkpoint-signature.ts";
import { CheckpointWriter } from "../../storage/checkpoint-store.ts";
import type { DiskCache } from "../../storage/disk-cache.ts";
import { openScratch, type Scratch } from "../../storage/scratch.ts";
import type { Entry } from "../../storage/storage.ts";
import { type BranchTree, openTree, type TreeSettings } from "../../storage/tree.ts";
import { readRetention } from "../branches/branch-retention.ts";
import { strip } from "../branches/strip.ts";
import type { BranchDatabase } from "../database.ts";
import { LiveBytes } from "../maintenance/live-bytes.ts";
import { openDatabase } from "../open-database.ts";
import { applyRecord } from "../record.ts";
import type { EngineSettings } from "../settings.ts";
import { WatchHub, type WatchSettings } from "../watch/hub.ts";
import { type BranchStart, BranchStarts } from "./branch-start.ts";
import { Checkpointer, type CheckpointerSettings } from "./checkpointer.ts";
import { closeAll } from "./close-all.ts";
import { defragment } from "./defragment.ts";
import { createLocalLog, openLocalLog, prepareLocalLog } from "./local-disk.ts";
import type { Notices } from "./notices.ts";
import { OpenBranch } from "./open-branch-handle.ts";
import { OutageNotices } from "./outage-notices.ts";
import { ReplayQueue } from "./replay-queue.ts";
import { WriteRoom } from "./write-room.ts";

export interface BranchSettings {
  readonly leadership: LeadershipSettings;
  readonly log: Omit<LogSettings, "window">;
  readonly tree: TreeSettings;
  readonly retention: RetentionPolicy;
  /** Left out: checkpoints are not signed. */
  readonly signer?: CheckpointSigner | null;
  readonly checkpointer: CheckpointerSettings;
  readonly engine: EngineSettings;
  readonly watch: WatchSettings;
  /** Bound of one object request while opening. */
  readonly requestTimeoutMs: number;
}

/** What all branches of a process share. */
export interface BranchSurroundings {
  readonly runtime: Runtime;
  readonly store: ObjectStore;
  readonly repository: Repository;
  readonly session: NodeSession;
  /** Null: this node has no disk of its own, so `local` is refused. */
  readonly directory: DataDirectory | null;
  readonly cache: BlockCache;
  /** What `store` has in front of its tables; null: nothing. */
  readonly diskCache: DiskCache | null;
  readonly settings: BranchSettings;
  readonly notices: Notices;
}

export interface OpenOptions {
  readonly signal: AbortSignal;
  /** Called once for each session of another leader that is waited for. */
  readonly onWaiting: (waiting: Waiting) => void;
  readonly onEnd: (error: DbError) => void;
}

/**
 * Opens a branch as its leader: wins it, takes its log over, builds its state from the newest checkpoint and the log
 * behind it (and, in `local`, from what only this disk has), and serves.
 *
 * Every await may be the last: nothing is answered before the end, and what the steps leave behind is what any next
 * attempt begins from (leadership/acquire.ts). Rejects with DbError; `onEnd` is called once, later, when the branch
 * that was opened has ended.
 */
export async function openBranch(
  surroundings: BranchSurroundings,
  branch: { id: BranchId; name: string },
  options: OpenOptions,
): Promise<OpenBranch> {
  const opening = new Opening(surroundings, branch, options);
  try {
    return await opening.run();
  } catch (error) {
    await opening.undo().catch((failure: unknown) => {
      if (!isDbError(failure)) throw failure;
      surroundings.notices.warn("giving a branch up failed in part", { branch: branch.name, why: failure.message });
    });
    throw error;
  }
}

class Opening {
  readonly #s: BranchSurroundings;
  readonly #branch: { id: BranchId; name: string };
  readonly #options: OpenOptions;
  readonly #nonce: string;
  readonly #starts: BranchStarts;
  readonly #takeover: FencingLog<BranchStart>;
  #leadership: Leadership | null = null;
  #log: LogWriter | null = null;
  #localLog: LocalLog | null = null;
  /** Before the database listens. */
  #logFailure: DbError | null = null;
  #tree: BranchTree | null = null;
  /** What the local log had before the branch was won. */
  #prepared: Promise<LocalLogContent> | null = null;
  readonly #replay: ReplayQueue;
  /** Of what was applied to the tree. */
  #revision = 0;

  constructor(surroundings: BranchSurroundings, branch: { id: BranchId; name: string }, options: OpenOptions) {
    const { store, runtime, repository, settings } = surroundings;
    this.#s = surroundings;
    this.#branch = branch;
    this.#options = options;
    this.#nonce = runtime.random.bytes(8).toString("hex");
    const request = { timeoutMs: settings.requestTimeoutMs, signal: options.signal };
    this.#starts = new BranchStarts(store, branch.id, request);
    this.#replay = new ReplayQueue(runtime.timers);
    this.#takeover = createTakeoverLog({
      runtime,
      store,
      branch: branch.id,
      nonce: this.#nonce,
      window: repository.window,
      requestTimeoutMs: settings.requestTimeoutMs,
      signal: options.signal,
      newestStart: () => this.#starts.newest(),
      replay: { begin: (start) => this.#beginReplay(start), take: (segment) => this.#take(segment) },
    });
  }

  async run(): Promise<OpenBranch> {
    const { runtime, store, repository, settings, notices } = this.#s;
    const acquired = await acquireLeadership({
      store,
      repository,
      branch: this.#branch.id,
      branchName: this.#branch.name,
      runtime,
      session: this.#s.session,
      local: await this.#localDisk(),
      settings: settings.leadership,
      takeoverLog: this.#takeover,
      onWaiting: this.#options.onWaiting,
      signal: this.#options.signal,
    });
    const { leadership, start } = acquired;
    this.#leadership = leadership;
    if (acquired.warning !== null) notices.warn(acquired.warning);

    const { log, tail } = await this.#openLog(leadership, acquired.localLog);
    const tree = this.#tree;
    assert(tree !== null, "what is taken over was read");
    // Copied: else all of the local log's files would be held.
    this.#replay.add(tail, (record) => this.#apply(tree, record));
    await this.#replay.done();
    const head = tail.at(-1)?.revision ?? this.#takeover.end.revision;
    assert(
      this.#revision === head,
      "the log is replayed up to the end that the takeover found, and the disk's behind it",
    );
    // Nobody waits for that: it is on the disk, synced, all that was promised of what is acknowledged here, and stays
    // there until it is uploaded, as any record is.
    if (tail.length > 0) notices.info("uploading what only the local log has", { records: tail.length });
    const { signal } = this.#options;
    await strip({ tree, log, strips: start.origin?.strips ?? [], revision: head, signal });
    return this.#serve(leadership, { tree, log, start, revision: head });
  }

  async #localDisk(): Promise<LocalDisk | { refusal: string }> {
    const { directory, runtime, notices } = this.#s;
    if (directory === null)
      return { refusal: "durability local needs the data directory that has its disk (--data-dir), and none is given" };
    if (directory.localRefusal !== null) return { refusal: directory.localRefusal };
    const disk = await BranchDisk.open({ runtime, directory: directory.path, branch: this.#branch.id });
    const options = { runtime, branch: this.#branch.id, takeover: this.#takeover, notices };
    return {
      disk,
      createLog: ({ path, epoch }) => createLocalLog(options, path, epoch),
      prepareLog: (path) => {
        this.#prepared ??= prepareLocalLog(options, path);
        return this.#prepared;
      },
    };
  }

  /**
   * The state that a start begins with; the log behind it follows, as the takeover reads it. Nobody sees any of it
   * before the branch is won and all is replayed.
   */
  async #beginReplay(start: BranchStart): Promise<void> {
    // Of a start that is not the newest any more.
    this.#replay.clear();
    await this.#tree?.close();
    this.#tree = null;
    const tree = await this.#openTree(start);
    this.#tree = tree;
    await this.#replayRuns(tree, start);
  }

  #take({ records }: Segment): void {
    assert(this.#tree !== null, "what is replayed has begun");
    const kept = keeping(this.#tree);
    this.#replay.add(records, (record) => this.#apply(kept, record));
  }

  #apply(tree: Pick<BranchTree, "apply">, record: LogRecord): void {
    applyRecord(tree, record, this.#revision);
    this.#revision = record.revision;
  }

  async #openTree(start: BranchStart): Promise<BranchTree> {
    const { store, runtime, directory, cache, settings } = this.#s;
    const { checkpoint } = start;
    const { id } = this.#branch;
    const scratch = directory === null ? null : await this.#openScratch(`${directory.path}/scratch/${id}`);
    const whyMissing = (): MaybePromise<DbError | null> => this.#leadership?.proof() ?? null;
    return openTree({ store, runtime, branch: id, cache, scratch, checkpoint, settings: settings.tree, whyMissing });
  }

  /** Null, with a line in the log, where the disk fails: what is sorted is then read in as many passes as it takes. */
  async #openScratch(path: string): Promise<Scratch | null> {
    const { runtime, notices } = this.#s;
    try {
      return await openScratch(runtime, path);
    } catch (error) {
      if (!isDbError(error, "diskFailed")) throw error;
      notices.warn("there is no room for sorting on the disk, sorting takes longer", {
        branch: this.#branch.name,
        why: error.message,
      });
      return null;
    }
  }

  /** What lies between a cut branch's first checkpoint and its own log. */
  async #replayRuns(tree: BranchTree, { checkpoint, runs, position }: BranchStart): Promise<void> {
    this.#revision = position.revision;
    if (runs.length === 0) return;
    const { store, settings } = this.#s;
    const from = checkpoint?.point.position ?? firstPosition;
    this.#revision = from.revision;
    const kept = keeping(tree);
    const end = await readRuns({
      store,
      from,
      runs,
      requestTimeoutMs: settings.requestTimeoutMs,
      signal: this.#options.signal,
      onRecord: (record) => this.#apply(kept, record),
    });
    const found = { ...end, nextSlot: position.nextSlot };
    if (JSON.stringify(found, Object.keys(position)) === JSON.stringify(position)) return;
    const what = "what it replays does not end where it says";
    throw new DbError("corrupt", `object ${originKey(this.#branch.id)}: ${what}: ${JSON.stringify(found)}`);
  }

  async #openLog(
    leadership: Leadership,
    localLog: Acquired<BranchStart>["localLog"],
  ): Promise<{ log: LogWriter; tail: readonly LogRecord[] }> {
    const { runtime, store, repository, settings, notices } = this.#s;
    const branch = this.#branch.id;
    let tail: readonly LogRecord[] = [];
    if (localLog !== null) {
      const options = { runtime, branch, takeover: this.#takeover, notices };
      const { path, tail: kind } = localLog;
      const prepared = kind === "recover" ? await this.#prepared : null;
      const opened = await openLocalLog(options, { path, epoch: leadership.epoch, prepared });
      this.#localLog = opened.log;
      tail = opened.tail;
    }
    this.#log = createLogWriter({
      runtime,
      store,
      branch,
      epoch: leadership.epoch,
      nonce: this.#nonce,
      position: this.#takeover.end,
      settings: { ...settings.log, window: repository.window },
      ...(this.#localLog === null ? {} : { log: this.#localLog, reappend: tail }),
    });
    this.#log.onFailed = (error) => {
      this.#logFailure = error;
    };
    return { log: this.#log, tail };
  }

  async #serve(
    leadership: Leadership,
    { tree, log, start, revision }: { tree: BranchTree; log: LogWriter; start: BranchStart; revision: Revision },
  ): Promise<OpenBranch> {
    const { runtime, store, repository, session, settings, notices } = this.#s;
    const { id, name } = this.#branch;
    const checkpoints = new CheckpointWriter({
      store,
      runtime,
      branch: id,
      epoch: leadership.epoch,
      newest: start.checkpoint,
      firstSlot: start.firstSlot,
      retention: (await readRetention(tree)) ?? settings.retention,
      signer: settings.signer ?? null,
      timeoutMs: settings.requestTimeoutMs,
    });
    tree.lead(checkpoints);
    let checkpointer: Checkpointer | null = null;
    const live = new LiveBytes(tree.stats());
    const room = new WriteRoom({
      runtime,
      bytes: () => tree.memtableBytes,
      memtableBytes: settings.checkpointer.memtableBytes,
      timeoutMs: settings.engine.requestTimeoutMs,
      waitingMax: settings.engine.callsMax,
    });
    const database: BranchDatabase = await openDatabase({
      tree,
      log,
      leadership,
      runtime,
      identity: {
        clusterId: clusterId(repository.id, id),
        memberId: memberId(repository.id, session.node),
        name: session.node,
        branchName: name,
      },
      settings: settings.engine,
      storage: {
        stats: (liveBytes) => storageStats(this.#s, { tree, log, checkpointer, live }, liveBytes),
        compacted: () => {},
        defragment: async (signal) => {
          assert(checkpointer !== null, "a database that is called has its checkpointer");
          const made = checkpointer;
          await defragment(
            {
              checkpoint: () => made.checkpointFromNow(),
              get trouble(): string | null {
                return made.trouble;
              },
              mergeEverything: (how) => tree.mergeEverything(how),
            },
            signal,
          );
        },
        refusal: () => room.refusal(),
        room: () => room.wait(),
      },
      revision,
      watch: (source) => new WatchHub(source, runtime, settings.watch),
      onEnd: this.#options.onEnd,
    });
    // Before it was asked to tell: nothing was served yet.
    if (this.#logFailure !== null) {
      database.close(this.#logFailure);
      throw this.#logFailure;
    }
    checkpointer = new Checkpointer({
      tree,
      log,
      runtime,
      settings: settings.checkpointer,
      notices,
      compactRevision: () => database.head.compactRevision,
      compactRevisionSeen: () => database.compactRevision,
      start,
      onFailed: (error) => database.close(error instanceof DbError ? error : new ClosedByBug(error)),
    });
    tree.onBug = (error) => database.close(new ClosedByBug(error));
    const outages = new OutageNotices({ branch: name, log, leadership, runtime, notices });
    const request = { timeoutMs: settings.requestTimeoutMs };
    return new OpenBranch({
      database,
      tree,
      log,
      localLog: this.#localLog,
      leadership,
      checkpointer,
      checkpoints,
      outages,
      useRetention: (policy) => {
        checkpoints.retention = policy ?? settings.retention;
      },
      start,
      readOrigin: () => readOrigin(store, id, request),
    });
  }

  /** After a failure: as a crash would leave it, but for what this process holds. */
  async undo(): Promise<void> {
    await closeAll([
      () => this.#takeover.close(),
      async () => this.#replay.clear(),
      // Its failure is why the branch could not be opened, or does not count any more.
      () => this.#prepared?.catch(() => {}),
      () => this.#log?.close(),
      () => this.#localLog?.close(),
      () => this.#tree?.close(),
      () => this.#leadership?.abandon(),
    ]);
  }
}

/** Segments are in memory of their own, and nobody changes what was read: the tree need not copy it. */
const keeping = (tree: BranchTree) => ({ apply: (entry: Entry) => tree.applyKept(entry) });

function storageStats(
  { runtime, cache, diskCache }: BranchSurroundings,
  parts: { tree: BranchTree; log: LogWriter; checkpointer: Checkpointer | null; live: LiveBytes },
  liveBytes: number,
) {
  const { tree, log, checkpointer, live } = parts;
  const stats = tree.stats();
  const bytes = stats.tableBytes + stats.memtableBytes + log.stats().pendingBytes;
  return {
    ...cacheStatus(cache, diskCache),
    bytes,
    bytesInUse: live.shareOf(bytes, liveBytes, stats),
    memtableBytes: stats.memtableBytes,
    tables: stats.tables,
    checkpointAgeMs: checkpointer?.ageMs(runtime.clock.wallMs()) ?? null,
    errors: [checkpointer?.trouble ?? null, stats.mergeError, diskCache?.trouble ?? null].filter(
      (each) => each !== null,
    ),
    checkpointSlot: checkpointer?.newest?.point.position.nextSlot ?? null,
  };
}
