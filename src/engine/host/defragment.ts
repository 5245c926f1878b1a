import { DbError } from "../../base/errors.ts";

/** What it takes of the checkpointer and the tree. */
export interface DefragmentedBranch {
  /** Makes a checkpoint that covers all that has happened before the call. */
  checkpoint(): Promise<void>;
  /** Why the last one failed; null when it did not. */
  readonly trouble: string | null;
  mergeEverything(options: { signal: AbortSignal }): Promise<void>;
}

/**
 * Merges all that can be merged now, while the branch is read and written as ever. Returns when what compactions made
 * superfluous is in no table any more that the newest checkpoint lists; older checkpoints keep theirs as long as they
 * are retained. Given up (`signal`), what was merged until then stays merged.
 */
export async function defragment(branch: DefragmentedBranch, signal: AbortSignal): Promise<void> {
  // Merging drops by the compact revision of the newest checkpoint.
  await checkpoint(branch);
  await branch.mergeEverything({ signal });
  if (signal.aborted) throw new DbError("canceled");
  await checkpoint(branch);
}

async function checkpoint(branch: DefragmentedBranch): Promise<void> {
  await branch.checkpoint();
  if (branch.trouble !== null) throw new DbError("storeUnavailable", branch.trouble);
}
