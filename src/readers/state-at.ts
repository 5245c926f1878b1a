import { DbError } from "../base/errors.ts";
import { type Moment, routeTo } from "../engine/branches/moment.ts";
import { openPast, type PastState } from "../engine/branches/past-state.ts";
import type { Checkpoint } from "../storage/checkpoint.ts";
import { newestCheckpoint, readCheckpoint } from "../storage/checkpoint-store.ts";
import type { OfflineBranch, OfflineRepository } from "./open-offline.ts";

/** A branch as it was at a moment. Throws `notRetained` for one that is not retained, naming the nearest ones. */
export const stateAt = (repository: OfflineRepository, branch: OfflineBranch, moment: Moment): Promise<PastState> =>
  openPast(repository, branch.id, moment);

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
