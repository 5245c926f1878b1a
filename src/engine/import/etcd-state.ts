import { DbError, isDbError } from "../../base/errors.ts";
import { decodeRole, decodeUser } from "../auth/auth-records.ts";
import type { Role, User } from "../auth/auth-state.ts";
import type { Pair } from "../bbolt/pages.ts";
import type { BboltReader } from "../bbolt/reader.ts";
import { TOMBSTONE_MARK } from "../maintenance/etcd-encoding.ts";
import type { Alarm } from "../maintenance/maintenance.ts";
import { KeyValueReader, keyValueBytes } from "../mvcc/key-value.ts";

/** What a member's store holds beside the keys (docs/formats/etcd-snapshot.md). */
export interface EtcdState {
  /** −1: never compacted. Of a compaction that was not finished: that one. */
  readonly compactRevision: number;
  readonly leases: readonly { readonly id: bigint; readonly ttlSeconds: number }[];
  readonly users: readonly User[];
  readonly roles: readonly Role[];
  readonly auth: { readonly enabled: boolean; readonly revision: number };
  readonly alarms: readonly Alarm[];
}

/** A pair of the bucket "key". */
export interface StoredVersion {
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
  readonly key: string;
  /** The encoded KeyValue; nothing of a tombstone. */
  readonly bytes: Buffer;
  /** 0n for none. */
  readonly lease: bigint;
}

/** Buckets that a member of etcd 3 has, whatever its version. */
const NEEDED = ["key", "lease", "meta"];
const REVISION_BYTES = 17;
const SEPARATOR = 0x5f;
/** Of a bucket that is read whole. */
const BUCKET_BYTES_MAX = 1 << 30;
/** Far below the numbers that cannot be told apart, so that a head can be bumped and written on. */
export const REVISION_MAX = 2 ** 52;
/** Of a lease and of an alarm: three numbers. */
const MESSAGE_BYTES_MAX = 64;
const SHOWN_BYTES = 40;

export function readEtcdState(file: BboltReader): EtcdState {
  const missing = NEEDED.find((name) => !file.buckets.includes(name));
  if (missing !== undefined) throw refused(`it has no bucket "${missing}": it is not the store of an etcd 3 member`);
  const meta = new Map(all(file, "meta").map(({ key, value }) => [latin1(key), value]));
  const auth = new Map(all(file, "auth").map(({ key, value }) => [latin1(key), value]));
  const compacted = ["finishedCompactRev", "scheduledCompactRev"].map((name) => compactionOf(name, meta.get(name)));
  return {
    compactRevision: Math.max(...compacted),
    leases: all(file, "lease").map(leaseOf),
    users: all(file, "authUsers").map((pair) => named("user", pair, decodeUser)),
    roles: all(file, "authRoles").map((pair) => named("role", pair, decodeRole)),
    auth: { enabled: auth.get("authEnabled")?.[0] === 1, revision: authRevision(auth.get("authRevision")) },
    alarms: all(file, "alarm").map(({ key }) => alarmOf(key)),
  };
}

/** One object is used for each call: what it says holds until the next. */
const reader = new KeyValueReader();

/**
 * Throws `invalidArgument` for what no etcd writes. Null: no version, but what `etcdutl snapshot restore` has left that
 * bumped the revision, to take its place.
 */
export function versionOf({ key: at, value }: Pair): StoredVersion | null {
  const { main, sub, tombstone } = revisionOf(at);
  if (value.length === 0 && !tombstone) return null;
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length);
  const where = `revision ${main}, number ${sub}`;
  try {
    reader.read({ bytes, start: 0, end: bytes.length });
  } catch (error) {
    throw isDbError(error) ? refused(`${where}: ${error.message}`) : error;
  }
  const { key, createRevision, modRevision, version, valueStart, valueEnd, lease } = reader;
  if (key === "") throw refused(`${where}: its key is empty`);
  if (tombstone) return { main, sub, tombstone, key, bytes: bytes.subarray(0, 0), lease: 0n };
  if (modRevision !== main || createRevision > main || createRevision < 1 || version < 1)
    throw refused(`${where}: its pair has revisions ${createRevision} and ${modRevision}, version ${version}`);
  const parts = { key, createRevision, modRevision, version, value: bytes, valueStart, valueEnd, lease };
  if (keyValueBytes(parts) !== bytes.length) throw refused(`${where}: its pair is not encoded as etcd encodes it`);
  return { main, sub, tombstone, key, bytes, lease };
}

export function revisionOf(key: Uint8Array): { main: number; sub: number; tombstone: boolean } {
  const bytes = Buffer.from(key.buffer, key.byteOffset, key.length);
  const tombstone = bytes.length === REVISION_BYTES + 1 && bytes[REVISION_BYTES] === TOMBSTONE_MARK;
  if ((bytes.length !== REVISION_BYTES && !tombstone) || bytes[8] !== SEPARATOR)
    throw refused(`the bucket "key" has ${hex(bytes)}, which is no revision`);
  const [main, sub] = [bytes.readBigUInt64BE(0), bytes.readBigUInt64BE(9)];
  if (main > BigInt(REVISION_MAX) || main < 1n || sub > 0xffffffffn)
    throw refused(`revision ${main}, number ${sub} is out of bounds`);
  return { main: Number(main), sub: Number(sub), tombstone };
}

const compactionOf = (name: string, bytes: Uint8Array | undefined): number => {
  if (bytes === undefined) return -1;
  try {
    return revisionOf(bytes).main;
  } catch {
    throw refused(`the bucket "meta" has no revision as ${name}`);
  }
};

function authRevision(bytes: Uint8Array | undefined): number {
  if (bytes === undefined) return 1;
  const value = bytes.length === 8 ? Buffer.from(bytes).readBigUInt64BE(0) : -1n;
  if (value < 0n || value > BigInt(Number.MAX_SAFE_INTEGER)) throw refused('the bucket "auth" has no revision');
  return Math.max(1, Number(value));
}

function leaseOf({ key, value }: Pair): EtcdState["leases"][number] {
  const fields = protoFields(value, "a lease");
  const id = BigInt.asIntN(64, numberIn(fields, 1));
  const ttl = numberIn(fields, 2);
  const isKey = key.length === 8 && BigInt.asIntN(64, Buffer.from(key).readBigUInt64BE(0)) === id;
  if (!isKey || id === 0n || ttl < 1n || ttl > BigInt(Number.MAX_SAFE_INTEGER))
    throw refused(`the lease ${hex(key)} has id ${id} and TTL ${ttl}`);
  return { id, ttlSeconds: Number(ttl) };
}

function alarmOf(key: Uint8Array): Alarm {
  const fields = protoFields(key, "an alarm");
  return { memberId: numberIn(fields, 1), type: Number(BigInt.asIntN(32, numberIn(fields, 2))) };
}

function named<T extends { name: string }>(
  what: string,
  { key, value }: Pair,
  decode: (row: { bytes: Uint8Array; start: number; end: number }) => T,
): T {
  let found: T;
  try {
    found = decode({ bytes: value, start: 0, end: value.length });
  } catch (error) {
    throw isDbError(error) ? refused(`the ${what} ${shown(key)}: ${error.message}`) : error;
  }
  if (found.name !== latin1(key)) throw refused(`the ${what} ${shown(key)} has another name in it`);
  return found;
}

/** Of a message whose fields are all numbers. */
function protoFields(bytes: Uint8Array, what: string): Map<number, bigint> {
  if (bytes.length > MESSAGE_BYTES_MAX) throw refused(`${what} has ${bytes.length} bytes`);
  const fields = new Map<number, bigint>();
  let at = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) break;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw refused(`${what} (${hex(bytes)}) ends early`);
  };
  while (at < bytes.length) {
    const tag = varint();
    if ((tag & 7n) !== 0n) throw refused(`${what} (${hex(bytes)}) has an unknown field`);
    fields.set(Number(tag >> 3n), varint());
  }
  return fields;
}

const numberIn = (fields: Map<number, bigint>, field: number): bigint => fields.get(field) ?? 0n;

/** A bucket that is small beside the keys. */
function all(file: BboltReader, name: string): Pair[] {
  const pairs: Pair[] = [];
  let bytes = 0;
  for (const page of file.pairs(name)) {
    for (const { key, value } of page) {
      bytes += key.length + value.length;
      pairs.push({ key: Buffer.from(key), value: Buffer.from(value) });
    }
    if (bytes > BUCKET_BYTES_MAX) throw refused(`the bucket "${name}" has more than ${BUCKET_BYTES_MAX} bytes`);
  }
  return pairs;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString("hex");

const shown = (bytes: Uint8Array): string => JSON.stringify(latin1(bytes.subarray(0, SHOWN_BYTES)));

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).latin1Slice();

const refused = (what: string): DbError => new DbError("invalidArgument", what);
