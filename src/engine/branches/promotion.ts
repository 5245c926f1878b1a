import { DbError, messageOf } from "../../base/errors.ts";
import { type BranchId, branchId, type Revision } from "../../base/ids.ts";
import { Fields, patterns } from "../../leadership/fields.ts";
import { isBranchName } from "../../objects/keys.ts";
import { spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import { encodeCompactRevision, metaKeys, readSetting } from "../meta.ts";
import { recordKinds } from "../record.ts";

/**
 * What promotions leave in the logs of the two branches (docs/branches.md): settings, so that whoever leads either of
 * them later knows.
 */

/** In the old one: it takes no writes, and refuses calls by the name that is, or was, taken from it. */
export interface Replaced {
  /** The branch that takes its place. */
  readonly by: BranchId;
  readonly name: string;
  /** The name that it gets. */
  readonly keepAs: string;
}

/** In the new one: it has gone on from above the old one's last revision, and is compacted there. */
export interface Raised {
  readonly over: BranchId;
  /** The old one's last. */
  readonly above: number;
}

const REPLACED = "replaced";
const RAISED = "raised";

export const readReplaced = (tree: Tree): Promise<Replaced | null> => read(tree, REPLACED, replacedOf);
export const readRaised = (tree: Tree): Promise<Raised | null> => read(tree, RAISED, raisedOf);

function replacedOf(json: unknown): Replaced {
  const fields = new Fields(json, ["by", "name", "keepAs"]);
  const name = fields.text("name", patterns.line);
  const keepAs = fields.text("keepAs", patterns.line);
  if (!isBranchName(name) || !isBranchName(keepAs)) throw new Error("a name is no branch's");
  return { by: branchId(fields.text("by", patterns.hex16)), name, keepAs };
}

function raisedOf(json: unknown): Raised {
  const fields = new Fields(json, ["over", "above"]);
  return { over: branchId(fields.text("over", patterns.hex16)), above: fields.count("above") };
}

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
  const key = metaKeys.setting(name);
  const effect = draft.reads.getOther(spaces.meta, key) === null ? 1 : 0;
  draft.entry(spaces.meta, key, Buffer.from(value === null ? "" : JSON.stringify(value), "utf8"), effect);
}

/** Step 1, and its taking back (null). */
export function freeze(draft: Draft, replaced: Replaced | null): void {
  draft.kind = recordKinds.setting;
  write(draft, REPLACED, replaced);
}

/**
 * Step 3, in one record: the revision goes up to `above` + 2 at least, all before it is compacted, and what may have
 * frozen this branch once is lifted. Watchers of the old branch were told at most `above`, and ask for the next one.
 */
export function raise(draft: Draft, raised: Raised): { revision: Revision } {
  const revision = Math.max(raised.above + 2, draft.revision + 1) as Revision;
  bump(draft, revision);
  write(draft, RAISED, raised);
  write(draft, REPLACED, null);
  return { revision };
}

/** The branch goes on from `revision`, and is compacted there. */
export function bump(draft: Draft, revision: Revision): void {
  draft.kind = recordKinds.bump;
  const effect = draft.compactRevision === -1 ? 1 : 0;
  draft.bumpTo(revision);
  draft.entry(spaces.meta, metaKeys.compact, encodeCompactRevision(revision), effect);
}
