import type { BranchId, ObjectKey } from "../../base/ids.ts";
import { listBranches } from "../../collector/references.ts";
import { NAMES_MAX } from "../../leadership/branch-name.ts";
import { leaderKey, originKey } from "../../objects/keys.ts";
import { type Bucket, readNames } from "../branches/branch-list.ts";

/** Whoever cuts a branch takes seconds; one that has crashed never goes on. */
const CUT_MS = 3_600_000;

/**
 * Deletes the origins of branches that were being cut by who has crashed: they have no name, nobody has led them, and
 * they keep what they name. Resolves with the ids.
 *
 * Who was only slow, and goes on after that, gives its name, then looks for its origin, misses it, and takes the name
 * back (cut-branch.ts, step 5): so it takes no clock to be safe, only to be rare. `nowMs` is by the store's clock.
 */
export async function removeLeftOrigins(
  bucket: Bucket,
  { nowMs, main, signal }: { nowMs: number; main: BranchId; signal: AbortSignal | undefined },
): Promise<BranchId[]> {
  const { store, request } = bucket;
  const removed: BranchId[] = [];
  const branches = await listBranches(store, request);
  const isNamed = await namedOf(bucket);
  if (isNamed === null) return removed;
  const nameless = branches.filter((branch) => branch !== main && !isNamed(branch));
  for (const branch of nameless) {
    if (signal?.aborted) return removed;
    const key = originKey(branch);
    const modifiedMs = await modifiedMsOf(bucket, key);
    if (modifiedMs === null || modifiedMs > nowMs - CUT_MS) continue;
    // One that was led has a leader record for ever; what becomes of it is told by its names.
    if ((await store.get(leaderKey(branch), request)) !== null) continue;
    // Its name may have come since the names were read.
    if ((await namedOf(bucket))?.(branch) !== false) continue;
    await store.delete(key, request);
    removed.push(branch);
  }
  return removed;
}

/** By any name, also one that was deleted. Null: there are more names than are read. */
async function namedOf(bucket: Bucket): Promise<((branch: BranchId) => boolean) | null> {
  const names = await readNames(bucket);
  if (names.length >= NAMES_MAX) return null;
  const named = new Set(names.map(({ body }) => body.branch));
  return (branch) => named.has(branch);
}

async function modifiedMsOf({ store, request }: Bucket, key: ObjectKey): Promise<number | null> {
  const { objects } = await store.list(key, { ...request, limit: 1 });
  return objects[0]?.key === key ? objects[0].modifiedMs : null;
}
