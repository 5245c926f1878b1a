import { ByteReader } from "../base/varint.ts";
import { KeyHash } from "./bloom.ts";
import { BEFORE_KEY_BYTES, type EntryHead, hashEncoded, keyScratch } from "./content-hash.ts";
import { comparePositions, MAIN_NEWEST, type Position, SUB_NEWEST } from "./position.ts";
import type { Effect, Space } from "./storage.ts";
import { readEntryHead } from "./table-block.ts";

/**
 * A block of entries as a table has them, which may go into a table as it is: nobody but who hashes its entries looks
 * at them, and makes no object and no string of any.
 */
export interface EncodedBlock {
  readonly space: Space;
  readonly count: number;
  readonly bytes: Buffer;
  readonly first: Position;
  readonly last: Position;
  readonly mainMin: number;
  /** A table begins with it, if it goes there as it is, and not before this key; null: where the one before is full. */
  readonly tableAt: string | null;
}

/** What a table says of the entries of a block. */
export interface BlockTotals {
  mainMin: number;
  mainMax: number;
  effectSum: number;
  effectMain: number;
  /** Other than the one that came before the block. */
  keys: number;
  tombstones: number;
  valueBytes: number;
}

const hash = new KeyHash();

/**
 * Goes through a block once: adds up what is in it, hashes its entries into `lanes`, and gives `onKey` the hash of each
 * key but `before`, the one that came before the block. Throws a RangeError where entries are not those of a block,
 * from `first` to `last`.
 */
export function passThrough(
  block: EncodedBlock,
  before: string | null,
  into: { readonly lanes: Uint32Array; onKey(hash: KeyHash): void },
): BlockTotals {
  const { space, count, bytes, first, last } = block;
  const totals = {
    mainMin: MAIN_NEWEST,
    mainMax: 0,
    effectSum: 0,
    effectMain: 0,
    keys: 0,
    tombstones: 0,
    valueBytes: 0,
  };
  const reader = new ByteReader(bytes);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const head: EntryHead = { space, keyBytes: 0, tombstone: false, main: 0, sub: 0, start: 0, end: 0 };
  let key = keyScratch(0);
  let previousMain = MAIN_NEWEST;
  let previousSub = SUB_NEWEST;
  for (let i = 0; i < count; i++) {
    const shared = reader.varint();
    const unshared = reader.varint();
    const rest = reader.skip(unshared);
    const { keyBytes } = head;
    const isSameKey = i > 0 && unshared === 0 && shared === keyBytes;
    if (!isSameKey) {
      if (shared > keyBytes || (i > 0 && unshared === 0)) throw new RangeError("keys are not in order");
      if (shared < keyBytes && bytes[rest]! <= key[BEFORE_KEY_BYTES + shared]!) {
        throw new RangeError("keys are not in order");
      }
      key = keyScratch(shared + unshared);
      for (let n = 0, at = BEFORE_KEY_BYTES + shared; n < unshared; n++) key[at + n] = bytes[rest + n]!;
      head.keyBytes = shared + unshared;
    }
    const effect: Effect = readEntryHead(reader, head);
    const { main, sub, tombstone } = head;
    if (isSameKey && (main > previousMain || (main === previousMain && sub >= previousSub))) {
      throw new RangeError("versions of a key are not in order");
    }
    previousMain = main;
    previousSub = sub;
    if (!isSameKey && !(i === 0 && first.key === before)) {
      totals.keys++;
      into.onKey(hash.ofBytes(space, key, BEFORE_KEY_BYTES, BEFORE_KEY_BYTES + head.keyBytes));
    }
    if (main < totals.mainMin) totals.mainMin = main;
    if (main > totals.mainMax) totals.mainMax = main;
    totals.effectSum += effect;
    if (effect !== 0 && main > totals.effectMain) totals.effectMain = main;
    if (tombstone) totals.tombstones++;
    totals.valueBytes += head.end - head.start;
    hashEncoded(head, view, into.lanes);
    if (i === 0) checkEntry(head, key, first);
  }
  if (reader.left !== 0) throw new RangeError(`${reader.left} bytes too many`);
  checkEntry(head, key, last);
  return totals;
}

/** What others go by is what the bytes say. */
function checkEntry({ space, keyBytes, main, sub }: EntryHead, key: Buffer, expected: Position): void {
  const found = { space, key: key.latin1Slice(BEFORE_KEY_BYTES, BEFORE_KEY_BYTES + keyBytes), main, sub };
  if (comparePositions(found, expected) !== 0) throw new RangeError("a block begins or ends with another entry");
}
