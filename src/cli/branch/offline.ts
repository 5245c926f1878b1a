import type { OfflineBranches } from "../../engine/branches/offline-branches.ts";
import type { OfflineContext } from "../offline.ts";

/** Loaded by those who work on the bucket itself. */
export async function branchesOf(context: OfflineContext): Promise<OfflineBranches> {
  const { OfflineBranches } = await import("../../engine/branches/offline-branches.ts");
  return new OfflineBranches(context);
}
