import { DbError } from "../../base/errors.ts";
import { isBranchName } from "../../objects/keys.ts";

/** Throws `invalidArgument` for what cannot be a branch's name. */
export function checkBranchName(name: string): void {
  if (isBranchName(name)) return;
  const expected = "1 to 63 lower-case letters, digits and inner hyphens (a DNS label)";
  throw new DbError("invalidArgument", `branch ${JSON.stringify(name.slice(0, 80))}: a name is ${expected}`);
}
