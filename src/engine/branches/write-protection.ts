import { DbError } from "../../base/errors.ts";
import { spaces, type Tree } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import type { Identity } from "../engine.ts";
import { metaKeys, readSetting } from "../meta.ts";
import { writeSetting } from "../write-setting.ts";

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
  // May be evaluated anew: it is read before anything is changed.
  draft.reads.getOther(spaces.meta, metaKeys.setting(SETTING));
  draft.refusal = null;
  writeSetting(draft, { name: SETTING, value: set ? nameOf(identity) : "" });
  if (set) draft.refusal = takesNoWrites(identity);
}
