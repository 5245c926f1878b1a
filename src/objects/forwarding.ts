import type { ObjectKey } from "../base/ids.ts";
import type {
  GetOptions,
  ListOptions,
  ListPage,
  ObjectStore,
  PutOptions,
  PutOutcome,
  RequestOptions,
  StoredObject,
} from "./objects.ts";

/** What goes through to another store as it is: a store around one overrides what it does itself. */
export abstract class ForwardingStore implements ObjectStore {
  readonly name: string;
  readonly local: boolean;
  protected readonly inner: ObjectStore;

  constructor(inner: ObjectStore) {
    this.name = inner.name;
    this.local = inner.local;
    this.inner = inner;
  }

  get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    return this.inner.get(key, options);
  }

  put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    return this.inner.put(key, body, options);
  }

  list(prefix: string, options: ListOptions): Promise<ListPage> {
    return this.inner.list(prefix, options);
  }

  delete(key: ObjectKey, options: RequestOptions): Promise<void> {
    return this.inner.delete(key, options);
  }

  clockSkewMs(): number | null {
    return this.inner.clockSkewMs ? this.inner.clockSkewMs() : 0;
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
