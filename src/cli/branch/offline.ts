import type { OfflineBranches } from "../../engine/host/offline-branches.ts";
import type { OfflineContext } from "../offline.ts";

/** As t4 run --collect-grace by default. */
const GRACE_MS = 3_600_000;

/** Loaded by those who work on the bucket itself. */
export async function branchesOf(
  { store, runtime, repository, request, dataDirectory }: OfflineContext,
  { graceMs = GRACE_MS }: { graceMs?: number } = {},
): Promise<OfflineBranches> {
  const { OfflineBranches } = await import("../../engine/host/offline-branches.ts");
  const say = (sentence: string): void => void process.stderr.write(`${sentence}\n`);
  const notices = { debug: () => {}, info: () => {}, warn: say, error: say };
  return new OfflineBranches({ store, runtime, repository, request, dataDirectory, graceMs, notices });
}
