import { assert } from "../base/assert.ts";
import type { DbError } from "../base/errors.ts";
import { type Revision, revision } from "../base/ids.ts";
import { VARINT_BYTES_MAX, varintSize, writeVarint } from "../base/varint.ts";
import { AT_HEAD, type Effect, type Entry, KEYS, type Space, spaces, type Tree } from "../storage/storage.ts";
import type { Change } from "./changes.ts";
import type { PlainPuts, Row } from "./engine.ts";
import { endOfPrefix, leaseKey } from "./lease-key.ts";
import {
  deletedKeyValueBytes,
  KeyValueReader,
  keyValueBytes,
  type NewValue,
  newPairBytes,
  newPairFields,
  writeDeletedKeyValue,
  writeKeyValue,
  writeNewPair,
} from "./mvcc/key-value.ts";
import { Reads } from "./reads.ts";
import { EFFECT_SHIFT, RECORD_VERSION, type RecordKind, recordKinds, TOMBSTONE_BIT } from "./record.ts";

/**
 * Records are encoded one behind the other into chunks of this size, which are never written twice: rows point into
 * them, and a memtable keeps them instead of copies.
 */
const CHUNK_BYTES = 256 << 10;
/** A record that is known to be larger gets bytes of its own: so less than that is left over at the end of a chunk. */
const SHARED_BYTES_MAX = CHUNK_BYTES >> 3;
/** Flags, and two varints. */
const ENTRY_HEADER_BYTES_MAX = 1 + 2 * VARINT_BYTES_MAX;
/** Of a pair without a lease, beside key and value: flags, its length, five fields' tags and the varints of four. */
const PLAIN_OVERHEAD_BYTES_MAX = 1 + 5 + 6 * VARINT_BYTES_MAX;
const NOTHING = new Uint8Array(0);
const NO_CHUNK: Buffer = Buffer.alloc(0);
/** Of a record: version and kind. */
const HEADER_BYTES = 2;

/** A put as it will be stored. */
export interface NewPair {
  readonly key: string;
  readonly value: Uint8Array;
  readonly valueStart: number;
  readonly valueEnd: number;
  readonly lease: bigint;
  /** The pair as it is now, in this transaction too; null if there is none. */
  readonly prev: Row | null;
}

/**
 * What one request would change, while it is being evaluated against the head: the record's bytes, its entries and its
 * changes. Nothing of it is visible before the sequencer has taken it; a draft that is thrown away leaves no trace. It
 * keeps in step what must not come apart: pairs, counts (effects) and the attachment of keys to leases.
 */
export class Draft {
  readonly reads: Reads;
  /** Leases were left out when the branch was cut. */
  readonly leasesStripped: boolean;
  /** Thrown by whatever writes; null: nothing is. */
  refusal: DbError | null = null;
  /** Of the head, before this request. */
  revision: Revision = revision(1);
  compactRevision = -1;
  /** The number that its record gets, if there is one. */
  record = 0;
  kind: RecordKind = recordKinds.transaction;
  entries: Entry[] = [];
  changes: Change[] = [];
  /** The revision that it goes up to by itself; null: as any other. */
  bump: Revision | null = null;
  /** Run once what was evaluated is durable, before the answer leaves. */
  afterCommit: (() => void) | null = null;
  /** The chunk being filled, and up to where. */
  #chunk = NO_CHUNK;
  #chunkAt = 0;
  /** What this record is written into, from `start` on: that chunk, or bytes of its own. */
  #bytes = NO_CHUNK;
  #start = 0;
  #at = 0;
  #otherSub = 0;
  /** Some rows of this record lie in bytes that it has outgrown. */
  #outgrown = false;
  readonly #prev = new KeyValueReader();

  constructor(tree: Tree, { leasesStripped = false }: { leasesStripped?: boolean } = {}) {
    this.leasesStripped = leasesStripped;
    this.reads = new Reads(tree, AT_HEAD);
  }

  begin(head: { revision: Revision; compactRevision: number; record: number }, answers: unknown[] | null): void {
    this.revision = head.revision;
    this.compactRevision = head.compactRevision;
    this.record = head.record + 1;
    this.kind = recordKinds.transaction;
    if (this.entries.length !== 0) this.entries = [];
    if (this.changes.length !== 0) this.changes = [];
    this.bump = null;
    this.afterCommit = null;
    this.#bytes = this.#chunk;
    this.#start = this.#at = this.#chunkAt;
    this.#outgrown = false;
    this.#otherSub = 0;
    this.reads.begin(answers);
  }

  /** Instead of a change of keys: the branch goes on from this revision, compacted there. */
  bumpTo(to: Revision): void {
    assert(this.changes.length === 0 && to > this.revision, "a bump goes up, and changes no keys");
    this.bump = to;
    this.compactRevision = to;
  }

  /** The revision that this request takes if it changes the user's keys. */
  get nextRevision(): Revision {
    return (this.revision + 1) as Revision;
  }

  /** etcd's revision at this point of the request: one up from the first change on (Q5). */
  get revisionSoFar(): Revision {
    return this.changes.length === 0 ? this.revision : this.nextRevision;
  }

  /** Writes the pairs of `puts`, each over the one of `prevs` that has its key; null: no key is there. */
  putAll(puts: PlainPuts, prevs: readonly (Row | null)[] | null): void {
    const { keys, bytes, bounds, pairBytes } = puts;
    this.#reserve(pairBytes + keys.length * PLAIN_OVERHEAD_BYTES_MAX);
    const fields = newPairFields(this.revision + 1);
    for (let n = 0; n < keys.length; n++) {
      const key = keys[n]!;
      const valueStart = bounds[2 * n]!;
      const valueEnd = bounds[2 * n + 1]!;
      const prev = prevs === null ? null : prevs[n]!;
      if (prev === null) this.#putNew(key, { fields, bytes, valueStart, valueEnd });
      else this.put({ key, value: bytes, valueStart, valueEnd, lease: 0n, prev });
    }
  }

  /** A pair that was not there, without a lease; there is room for it. */
  #putNew(key: string, value: NewValue): void {
    const to = this.#bytes;
    const size = newPairBytes(key, value);
    to[this.#at] = entryFlags(KEYS, false, 1);
    const start = writeVarint(to, this.#at + 1, size);
    const end = (this.#at = writeNewPair(to, start, key, value));
    assert(end - start === size, "a pair has the size foretold");
    const row = new NewRow(key, this.revision + 1, this.changes.length, { bytes: to, start, end });
    this.entries.push(row);
    this.changes.push(row);
  }

  /** Writes a pair over what `pair.prev` says; returns the new one. */
  put(pair: NewPair): Entry {
    const { prev } = pair;
    let createRevision = this.revision + 1;
    let version = 1;
    let leaseBefore = 0n;
    if (prev !== null) {
      const header = this.#prev.read(prev);
      createRevision = header.createRevision;
      version = header.version + 1;
      if (header.hasLease) leaseBefore = this.#holderOf(pair.key, header.lease);
    }
    const { key, value, valueStart, valueEnd, lease } = pair;
    const modRevision = this.revision + 1;
    const parts = { key, createRevision, modRevision, version, value, valueStart, valueEnd, lease };
    const size = keyValueBytes(parts);
    const effect = prev === null ? 1 : 0;
    this.#openPair(size, entryFlags(KEYS, false, effect));
    const start = this.#at;
    const end = (this.#at = writeKeyValue(this.#bytes, start, parts));
    assert(end - start === size, "a pair has the size foretold");
    const sub = this.changes.length;
    const bytes = this.#bytes;
    const row: Entry = { space: KEYS, key, main: modRevision, sub, tombstone: false, effect, bytes, start, end };
    this.entries.push(row);
    this.changes.push({ key: pair.key, kv: row, deleted: false, prev });
    const leaseNow = this.#isGone(pair.lease) ? 0n : pair.lease;
    if (leaseBefore !== leaseNow) this.#moveLease(pair.key, leaseBefore, leaseNow);
    return row;
  }

  /**
   * Deletes a pair: `prev` as it is now; `before` as it was before this request (W10), which differs where one
   * transaction changes a key twice.
   */
  delete(key: string, { prev, before }: { prev: Row; before: Row | null }): void {
    const main = this.revision + 1;
    this.#openPair(deletedKeyValueBytes(key, main), entryFlags(KEYS, true, -1));
    const start = this.#at;
    const end = (this.#at = writeDeletedKeyValue(this.#bytes, start, key, main));
    const sub = this.changes.length;
    const bytes = this.#bytes;
    this.entries.push({ space: KEYS, key, main, sub, tombstone: true, effect: -1, bytes, start, end: start });
    const kv: Row = { bytes, start, end };
    this.changes.push({ key, kv, deleted: true, prev: before });
    const header = this.#prev.read(prev);
    if (header.hasLease) this.#moveLease(key, this.#holderOf(key, header.lease), 0n);
  }

  /** The lease that a pair hangs on: where leases were stripped it may name one that it does not; then none. */
  #holderOf(key: string, lease: bigint): bigint {
    if (!this.leasesStripped) return lease;
    const held = leaseKey(lease) + key;
    const own = this.entries.findLast((entry) => entry.space === spaces.leaseKeys && entry.key === held);
    const isHeld = own === undefined ? this.reads.getOther(spaces.leaseKeys, held) !== null : !own.tombstone;
    return isHeld ? lease : 0n;
  }

  /** So can be a lease that a put takes over from the pair before it. */
  #isGone(lease: bigint): boolean {
    return this.leasesStripped && lease !== 0n && this.reads.getOther(spaces.leases, leaseKey(lease)) === null;
  }

  /**
   * Writes (or with null deletes) an entry of a space other than the user's keys. `effect` as the count of its live
   * keys changes.
   */
  entry(space: Exclude<Space, typeof KEYS>, key: string, value: Uint8Array | null, effect: Effect): void {
    assert(space !== (KEYS as number), "the user's keys are written as pairs");
    const valueBytes = value === null ? 0 : value.length;
    this.#reserve(ENTRY_HEADER_BYTES_MAX + key.length + valueBytes);
    const bytes = this.#bytes;
    bytes[this.#at++] = entryFlags(space, value === null, effect);
    this.#at = writeVarint(bytes, this.#at, key.length);
    this.#at += bytes.latin1Write(key, this.#at, key.length);
    if (value !== null) {
      this.#at = writeVarint(bytes, this.#at, valueBytes);
      bytes.set(value, this.#at);
      this.#at += valueBytes;
    }
    const start = this.#at - valueBytes;
    const tombstone = value === null;
    const sub = this.#otherSub++;
    this.entries.push({ space, key, main: this.record, sub, tombstone, effect, bytes, start, end: this.#at });
  }

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** The evaluation may have changed more than this draft: all but transactions may, once they have written. */
  get mayHaveLeft(): boolean {
    return !this.isEmpty && this.kind !== recordKinds.transaction;
  }

  /** All rows lie in the payload: the memory that it is in holds little else than rows, and may be kept for them. */
  get isInOnePiece(): boolean {
    return !this.#outgrown;
  }

  /** The record's payload; nothing else is ever written where it lies. */
  finish(): Uint8Array {
    assert(!this.isEmpty, "a record has entries");
    this.#bytes[this.#start] = RECORD_VERSION;
    this.#bytes[this.#start + 1] = this.kind;
    const payload = this.#bytes.subarray(this.#start, this.#at);
    if (this.#bytes === this.#chunk) this.#chunkAt = this.#at;
    return payload;
  }

  /** Keys attached to a lease, with the lease's key before each. */
  attachedKeys(lease: bigint): string[] {
    const prefix = leaseKey(lease);
    const versions = this.reads.scan(spaces.leaseKeys, { from: prefix, to: endOfPrefix(prefix) });
    return versions.map((version) => version.key);
  }

  #openPair(size: number, flags: number): void {
    this.#reserve(1 + varintSize(size) + size);
    this.#bytes[this.#at] = flags;
    this.#at = writeVarint(this.#bytes, this.#at + 1, size);
  }

  #moveLease(key: string, from: bigint, to: bigint): void {
    if (from !== 0n) this.entry(spaces.leaseKeys, leaseKey(from) + key, null, -1);
    if (to !== 0n) this.entry(spaces.leaseKeys, leaseKey(to) + key, NOTHING, 1);
  }

  /**
   * Makes room for `size` more bytes; what is written of this record so far moves along, rows into the bytes before
   * stay good.
   */
  #reserve(size: number): void {
    if (this.refusal !== null) throw this.refusal;
    if (this.#at === this.#start) this.#at += HEADER_BYTES;
    if (this.#at + size <= this.#bytes.length) return;
    const written = this.#at - this.#start;
    const needed = written + size;
    if (!this.isEmpty) {
      this.#outgrown = true;
      if (this.#bytes === this.#chunk) this.#chunkAt = this.#at;
      this.#moveTo(Buffer.allocUnsafeSlow(2 * needed));
    } else if (needed > SHARED_BYTES_MAX) this.#moveTo(Buffer.allocUnsafeSlow(needed));
    else {
      this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
      this.#chunkAt = 0;
      this.#moveTo(this.#chunk);
    }
  }

  #moveTo(bytes: Buffer): void {
    this.#bytes.copy(bytes, 0, this.#start, this.#at);
    this.#at -= this.#start;
    this.#bytes = bytes;
    this.#start = 0;
  }
}

/** A pair that was not there before: what is added to the tree, and what watchers are told, in one object. */
class NewRow implements Entry, Change {
  readonly space = KEYS;
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone = false;
  readonly effect = 1;
  readonly bytes: Buffer;
  readonly start: number;
  readonly end: number;
  readonly deleted = false;
  readonly prev = null;

  constructor(
    key: string,
    main: number,
    sub: number,
    { bytes, start, end }: { bytes: Buffer; start: number; end: number },
  ) {
    this.key = key;
    this.main = main;
    this.sub = sub;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
  }

  get kv(): Row {
    return this;
  }
}

const entryFlags = (space: Space, tombstone: boolean, effect: Effect): number =>
  space | (tombstone ? TOMBSTONE_BIT : 0) | ((effect + 1) << EFFECT_SHIFT);
