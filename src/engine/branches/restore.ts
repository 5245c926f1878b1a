import { isDbError } from "../../base/errors.ts";
import type { Branches, RestoreBranch, Restored } from "./branches.ts";

/** Of the branch that is made on the way. A name is 63 characters at most. */
const SUFFIX = "-restore";
const NAME_MAX = 63;

/**
 * Puts a branch back to a moment, under its name: a branch is cut there, and promoted over it. So its revision goes on
 * behind the old one's, which is compacted, and whoever watches begins anew; what was there gets another name.
 *
 * Dying between the two leaves the branch NAME-restore, which `t4 branch promote` puts in its place; or delete it.
 */
export async function restoreBranch(
  branches: Pick<Branches, "create" | "promote" | "delete">,
  { name, moment, keepAs }: RestoreBranch,
): Promise<Restored> {
  const between = `${name.slice(0, NAME_MAX - SUFFIX.length)}${SUFFIX}`;
  const plain = { expiresInMs: null, stripAuth: false, stripLeases: false };
  await branches.create({ name: between, from: name, moment, ...plain });
  const asked = { name: between, over: name, keepAs, revoke: false };
  const { promoted, replaced, revision } = await branches.promote(asked).catch(async (error: unknown) => {
    // One that is protected, say: nothing is left behind, and what has begun of the promotion is taken back.
    if (isDbError(error, "branchRefuses")) {
      await branches.promote({ ...asked, revoke: true }).catch(notBegun);
      await branches.delete(between);
    }
    throw error;
  });
  return { restored: promoted, replaced, revision };
}

function notBegun(error: unknown): void {
  if (!isDbError(error, "invalidArgument")) throw error;
}
