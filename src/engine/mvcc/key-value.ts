import { DbError } from "../../base/errors.ts";
import { varintSize, writeVarint } from "../../base/varint.ts";
import type { Row } from "../engine.ts";

/**
 * mvccpb.KeyValue as etcd puts it on the wire: fields 1 to 6 in order, those that are zero or empty left out.
 *
 *   1 key bytes │ 2 create_revision │ 3 mod_revision │ 4 version │ 5 value bytes │ 6 lease (int64, two's complement)
 *
 * It is what is stored, so that a response copies stored bytes.
 */
const KEY_TAG = 0x0a;
const CREATE_TAG = 0x10;
const MOD_TAG = 0x18;
const VERSION_TAG = 0x20;
const VALUE_TAG = 0x2a;
const LEASE_TAG = 0x30;

/** Below this many characters a loop is cheaper than the call into native code. */
const KEY_LOOP_LENGTH_MAX = 24;

export interface KeyValueParts {
  readonly key: string;
  readonly createRevision: number;
  readonly modRevision: number;
  readonly version: number;
  /** The value is value[valueStart, valueEnd). */
  readonly value: Uint8Array;
  readonly valueStart: number;
  readonly valueEnd: number;
  /** 0n for none; any other int64. */
  readonly lease: bigint;
}

/** The encoded size. */
export function keyValueBytes(pair: KeyValueParts): number {
  const keyBytes = pair.key.length;
  const valueBytes = pair.valueEnd - pair.valueStart;
  let size = keyBytes === 0 ? 0 : 1 + varintSize(keyBytes) + keyBytes;
  if (pair.createRevision !== 0) size += 1 + varintSize(pair.createRevision);
  if (pair.modRevision !== 0) size += 1 + varintSize(pair.modRevision);
  if (pair.version !== 0) size += 1 + varintSize(pair.version);
  if (valueBytes !== 0) size += 1 + varintSize(valueBytes) + valueBytes;
  if (pair.lease !== 0n) size += 1 + int64Size(pair.lease);
  return size;
}

export const deletedKeyValueBytes = (key: string, modRevision: number): number =>
  1 + varintSize(key.length) + key.length + 1 + varintSize(modRevision);

/** Writes keyValueBytes(pair) bytes at `at`; returns the place behind them. */
export function writeKeyValue(bytes: Buffer, at: number, pair: KeyValueParts): number {
  at = writeKeyField(bytes, at, pair.key);
  if (pair.createRevision !== 0) {
    bytes[at] = CREATE_TAG;
    at = writeVarint(bytes, at + 1, pair.createRevision);
  }
  if (pair.modRevision !== 0) {
    bytes[at] = MOD_TAG;
    at = writeVarint(bytes, at + 1, pair.modRevision);
  }
  if (pair.version !== 0) {
    bytes[at] = VERSION_TAG;
    at = writeVarint(bytes, at + 1, pair.version);
  }
  const valueBytes = pair.valueEnd - pair.valueStart;
  if (valueBytes !== 0) {
    bytes[at] = VALUE_TAG;
    at = writeVarint(bytes, at + 1, valueBytes);
    if (valueBytes === pair.value.length) bytes.set(pair.value, at);
    else bytes.set(pair.value.subarray(pair.valueStart, pair.valueEnd), at);
    at += valueBytes;
  }
  if (pair.lease !== 0n) {
    bytes[at] = LEASE_TAG;
    at = writeInt64(bytes, at + 1, pair.lease);
  }
  return at;
}

/** The value of a pair that was not there before, and the fields that its transaction gives all such pairs. */
export interface NewValue {
  /** create_revision, mod_revision and version, encoded. */
  readonly fields: Uint8Array;
  /** The value is bytes[valueStart, valueEnd). */
  readonly bytes: Buffer;
  readonly valueStart: number;
  readonly valueEnd: number;
}

/** Of pairs that revision `revision` makes. */
export function newPairFields(revision: number): Uint8Array {
  const fields = new Uint8Array(5 + 2 * varintSize(revision));
  fields[0] = CREATE_TAG;
  let at = writeVarint(fields, 1, revision);
  fields[at] = MOD_TAG;
  at = writeVarint(fields, at + 1, revision);
  fields[at] = VERSION_TAG;
  fields[at + 1] = 1;
  return fields.subarray(0, at + 2);
}

/** keyValueBytes of such a pair, without a lease. */
export function newPairBytes(key: string, { fields, valueStart, valueEnd }: NewValue): number {
  const valueBytes = valueEnd - valueStart;
  const size = 1 + varintSize(key.length) + key.length + fields.length;
  return valueBytes === 0 ? size : size + 1 + varintSize(valueBytes) + valueBytes;
}

/** Below this many bytes a loop is cheaper than the call into native code. */
const VALUE_LOOP_BYTES_MAX = 64;
const nativeCopy = Buffer.prototype.copy;

/** What writeKeyValue writes of such a pair. */
export function writeNewPair(to: Buffer, at: number, key: string, value: NewValue): number {
  const { fields, bytes, valueStart, valueEnd } = value;
  at = writeKeyField(to, at, key);
  for (let i = 0; i < fields.length; i++) to[at++] = fields[i]!;
  const valueBytes = valueEnd - valueStart;
  if (valueBytes === 0) return at;
  to[at] = VALUE_TAG;
  at = writeVarint(to, at + 1, valueBytes);
  if (valueBytes > VALUE_LOOP_BYTES_MAX) nativeCopy.call(bytes, to, at, valueStart, valueEnd);
  else for (let i = 0; i < valueBytes; i++) to[at + i] = bytes[valueStart + i]!;
  return at + valueBytes;
}

/** The KeyValue of a deletion: key and mod_revision alone (W11). */
export function writeDeletedKeyValue(bytes: Buffer, at: number, key: string, modRevision: number): number {
  at = writeKeyField(bytes, at, key);
  bytes[at] = MOD_TAG;
  return writeVarint(bytes, at + 1, modRevision);
}

function writeKeyField(bytes: Buffer, at: number, key: string): number {
  const length = key.length;
  if (length === 0) return at;
  bytes[at] = KEY_TAG;
  at = writeVarint(bytes, at + 1, length);
  if (length > KEY_LOOP_LENGTH_MAX) return at + bytes.latin1Write(key, at, length);
  for (let i = 0; i < length; i++) bytes[at + i] = key.charCodeAt(i);
  return at + length;
}

/** An int64 as protobuf's varint: a negative one takes ten bytes. */
function writeInt64(bytes: Uint8Array, at: number, value: bigint): number {
  if (value > 0n && value <= 0xffffffffn) return writeVarint(bytes, at, Number(value));
  let rest = BigInt.asUintN(64, value);
  while (rest >= 0x80n) {
    bytes[at++] = Number(rest & 0x7fn) | 0x80;
    rest >>= 7n;
  }
  bytes[at++] = Number(rest);
  return at;
}

const int64Size = (value: bigint): number =>
  value >= 0n && value <= 0xffffffffn ? varintSize(Number(value)) : varint64Size(BigInt.asUintN(64, value));

function varint64Size(value: bigint): number {
  let size = 1;
  for (; value >= 0x80n; value >>= 7n) size++;
  return size;
}

/**
 * Where the fields of one encoded KeyValue are. One object is used again and again: what it says holds until its next
 * `read`. Bytes that no writer of ours makes (a field unknown, twice or out of order, a number over 2^53 − 1) are
 * `corrupt`.
 */
export class KeyValueReader {
  keyStart = 0;
  keyEnd = 0;
  createRevision = 0;
  modRevision = 0;
  version = 0;
  valueStart = 0;
  valueEnd = 0;
  hasLease = false;
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;
  #end = 0;
  #leaseStart = 0;

  read(row: Row): this {
    this.#bytes = row.bytes;
    this.#at = row.start;
    this.#end = row.end;
    if (this.#end > row.bytes.length) this.#refuse("ends early");
    this.createRevision = this.modRevision = this.version = 0;
    this.keyStart = this.keyEnd = this.valueStart = this.valueEnd = row.start;
    this.hasLease = false;
    const bytes = row.bytes;
    if (this.#next(bytes, KEY_TAG)) {
      const length = this.#varint(bytes);
      this.keyStart = this.#at;
      this.keyEnd = this.#skip(length);
    }
    if (this.#next(bytes, CREATE_TAG)) this.createRevision = this.#varint(bytes);
    if (this.#next(bytes, MOD_TAG)) this.modRevision = this.#varint(bytes);
    if (this.#next(bytes, VERSION_TAG)) this.version = this.#varint(bytes);
    if (this.#next(bytes, VALUE_TAG)) {
      const length = this.#varint(bytes);
      this.valueStart = this.#at;
      this.valueEnd = this.#skip(length);
    }
    if (this.#next(bytes, LEASE_TAG)) {
      this.hasLease = true;
      this.#leaseStart = this.#at;
      this.#skipInt64(bytes);
    }
    if (this.#at !== this.#end) this.#refuse("an unknown or misplaced field");
    return this;
  }

  /** Exact; 0n for none. */
  get lease(): bigint {
    if (!this.hasLease) return 0n;
    let value = 0n;
    let at = this.#leaseStart;
    for (let shift = 0n; ; shift += 7n) {
      const byte = this.#bytes[at++]!;
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asIntN(64, value);
    }
  }

  get key(): string {
    const bytes = this.#bytes;
    // What is replayed lies in buffers: making one for each key takes longer than reading it.
    if (bytes instanceof Buffer) return bytes.latin1Slice(this.keyStart, this.keyEnd);
    const { buffer, byteOffset } = bytes;
    return Buffer.from(buffer, byteOffset + this.keyStart, this.keyEnd - this.keyStart).latin1Slice();
  }

  get value(): Uint8Array {
    return this.#bytes.subarray(this.valueStart, this.valueEnd);
  }

  #next(bytes: Uint8Array, tag: number): boolean {
    if (this.#at >= this.#end || bytes[this.#at] !== tag) return false;
    this.#at++;
    return true;
  }

  #varint(bytes: Uint8Array): number {
    let value = 0;
    let scale = 1;
    while (this.#at < this.#end) {
      const byte = bytes[this.#at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) break;
        return value;
      }
      scale *= 0x80;
      if (scale > Number.MAX_SAFE_INTEGER) break;
    }
    return this.#refuse("a number that ends early or is over 2^53 - 1");
  }

  #skip(length: number): number {
    if (length > this.#end - this.#at) this.#refuse("ends early");
    this.#at += length;
    return this.#at;
  }

  #skipInt64(bytes: Uint8Array): void {
    for (let n = 0; n < 10 && this.#at < this.#end; n++) if (bytes[this.#at++]! < 0x80) return;
    this.#refuse("a lease that is no int64");
  }

  #refuse(what: string): never {
    throw new DbError("corrupt", `a stored key-value pair has ${what} at byte ${this.#at}`);
  }
}
