import { DbError, messageOf } from "../../base/errors.ts";
import { type BranchId, branchId, type Revision } from "../../base/ids.ts";
import { Fields, patterns } from "../../leadership/fields.ts";
import { isBranchName } from "../../objects/keys.ts";
import { spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { Identity } from "../engine.ts";
import { encodeCompactRevision, metaKeys, readSetting } from "../meta.ts";
import { recordKinds } from "../record.ts";
import { putSetting } from "../write-setting.ts";
import { liftWriteProtection } from "./write-protection.ts";

/**
 * What promotions leave in the logs of the two branches (docs/branches.md): settings, so that whoever leads either of
 * them later knows. Each names the branch that it is of, by its cluster id: in one that is cut off that it means
 * nothing.
 */

interface Of {
  /** Left out by earlier versions: of whatever branch has it. */
  readonly of?: string | undefined;
}

/** In the old one: it takes no writes, and refuses calls by the name that is, or was, taken from it. */
export interface Replaced extends Of {
  /** The branch that takes its place. */
  readonly by: BranchId;
  readonly name: string;
  /** The name that it gets. */
  readonly keepAs: string;
}

export function isReplaced({ branchName }: Identity, { by, name, keepAs }: Replaced): DbError {
  const how = `was replaced by branch ${by} as ${name}, and takes no writes; to go back, promote ${keepAs}`;
  return new DbError("branchRefuses", `branch ${branchName} ${how}`);
}

/** In the new one: it has gone on from above the old one's last revision, and is compacted there. */
export interface Raised extends Of {
  readonly over: BranchId;
  /** The old one's last. */
  readonly above: number;
}

const REPLACED = "replaced";
const RAISED = "raised";

export const ofBranch = ({ clusterId }: Identity): string => clusterId.toString(16);

/** Null where there is nothing, or it is of another branch, which this one was cut off. */
export async function readPromotions(
  tree: Tree,
  identity: Identity,
): Promise<{ replaced: Replaced | null; raised: Raised | null }> {
  const own = <T extends Of>(found: T | null): T | null =>
    found?.of === undefined || found.of === ofBranch(identity) ? found : null;
  return { replaced: own(await read(tree, REPLACED, replacedOf)), raised: own(await read(tree, RAISED, raisedOf)) };
}

function replacedOf(json: unknown): Replaced {
  const fields = new Fields(json, ["of", "by", "name", "keepAs"]);
  const name = fields.text("name", patterns.line);
  const keepAs = fields.text("keepAs", patterns.line);
  if (!isBranchName(name) || !isBranchName(keepAs)) throw new Error("a name is no branch's");
  return { ...ofIn(fields), by: branchId(fields.text("by", patterns.hex16)), name, keepAs };
}

function raisedOf(json: unknown): Raised {
  const fields = new Fields(json, ["of", "over", "above"]);
  return { ...ofIn(fields), over: branchId(fields.text("over", patterns.hex16)), above: fields.count("above") };
}

const ofIn = (fields: Fields): Of => (fields.has("of") ? { of: fields.text("of", patterns.line) } : {});

/** Empty where it was taken back. */
async function read<T>(tree: Tree, name: string, decode: (json: unknown) => T): Promise<T | null> {
  const text = await readSetting(tree, name);
  if (text === null || text === "") return null;
  try {
    return decode(JSON.parse(text));
  } catch (error) {
    throw new DbError("corrupt", `the setting ${name}: ${messageOf(error)}`, { cause: error });
  }
}

function write(draft: Draft, name: string, value: object | null): void {
  putSetting(draft, name, value === null ? "" : JSON.stringify(value));
}

/** Step 1, and its taking back (null). */
export function freeze(draft: Draft, replaced: Replaced | null): void {
  draft.kind = recordKinds.setting;
  write(draft, REPLACED, replaced);
}

/**
 * Step 3, in one record: the revision goes up to `above` + 2 at least, all before it is compacted, and what may have
 * frozen this branch once is lifted, so is its protection from writes. Watchers of the old branch were told at most
 * `above`, and ask for the next one.
 */
export function raise(draft: Draft, raised: Raised): { revision: Revision } {
  const revision = Math.max(raised.above + 2, draft.revision + 1) as Revision;
  bump(draft, revision);
  write(draft, RAISED, raised);
  write(draft, REPLACED, null);
  liftWriteProtection(draft);
  return { revision };
}

/** The branch goes on from `revision`, and is compacted there. */
export function bump(draft: Draft, revision: Revision): void {
  draft.kind = recordKinds.bump;
  const effect = draft.compactRevision === -1 ? 1 : 0;
  draft.bumpTo(revision);
  draft.entry(spaces.meta, metaKeys.compact, encodeCompactRevision(revision), effect);
}
