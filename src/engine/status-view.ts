import { isPromise } from "../base/maybe-promise.ts";
import type { Leadership } from "../leadership/leadership.ts";
import type { LogWriter } from "../log/log.ts";
import { KEYS, type Tree } from "../storage/storage.ts";
import type { StoragePort, WatchPort } from "./database-options.ts";
import type { DatabaseStatus, Identity } from "./engine.ts";
import type { Lessor } from "./lease/lessor.ts";
import type { LeaseExpiry } from "./lease-expiry.ts";
import type { Committed, Sequencer } from "./sequencer.ts";
import type { Serving } from "./serving.ts";

export interface StatusViewParts {
  readonly identity: Identity;
  readonly tree: Tree;
  readonly log: LogWriter;
  readonly leadership: Leadership;
  readonly storage: StoragePort;
  readonly watch: WatchPort;
  readonly lessor: Lessor;
  readonly committed: Committed;
  readonly sequencer: Sequencer;
  readonly expiry: LeaseExpiry;
  readonly serving: Serving;
}

/** What a branch shows of itself. */
export class StatusView {
  readonly #parts: StatusViewParts;
  #keys = 0;

  constructor(parts: StatusViewParts) {
    this.#parts = parts;
  }

  status(): DatabaseStatus {
    const { log, storage, watch, leadership, identity, committed, lessor, expiry, sequencer, serving } = this.#parts;
    const logStats = log.stats();
    const { streams, watchers } = watch.stats;
    const errors = [serving.unprovenBecause(), log.trouble];
    const stored = storage.stats(sequencer.liveBytes);
    return {
      branch: identity.branchName,
      durability: leadership.durability,
      epoch: leadership.epoch,
      revision: committed.revision,
      compactRevision: committed.compactRevision,
      record: log.head,
      committedRecord: log.durable,
      nextSlot: logStats.nextSlot,
      slotsInFlight: logStats.slotsInFlight,
      uploadedRecord: logStats.uploadedRecord,
      uploadPendingBytes: logStats.pendingBytes,
      uploadDelayMs: logStats.pendingAgeMs,
      ...stored,
      keys: this.#countKeys(),
      watchers,
      watchStreams: streams,
      keysPut: watch.changed.puts,
      keysDeleted: watch.changed.deletes,
      leases: lessor.size,
      leasesExpired: expiry.expired,
      errors: [...errors.flatMap((error) => (error === null ? [] : [error.message])), ...stored.errors],
    };
  }

  /**
   * A count that must be read for is not waited for: the last one known is shown. The read warms the way for the next.
   */
  #countKeys(): number {
    const keys = this.#parts.tree.count(KEYS, { from: "", to: null }, this.#parts.committed.revision);
    if (isPromise(keys)) keys.then(this.#setKeys, () => {});
    else this.#keys = keys;
    return this.#keys;
  }

  readonly #setKeys = (keys: number): number => (this.#keys = keys);
}
