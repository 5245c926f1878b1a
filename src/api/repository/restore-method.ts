import { DbError } from "../../base/errors.ts";
import type { Branches } from "../../engine/branches/branches.ts";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import { branchMessage, momentOf } from "./branch-methods.ts";
import { type UnaryMethod, unaryMethod } from "./method.ts";

export const restoreMethods = (branches: () => Pick<Branches, "restore">): UnaryMethod[] => [
  unaryMethod({
    method: Repository.method.branchRestore,
    names: ({ name }) => [name],
    run: async ({ name, moment, keepAs }) => {
      if (moment?.at.case === undefined) throw new DbError("invalidArgument", "moment: expected one to go back to");
      const asked = { name, moment: momentOf(moment), keepAs: keepAs === "" ? null : keepAs };
      const { restored, replaced, revision } = await branches().restore(asked);
      return {
        restored: branchMessage(restored),
        ...(replaced !== null && { replaced: branchMessage(replaced) }),
        revision: BigInt(revision),
      };
    },
  }),
];
