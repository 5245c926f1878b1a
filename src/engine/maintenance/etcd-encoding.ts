import { VARINT_BYTES_MAX, writeVarint } from "../../base/varint.ts";
import type { KeyVersion } from "../engine.ts";

/**
 * How a member of etcd lays its state out in its store (bbolt): what HashKV hashes and a snapshot holds, byte for byte.
 */
const REVISION_BYTES = 17;
export const TOMBSTONE_MARK = 0x74;
const KEY_TAG = 0x0a;

/** The key of a version in the bucket "key": main and sub, big-endian, with "_" between, "t" behind a tombstone's. */
export function revisionKey({ main, sub, tombstone }: { main: number; sub: number; tombstone: boolean }): Buffer {
  const key = Buffer.allocUnsafe(tombstone ? REVISION_BYTES + 1 : REVISION_BYTES);
  writeRevisionKey(key, 0, main, sub);
  if (tombstone) key[REVISION_BYTES] = TOMBSTONE_MARK;
  return key;
}

function writeRevisionKey(bytes: Buffer, at: number, main: number, sub: number): void {
  bytes.writeUInt32BE(Math.floor(main / 0x100000000), at);
  bytes.writeUInt32BE(main >>> 0, at + 4);
  bytes[at + 8] = 0x5f;
  bytes.writeUInt32BE(0, at + 9);
  bytes.writeUInt32BE(sub, at + 13);
}

/** The value of a version: the pair as stored; of a tombstone a pair with nothing but the key. */
export function versionValue(version: KeyVersion): Uint8Array {
  if (!version.tombstone) return version.bytes.subarray(version.start, version.end);
  const { key } = version;
  const bytes = Buffer.allocUnsafe(1 + VARINT_BYTES_MAX + key.length);
  bytes[0] = KEY_TAG;
  const at = writeVarint(bytes, 1, key.length);
  return bytes.subarray(0, at + bytes.latin1Write(key, at, key.length));
}

/** Eight bytes, big-endian, two's complement. */
export function int64Bytes(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, value));
  return bytes;
}

/** leasepb.Lease: its id and TTL in seconds. */
export function leaseValue(id: bigint, ttlSeconds: number): Buffer {
  return Buffer.concat([Buffer.of(0x08), varint64(id), Buffer.of(0x10), varint64(BigInt(ttlSeconds))]);
}

/** etcdserverpb.AlarmMember, which is an alarm's key. */
export function alarmKey({ memberId, type }: { memberId: bigint; type: number }): Buffer {
  const member = memberId === 0n ? [] : [Buffer.of(0x08), varint64(memberId)];
  const alarm = type === 0 ? [] : [Buffer.of(0x10), varint64(BigInt(type))];
  return Buffer.concat([...member, ...alarm]);
}

function varint64(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Buffer.from(bytes);
}
