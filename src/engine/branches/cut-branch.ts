import { assert } from "../../base/assert.ts";
import { DbError, isDbError } from "../../base/errors.ts";
import { type BranchId, branchId, type ObjectKey, type Slot } from "../../base/ids.ts";
import { type BranchReferences, KnownCheckpoints, readBranchReferences } from "../../collector/branch-references.ts";
import { readOpenCollections } from "../../collector/ledger.ts";
import { type BranchName, branchNameRegister } from "../../leadership/branch-name.ts";
import { encodeOrigin, type Origin, type OriginRun } from "../../leadership/origin.ts";
import { createOnce } from "../../objects/conditional.ts";
import { checkpointKey, originKey, parseKey, prefixes, segmentKey } from "../../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../../objects/objects.ts";
import type { SwapOutcome } from "../../objects/register.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { decodeCheckpoint } from "../../storage/checkpoint-codec.ts";

export interface CutOptions {
  readonly store: ObjectStore;
  readonly runtime: Pick<Runtime, "clock" | "timers" | "random">;
  readonly parent: BranchId;
  /** Of the new branch: a DNS label that no branch has. */
  readonly name: string;
  /**
   * Where to cut, of what the parent has just now; asked anew for each attempt. Throws `outOfRange` and the like where
   * there is no such moment.
   */
  readonly point: (parent: BranchReferences) => Promise<CutPoint>;
  readonly request: RequestOptions;
}

/** What the origin will say, but for the branch itself. */
export type CutPoint = Pick<Origin, "checkpoint" | "runs" | "position">;

/** Each means that a collection had taken, or was about to take, what was needed. */
const ATTEMPTS_MAX = 10;

/**
 * Cuts a branch off another one, while that is written and while collections run (DESIGN: deleting). Resolves with its
 * id.
 *
 *   origin ─► collections not done ─► parent anew, and all that is needed exists ─► name ─► parent and origin once more
 *
 * 1. From the origin on, every collection that begins to delete has met it. One that began before is open while it
 *    deletes, and names what it deletes; one that is done has deleted, which shows in what exists.
 * 2. Only what passed every check gets a name. Else the origin is deleted, by its creator, and an id is never used
 *    twice; a crash leaves an origin without a name, which keeps what it names until it is deleted.
 * 3. Stalling between any two steps is safe: the origin is there all the while.
 */
export class BranchCut {
  private readonly options: CutOptions;

  constructor(options: CutOptions) {
    this.options = options;
  }

  async run(): Promise<BranchId> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const branch = await this.attempt();
      if (branch !== null) return branch;
    }
    const { name } = this.options;
    throw new DbError(
      "storeUnavailable",
      `branch ${name}: what it needs was collected ${ATTEMPTS_MAX} times meanwhile`,
    );
  }

  private async attempt(): Promise<BranchId | null> {
    const { parent, runtime, point } = this.options;
    const origin: Origin = {
      ...(await point(await this.readParent())),
      branch: branchId(runtime.random.bytes(16).toString("hex")),
      parent,
    };
    await this.createOrigin(origin);
    let passed = false;
    try {
      const needs = await this.needsOf(origin);
      passed =
        needs !== null &&
        !(await this.isCollected(needs)) &&
        (await this.isListed(origin)) &&
        (await this.exists(origin, needs));
    } finally {
      // Also when a check has failed for want of an answer: nothing was named.
      if (!passed) await this.deleteOrigin(origin);
    }
    if (!passed) return null;
    await this.createName(origin);
    await this.lookAgain(origin);
    return origin.branch;
  }

  /** Step 1. */
  async createOrigin(origin: Origin): Promise<void> {
    const { store, runtime, request } = this.options;
    const outcome = await createOnce(store, originKey(origin.branch), encodeOrigin(origin), { ...request, runtime });
    assert(outcome.kind === "created", "an id of 16 random bytes is nobody else's");
  }

  /** Step 2: the collections that are not done. */
  async isCollected(needs: Needs): Promise<boolean> {
    const { store, request } = this.options;
    for (const { names } of await readOpenCollections(store, request)) {
      if (names.some((key) => needs.objects.has(key) || isInRuns(key, needs.runs))) return true;
    }
    return false;
  }

  /** Step 3, its first half: the parent is not deleted, and still has what was chosen of it. */
  async isListed(origin: Origin): Promise<boolean> {
    const parent = await this.readParent();
    const { checkpoint, runs } = origin;
    if (checkpoint !== null) {
      const key = checkpointKey(checkpoint.branch, checkpoint.nextSlot, checkpoint.n);
      const start = parent.origin?.checkpoint ?? null;
      const isStart = start !== null && checkpointKey(start.branch, start.nextSlot, start.n) === key;
      if (!parent.checkpoints.has(key) && !isStart) return false;
    }
    return runs.every((run) => isKept(run, parent));
  }

  /** Step 3, its second half: all that is needed, of whatever branch, exists. */
  async exists(_origin: Origin, needs: Needs): Promise<boolean> {
    for (const branch of new Set([...needs.objects].flatMap(branchOfTable))) {
      const there = await this.listAll(prefixes.tablesOf(branch));
      for (const key of needs.objects) if (branchOfTable(key)[0] === branch && !there.has(key)) return false;
    }
    for (const key of needs.objects) {
      if (parseKey(key)?.kind !== "checkpoint") continue;
      if ((await this.options.store.get(key, this.options.request)) === null) return false;
    }
    for (const { branch, first, last } of needs.runs) {
      const there = await this.listAll(prefixes.segments(branch), {
        from: segmentKey(branch, first),
        count: last - first + 1,
      });
      for (let slot: number = first; slot <= last; slot++)
        if (!there.has(segmentKey(branch, slot as Slot))) return false;
    }
    return true;
  }

  /** Step 4. */
  async createName(origin: Origin): Promise<void> {
    const { name } = this.options;
    let outcome: SwapOutcome<BranchName> | null;
    try {
      outcome = await this.swapName(origin);
    } catch (error) {
      // Nothing was written, and nothing will be.
      await this.deleteOrigin(origin);
      throw error;
    }
    if (outcome?.kind === "swapped") return;
    // The name may come to be: its origin must be there then.
    if (outcome?.kind === "unknown") {
      throw new DbError("storeUnavailable", `creating branch ${name}: ${outcome.cause.message}`);
    }
    await this.deleteOrigin(origin);
    throw new DbError("invalidArgument", `there is a branch named ${name} already`);
  }

  /** Null where the name is taken. */
  private async swapName(origin: Origin): Promise<SwapOutcome<BranchName> | null> {
    const { store, runtime, name, request } = this.options;
    const register = branchNameRegister(store, name, runtime);
    const before = await register.read(request);
    if (before !== null && !before.body.tombstone) return null;
    const body: BranchName = { branch: origin.branch, protected: false, expiresMs: null, tombstone: false };
    return register.swap(before, body, request);
  }

  /** Step 5: a parent that is being deleted takes its own origin, and what is reached through it, with it. */
  async lookAgain(origin: Origin): Promise<void> {
    const { store, runtime, name, request } = this.options;
    const parent = await this.readParent().catch((error: unknown) => {
      if (isDbError(error, "notFound")) return null;
      throw error;
    });
    const there = await store.get(originKey(origin.branch), request);
    if (parent !== null && there !== null) return;
    const register = branchNameRegister(store, name, runtime);
    const state = await register.read(request);
    if (state?.body.branch === origin.branch && !state.body.tombstone) {
      await register.swap(state, { ...state.body, tombstone: true }, request);
    }
    throw new DbError("notFound", `the branch that ${name} was being cut from was deleted meanwhile`);
  }

  /** Confirmed, or it stays: it keeps what it names, and nothing else. */
  async deleteOrigin(origin: Origin): Promise<void> {
    await this.options.store.delete(originKey(origin.branch), this.options.request);
  }

  private async readParent(): Promise<BranchReferences> {
    const { store, request, parent } = this.options;
    const known = new KnownCheckpoints();
    const graceFromMs = Number.POSITIVE_INFINITY;
    const references = await readBranchReferences(parent, { store, request, graceFromMs, known });
    if (references.tombstone) throw new DbError("notFound", `branch ${parent} is deleted`);
    return references;
  }

  /** Null where the checkpoint is gone already. */
  private async needsOf({ checkpoint, runs }: Origin): Promise<Needs | null> {
    const objects = new Set<ObjectKey>();
    if (checkpoint === null) return { objects, runs };
    const key = checkpointKey(checkpoint.branch, checkpoint.nextSlot, checkpoint.n);
    const object = await this.options.store.get(key, this.options.request);
    if (object === null) return null;
    const { id, runs: tables } = decodeCheckpoint(key, object.body);
    if (id !== checkpoint.sha256)
      throw new DbError("corrupt", `object ${key}: has id ${id}, expected ${checkpoint.sha256}`);
    objects.add(key);
    for (const run of tables) for (const table of run) objects.add(table.key);
    return { objects, runs };
  }

  private async listAll(prefix: string, within?: { from: ObjectKey; count: number }): Promise<Set<ObjectKey>> {
    const { store, request } = this.options;
    const all = new Set<ObjectKey>();
    let startAfter = within === undefined ? undefined : justBefore(within.from);
    for (;;) {
      const page = await store.list(prefix, { ...request, ...(startAfter && { startAfter }), limit: LIST_LIMIT_MAX });
      for (const { key } of page.objects) all.add(key);
      startAfter = page.objects.at(-1)?.key;
      if (!page.more || startAfter === undefined || (within !== undefined && all.size >= within.count)) return all;
    }
  }
}

export const cutBranch = (options: CutOptions): Promise<BranchId> => new BranchCut(options).run();

interface Needs {
  /** The checkpoint and its tables. */
  readonly objects: ReadonlySet<ObjectKey>;
  readonly runs: readonly OriginRun[];
}

/** The newest checkpoint, and nothing behind it: all that has been checkpointed. */
export async function cutAtNewestCheckpoint(parent: BranchReferences): Promise<CutPoint> {
  const { newest, origin } = parent;
  if (newest === null) {
    if (origin === null) throw new DbError("notFound", `branch ${parent.branch} has no origin`);
    return { checkpoint: origin.checkpoint, runs: origin.runs, position: { ...origin.position, nextSlot: 1 as Slot } };
  }
  const { position } = newest.point;
  return {
    checkpoint: { branch: newest.branch, nextSlot: position.nextSlot, n: newest.n, sha256: newest.id },
    runs: [],
    position: { ...position, nextSlot: 1 as Slot },
  };
}

/** The log is kept for the parent's own checkpoints, or as what its origin replays. */
function isKept({ branch, first, last }: OriginRun, parent: BranchReferences): boolean {
  if (branch === parent.branch && parent.logFrom !== null && first >= parent.logFrom) return true;
  return parent.origin?.runs.some((run) => run.branch === branch && first >= run.first && last <= run.last) ?? false;
}

function isInRuns(key: ObjectKey, runs: readonly OriginRun[]): boolean {
  if (runs.length === 0) return false;
  const name = parseKey(key);
  if (name?.kind !== "segment") return false;
  return runs.some(({ branch, first, last }) => branch === name.branch && name.slot >= first && name.slot <= last);
}

function branchOfTable(key: ObjectKey): BranchId[] {
  const name = parseKey(key);
  return name?.kind === "table" ? [name.branch] : [];
}

/** The segment before; where there is none, nothing to begin behind. */
function justBefore(key: ObjectKey): ObjectKey | undefined {
  const name = parseKey(key);
  assert(name?.kind === "segment", `${key} is a segment's`);
  return name.slot === 1 ? undefined : segmentKey(name.branch, (name.slot - 1) as Slot);
}
