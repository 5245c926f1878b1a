import type { Origin } from "../../leadership/origin.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { BranchInfo, CreateBranch } from "./branches.ts";

/** Null: never. */
export const expiryOf = ({ expiresInMs }: Pick<CreateBranch, "expiresInMs">, clock: Clock): number | null =>
  expiresInMs === null ? null : clock.wallMs() + expiresInMs;

/** A branch that has just been cut, as it is told of: without asking the store again. */
export function created(
  asked: CreateBranch,
  { branch, parent, position }: Origin,
  expiresMs: number | null,
): { branch: BranchInfo; revision: number } {
  return {
    branch: {
      name: asked.name,
      id: branch,
      parentId: parent,
      parentName: asked.from,
      forkRevision: position.revision,
      forkMs: position.wallMs,
      protected: false,
      expiresMs,
      deleted: false,
      purgeMs: null,
      revision: position.revision,
      open: false,
      leader: null,
      writeProtected: null,
      frozen: false,
    },
    revision: position.revision,
  };
}
