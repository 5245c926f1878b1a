import type { BranchInfo } from "../../engine/branches/branches.ts";
import type { Branch } from "../../gen/t4/v1/repository_pb.ts";

/** A branch as commands print it, whichever way it came. Times are ms since 1970. */
export interface BranchView {
  readonly name: string;
  readonly id: string;
  readonly parentId: string | null;
  readonly parentName: string | null;
  readonly forkRevision: number;
  readonly forkMs: number;
  readonly protected: boolean;
  readonly expiresMs: number | null;
  readonly deleted: boolean;
  readonly purgeMs: number | null;
  readonly revision: number;
  readonly open: boolean;
  readonly leader: string | null;
  readonly frozen: boolean;
  readonly writeProtected: boolean | null;
}

export const viewOfInfo = (branch: BranchInfo): BranchView => branch;

export const viewOfMessage = (branch: Branch): BranchView => ({
  name: branch.name,
  id: branch.id,
  parentId: orNull(branch.parentId),
  parentName: orNull(branch.parentName),
  forkRevision: Number(branch.forkRevision),
  forkMs: Number(branch.forkTimeMs),
  protected: branch.protected,
  expiresMs: branch.expiresMs === 0n ? null : Number(branch.expiresMs),
  deleted: branch.deleted,
  purgeMs: branch.purgeMs === 0n ? null : Number(branch.purgeMs),
  revision: Number(branch.revision),
  open: branch.open,
  leader: orNull(branch.leader),
  frozen: branch.frozen,
  writeProtected: branch.writeProtected ?? null,
});

const orNull = (text: string): string | null => (text === "" ? null : text);

export const timeText = (ms: number): string => new Date(ms).toISOString().replace(".000Z", "Z");

/** One that is not open where it was asked for is told as of its newest checkpoint, and may be further. */
export const revisionText = ({ revision, open }: BranchView): string => (open ? `${revision}` : `≥${revision}`);

/** What is special about a branch, in words; empty where nothing is. */
export function notesOf(branch: BranchView): string[] {
  return [
    branch.deleted && branch.purgeMs !== null ? `deleted, its data goes at ${timeText(branch.purgeMs)}` : "",
    branch.protected ? "protected" : "",
    branch.writeProtected === true ? "takes no writes" : "",
    branch.frozen ? "frozen" : "",
    branch.expiresMs !== null && !branch.deleted ? `expires ${timeText(branch.expiresMs)}` : "",
  ].filter((note) => note !== "");
}
