import { DbError } from "../base/errors.ts";
import { ByteReader } from "../base/varint.ts";
import type { LogRecord } from "../log/log.ts";
import { type Effect, type Entry, KEYS, type Space, spaces, type Tree } from "../storage/storage.ts";
import { KeyValueReader } from "./mvcc/key-value.ts";

/**
 * The payload of a log record (docs/formats/record.md): what one change adds to the tree. Replaying is applying each
 * entry; the sequencer applies the same ones. Invariants, asserted where they are written and checked where they are
 * read:
 *   - entries of the user's keys carry a KeyValue whose mod_revision is the record's revision; the n-th of them has
 *     sub n;
 *   - a record with such entries takes a revision, one without does not, but that a bump goes up to any;
 *   - entries of other spaces have the record's number as main, and the n-th of them has sub n.
 */
export const RECORD_VERSION = 1;

/**
 * What made a record, for those who read a log; replay does not depend on it. A number is never given a second meaning.
 */
export const recordKinds = {
  transaction: 1,
  leaseGrant: 2,
  leaseRevoke: 3,
  /** Remaining times of leases, logged where a leadership ends cleanly. */
  leaseRelease: 4,
  compaction: 5,
  setting: 6,
  auth: 7,
  alarm: 8,
  /** Users and roles, or leases, that a branch was cut without. */
  strip: 9,
  /** A branch goes on from a higher revision, and is compacted there: of a promotion or a restore. */
  bump: 10,
} as const;
export type RecordKind = (typeof recordKinds)[keyof typeof recordKinds];

const KNOWN_KINDS: ReadonlySet<number> = new Set(Object.values(recordKinds));
const KNOWN_SPACES: ReadonlySet<number> = new Set(Object.values(spaces));

/** Bits of an entry's first byte. */
const SPACE_MASK = 0x0f;
export const TOMBSTONE_BIT = 0x10;
export const EFFECT_SHIFT = 5;
const EFFECT_MASK = 0x60;
const RESERVED_BIT = 0x80;

export interface DecodedRecord {
  readonly kind: RecordKind;
  readonly entries: Entry[];
}

/** Throws `corrupt`, naming the record. Entries are views into the payload. */
export function decodeRecord(record: LogRecord): DecodedRecord {
  try {
    return decode(record);
  } catch (error) {
    if (!(error instanceof RangeError) && !(error instanceof DbError)) throw error;
    throw new DbError("corrupt", `log record ${record.number}: ${error.message}`, { cause: error });
  }
}

function decode(record: LogRecord): DecodedRecord {
  const reader = new ByteReader(record.payload);
  const version = reader.u8();
  if (version !== RECORD_VERSION) throw new RangeError(`payload version ${version}, not ${RECORD_VERSION}`);
  const kind = reader.u8();
  if (!KNOWN_KINDS.has(kind)) throw new RangeError(`unknown kind ${kind}`);
  const entries: Entry[] = [];
  let keySub = 0;
  let otherSub = 0;
  while (reader.left > 0) {
    const flags = reader.u8();
    const space = flags & SPACE_MASK;
    if ((flags & RESERVED_BIT) !== 0 || !KNOWN_SPACES.has(space)) throw new RangeError(`unknown entry flags ${flags}`);
    const effect = ((flags & EFFECT_MASK) >> EFFECT_SHIFT) - 1;
    if (effect > 1) throw new RangeError(`unknown effect in entry flags ${flags}`);
    const shape = { tombstone: (flags & TOMBSTONE_BIT) !== 0, effect: effect as Effect };
    if (space === KEYS) entries.push(decodePair(record, reader, { ...shape, sub: keySub++ }));
    else entries.push(decodeOther(record, reader, { ...shape, space: space as Space, sub: otherSub++ }));
  }
  return { kind: kind as RecordKind, entries };
}

const pair = new KeyValueReader();

function decodePair(
  record: LogRecord,
  reader: ByteReader,
  { tombstone, effect, sub }: { tombstone: boolean; effect: Effect; sub: number },
): Entry {
  const length = reader.varint();
  const start = reader.skip(length);
  const bytes = record.payload;
  pair.read({ bytes, start, end: reader.at });
  if (pair.keyStart === pair.keyEnd) throw new RangeError("a pair without a key");
  if (pair.modRevision !== record.revision)
    throw new RangeError(`mod_revision ${pair.modRevision} in a record of revision ${record.revision}`);
  if (tombstone && (pair.version !== 0 || pair.createRevision !== 0 || effect === 1))
    throw new RangeError("a deletion that looks like a put");
  if (!tombstone && (pair.version < 1 || pair.createRevision < 1 || effect === -1))
    throw new RangeError("a put that looks like a deletion");
  const end = tombstone ? start : reader.at;
  return { space: KEYS, key: pair.key, main: record.revision, sub, tombstone, effect, bytes, start, end };
}

function decodeOther(
  record: LogRecord,
  reader: ByteReader,
  { tombstone, effect, space, sub }: { tombstone: boolean; effect: Effect; space: Space; sub: number },
): Entry {
  const keyBytes = reader.varint();
  const key = Buffer.from(reader.take(keyBytes)).latin1Slice();
  const start = tombstone ? reader.at : reader.skip(reader.varint());
  return {
    space,
    key,
    main: record.number,
    sub,
    tombstone,
    effect,
    bytes: record.payload,
    start,
    end: reader.at,
  };
}

/** Replays one record. `revisionBefore`: the branch's revision before it. */
export function applyRecord(tree: Pick<Tree, "apply">, record: LogRecord, revisionBefore: number): DecodedRecord {
  const decoded = decodeRecord(record);
  const changesKeys = decoded.entries.some((entry) => entry.space === KEYS);
  if (changesKeys && record.revision !== revisionBefore + 1)
    throw new DbError(
      "corrupt",
      `log record ${record.number} changes keys at revision ${record.revision}, after ${revisionBefore}`,
    );
  if (!changesKeys && record.revision !== revisionBefore && decoded.kind !== recordKinds.bump)
    throw new DbError(
      "corrupt",
      `log record ${record.number} changes no keys, and goes from revision ${revisionBefore} to ${record.revision}`,
    );
  for (const entry of decoded.entries) tree.apply(entry);
  return decoded;
}
