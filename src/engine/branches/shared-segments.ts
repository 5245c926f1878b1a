import type { ObjectKey } from "../../base/ids.ts";
import { BorrowedStore } from "../../objects/borrowed.ts";
import { parseKey } from "../../objects/keys.ts";
import type { GetOptions, ObjectStore, StoredObject } from "../../objects/objects.ts";

/** Of one call: more of a log is read again by the second state. */
const BYTES_MAX = 32 << 20;

/**
 * A bucket in which the log that two branches have in common is read once: the states of a comparison replay the same
 * segments, which never change. What it gives of them is not written to.
 */
export class SharedSegments extends BorrowedStore {
  readonly #segments = new Map<ObjectKey, StoredObject>();
  readonly #store: ObjectStore;
  #bytes = 0;

  constructor(store: ObjectStore) {
    super(store);
    this.#store = store;
  }

  override async get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    if (options.range !== undefined || parseKey(key)?.kind !== "segment") return this.#store.get(key, options);
    const kept = this.#segments.get(key);
    if (kept !== undefined) return kept;
    const object = await this.#store.get(key, options);
    if (object !== null && this.#bytes + object.bytes <= BYTES_MAX && !this.#segments.has(key)) {
      this.#segments.set(key, object);
      this.#bytes += object.bytes;
    }
    return object;
  }
}
