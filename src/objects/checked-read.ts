import { isDbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { GetOptions, ObjectStore, StoredObject } from "./objects.ts";

/**
 * What an object says; null if there is none. What `decode` calls corrupt is asked of the store once more, past any
 * cache: what lies between may have damaged or cut short one answer. Wrong twice, it is corrupt, and `decode` names it.
 */
export async function readDecoded<T>(
  store: ObjectStore,
  key: ObjectKey,
  options: GetOptions,
  decode: (object: StoredObject) => T,
): Promise<T | null> {
  const first = await store.get(key, options);
  if (first === null) return null;
  try {
    return decode(first);
  } catch (error) {
    if (!isDbError(error, "corrupt")) throw error;
  }
  const second = await store.get(key, { ...options, fresh: true });
  return second && decode(second);
}
