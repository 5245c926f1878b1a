import { AssertionError } from "../base/assert.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { GetOptions, ListOptions, ListPage, ObjectStore, PutOutcome, StoredObject } from "./objects.ts";

/** A store for tools that only read: that they write nothing is held by what they are given. */
export class ReadOnlyStore implements ObjectStore {
  readonly name: string;
  readonly local: boolean;
  readonly #inner: ObjectStore;

  constructor(inner: ObjectStore) {
    this.name = inner.name;
    this.local = inner.local;
    this.#inner = inner;
  }

  get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    return this.#inner.get(key, options);
  }

  list(prefix: string, options: ListOptions): Promise<ListPage> {
    return this.#inner.list(prefix, options);
  }

  put(key: ObjectKey): Promise<PutOutcome> {
    throw new AssertionError(`a tool that only reads was about to write ${key}`);
  }

  delete(key: ObjectKey): Promise<void> {
    throw new AssertionError(`a tool that only reads was about to delete ${key}`);
  }

  clockSkewMs(): number | null {
    return this.#inner.clockSkewMs ? this.#inner.clockSkewMs() : 0;
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
