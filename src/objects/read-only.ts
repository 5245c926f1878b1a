import { AssertionError } from "../base/assert.ts";
import type { ObjectKey } from "../base/ids.ts";
import { ForwardingStore } from "./forwarding.ts";
import type { PutOutcome } from "./objects.ts";

/** A store for tools that only read: that they write nothing is held by what they are given. */
export class ReadOnlyStore extends ForwardingStore {
  override put(key: ObjectKey): Promise<PutOutcome> {
    throw new AssertionError(`a tool that only reads was about to write ${key}`);
  }

  override delete(key: ObjectKey): Promise<void> {
    throw new AssertionError(`a tool that only reads was about to delete ${key}`);
  }
}
