import { DbError, isDbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { readOrigin } from "../../leadership/origin.ts";
import type { ObjectStore, RequestOptions } from "../../objects/objects.ts";

/** How far two states have one history: all that `branch` had up to `revision`, both included. */
export interface ForkPoint {
  readonly branch: BranchId;
  readonly revision: number;
}

interface Ancestor {
  readonly branch: BranchId;
  /** What the state has of this branch's history. */
  readonly upTo: number;
}

const ANCESTORS_MAX = 10_000;

/**
 * Where the histories of two states part; null where that cannot be told any more (a branch between them is deleted),
 * or they have nothing in common. Costs a request for each ancestor.
 */
export async function forkPoint(
  bucket: { readonly store: ObjectStore; readonly request: RequestOptions },
  a: { readonly branch: BranchId; readonly revision: number },
  b: { readonly branch: BranchId; readonly revision: number },
): Promise<ForkPoint | null> {
  if (a.branch === b.branch) return { branch: a.branch, revision: Math.min(a.revision, b.revision) };
  const [ofA, ofB] = await Promise.all([ancestry(bucket, a), ancestry(bucket, b)]);
  for (const { branch, upTo } of ofA) {
    const other = ofB.find((each) => each.branch === branch);
    if (other !== undefined) return { branch, revision: Math.min(upTo, other.upTo) };
  }
  return null;
}

/** From the state's own branch up; ends at a root, or where an origin is gone. */
async function ancestry(
  { store, request }: { readonly store: ObjectStore; readonly request: RequestOptions },
  state: { readonly branch: BranchId; readonly revision: number },
): Promise<Ancestor[]> {
  const line: Ancestor[] = [{ branch: state.branch, upTo: state.revision }];
  for (;;) {
    const last = line.at(-1)!;
    const origin = await readOrigin(store, last.branch, request).catch((error: unknown) => {
      if (isDbError(error, "notFound")) return null;
      throw error;
    });
    if (origin?.parent == null) return line;
    if (line.length >= ANCESTORS_MAX) {
      throw new DbError("corrupt", `the ancestry of branch ${state.branch} has no end`);
    }
    line.push({ branch: origin.parent, upTo: Math.min(last.upTo, origin.position.revision) });
  }
}
