import { assert } from "../base/assert.ts";
import { type LeaseId, leaseId } from "../base/ids.ts";

/** A lease's key in the spaces `leases` and, with a user's key behind it, `leaseKeys`: its id, 8 bytes, big-endian. */
export const LEASE_KEY_BYTES = 8;

export function leaseKey(id: bigint): string {
  const bits = BigInt.asUintN(64, id);
  const high = Number(bits >> 32n);
  const low = Number(bits & 0xffffffffn);
  return String.fromCharCode(
    high >>> 24,
    (high >>> 16) & 0xff,
    (high >>> 8) & 0xff,
    high & 0xff,
    low >>> 24,
    (low >>> 16) & 0xff,
    (low >>> 8) & 0xff,
    low & 0xff,
  );
}

export function leaseIdOfKey(key: string): LeaseId {
  assert(key.length >= LEASE_KEY_BYTES, "a lease's key has 8 bytes");
  let bits = 0n;
  for (let i = 0; i < LEASE_KEY_BYTES; i++) bits = (bits << 8n) | BigInt(key.charCodeAt(i));
  return leaseId(BigInt.asIntN(64, bits));
}

/** The least key above all that begin with `prefix`; null if there is none. */
export function endOfPrefix(prefix: string): string | null {
  for (let i = prefix.length - 1; i >= 0; i--) {
    const code = prefix.charCodeAt(i);
    if (code < 0xff) return prefix.slice(0, i) + String.fromCharCode(code + 1);
  }
  return null;
}
