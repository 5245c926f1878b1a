import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";
import type { LeaseId } from "../../base/ids.ts";
import { type Expiring, ExpiryHeap } from "./expiry-heap.ts";

export interface LeaseSettings {
  /** A shorter TTL is raised to this (L2). */
  readonly ttlSecondsMin: number;
  readonly ttlSecondsMax: number;
}

export const defaultLeaseSettings: LeaseSettings = { ttlSecondsMin: 2, ttlSecondsMax: 9_000_000_000 };

/**
 * The leases of a branch under one leadership. Pure: time is passed in, monotonic, in ms.
 *
 *   granting ──durable──► live ──revoke sequenced──► revoking ──durable──► (gone)
 *
 * Invariants:
 *   - what is sequenced against the head sees granting and live ones; what is answered to readers, live and revoking
 *     ones;
 *   - a lease is due no earlier than its TTL after the last keep-alive that was answered, after its grant became
 *     durable, and after `renewAll` (a takeover after a crash, proof regained): those who call answer only after they
 *     have called here;
 *   - one that is being revoked is never renewed.
 * The keys attached to a lease are entries of the tree, not held here.
 */
export class Lessor {
  readonly #settings: LeaseSettings;
  readonly #leases = new Map<LeaseId, Lease>();
  readonly #heap = new ExpiryHeap<Lease>();

  constructor(settings: LeaseSettings) {
    this.#settings = settings;
  }

  get size(): number {
    return this.#leases.size;
  }

  /** For a put: as of the head. */
  exists(id: bigint): boolean {
    const lease = this.#leases.get(id as LeaseId);
    return lease !== undefined && lease.state !== "revoking";
  }

  /** The TTL to be granted for one that is asked for (L2). */
  grantedTtl(ttlSeconds: bigint): number {
    if (ttlSeconds > BigInt(this.#settings.ttlSecondsMax)) throw new DbError("leaseTtlTooLarge");
    return ttlSeconds < BigInt(this.#settings.ttlSecondsMin) ? this.#settings.ttlSecondsMin : Number(ttlSeconds);
  }

  /** Sequenced: it may be put on keys from now on. */
  grant(id: LeaseId, ttlSeconds: number): Lease {
    const old = this.#leases.get(id);
    assert(old === undefined || old.state === "revoking", "a lease is granted once");
    const lease = new Lease(id, ttlSeconds);
    lease.predecessor = old ?? null;
    this.#leases.set(id, lease);
    return lease;
  }

  /** Its grant is durable: its time begins. */
  granted(lease: Lease, nowMs: number): void {
    lease.isDurable = true;
    if (lease.state !== "granting") return;
    lease.state = "live";
    this.#place(lease, nowMs + lease.ttlSeconds * 1000);
  }

  /** Found in the tree at the start of a leadership; `remainingSeconds` after a clean release. */
  restore(
    id: LeaseId,
    { ttlSeconds, remainingSeconds }: { ttlSeconds: number; remainingSeconds: number },
    nowMs: number,
  ): void {
    const lease = new Lease(id, ttlSeconds);
    lease.state = "live";
    lease.isDurable = true;
    assert(!this.#leases.has(id), "a lease is restored once");
    this.#leases.set(id, lease);
    const seconds = Math.min(ttlSeconds, Math.max(remainingSeconds, this.#settings.ttlSecondsMin));
    this.#place(lease, nowMs + seconds * 1000);
  }

  /** As of the head: the one that a revoke is about, or null. */
  revocable(id: LeaseId): Lease | null {
    const lease = this.#leases.get(id);
    return lease === undefined || lease.state === "revoking" ? null : lease;
  }

  /** Its revoke is sequenced. */
  revoke(lease: Lease): void {
    assert(lease.state !== "revoking", "a lease is revoked once");
    lease.state = "revoking";
    if (lease.heapIndex !== -1) this.#heap.remove(lease);
  }

  /** Its revoke is durable. */
  revoked(lease: Lease): void {
    assert(lease.state === "revoking", "what is gone was being revoked");
    const newest = this.#leases.get(lease.id)!;
    if (newest === lease) this.#leases.delete(lease.id);
    for (let next = newest; next.predecessor !== null; next = next.predecessor)
      if (next.predecessor === lease) {
        next.predecessor = null;
        return;
      }
  }

  /** As readers see it, or null; `isEnding` once it is expired or being revoked. */
  look(id: LeaseId, nowMs: number): { lease: Lease; isEnding: boolean } | null {
    const lease = durableOne(this.#leases.get(id) ?? null);
    if (lease === null) return null;
    return { lease, isEnding: lease.state === "revoking" || lease.expiresMs <= nowMs };
  }

  /** A keep-alive, about to be answered. */
  renew(lease: Lease, nowMs: number): void {
    assert(lease.state === "live", "only a live lease is kept alive");
    lease.expiresMs = nowMs + lease.ttlSeconds * 1000;
  }

  /** Nobody's keep-alives could be answered for a while: every lease has its full TTL again. */
  renewAll(nowMs: number): void {
    for (const lease of this.#leases.values()) if (lease.state === "live") this.renew(lease, nowMs);
  }

  /** At most `max` leases that are due, first things first; they stay where they are until they are revoked. */
  expired(nowMs: number, max: number): Lease[] {
    const due: Lease[] = [];
    while (due.length < max) {
      const lease = this.#heap.first();
      if (lease === null || lease.expiresMs > nowMs) break;
      this.#heap.remove(lease);
      due.push(lease);
    }
    return due;
  }

  /** Takes one back that `expired` gave and that was not revoked. */
  putBack(lease: Lease): void {
    if (lease.state === "live" && lease.heapIndex === -1) this.#heap.add(lease);
  }

  /** When the next lease is due; null without any. */
  nextExpiryMs(): number | null {
    return this.#heap.first()?.expiresMs ?? null;
  }

  /** Whole seconds left, as etcd rounds (down). */
  remainingSeconds(lease: Lease, nowMs: number): number {
    return Math.max(0, Math.floor((lease.expiresMs - nowMs) / 1000));
  }

  /** The same to be given back by the next leadership: up, as a lease may live longer, and never dies early. */
  remainingSecondsToLog(lease: Lease, nowMs: number): number {
    return Math.max(0, Math.ceil((lease.expiresMs - nowMs) / 1000));
  }

  /** As of the head. */
  sequenced(): Lease[] {
    return [...this.#leases.values()].filter((lease) => lease.state !== "revoking");
  }

  /** As readers see them, by expiry (L5). */
  list(): Lease[] {
    const leases: Lease[] = [];
    for (const newest of this.#leases.values()) {
      const lease = durableOne(newest);
      if (lease !== null) leases.push(lease);
    }
    return leases.sort((a, b) => a.expiresMs - b.expiresMs);
  }

  #place(lease: Lease, expiresMs: number): void {
    lease.expiresMs = expiresMs;
    this.#heap.add(lease);
  }
}

/** An id may have been revoked and granted anew before either is durable: readers see the one before. */
function durableOne(lease: Lease | null): Lease | null {
  while (lease !== null && !lease.isDurable) lease = lease.predecessor;
  return lease;
}

export class Lease implements Expiring {
  readonly id: LeaseId;
  readonly ttlSeconds: number;
  state: "granting" | "live" | "revoking" = "granting";
  expiresMs = Number.POSITIVE_INFINITY;
  heapIndex = -1;
  /** Its grant is durable. */
  isDurable = false;
  /** One of the same id whose revoke is not durable yet. */
  predecessor: Lease | null = null;

  constructor(id: LeaseId, ttlSeconds: number) {
    this.id = id;
    this.ttlSeconds = ttlSeconds;
  }
}
