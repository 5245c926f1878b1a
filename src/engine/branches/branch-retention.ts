import { DbError, messageOf } from "../../base/errors.ts";
import type { Checkpoint } from "../../storage/checkpoint.ts";
import { type RetentionPolicy, retain } from "../../storage/checkpoint-retention.ts";
import {
  ageText,
  parseAge,
  parseTiers,
  retentionPolicy,
  tiersText,
  wrongRelation,
} from "../../storage/retention-text.ts";
import type { Tree } from "../../storage/storage.ts";
import { readSetting } from "../meta.ts";
import type { RetentionText } from "./history.ts";

/**
 * The retention of one branch: a logged setting of it, so that whoever leads it has it, and a branch that is cut off it
 * begins with it. Its text is `LOG CHECKPOINTS`, as --retain-log and --retain-checkpoints read them; empty: none of its
 * own.
 */
export const RETENTION_SETTING = "retention";

export const settingOf = (retention: RetentionText | null): string =>
  retention === null ? "" : `${retention.log} ${retention.checkpoints}`;

export const textOf = ({ logMs, tiers }: RetentionPolicy): RetentionText => ({
  log: ageText(logMs),
  checkpoints: tiersText(tiers),
});

/** Throws `invalidArgument` saying what is expected. */
export function policyOf({ log, checkpoints }: RetentionText): RetentionPolicy {
  try {
    const policy = retentionPolicy(parseAge(log), parseTiers(checkpoints));
    const wrong = wrongRelation(policy);
    if (wrong !== null) throw new Error(wrong);
    return policy;
  } catch (error) {
    throw new DbError("invalidArgument", `retention: ${messageOf(error)}`, { cause: error });
  }
}

/** Null: the branch has none of its own. */
export async function readRetention(tree: Tree): Promise<RetentionPolicy | null> {
  const text = (await readSetting(tree, RETENTION_SETTING)) ?? "";
  if (text === "") return null;
  const [log = "", checkpoints = "", ...more] = text.split(" ");
  if (more.length > 0) throw new DbError("corrupt", `the stored setting retention is "${text}"`);
  return policyOf({ log, checkpoints });
}

/** What the newest checkpoint would retain if it were made now, by this policy. */
export function retainedBy(
  policy: RetentionPolicy,
  newest: Checkpoint,
  nowMs: number,
): Pick<Checkpoint, "retained" | "firstLogSlot"> {
  const { point, id, n, branch, range, firstLogSlot } = newest;
  const { nextSlot, revision } = point.position;
  const own = { id, branch, nextSlot, n, revision, wallMs: point.wallMs, proof: { leaf: range.leaves, path: [] } };
  return retain(policy, [...newest.retained, own], { nowMs, firstLogSlot });
}
