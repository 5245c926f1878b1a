import { type LeaseId, leaseId, type Revision } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Random } from "../runtime/runtime.ts";
import type { Access } from "./access.ts";
import type { Guard } from "./auth-desk.ts";
import type { Draft } from "./draft.ts";
import type { LeaseTimeToLiveResult } from "./engine.ts";
import type { Evaluations } from "./evaluations.ts";
import type { Granting } from "./lease/lease-changes.ts";
import type { Lease, Lessor } from "./lease/lessor.ts";
import { LEASE_KEY_BYTES } from "./lease-key.ts";
import type { BranchMaintenance } from "./maintenance/branch-maintenance.ts";
import { LEASE_COST } from "./maintenance/quota.ts";
import type { Committed, Sequencer } from "./sequencer.ts";
import type { SequencerGate } from "./sequencer-gate.ts";
import type { Serving } from "./serving.ts";

export interface LeaseCallsParts {
  readonly serving: Serving;
  readonly gate: SequencerGate;
  /** Where leases end: what is due waits for no room. */
  readonly sequencer: Sequencer;
  readonly evaluations: Evaluations;
  readonly lessor: Lessor;
  readonly committed: Committed;
  readonly maintenance: Pick<BranchMaintenance, "makeRoom">;
  readonly random: Random;
  readonly nowMs: () => number;
  /** Nothing ends in a branch that takes no writes. */
  readonly takesWrites: () => boolean;
}

export type LeaseKeptAlive = { ttlSeconds: number; revision: Revision };

/**
 * Calls on leases. Grants and ends are records; keep-alives are none, but need the proof of leading, as reads do.
 * `access`: whose call it is; null: the program's own.
 */
export class LeaseCalls {
  readonly #parts: LeaseCallsParts;
  readonly #lessor: Lessor;

  constructor(parts: LeaseCallsParts) {
    this.#parts = parts;
    this.#lessor = parts.lessor;
  }

  /** An id of 0 asks for one. */
  grant(request: Granting): MaybePromise<{ id: LeaseId; ttlSeconds: number; revision: Revision }> {
    const { maintenance, gate, evaluations } = this.#parts;
    const id = request.id === 0n ? this.#freeId() : request.id;
    const granting = { id, ttlSeconds: request.ttlSeconds };
    return maintenance.makeRoom(LEASE_COST, null) ?? gate.run(evaluations.grant, granting);
  }

  /** A random positive int64 that no lease has (L1). */
  #freeId(): LeaseId {
    for (;;) {
      const id = BigInt.asUintN(63, this.#parts.random.bytes(8).readBigUInt64BE(0));
      if (id !== 0n && !this.#lessor.exists(id)) return leaseId(id);
    }
  }

  revoke(id: LeaseId, access: Access | null): MaybePromise<{ revision: Revision }> {
    return this.#parts.gate.run(this.#parts.evaluations.revoke, id, access?.leaseKeys(id, "write"));
  }

  /** Whoever may not write all that hangs on a lease may not keep it (A13). */
  keepAlive(id: LeaseId, access: Access | null): MaybePromise<LeaseKeptAlive> {
    return this.#permitted(
      access,
      (asked) => asked.leaseKeys(id, "write"),
      () => this.#keepAliveProven(id),
    );
  }

  #keepAliveProven(id: LeaseId): MaybePromise<LeaseKeptAlive> {
    this.#parts.serving.checkTaking();
    return this.#parts.serving.onceProven(this.#keepAlive, id, null);
  }

  /** The time counts from here on, which is when the answer leaves. */
  readonly #keepAlive = (id: LeaseId): MaybePromise<LeaseKeptAlive> => {
    const { serving, committed, nowMs, takesWrites } = this.#parts;
    serving.checkTaking();
    const found = this.#lessor.look(id, nowMs());
    if (found === null) return { ttlSeconds: 0, revision: committed.revision };
    if (found.isEnding && takesWrites()) return this.#keepAliveEnding(id, found.lease);
    this.#lessor.renew(found.lease, nowMs());
    return { ttlSeconds: found.lease.ttlSeconds, revision: committed.revision };
  };

  /** Once due it cannot be saved: it is revoked first, so that an answer of 0 means that its keys are gone (L4). */
  async #keepAliveEnding(id: LeaseId, lease: Lease): Promise<LeaseKeptAlive> {
    const { committed, nowMs } = this.#parts;
    await this.#parts.sequencer.run(this.#parts.evaluations.expire, lease);
    const found = this.#lessor.look(id, nowMs());
    // Proof was regained in between, which gave it its full time again: the client's next keep-alive is answered as
    // usual.
    if (found !== null && !found.isEnding && found.lease === lease) {
      this.#lessor.renew(lease, nowMs());
      return { ttlSeconds: lease.ttlSeconds, revision: committed.revision };
    }
    return { ttlSeconds: 0, revision: committed.revision };
  }

  timeToLive({ id, keys }: { id: LeaseId; keys: boolean }, access: Access | null): MaybePromise<LeaseTimeToLiveResult> {
    // Which keys are attached is known of the head alone, so that answer waits for it.
    if (keys) return this.#parts.gate.run(this.#attached, id, access?.leaseKeys(id, "read"));
    return this.#parts.serving.onceProven(this.#timeToLive, id, null);
  }

  readonly #attached = (draft: Draft, id: LeaseId): LeaseTimeToLiveResult => {
    const lease = this.#lessor.revocable(id);
    const keys = lease === null ? [] : draft.attachedKeys(id).map((key) => key.slice(LEASE_KEY_BYTES));
    return this.#result(id, lease, { revision: draft.revision, keys });
  };

  readonly #timeToLive = (id: LeaseId): LeaseTimeToLiveResult => {
    const { committed, nowMs } = this.#parts;
    const found = this.#lessor.look(id, nowMs());
    return this.#result(id, found?.lease ?? null, { revision: committed.revision, keys: [] });
  };

  #result(
    id: LeaseId,
    lease: Lease | null,
    { revision, keys }: { revision: Revision; keys: string[] },
  ): LeaseTimeToLiveResult {
    if (lease === null) return { revision, id, ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] };
    const ttlSeconds = this.#lessor.remainingSeconds(lease, this.#parts.nowMs());
    return { revision, id, ttlSeconds, grantedTtlSeconds: lease.ttlSeconds, keys };
  }

  list(access: Access | null): MaybePromise<{ ids: LeaseId[]; revision: Revision }> {
    const listed = () => this.#parts.serving.onceProven(this.#list, null, null);
    return this.#permitted(access, (asked) => asked.allLeaseKeys(), listed);
  }

  readonly #list = (): { ids: LeaseId[]; revision: Revision } => ({
    ids: this.#lessor.list().map(({ id }) => id),
    revision: this.#parts.committed.revision,
  });

  /**
   * Ends a lease that is due, for nobody who asked. Keep-alives that wait for a proof may be due to come before it:
   * where the proof costs a request, it is asked for first, so that no lease ends while none can be answered (L8).
   */
  expire(lease: Lease): MaybePromise<{ revoked: boolean }> {
    return this.#parts.serving.onceProven(this.#expire, lease, null);
  }

  readonly #expire = (lease: Lease): MaybePromise<{ revoked: boolean }> =>
    this.#parts.sequencer.run(this.#parts.evaluations.expire, lease);

  /** What is held against the head, but is no change, is a check by itself: its guard is all of it. */
  #permitted<T>(
    access: Access | null,
    guardOf: (access: Access) => Guard,
    answer: () => MaybePromise<T>,
  ): MaybePromise<T> {
    if (access === null || access.isRoot) return answer();
    const checked = this.#parts.gate.run(nothing, null, guardOf(access));
    return isPromise(checked) ? checked.then(answer) : answer();
  }
}

const nothing = (): void => {};
