import { ForwardingStore } from "./forwarding.ts";

/** A store that its user does not close: its owner goes on with it. */
export class BorrowedStore extends ForwardingStore {
  override close(): Promise<void> {
    return Promise.resolve();
  }
}
