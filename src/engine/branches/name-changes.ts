import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import { alive, type BranchName, branchNameRegister } from "../../leadership/branch-name.ts";
import { MAIN } from "../../leadership/repository.ts";
import type { Bucket } from "./branch-list.ts";
import { checkBranchName } from "./name-checks.ts";

/** Others that changed the same name meanwhile. */
const CONFLICTS_MAX = 20;

/**
 * Changes what a name says, by a compare-and-swap on what was looked at: `change` gives what it is to say, or null
 * where nothing is to be changed, and throws where that must not be. Resolves with what it then says.
 */
export async function changeName(
  { store, runtime, request }: Bucket,
  name: string,
  change: (before: BranchName | null) => BranchName | null,
): Promise<BranchName> {
  checkBranchName(name);
  const register = branchNameRegister(store, name, runtime);
  let state = await register.read(request);
  for (let conflicts = 0; conflicts < CONFLICTS_MAX; conflicts++) {
    const body = change(state?.body ?? null);
    if (body === null) {
      assert(state !== null, "a name that nothing is said of is not left as it is");
      return state.body;
    }
    const outcome = await register.swap(state, body, request);
    if (outcome.kind === "swapped") return body;
    if (outcome.kind === "unknown") {
      throw new DbError(
        "storeUnavailable",
        `whether branch ${name} was changed is not known: ${outcome.cause.message}`,
      );
    }
    state = outcome.found;
  }
  throw new DbError("storeUnavailable", `branch ${name}: others changed its name ${CONFLICTS_MAX} times meanwhile`);
}

/** What a deletion makes of a name: the data is there until `purgeMs`. Throws `branchRefuses`. */
export function deleted(name: string, body: BranchName | null, purgeMs: number): BranchName {
  const { replacedBy, ...rest } = alive(name, body);
  if (name === MAIN) {
    throw new DbError("branchRefuses", `branch ${MAIN} is not deleted: promote another one over it, then delete that`);
  }
  if (rest.protected) throw new DbError("branchRefuses", `branch ${name} is protected: t4 branch unprotect ${name}`);
  return { ...rest, ...(replacedBy && { replacedBy }), tombstone: true, purgeMs };
}

/** The opposite. */
export function undeleted(name: string, body: BranchName | null): BranchName {
  if (body === null) throw new DbError("notFound", `there was never a branch named ${name}`);
  if (!body.tombstone) throw new DbError("invalidArgument", `branch ${name} is not deleted`);
  const { purgeMs, ...rest } = body;
  if (purgeMs === undefined || purgeMs === PURGING) throw new DbError("notFound", `branch ${name}: its data is gone`);
  // What has let it expire is not to do so again.
  return { ...rest, tombstone: false, expiresMs: null };
}

/** Instead of a time: nothing brings it back any more. */
export const PURGING = 0;
