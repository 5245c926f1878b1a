import type { DbError } from "../base/errors.ts";
import type { Leadership } from "../leadership/leadership.ts";
import { spaces } from "../storage/storage.ts";
import { notCarriedOut } from "./call-outcome.ts";
import type { Draft } from "./draft.ts";
import type { Identity } from "./engine.ts";
import { logRemaining } from "./lease/lease-changes.ts";
import type { Lease, Lessor } from "./lease/lessor.ts";
import type { LeaseExpiry } from "./lease-expiry.ts";
import { encodeReleased, metaKeys } from "./meta.ts";
import { recordKinds } from "./record.ts";
import type { Evaluate, Sequencer } from "./sequencer.ts";
import type { Serving } from "./serving.ts";

/** Leases whose remaining time goes into one record. */
const LEASES_PER_RECORD = 1000;

export interface GivingUpParts {
  readonly serving: Serving;
  readonly sequencer: Sequencer;
  readonly expiry: LeaseExpiry;
  readonly lessor: Lessor;
  readonly identity: Identity;
  readonly leadership: Pick<Leadership, "epoch">;
  readonly nowMs: () => number;
}

/** How a leadership ends that gives its branch up: nothing is sequenced behind its last record. */
export class GivingUp {
  readonly #parts: GivingUpParts;

  constructor(parts: GivingUpParts) {
    this.#parts = parts;
  }

  /** Logs a change behind everything else; once it is durable, or cannot be made, all ends with `error`. */
  async last<Request, Result>(evaluate: Evaluate<Request, Result>, request: Request, error: DbError): Promise<Result> {
    const { serving, sequencer } = this.#parts;
    serving.checkTaking();
    this.#takeNoMore(error);
    try {
      return await sequencer.run(evaluate, request);
    } finally {
      serving.end(error);
    }
  }

  /** Logs how long leases have left. If it rejects, the next leadership gives every lease its full TTL. */
  async release(error: DbError): Promise<void> {
    const { sequencer, lessor, nowMs } = this.#parts;
    this.#takeNoMore(error);
    const atMs = nowMs();
    const leases = lessor.list();
    for (let at = 0; at < leases.length; at += LEASES_PER_RECORD) {
      await sequencer.run(this.#remaining, { leases: leases.slice(at, at + LEASES_PER_RECORD), nowMs: atMs });
    }
    await sequencer.run(this.#released, null);
  }

  #takeNoMore(error: DbError): void {
    const { serving, expiry, sequencer } = this.#parts;
    serving.takeNoMore(error);
    expiry.stop();
    sequencer.refuseWaiting(notCarriedOut(error));
    // What the branch refuses of its clients it logs of itself.
    sequencer.refuseWrites(null);
  }

  readonly #remaining = (draft: Draft, request: { leases: readonly Lease[]; nowMs: number }): void =>
    logRemaining(draft, this.#parts.lessor, request);

  readonly #released = (draft: Draft): void => {
    draft.kind = recordKinds.leaseRelease;
    const value = encodeReleased({ epoch: this.#parts.leadership.epoch, clusterId: this.#parts.identity.clusterId });
    const effect = draft.reads.getOther(spaces.meta, metaKeys.released) === null ? 1 : 0;
    draft.entry(spaces.meta, metaKeys.released, value, effect);
  };
}
