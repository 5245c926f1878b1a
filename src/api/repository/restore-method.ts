import { DbError } from "../../base/errors.ts";
import type { Branches } from "../../engine/branches/branches.ts";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import { branchMessage, momentOf } from "./branch-methods.ts";
import { type UnaryMethod, unaryMethod } from "./method.ts";

/** Of the branch that is made on the way. A name is 63 characters at most. */
const SUFFIX = "-restore";
const NAME_MAX = 63;

/**
 * A branch put back to a moment, under its name: a branch is cut there, and promoted over it. So its revision goes on
 * behind the old one's, which is compacted, and whoever watches begins anew; what was there gets another name.
 *
 * Dying between the two leaves the branch NAME-restore, which `t4 branch promote` puts in its place; or delete it.
 */
export const restoreMethods = (branches: () => Pick<Branches, "create" | "promote">): UnaryMethod[] => [
  unaryMethod({
    method: Repository.method.branchRestore,
    names: ({ name }) => [name],
    run: async ({ name, moment, keepAs }) => {
      if (moment?.at.case === undefined) throw new DbError("invalidArgument", "moment: expected one to go back to");
      const between = `${name.slice(0, NAME_MAX - SUFFIX.length)}${SUFFIX}`;
      const plain = { expiresInMs: null, stripAuth: false, stripLeases: false };
      await branches().create({ name: between, from: name, moment: momentOf(moment), ...plain });
      const asked = { name: between, over: name, keepAs: keepAs === "" ? null : keepAs, revoke: false };
      const { promoted, replaced, revision } = await branches().promote(asked);
      return {
        restored: branchMessage(promoted),
        ...(replaced !== null && { replaced: branchMessage(replaced) }),
        revision: BigInt(revision),
      };
    },
  }),
];
