import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, ObjectKey, Slot } from "../base/ids.ts";
import { decodeLeaderRecord } from "../leadership/leader-record.ts";
import { decodeOrigin, type Origin } from "../leadership/origin.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { decodeEnvelope } from "../objects/envelope.ts";
import { checkpointKey, leaderKey, originKey, parseKey, prefixes } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../objects/objects.ts";
import type { Checkpoint } from "../storage/checkpoint.ts";
import { decodeCheckpoint } from "../storage/checkpoint-codec.ts";

/**
 * What one branch needs (DESIGN: deleting): its newest checkpoint, those that this one retains, their tables, the log
 * from the first slot kept, and its origin until a checkpoint of its own needs that no more.
 *
 * 1. The newest checkpoint is read before the leader record. If both show one epoch, whoever leads the branch now or
 *    later began, or will begin, from that checkpoint or from a later one of the same leadership.
 * 2. If the record shows a higher epoch, the leader may have begun from an older checkpoint: a deposed one's, late, may
 *    have become the newest since. Until the leader has written one of its own, every checkpoint that exists counts.
 * 3. What is referenced and missing is corruption, and ends the reading: nothing is deleted on half a picture.
 */
export interface BranchReferences {
  readonly branch: BranchId;
  /** Deleted, for ever: it needs nothing. */
  readonly tombstone: boolean;
  readonly newest: Checkpoint | null;
  /** Rule 1 holds. */
  readonly settled: boolean;
  /** Every checkpoint that the branch has, in order. */
  readonly existing: readonly ListedCheckpoint[];
  readonly checkpoints: ReadonlySet<ObjectKey>;
  readonly tables: ReadonlySet<ObjectKey>;
  /** The log is needed from this slot on; null: none of it. */
  readonly logFrom: Slot | null;
  /** Null where the branch has none, or needs it no more. */
  readonly origin: Origin | null;
}

export interface ListedCheckpoint {
  readonly key: ObjectKey;
  readonly bytes: number;
  readonly modifiedMs: number;
}

export interface ReferenceOptions {
  readonly store: ObjectStore;
  readonly request: RequestOptions;
  /**
   * What a newest checkpoint of since then needed counts too: readers that began from it may still be at it. Carries no
   * safety. By the store's clock; infinite: no such readers.
   */
  readonly graceFromMs: number;
  /** Decoded before; a checkpoint never changes. */
  readonly known: KnownCheckpoints;
}

/** Of a checkpoint, what is asked for again and again. */
export interface CheckpointNeeds {
  readonly tables: readonly ObjectKey[];
  readonly firstLogSlot: Slot;
}

const KNOWN_MAX = 10_000;

/** What checkpoints need, by name, for as long as a collection takes. */
export class KnownCheckpoints {
  readonly #needs = new Map<ObjectKey, CheckpointNeeds>();

  get(key: ObjectKey): CheckpointNeeds | undefined {
    return this.#needs.get(key);
  }

  add(key: ObjectKey, checkpoint: Checkpoint): CheckpointNeeds {
    const tables = checkpoint.runs.flatMap((run) => run.map((table) => table.key));
    const needs = { tables, firstLogSlot: checkpoint.firstLogSlot };
    if (this.#needs.size < KNOWN_MAX) this.#needs.set(key, needs);
    return needs;
  }
}

/** A collector, or the branch's own leader, may be at work meanwhile: then all is read once more. */
const ATTEMPTS_MAX = 5;

export async function readBranchReferences(branch: BranchId, options: ReferenceOptions): Promise<BranchReferences> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readOnce(branch, options);
    } catch (error) {
      if (!(error instanceof Missing)) throw error;
      if (attempt === ATTEMPTS_MAX) throw new DbError("corrupt", error.message);
    }
  }
}

/** Something that was listed or is referenced is not there. */
class Missing extends Error {}

async function readOnce(branch: BranchId, options: ReferenceOptions): Promise<BranchReferences> {
  const existing = await listCheckpoints(branch, options);
  const last = existing.at(-1);
  const newest = last === undefined ? null : await readCounted(last.key, options);
  const { epoch, tombstone } = await readLeader(branch, options);
  if (tombstone) return nothing(branch, newest, existing);
  if (newest !== null && newest.epoch > epoch) {
    throw new DbError("corrupt", `object ${last!.key}: of epoch ${newest.epoch}, the leader record shows ${epoch}`);
  }
  const settled = newest === null || newest.epoch === epoch;
  const origin = await readOriginOf(branch, options);
  const roots = settled ? graced(existing, options.graceFromMs) : existing.map(({ key }) => key);
  const retained = (newest?.retained ?? []).map((each) => checkpointKey(each.branch, each.nextSlot, each.n));
  const checkpoints = new Set([...roots, ...retained]);
  const tables = new Set<ObjectKey>();
  // Retained checkpoints give their own revision alone: the log is kept for those that are, or were, the newest.
  let logFrom = Number.POSITIVE_INFINITY;
  for (const key of checkpoints) {
    for (const table of (await needsOf(key, options)).tables) tables.add(table);
  }
  for (const key of roots) logFrom = Math.min(logFrom, (await needsOf(key, options)).firstLogSlot);
  const needsOrigin = newest === null || !settled || beginsAtOrigin(newest, origin);
  return {
    branch,
    tombstone: false,
    newest,
    settled,
    existing,
    checkpoints,
    tables,
    logFrom: (Number.isFinite(logFrom) ? logFrom : 1) as Slot,
    origin: needsOrigin ? origin : null,
  };
}

const nothing = (
  branch: BranchId,
  newest: Checkpoint | null,
  existing: readonly ListedCheckpoint[],
): BranchReferences => ({
  branch,
  tombstone: true,
  newest,
  settled: true,
  existing,
  checkpoints: new Set(),
  tables: new Set(),
  logFrom: null,
  origin: null,
});

/** The log that is kept begins before every checkpoint of the branch's own: the first states are its origin's. */
export function beginsAtOrigin(newest: Checkpoint, origin: Origin | null): boolean {
  if (origin === null || newest.firstLogSlot > origin.position.nextSlot) return false;
  const own = newest.retained.some((each) => each.branch === newest.branch && each.nextSlot === newest.firstLogSlot);
  return !own && newest.point.position.nextSlot !== newest.firstLogSlot;
}

/** The newest, and all that were the newest at some time since `fromMs`. */
function graced(existing: readonly ListedCheckpoint[], fromMs: number): ObjectKey[] {
  const since = existing.findLastIndex(({ modifiedMs }) => modifiedMs <= fromMs);
  return existing.slice(since < 0 ? 0 : since).map(({ key }) => key);
}

async function listCheckpoints(branch: BranchId, { store, request }: ReferenceOptions): Promise<ListedCheckpoint[]> {
  const prefix = prefixes.checkpoints(branch);
  const all: ListedCheckpoint[] = [];
  for (;;) {
    const last = all.at(-1);
    const after = last === undefined ? {} : { startAfter: last.key };
    const page = await store.list(prefix, { ...request, ...after, limit: LIST_LIMIT_MAX });
    for (const object of page.objects) {
      if (parseKey(object.key)?.kind !== "checkpoint") {
        throw new DbError("corrupt", `object ${object.key}: is not named as a checkpoint is`);
      }
      all.push(object);
    }
    if (!page.more || page.objects.length === 0) return all;
  }
}

/** Throws Missing where there is none. */
async function readCounted(key: ObjectKey, { store, request, known }: ReferenceOptions): Promise<Checkpoint> {
  const checkpoint = await readDecoded(store, key, request, ({ body }) => decodeCheckpoint(key, body));
  if (checkpoint === null) throw new Missing(`object ${key} is referenced, and missing`);
  known.add(key, checkpoint);
  return checkpoint;
}

const needsOf = async (key: ObjectKey, options: ReferenceOptions): Promise<CheckpointNeeds> =>
  options.known.get(key) ?? options.known.add(key, await readCounted(key, options));

async function readLeader(
  branch: BranchId,
  { store, request }: ReferenceOptions,
): Promise<{ epoch: Epoch; tombstone: boolean }> {
  const key = leaderKey(branch);
  const record = await readDecoded(store, key, request, (object) => {
    const { body } = decodeEnvelope(key, object.body);
    try {
      return decodeLeaderRecord(body);
    } catch (error) {
      throw new DbError("corrupt", `object ${key}: ${(error as Error).message}`, { cause: error });
    }
  });
  return record ?? { epoch: 0 as Epoch, tombstone: false };
}

const readOriginOf = (branch: BranchId, { store, request }: ReferenceOptions): Promise<Origin | null> =>
  readDecoded(store, originKey(branch), request, ({ body }) => decodeOrigin(branch, body));

/**
 * The tables of a checkpoint; none where it is gone: so can be an origin's that is being cut, and then it will not be
 * named and its creator removes it.
 */
export async function tablesIn(
  key: ObjectKey,
  { store, request, known }: Pick<ReferenceOptions, "store" | "request" | "known">,
): Promise<readonly ObjectKey[]> {
  const before = known.get(key);
  if (before !== undefined) return before.tables;
  const checkpoint = await readDecoded(store, key, request, ({ body }) => decodeCheckpoint(key, body));
  return checkpoint === null ? [] : known.add(key, checkpoint).tables;
}
