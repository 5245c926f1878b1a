import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { type BranchId, branchId, type Epoch, type ObjectKey, type Slot } from "../../base/ids.ts";
import { beginsAtOrigin } from "../../collector/branch-references.ts";
import { readOpenCollections } from "../../collector/ledger.ts";
import { leaderRegister } from "../../leadership/acquire.ts";
import { type BranchName, branchNameRegister, newBranchName } from "../../leadership/branch-name.ts";
import {
  encodeOrigin,
  type Origin,
  type OriginCheckpoint,
  type OriginRun,
  readOrigin,
} from "../../leadership/origin.ts";
import { readDecoded } from "../../objects/checked-read.ts";
import { createOnce } from "../../objects/conditional.ts";
import { checkpointKey, originKey, parseKey, prefixes, segmentKey } from "../../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../../objects/objects.ts";
import type { RegisterState, SwapOutcome } from "../../objects/register.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import { decodeCheckpoint } from "../../storage/checkpoint-codec.ts";
import { newestCheckpoint } from "../../storage/checkpoint-store.ts";
import { stillKept } from "./name-checks.ts";

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
  readonly point: (parent: CutParent) => Promise<CutPoint>;
  /** What is left out of the state there. */
  readonly strip?: { readonly auth: boolean; readonly leases: boolean } | undefined;
  /** Wall time, ms since 1970, from which on the branch may be deleted; null or left out: never by itself. */
  readonly expiresMs?: number | null | undefined;
  /** Ends for ever what was deleted under that name and could come back; left out: then the name is refused. */
  readonly freeName?: (() => Promise<unknown>) | undefined;
  /** The parent as its leader has it in memory, where that is this process; left out: all is read from the store. */
  readonly leader?: CutLeader | undefined;
  readonly request: RequestOptions;
}

/** What the origin will say, but for the branch itself. */
export type CutPoint = Pick<Origin, "checkpoint" | "runs" | "position" | "strips">;

/** What is chosen of. */
export interface CutParent {
  readonly branch: BranchId;
  readonly newest: Checkpoint | null;
  /** One that its leader has sent and has no answer to: it may be the newest one already. */
  readonly unanswered?: Checkpoint | null;
  /** Null where the branch needs it no more. Costs a request: most cuts need not ask. */
  origin(): Promise<Origin | null>;
}

/** The leadership of a parent in this process. */
export interface CutLeader {
  readonly epoch: Epoch;
  /** As of now. Throws once it leads no more. */
  parent(): Promise<CutParent>;
}

/** Each means that a collection had taken, or was about to take, what was needed, or that the name was just free. */
const ATTEMPTS_MAX = 10;

/**
 * Cuts a branch off another one, while that is written and while collections run (DESIGN: deleting). Resolves with its
 * id.
 *
 *   origin ─► collections not done ─► parent anew, and all that is needed exists ─► name
 *
 * 1. From the origin on, every collection that begins to delete has met it. One that began before is open while it
 *    deletes, and names what it deletes; one that is done has deleted, which shows in what exists.
 * 2. Only what passed every check gets a name. Else the origin is deleted, by its creator, and an id is never used
 *    twice; a crash leaves an origin without a name, which keeps what it names until it is deleted.
 * 3. Whether all exists need not be looked up where the parent's newest checkpoint, read again, is of the epoch that
 *    its leader record then shows, or where its leader cuts: what that leadership lists had been listed, or was not yet
 *    written, whenever a collection read the references. A collection reads them twice, before it announces its names
 *    and after: one that has not met the origin the second time had read them before the parent was read again, when
 *    they had all that is needed; so it names nothing of it. What its leader knows may be behind the store by the one
 *    checkpoint that it has no answer to: that must list what is needed, too.
 * 4. The name is swapped on the version that was read before the origin was made, or created where none was read. Who
 *    takes the origin for one that a crash has left writes that name anew first (left-origins.ts): then nothing is
 *    swapped here, however late.
 * 5. Stalling between any two steps is safe: the origin is there all the while, or the name is never given. That the
 *    parent is deleted behind the checks takes nothing from the branch: the origin names all that it needs itself.
 */
export class BranchCut {
  private readonly options: CutOptions;
  /** Most names are new: what there is of one is found when it is given. */
  private nameBefore: RegisterState<BranchName> | null = null;
  private newest: Checkpoint | null = null;
  private origin: Origin | null = null;
  /** Rule 3 holds of the parent as it was read last. */
  private settled = false;

  constructor(options: CutOptions) {
    this.options = options;
  }

  async run(): Promise<BranchId> {
    return (await this.cut()).branch;
  }

  /** The same; resolves with all that the origin says. */
  async cut(): Promise<Origin> {
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const origin = await this.attempt();
      if (origin !== null) return origin;
    }
    throw new DbError(
      "storeUnavailable",
      `branch ${this.options.name}: what it needs was collected, or its name changed, ${ATTEMPTS_MAX} times meanwhile`,
    );
  }

  private async attempt(): Promise<Origin | null> {
    const { parent, runtime, point, strip, name } = this.options;
    const branch = branchId(runtime.random.bytes(16).toString("hex"));
    const found = await point(await this.readParent());
    const own = strip?.auth || strip?.leases ? [{ by: branch, auth: strip.auth, leases: strip.leases }] : [];
    const strips = [...(found.strips ?? []), ...own];
    const { checkpoint, runs, position } = found;
    const origin: Origin = { branch, parent, name, checkpoint, runs, position, ...(strips.length > 0 && { strips }) };
    await this.createOrigin(origin);
    let passed = false;
    try {
      passed = await this.holds(origin);
    } finally {
      // Also when a check has failed for want of an answer: nothing was named.
      if (!passed) await this.deleteOrigin(origin);
    }
    return passed && (await this.createName(origin)) ? origin : null;
  }

  /** Step 1. */
  async createOrigin(origin: Origin): Promise<void> {
    const { store, runtime, request } = this.options;
    const outcome = await createOnce(store, originKey(origin.branch), encodeOrigin(origin), { ...request, runtime });
    assert(outcome.kind === "created", "an id of 16 random bytes is nobody else's");
  }

  private async holds(origin: Origin): Promise<boolean> {
    const needs = await this.needsOf(origin);
    if (needs === null || (await this.isCollected(needs))) return false;
    return (await this.isListed(origin)) && (this.settled || (await this.exists(origin, needs)));
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
    const { checkpoint, runs } = origin;
    const parent = await this.readParentAnew();
    const { unanswered } = parent;
    if (unanswered && !keeps({ ...parent, newest: unanswered }, origin)) this.settled = false;
    if (keeps(parent, origin)) return true;
    const isOwn = checkpoint === null || lists(parent, checkpoint);
    // What the parent itself begins with.
    const start = await parent.origin();
    if (start === null) return false;
    const isInherited = start.checkpoint !== null && !isOwn && sameCheckpoint(start.checkpoint, checkpoint);
    const isReplayed = (run: OriginRun): boolean => start.runs.some((each) => isWithin(run, each));
    return (isOwn || isInherited) && runs.every((run) => isKept(run, parent) || isReplayed(run));
  }

  /** Step 3, its second half: all that is needed, of whatever branch, exists. */
  async exists(_origin: Origin, needs: Needs): Promise<boolean> {
    for (const branch of new Set([...needs.objects].flatMap(branchOfTable))) {
      const there = await this.listAll(prefixes.tablesOf(branch));
      for (const key of needs.objects) if (branchOfTable(key)[0] === branch && !there.has(key)) return false;
    }
    const newest = this.newest && keyOfNewest(this.newest);
    for (const key of needs.objects) {
      // The parent's newest one was listed as that just now.
      if (parseKey(key)?.kind !== "checkpoint" || key === newest) continue;
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

  /** Step 4. False: what the name said was not what was read before the origin was made. */
  async createName(origin: Origin): Promise<boolean> {
    const { name } = this.options;
    let outcome: SwapOutcome<BranchName>;
    try {
      outcome = await this.swapName(origin);
    } catch (error) {
      // Nothing was written, and nothing will be.
      await this.deleteOrigin(origin);
      throw error;
    }
    if (outcome.kind === "swapped") return true;
    // The name may come to be: its origin must be there then.
    if (outcome.kind === "unknown") {
      throw new DbError("storeUnavailable", `creating branch ${name}: ${outcome.cause.message}`);
    }
    await this.deleteOrigin(origin);
    this.nameBefore = await this.freed(outcome.found);
    return false;
  }

  private swapName(origin: Origin): Promise<SwapOutcome<BranchName>> {
    const { store, runtime, name, expiresMs, request } = this.options;
    const body = newBranchName(origin.branch, expiresMs ?? null);
    return branchNameRegister(store, name, runtime).swap(this.nameBefore, body, request);
  }

  /** What a name without a branch says; one of a branch that could come back once that is ended for ever. */
  private async freed(found: RegisterState<BranchName> | null): Promise<RegisterState<BranchName> | null> {
    const { name, store, runtime, request, freeName } = this.options;
    let now = found;
    if (now?.body.tombstone && now.body.purgeMs !== undefined) {
      if (freeName === undefined) throw stillKept(name);
      await freeName();
      now = await branchNameRegister(store, name, runtime).read(request);
    }
    if (now === null || now.body.tombstone) return now;
    throw new DbError("invalidArgument", `there is a branch named ${name} already`);
  }

  /** Confirmed, or it stays: it keeps what it names, and nothing else. */
  async deleteOrigin(origin: Origin): Promise<void> {
    await this.options.store.delete(originKey(origin.branch), this.options.request);
  }

  private async readParent(): Promise<CutParent> {
    const { store, request, parent: branch, leader } = this.options;
    if (leader !== undefined) return leader.parent();
    this.newest = await newestCheckpoint(store, branch, request, this.newest);
    return { branch, newest: this.newest, origin: () => this.originOf(this.newest) };
  }

  /** Behind the origin, in this order: rule 3 is about a leader record that was read after the checkpoint. */
  private async readParentAnew(): Promise<CutParent> {
    if (this.options.leader !== undefined) {
      await this.readLeader();
      this.settled = true;
      return this.readParent();
    }
    const parent = await this.readParent();
    const epoch = await this.readLeader();
    this.settled = parent.newest === null || parent.newest.epoch === epoch;
    return parent;
  }

  private async originOf(newest: Checkpoint | null): Promise<Origin | null> {
    const { store, parent, request } = this.options;
    // It never changes, and is there as long as the parent is not deleted.
    this.origin ??= await readOrigin(store, parent, request);
    return newest === null || beginsAtOrigin(newest, this.origin) ? this.origin : null;
  }

  /**
   * The parent's epoch; null: never led. Throws where it is deleted, or was to be led by this process and is not.
   */
  private async readLeader(): Promise<Epoch | null> {
    const { store, runtime, request, parent, leader } = this.options;
    const state = await leaderRegister(store, parent, runtime).read(request);
    if (state?.body.tombstone) throw new DbError("notFound", `branch ${parent} is deleted`);
    // A record with the same epoch is the same leadership.
    if (leader !== undefined && (state === null || state.body.epoch !== leader.epoch || state.body.released)) {
      throw new DbError("leadershipLost", `branch ${parent} has another leader since`);
    }
    return state?.body.epoch ?? null;
  }

  /** Null where the checkpoint is gone already. */
  private async needsOf({ checkpoint, runs }: Origin): Promise<Needs | null> {
    const objects = new Set<ObjectKey>();
    if (checkpoint === null) return { objects, runs };
    const key = checkpointKey(checkpoint.branch, checkpoint.nextSlot, checkpoint.n);
    const read = await this.readNamed(key, checkpoint);
    if (read === null) return null;
    const { id, runs: tables } = read;
    if (id !== checkpoint.sha256) {
      throw new DbError("corrupt", `object ${key}: has id ${id}, expected ${checkpoint.sha256}`);
    }
    objects.add(key);
    for (const run of tables) for (const table of run) objects.add(table.key);
    return { objects, runs };
  }

  private async readNamed(key: ObjectKey, { sha256 }: OriginCheckpoint): Promise<Checkpoint | null> {
    const { store, request, leader } = this.options;
    const newest = leader === undefined ? this.newest : (await leader.parent()).newest;
    // It is what its id says, wherever it was read.
    if (newest?.id === sha256) return newest;
    return readDecoded(store, key, request, ({ body }) => decodeCheckpoint(key, body));
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
export async function cutAtNewestCheckpoint(parent: CutParent): Promise<CutPoint> {
  const { newest } = parent;
  if (newest === null) {
    const origin = await parent.origin();
    if (origin === null) throw new DbError("notFound", `branch ${parent.branch} has no origin`);
    const { checkpoint, runs, strips, position } = origin;
    return { checkpoint, runs, position: { ...position, nextSlot: 1 as Slot }, ...(strips && { strips }) };
  }
  const { position } = newest.point;
  return {
    checkpoint: { branch: newest.branch, nextSlot: position.nextSlot, n: newest.n, sha256: newest.id },
    runs: [],
    position: { ...position, nextSlot: 1 as Slot },
  };
}

const keyOfNewest = ({ branch, point, n }: Checkpoint): ObjectKey => checkpointKey(branch, point.position.nextSlot, n);

const sameCheckpoint = (a: OriginCheckpoint, b: OriginCheckpoint): boolean =>
  checkpointKey(a.branch, a.nextSlot, a.n) === checkpointKey(b.branch, b.nextSlot, b.n);

/** It is the newest one, or retained by that. */
function lists({ newest }: CutParent, checkpoint: OriginCheckpoint): boolean {
  if (newest === null) return false;
  const { nextSlot } = newest.point.position;
  const named = { branch: newest.branch, nextSlot, n: newest.n, sha256: newest.id };
  if (sameCheckpoint(named, checkpoint)) return true;
  return newest.retained.some((each) => sameCheckpoint({ ...each, sha256: each.id }, checkpoint));
}

/** All of it is the parent's own, and is retained. */
const keeps = (parent: CutParent, { checkpoint, runs }: Origin): boolean =>
  (checkpoint === null || lists(parent, checkpoint)) && runs.every((run) => isKept(run, parent));

/** The log is kept for the parent's own checkpoints. */
const isKept = ({ branch, first }: OriginRun, { branch: parent, newest }: CutParent): boolean =>
  branch === parent && first >= (newest?.firstLogSlot ?? 1);

const isWithin = (run: OriginRun, whole: OriginRun): boolean =>
  run.branch === whole.branch && run.first >= whole.first && run.last <= whole.last;

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
