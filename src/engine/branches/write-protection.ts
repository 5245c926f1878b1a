import { DbError } from "../../base/errors.ts";
import { spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { Identity } from "../engine.ts";
import { metaKeys, readSetting } from "../meta.ts";
import { recordKinds } from "../record.ts";

/**
 * A branch that is protected from writes: logged with it, so that whoever leads it refuses them. Nothing expires in it;
 * when it is lifted every lease has its full time again. The setting names the branch by its cluster id: one that is
 * cut off it takes writes.
 */
const SETTING = "write-protected";

const nameOf = ({ clusterId }: Identity): string => clusterId.toString(16);

export const readWriteProtected = async (tree: Tree, identity: Identity): Promise<boolean> =>
  (await readSetting(tree, SETTING)) === nameOf(identity);

export const takesNoWrites = ({ branchName }: Identity): DbError =>
  new DbError("branchRefuses", `branch ${branchName} takes no writes: t4 branch unprotect ${branchName} --writes`);

/** In a record that changes the branch as a whole. */
export function liftWriteProtection(draft: Draft): void {
  const key = metaKeys.setting(SETTING);
  if (draft.reads.getOther(spaces.meta, key) !== null) draft.entry(spaces.meta, key, Buffer.alloc(0), 0);
}

/** From this record on nothing else writes, or everything does; what is sequenced behind it sees that at once. */
export function protectFromWrites(draft: Draft, { identity, set }: { identity: Identity; set: boolean }): void {
  const key = metaKeys.setting(SETTING);
  // Read once, before anything is changed: another read could be one to wait for, with the refusal gone meanwhile.
  const effect = draft.reads.getOther(spaces.meta, key) === null ? 1 : 0;
  draft.refusal = null;
  draft.kind = recordKinds.setting;
  draft.entry(spaces.meta, key, Buffer.from(set ? nameOf(identity) : "", "utf8"), effect);
  if (set) draft.refusal = takesNoWrites(identity);
}
