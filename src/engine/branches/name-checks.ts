import { DbError } from "../../base/errors.ts";
import { isBranchName } from "../../objects/keys.ts";

/** Of a name that is to be given, and whose branch was deleted and could come back. */
export function stillKept(name: string): DbError {
  const how = `t4 branch undelete ${name}, or t4 gc once its time of grace is over`;
  return new DbError("branchRefuses", `a deleted branch has the name ${name} still: ${how}`);
}

/** Throws `invalidArgument` for what cannot be a branch's name. */
export function checkBranchName(name: string): void {
  if (isBranchName(name)) return;
  const expected = "1 to 63 lower-case letters, digits and inner hyphens (a DNS label)";
  throw new DbError("invalidArgument", `branch ${JSON.stringify(name.slice(0, 80))}: a name is ${expected}`);
}
