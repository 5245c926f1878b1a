import { isDbError } from "../../base/errors.ts";
import type { BranchId, ObjectKey } from "../../base/ids.ts";
import { listBranches } from "../../collector/references.ts";
import { endUnled, leaderRegister } from "../../leadership/acquire.ts";
import { branchNameRegister, isFree, NAMES_MAX, newBranchName } from "../../leadership/branch-name.ts";
import { type Origin, readOrigin } from "../../leadership/origin.ts";
import { originKey } from "../../objects/keys.ts";
import { type Bucket, readNames } from "../branches/branch-list.ts";

export interface LeftOriginsOptions {
  /** Origins that are older, by the store's clock, ms since 1970: makes conflicts rare and carries no safety. */
  readonly beforeMs: number;
  readonly main: BranchId;
  readonly signal: AbortSignal | undefined;
}

/**
 * Deletes the origins that nobody needs: of branches that were being cut or imported by who has crashed, which have no
 * name and keep what they name, though nobody has led them; and of branches that were ended for ever, made anew by a
 * request that came late. Resolves with the ids.
 *
 * Who is only slow may be about to give the name still (cut-branch.ts, step 4):
 *
 *   the origin says which name ─► that name is written anew ─► nobody has led the branch ─► the origin goes
 *
 * 1. The name is given by a swap on a version that was read before the origin was made, or where there was none. Once
 *    it has been written anew behind the origin, that swap fails, however late it comes.
 * 2. It may have been given before, and to another branch since: then this one was promoted, or ended for ever, and its
 *    leader record tells that.
 * 3. A branch that was being imported has tables of its own: its leader record says first that it has ended, so that
 *    they go, too.
 * 4. An origin of an earlier version does not say its name. Who made that looks, having given the name, whether the
 *    origin is there still.
 */
export async function removeLeftOrigins(
  bucket: Bucket,
  { beforeMs, main, signal }: LeftOriginsOptions,
): Promise<BranchId[]> {
  const { store, request } = bucket;
  const removed: BranchId[] = [];
  const branches = await listBranches(store, request);
  const kept = await keptIn(bucket);
  if (kept === null) return removed;
  for (const branch of branches) {
    if (branch === main || kept.has(branch)) continue;
    if (signal?.aborted) return removed;
    const key = originKey(branch);
    const modifiedMs = await modifiedMsOf(bucket, key);
    if (modifiedMs === null || modifiedMs > beforeMs) continue;
    if (!(await isNeedless(bucket, branch, main))) continue;
    await store.delete(key, request);
    removed.push(branch);
  }
  return removed;
}

async function isNeedless(bucket: Bucket, branch: BranchId, main: BranchId): Promise<boolean> {
  const fate = await fateOf(bucket, branch);
  if (fate !== "never led") return fate === "ended";
  const origin = await originOrNull(bucket, branch);
  if (origin === null || !(await withdrawName(bucket, origin, main))) return false;
  // One that was led has a leader record for ever; what becomes of it is told by its names.
  if ((await fateOf(bucket, branch)) !== "never led") return false;
  return origin.parent !== null || (await endUnled(bucket, branch));
}

/** As the leader record tells; an end is for ever. */
export async function fateOf(
  { store, runtime, request }: Bucket,
  branch: BranchId,
): Promise<"never led" | "led" | "ended"> {
  const state = await leaderRegister(store, branch, runtime).read(request);
  if (state === null) return "never led";
  return state.body.tombstone ? "ended" : "led";
}

/** Rule 1. True: the branch neither has the name nor gets it any more. */
async function withdrawName(bucket: Bucket, { branch, name }: Origin, main: BranchId): Promise<boolean> {
  if (name === undefined) return (await keptIn(bucket))?.has(branch) === false;
  const { store, runtime, request } = bucket;
  const register = branchNameRegister(store, name, runtime);
  const state = await register.read(request);
  if (state?.body.branch === branch) return false;
  // It is given where there is none, or on one that is free: what points somewhere now is neither.
  if (!isFree(state?.body ?? null)) return true;
  // A name must point somewhere, and is free all the same.
  const body = state?.body ?? { ...newBranchName(main), tombstone: true };
  return (await register.swap(state, body, request)).kind === "swapped";
}

/** Those that a name points to, or has pointed to and could again. Null: there are more names than are read. */
async function keptIn(bucket: Bucket): Promise<ReadonlySet<BranchId> | null> {
  const names = await readNames(bucket);
  if (names.length >= NAMES_MAX) return null;
  const kept = names.filter(({ body }) => !isFree(body));
  return new Set(kept.map(({ body }) => body.branch));
}

/** Null: gone meanwhile. */
async function originOrNull({ store, request }: Bucket, branch: BranchId): Promise<Origin | null> {
  try {
    return await readOrigin(store, branch, request);
  } catch (error) {
    if (isDbError(error, "notFound")) return null;
    throw error;
  }
}

async function modifiedMsOf({ store, request }: Bucket, key: ObjectKey): Promise<number | null> {
  const { objects } = await store.list(key, { ...request, limit: 1 });
  return objects[0]?.key === key ? objects[0].modifiedMs : null;
}
