import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import type { LeaseId, Revision } from "../../base/ids.ts";
import { spaces } from "../../storage/storage.ts";
import type { Draft } from "../draft.ts";
import { LEASE_KEY_BYTES, leaseKey } from "../lease-key.ts";
import { recordKinds } from "../record.ts";
import { encodeLease } from "./lease-record.ts";
import type { Lease, Lessor } from "./lessor.ts";

/** What leases write. As all evaluations: what is read is read before anything changes, the lessor included. */

export interface Granting {
  readonly id: LeaseId;
  readonly ttlSeconds: bigint;
}

/** L1, L2. The id is given: who has none chooses one first. */
export function grantLease(
  draft: Draft,
  lessor: Lessor,
  { request, nowMs }: { request: Granting; nowMs: () => number },
): { id: LeaseId; ttlSeconds: number; revision: Revision } {
  const { id } = request;
  assert(id !== 0n, "a lease has an id");
  const ttlSeconds = lessor.grantedTtl(request.ttlSeconds);
  if (lessor.exists(id)) throw new DbError("leaseExists");
  draft.kind = recordKinds.leaseGrant;
  draft.entry(spaces.leases, leaseKey(id), encodeLease({ ttlSeconds, remainingSeconds: null }), 1);
  const lease = lessor.grant(id, ttlSeconds);
  draft.afterCommit = () => lessor.granted(lease, nowMs());
  return { id, ttlSeconds, revision: draft.revision };
}

/** L3: its keys go in one revision, in key order; without keys there is none. */
export function revokeLease(draft: Draft, lessor: Lessor, id: LeaseId): { revision: Revision } {
  const lease = lessor.revocable(id);
  if (lease === null) throw new DbError("leaseNotFound");
  removeLease(draft, lessor, lease);
  return { revision: draft.revisionSoFar };
}

/** The same for one that was due when this was asked for: not if it has been kept alive, or revoked, since. */
export function expireLease(
  draft: Draft,
  lessor: Lessor,
  { lease, nowMs }: { lease: Lease; nowMs: () => number },
): { revoked: boolean } {
  if (lease.state !== "live" || lease.expiresMs > nowMs()) return { revoked: false };
  removeLease(draft, lessor, lease);
  return { revoked: true };
}

function removeLease(draft: Draft, lessor: Lessor, lease: Lease): void {
  const keys = draft.attachedKeys(lease.id).map((key) => key.slice(LEASE_KEY_BYTES));
  const versions = draft.reads.getMany(keys);
  draft.kind = recordKinds.leaseRevoke;
  for (const [index, key] of keys.entries()) {
    const version = versions[index];
    assert(version, "a key that is attached to a lease exists");
    draft.delete(key, { prev: version, before: version });
  }
  draft.entry(spaces.leases, leaseKey(lease.id), null, -1);
  lessor.revoke(lease);
  draft.afterCommit = () => lessor.revoked(lease);
}

/** How much time some leases have left, at the end of a leadership. */
export function logRemaining(
  draft: Draft,
  lessor: Lessor,
  { leases, nowMs }: { leases: readonly Lease[]; nowMs: number },
): void {
  draft.kind = recordKinds.leaseRelease;
  for (const lease of leases) {
    if (lease.state !== "live") continue;
    const { ttlSeconds } = lease;
    const remainingSeconds = lessor.remainingSecondsToLog(lease, nowMs);
    draft.entry(spaces.leases, leaseKey(lease.id), encodeLease({ ttlSeconds, remainingSeconds }), 0);
  }
}
