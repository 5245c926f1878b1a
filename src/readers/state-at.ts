import { DbError } from "../base/errors.ts";
import type { Slot } from "../base/ids.ts";
import { checkReached, type Moment, type Route, routeTo } from "../engine/branches/moment.ts";
import { readCompactRevision } from "../engine/meta.ts";
import { applyRecord } from "../engine/record.ts";
import { readOrigin } from "../leadership/origin.ts";
import { firstPosition } from "../log/chain.ts";
import type { LogPosition, LogRecord } from "../log/log.ts";
import { readLog } from "../log/reader.ts";
import { BlockCache } from "../storage/block-cache.ts";
import type { Checkpoint } from "../storage/checkpoint.ts";
import { newestCheckpoint, readCheckpoint } from "../storage/checkpoint-store.ts";
import type { Tree } from "../storage/storage.ts";
import { defaultTreeSettings, openTree } from "../storage/tree.ts";
import type { OfflineBranch, OfflineRepository } from "./open-offline.ts";

/** A branch as it was at a moment, built from its bucket. Memory: the log from the checkpoint before it on. */
export interface BranchState {
  readonly tree: Tree;
  readonly revision: number;
  /** Of the last record in it, ms since 1970; 0 before the first. */
  readonly wallMs: number;
  readonly record: number;
  readonly compactRevision: number;
  readonly checkpoint: Checkpoint | null;
  readonly recordsReplayed: number;
  close(): Promise<void>;
}

const CACHE_BYTES = 32 << 20;
/** A collector may take away what was just named; then a newer checkpoint is there. */
const ATTEMPTS_MAX = 5;

/** Throws `notRetained` for a moment that is not retained, naming the nearest ones. */
export async function stateAt(
  repository: OfflineRepository,
  branch: OfflineBranch,
  moment: Moment,
): Promise<BranchState> {
  const { store, request } = repository;
  for (let attempt = 1; ; attempt++) {
    const newest = await newestCheckpoint(store, branch.id, request);
    const origin = await readOrigin(store, branch.id, request);
    if (origin.checkpoint !== null && newest === null) {
      throw new DbError("unimplemented", `branch ${branch.id} has no checkpoint of its own yet: look at its parent`);
    }
    const state = await build(repository, branch, routeTo(moment, newest, origin.position), origin.position);
    if (state === "gone" && attempt < ATTEMPTS_MAX) continue;
    if (state === "gone")
      throw new DbError("corrupt", `branch ${branch.id}: what its newest checkpoint names is missing`);
    checkReached(moment, state);
    return state;
  }
}

/** The checkpoint that a moment is read from: the last one at or before it. */
export async function checkpointAt(
  { store, request }: OfflineRepository,
  branch: OfflineBranch,
  moment: Moment,
): Promise<Checkpoint> {
  const newest = await newestCheckpoint(store, branch.id, request);
  if (newest === null) throw new DbError("notFound", `branch ${branch.name ?? branch.id} has no checkpoint yet`);
  if (moment.kind === "newest") return newest;
  const { base } = routeTo(moment, newest, null);
  const found = await readCheckpoint(store, { branch: branch.id, ...base.checkpoint! }, request);
  if (found === null) throw new DbError("notFound", "the checkpoint has just been collected: ask again");
  return found;
}

async function build(
  { store, runtime, request }: OfflineRepository,
  { id }: OfflineBranch,
  { base, replay }: Route,
  origin: LogPosition,
): Promise<BranchState | "gone"> {
  let checkpoint: Checkpoint | null = null;
  if (base.checkpoint !== null) {
    checkpoint = await readCheckpoint(store, { branch: id, ...base.checkpoint }, request);
    if (checkpoint === null) return "gone";
  }
  const settings = { ...defaultTreeSettings, requestTimeoutMs: request.timeoutMs };
  const cache = new BlockCache({ bytesMax: CACHE_BYTES });
  const tree = openTree({ store, runtime, branch: id, cache, checkpoint, settings });
  const from = checkpoint?.point.position ?? (base.nextSlot === origin.nextSlot ? origin : firstPosition);
  let last: Pick<LogRecord, "number" | "revision" | "wallMs"> = {
    number: from.lastRecord,
    revision: from.revision,
    wallMs: from.wallMs,
  };
  let recordsReplayed = 0;
  if (replay !== null) {
    let beyond = false;
    try {
      const read = await readLog({
        store,
        branch: id,
        from,
        requestTimeoutMs: request.timeoutMs,
        ...(request.signal ? { signal: request.signal } : {}),
        newestCheckpointSlot: async () => {
          const newest = await newestCheckpoint(store, id, request);
          return newest?.point.position.nextSlot ?? (1 as Slot);
        },
        onSegment: ({ records }) => {
          for (const record of records) {
            if (!replay(record)) {
              beyond = true;
              throw BEYOND;
            }
            applyRecord(tree, record, last.revision);
            last = record;
            recordsReplayed++;
          }
        },
      });
      if (read.kind === "broken") throw read.error;
      if (read.kind === "passed") return "gone";
    } catch (error) {
      if (!beyond) {
        await tree.close();
        throw error;
      }
    }
  }
  return {
    tree,
    revision: last.revision,
    wallMs: last.wallMs,
    record: last.number,
    compactRevision: await readCompactRevision(tree),
    checkpoint,
    recordsReplayed,
    close: () => tree.close(),
  };
}

/** Ends the reading of a log at a record that lies beyond the moment. */
const BEYOND = new DbError("canceled", "beyond the moment asked for");
