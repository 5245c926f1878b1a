import { spaces } from "../storage/storage.ts";
import type { Draft } from "./draft.ts";
import { metaKeys } from "./meta.ts";
import { recordKinds } from "./record.ts";

/** A setting of the branch, in a record of its own; read back by `readSetting` (meta.ts). */
export function writeSetting(draft: Draft, { name, value }: { name: string; value: string }): void {
  draft.kind = recordKinds.setting;
  putSetting(draft, name, value);
}

/** The same beside other changes. */
export function putSetting(draft: Draft, name: string, value: string): void {
  const key = metaKeys.setting(name);
  const effect = draft.reads.getOther(spaces.meta, key) === null ? 1 : 0;
  draft.entry(spaces.meta, key, Buffer.from(value, "utf8"), effect);
}
