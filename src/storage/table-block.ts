import { assert } from "../base/assert.ts";
import { ByteReader } from "../base/varint.ts";
import { FirstHash } from "./bloom.ts";
import type { ByteWriter } from "./byte-writer.ts";
import type { EntryHead } from "./content-hash.ts";
import { compareEnd, isLike } from "./key-bytes.ts";
import type { PointLookup } from "./point-lookup.ts";
import { MAIN_NEWEST, SUB_NEWEST } from "./position.ts";
import { type Effect, KEYS, type Version } from "./storage.ts";

/**
 * The content of a data block: entries of one space, in order, each key written as what it does not share with the one
 * before it (docs/formats/table.md). A block is decoded once, into columns, and then searched and read as often as it
 * is needed.
 *
 * Decoding checks the order and every length: what it accepts is what the encoder writes.
 */
export const FLAG_TOMBSTONE = 1;
export const EFFECT_SHIFT = 1;
export const FLAG_SUB = 8;
export const FLAGS_ALL = 15;

/** Reads what stands behind the key of an entry, into `head`; returns its effect. Throws a RangeError. */
export function readEntryHead(reader: ByteReader, head: EntryHead): Effect {
  const flags = reader.u8();
  const effect = ((flags >>> EFFECT_SHIFT) & 3) - 1;
  if (flags > FLAGS_ALL || effect > 1) throw new RangeError(`flags ${flags}`);
  const main = reader.varint();
  const sub = (flags & FLAG_SUB) !== 0 ? reader.varint() : 0;
  if (main === 0 || main === MAIN_NEWEST || sub >= SUB_NEWEST) throw new RangeError(`main ${main}, sub ${sub}`);
  head.tombstone = (flags & FLAG_TOMBSTONE) !== 0;
  head.main = main;
  head.sub = sub;
  const valueBytes = head.tombstone ? 0 : reader.varint();
  head.start = reader.skip(valueBytes);
  head.end = head.start + valueBytes;
  return effect as Effect;
}

/** What is kept of an entry: main (low, high with flags in the top byte), sub, where its value is, where its key is. */
const WORDS = 7;
const MAIN_LOW = 0;
const MAIN_HIGH = 1;
const SUB = 2;
const VALUE_START = 3;
const VALUE_END = 4;
const KEY_START = 5;
const KEY_END = 6;
const BLOCK_MEMORY_BYTES = 600;
/** All keys of a block, without what they have in common: more is no block of ours. */
const KEY_BYTES_MAX = 1 << 30;
/** Up to so many bytes a loop is cheaper than the call into native code. */
const COPY_LOOP_BYTES_MAX = 64;

/** Entries that a block may have for its keys to be found by hash: a slot has 16 bits for a number. */
const SLOTTED_MAX = 0xfffe;
/** Slots that are looked at for a key: whoever chooses keys that collide gains no long search. */
const PROBES = 8;

/** At least half of them stay empty. */
const slotsOf = (count: number): number => (count > SLOTTED_MAX ? 0 : 1 << (33 - Math.clz32(count - 1 || 1)));

/** Appends an entry to a block; `shared` characters of its key are those of the entry before it. */
export function writeEntry(writer: ByteWriter, version: Version, effect: Effect, shared: number): void {
  const { key, main, sub, bytes, start, end } = version;
  assert(main > 0 && main < MAIN_NEWEST && sub >= 0 && sub < SUB_NEWEST, "main and sub are those of an entry");
  writer.varint(shared);
  writer.varint(key.length - shared);
  writer.latin1(key, shared);
  const flags = (version.tombstone ? FLAG_TOMBSTONE : 0) | ((effect + 1) << EFFECT_SHIFT) | (sub > 0 ? FLAG_SUB : 0);
  writer.u8(flags);
  writer.varint(main);
  if (sub > 0) writer.varint(sub);
  if (version.tombstone) return;
  writer.varint(end - start);
  writer.raw(bytes, start, end);
}

/**
 * A data block in memory: of entry i a row of `columns`, and its key without the beginning that all keys of the block
 * share. No object and no string for each entry: a string is made of a key that is asked for.
 */
export class TableBlock {
  readonly count: number;
  /** Memory taken, about. */
  readonly memoryBytes: number;
  /** Rows, and behind them the slots: see `find`. */
  readonly #columns: Uint32Array;
  /** What all keys begin with, then the keys' ends, one behind the other; versions of one key share theirs. */
  readonly #keys: Uint8Array;
  readonly #prefixLength: number;
  readonly #bytes: Buffer;
  #slots: "none" | "asked" | "made" = "none";

  constructor(bytes: Buffer, count: number, columns: Uint32Array, keys: Uint8Array, prefixLength: number) {
    this.count = count;
    this.#columns = columns;
    this.#keys = keys;
    this.#bytes = bytes;
    this.#prefixLength = prefixLength;
    this.memoryBytes = BLOCK_MEMORY_BYTES + bytes.length + columns.byteLength + keys.length;
  }

  /** A new string each time. */
  key(i: number): string {
    const row = i * WORDS;
    const start = this.#columns[row + KEY_START]!;
    const end = this.#columns[row + KEY_END]!;
    const length = this.#prefixLength;
    growScratch(length + end - start);
    copyBytes(this.#keys, 0, length, scratch, 0);
    copyBytes(this.#keys, start, end, scratch, length);
    return scratch.latin1Slice(0, length + end - start);
  }

  /** Equal for the versions of one key, and for no other key of this block. */
  keyNumber(i: number): number {
    return this.#columns[i * WORDS + KEY_END]!;
  }

  hasKey(i: number, key: string): boolean {
    const { length } = key;
    const row = i * WORDS;
    const start = this.#columns[row + KEY_START]!;
    const prefixLength = this.#prefixLength;
    return (
      length === prefixLength + this.#columns[row + KEY_END]! - start &&
      isLike(key, prefixLength, length, this.#keys, start) &&
      isLike(key, 0, prefixLength, this.#keys, 0)
    );
  }

  main(i: number): number {
    return (this.#columns[i * WORDS + MAIN_HIGH]! & 0xff_ffff) * 0x1_0000_0000 + this.#columns[i * WORDS + MAIN_LOW]!;
  }

  sub(i: number): number {
    return this.#columns[i * WORDS + SUB]!;
  }

  effect(i: number): Effect {
    return (((this.#columns[i * WORDS + MAIN_HIGH]! >>> (24 + EFFECT_SHIFT)) & 3) - 1) as Effect;
  }

  tombstone(i: number): boolean {
    return ((this.#columns[i * WORDS + MAIN_HIGH]! >>> 24) & FLAG_TOMBSTONE) !== 0;
  }

  version(i: number): BlockVersion {
    const row = i * WORDS;
    const columns = this.#columns;
    const isTombstone = ((columns[row + MAIN_HIGH]! >>> 24) & FLAG_TOMBSTONE) !== 0;
    return new BlockVersion(this, i, isTombstone, this.#bytes, columns[row + VALUE_START]!, columns[row + VALUE_END]!);
  }

  /** From `i` on, before `end`: the first entry not newer than `at`, of another key than number `done`; else `end`. */
  nextVisible(i: number, end: number, done: number, at: number): number {
    while (i < end && (this.keyNumber(i) === done || this.main(i) > at)) i++;
    return i;
  }

  /**
   * Index of the newest entry of a key, by the key's hash, where the lookup sees that. −1 does not say that there is
   * none: the slots are filled when the block is asked a second time, and have not room for all that collide.
   *
   * A slot is that of a key's first entry: the upper half of the key's hash, and one more than the entry's number; 0 is
   * free.
   */
  find(lookup: PointLookup): number {
    if (this.#slots !== "made" && !this.#fillSlots(lookup.space)) return -1;
    const hash = lookup.hash.first;
    const columns = this.#columns;
    const start = this.count * WORDS;
    const mask = columns.length - start - 1;
    for (let probe = 0; probe < PROBES; probe++) {
      const slot = columns[start + ((hash + probe) & mask)]!;
      if (slot === 0) return -1;
      if (slot >>> 16 !== hash >>> 16) continue;
      const i = (slot & 0xffff) - 1;
      if (this.hasKey(i, lookup.key)) return this.main(i) <= lookup.main ? i : -1;
    }
    return -1;
  }

  #fillSlots(space: number): boolean {
    if (this.#slots === "none" || this.count > SLOTTED_MAX) {
      this.#slots = "asked";
      return false;
    }
    this.#slots = "made";
    const columns = this.#columns;
    const keys = this.#keys;
    const slots = this.count * WORDS;
    const mask = columns.length - slots - 1;
    const prefixLength = this.#prefixLength;
    const begun = FirstHash.go(FirstHash.of(space), keys, 0, prefixLength);
    let number = -1;
    for (let i = 0, row = 0; i < this.count; i++, row += WORDS) {
      const start = columns[row + KEY_START]!;
      const end = columns[row + KEY_END]!;
      if (end === number) continue;
      number = end;
      const hash = FirstHash.end(FirstHash.go(begun, keys, start, end), prefixLength + end - start);
      let probe = 0;
      while (probe < PROBES && columns[slots + ((hash + probe) & mask)] !== 0) probe++;
      if (probe < PROBES) columns[slots + ((hash + probe) & mask)] = ((hash >>> 16) << 16) | (i + 1);
    }
    return true;
  }

  /** Index of the first entry at or behind (key, main, sub). */
  lowerBound(key: string, main: number, sub: number): number {
    const prefixLength = this.#prefixLength;
    const prefix = this.#keys;
    const common = Math.min(prefixLength, key.length);
    for (let j = 0; j < common; j++) {
      const difference = key.charCodeAt(j) - prefix[j]!;
      if (difference !== 0) return difference < 0 ? 0 : this.count;
    }
    if (key.length < prefixLength) return 0;
    const columns = this.#columns;
    const keys = this.#keys;
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const row = middle * WORDS;
      const order = compareEnd(keys, columns[row + KEY_START]!, columns[row + KEY_END]!, key, prefixLength);
      if (order < 0 || (order === 0 && this.#isBefore(middle, main, sub))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #isBefore(i: number, main: number, sub: number): boolean {
    const found = this.main(i);
    return found === main ? this.sub(i) > sub : found > main;
  }
}

/** An entry of a block: what is seldom asked for is looked up when it is. */
export class BlockVersion implements Version {
  readonly tombstone: boolean;
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly #block: TableBlock;
  readonly #i: number;
  #key: string | null = null;

  constructor(block: TableBlock, i: number, tombstone: boolean, bytes: Uint8Array, start: number, end: number) {
    this.tombstone = tombstone;
    this.bytes = bytes;
    this.start = start;
    this.end = end;
    this.#block = block;
    this.#i = i;
  }

  get key(): string {
    return (this.#key ??= this.#block.key(this.#i));
  }

  get main(): number {
    return this.#block.main(this.#i);
  }

  get sub(): number {
    return this.#block.sub(this.#i);
  }

  get effect(): Effect {
    return this.#block.effect(this.#i);
  }
}

let scratch = Buffer.allocUnsafeSlow(4096);

function growScratch(length: number): void {
  if (length > scratch.length) scratch = Buffer.allocUnsafeSlow(length * 2);
}

function copyBytes(from: Uint8Array, start: number, end: number, into: Uint8Array, at: number): void {
  if (end - start > COPY_LOOP_BYTES_MAX) {
    into.set(from.subarray(start, end), at);
    return;
  }
  while (start < end) into[at++] = from[start++]!;
}

/** What is read of entries before their keys can be put together: columns, and of each key what it adds to the last. */
let readColumns = new Uint32Array(512 * WORDS);
let readKeyBytes = new Uint32Array(512);

/** Throws a RangeError for whatever is not a block of `count` entries as `writeEntry` makes them. */
export function decodeBlock(bytes: Buffer, count: number): TableBlock {
  // An entry takes four bytes or more, so that `count` cannot ask for more memory than its bytes justify.
  if (count < 1 || count > bytes.length / 4) throw new RangeError(`${count} entries in ${bytes.length} bytes`);
  if (readKeyBytes.length < count) {
    readColumns = new Uint32Array(count * WORDS);
    readKeyBytes = new Uint32Array(count);
  }
  const { prefix, keyBytes } = readEntries(bytes, count);
  if (keyBytes > KEY_BYTES_MAX) throw new RangeError(`keys of ${keyBytes} bytes`);
  // One piece of memory for all.
  const words = count * WORDS;
  const allWords = words + slotsOf(count);
  const own = new ArrayBuffer(allWords * 4 + prefix.length + keyBytes);
  const columns = new Uint32Array(own, 0, allWords);
  columns.set(readColumns.subarray(0, words));
  const keys = new Uint8Array(own, allWords * 4);
  copyBytes(bytes, prefix.start, prefix.start + prefix.length, keys, 0);
  joinKeys(bytes, columns, words, keys, prefix.length);
  return new TableBlock(bytes, count, columns, keys, prefix.length);
}

/**
 * Reads all entries into `readColumns`. In place of each key stands what it shares with the one before it, and where
 * its rest begins, of so many bytes as `readKeyBytes` has; the first is SAME where it is that one.
 */
function readEntries(bytes: Buffer, count: number): { prefix: { start: number; length: number }; keyBytes: number } {
  const columns = readColumns;
  const reader = new ByteReader(bytes);
  let prefixStart = 0;
  let prefixLength = 0;
  let length = 0;
  let allKeyBytes = 0;
  let keys = 0;
  let previousMain = 0;
  let previousSub = 0;
  for (let i = 0, row = 0; i < count; i++, row += WORDS) {
    const shared = reader.varint();
    const unshared = reader.varint();
    const start = reader.skip(unshared);
    const isSameKey = unshared === 0 && shared === length && i > 0;
    if (!isSameKey) {
      if (i === 0) {
        if (shared !== 0) throw new RangeError("the first key shares with none");
        prefixStart = start;
        prefixLength = unshared;
      } else if (shared > length || unshared === 0) throw new RangeError("keys are not in order");
      else if (shared < prefixLength) prefixLength = shared;
      length = shared + unshared;
      allKeyBytes += length;
      keys++;
    }
    columns[row + KEY_START] = isSameKey ? SAME : shared;
    columns[row + KEY_END] = start;
    readKeyBytes[i] = unshared;
    const flags = reader.u8();
    if (flags > FLAGS_ALL || ((flags >>> EFFECT_SHIFT) & 3) === 3) throw new RangeError(`flags ${flags}`);
    const main = reader.varint();
    const sub = (flags & FLAG_SUB) !== 0 ? reader.varint() : 0;
    if (main === 0 || main === MAIN_NEWEST || sub >= SUB_NEWEST) throw new RangeError(`main ${main}, sub ${sub}`);
    if (isSameKey && (main > previousMain || (main === previousMain && sub >= previousSub))) {
      throw new RangeError("versions of a key are not in order");
    }
    previousMain = main;
    previousSub = sub;
    const valueBytes = (flags & FLAG_TOMBSTONE) !== 0 ? 0 : reader.varint();
    const valueStart = reader.skip(valueBytes);
    const high = main < 0x1_0000_0000 ? 0 : Math.floor(main / 0x1_0000_0000);
    columns[row + MAIN_LOW] = main - high * 0x1_0000_0000;
    columns[row + MAIN_HIGH] = high | (flags << 24);
    columns[row + SUB] = sub;
    columns[row + VALUE_START] = valueStart;
    columns[row + VALUE_END] = valueStart + valueBytes;
  }
  if (reader.left !== 0) throw new RangeError(`${reader.left} bytes too many`);
  return { prefix: { start: prefixStart, length: prefixLength }, keyBytes: allKeyBytes - keys * prefixLength };
}

const SAME = 0xffff_ffff;

/** Puts the keys' ends together; checks that each key is above the one before it and shares with it all that it can. */
function joinKeys(bytes: Buffer, columns: Uint32Array, words: number, keys: Uint8Array, prefixLength: number): void {
  let start = prefixLength;
  let end = prefixLength;
  for (let i = 0, row = 0; row < words; i++, row += WORDS) {
    const shared = columns[row + KEY_START]!;
    if (shared !== SAME) {
      const rest = columns[row + KEY_END]!;
      const restEnd = rest + readKeyBytes[i]!;
      const added = i === 0 ? prefixLength : 0;
      const kept = i === 0 ? 0 : shared - prefixLength;
      if (i > 0 && kept < end - start && bytes[rest]! <= keys[start + kept]!) {
        throw new RangeError("keys are not in order");
      }
      copyBytes(keys, start, start + kept, keys, end);
      copyBytes(bytes, rest + added, restEnd, keys, end + kept);
      start = end;
      end += kept + restEnd - rest - added;
    }
    columns[row + KEY_START] = start;
    columns[row + KEY_END] = end;
  }
}

/** The space of the keys has versions; all others the newest alone. */
export const keepsVersions = (space: number): boolean => space === KEYS;
