import { assert } from "../base/assert.ts";
import { ByteReader } from "../base/varint.ts";
import type { ByteWriter } from "./byte-writer.ts";
import { MAIN_NEWEST, SUB_NEWEST } from "./position.ts";
import { type Effect, KEYS, type Version } from "./storage.ts";
import { StoredVersion } from "./stored-version.ts";

/**
 * The content of a data block: entries of one space, in order, each key written as what it does not share with the one
 * before it (docs/formats/table.md). A block is decoded once, into columns, and then searched and read as often as it
 * is needed.
 *
 * Decoding checks the order and every length: what it accepts is what the encoder writes.
 */
const FLAG_TOMBSTONE = 1;
const EFFECT_SHIFT = 1;
const FLAG_SUB = 8;
const FLAGS_ALL = 15;

/** What is kept of an entry: main (low, high with flags in the top byte), sub, start and end of the value. */
const WORDS = 5;
/** About what an entry costs in memory beside its bytes and its key. */
const ENTRY_MEMORY_BYTES = WORDS * 4 + 8;
const KEY_MEMORY_BYTES = 24;
const BLOCK_MEMORY_BYTES = 600;

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

/** A data block in memory: entry i is `keys[i]` and a row of `columns`. */
export class TableBlock {
  readonly keys: readonly string[];
  /** Memory taken, about. */
  readonly memoryBytes: number;
  readonly #columns: Uint32Array;
  readonly #bytes: Buffer;

  constructor(keys: readonly string[], columns: Uint32Array, bytes: Buffer, keyBytes: number) {
    this.keys = keys;
    this.#columns = columns;
    this.#bytes = bytes;
    this.memoryBytes = BLOCK_MEMORY_BYTES + bytes.length + keyBytes + keys.length * ENTRY_MEMORY_BYTES;
  }

  get count(): number {
    return this.keys.length;
  }

  main(i: number): number {
    return (this.#columns[i * WORDS + 1]! & 0xff_ffff) * 0x1_0000_0000 + this.#columns[i * WORDS]!;
  }

  sub(i: number): number {
    return this.#columns[i * WORDS + 2]!;
  }

  effect(i: number): Effect {
    return (((this.#columns[i * WORDS + 1]! >>> (24 + EFFECT_SHIFT)) & 3) - 1) as Effect;
  }

  version(i: number): StoredVersion {
    const row = i * WORDS;
    const columns = this.#columns;
    const high = columns[row + 1]!;
    const flags = high >>> 24;
    return new StoredVersion(
      this.keys[i]!,
      (high & 0xff_ffff) * 0x1_0000_0000 + columns[row]!,
      columns[row + 2]!,
      (flags & FLAG_TOMBSTONE) !== 0,
      (((flags >>> EFFECT_SHIFT) & 3) - 1) as Effect,
      this.#bytes,
      columns[row + 3]!,
      columns[row + 4]!,
    );
  }

  /** Index of the first entry at or behind (key, main, sub). */
  lowerBound(key: string, main: number, sub: number): number {
    const keys = this.keys;
    let low = 0;
    let high = keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const found = keys[middle]!;
      if (found < key || (found === key && this.#isBefore(middle, main, sub))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #isBefore(i: number, main: number, sub: number): boolean {
    const found = this.main(i);
    return found === main ? this.sub(i) > sub : found > main;
  }
}

let scratch = Buffer.allocUnsafeSlow(4096);

/** Throws a RangeError for whatever is not a block of `count` entries as `writeEntry` makes them. */
export function decodeBlock(bytes: Buffer, count: number): TableBlock {
  // An entry takes four bytes or more, so that `count` cannot ask for more memory than its bytes justify.
  if (count < 1 || count > bytes.length / 4) throw new RangeError(`${count} entries in ${bytes.length} bytes`);
  const reader = new ByteReader(bytes);
  const keys: string[] = [];
  const columns = new Uint32Array(count * WORDS);
  let key = "";
  let keyBytes = 0;
  let previousMain = 0;
  let previousSub = 0;
  for (let i = 0; i < count; i++) {
    const shared = reader.varint();
    const unshared = reader.varint();
    const start = reader.skip(unshared);
    const sameKey = unshared === 0 && shared === key.length && i > 0;
    if (!sameKey) {
      checkShared(bytes, { first: i === 0, shared, unshared, start, previousLength: key.length });
      const length = shared + unshared;
      if (length > scratch.length) growScratch(length);
      copyInto(bytes, start, unshared, shared);
      key = scratch.latin1Slice(0, length);
      keyBytes += length + KEY_MEMORY_BYTES;
    }
    keys.push(key);
    const flags = reader.u8();
    const effect = (flags >>> EFFECT_SHIFT) & 3;
    if (flags > FLAGS_ALL || effect === 3) throw new RangeError(`flags ${flags}`);
    const main = reader.varint();
    const sub = (flags & FLAG_SUB) !== 0 ? reader.varint() : 0;
    if (main === 0 || main === MAIN_NEWEST || sub >= SUB_NEWEST) throw new RangeError(`main ${main}, sub ${sub}`);
    if (sameKey && (main > previousMain || (main === previousMain && sub >= previousSub))) {
      throw new RangeError("versions of a key are not in order");
    }
    previousMain = main;
    previousSub = sub;
    const length = (flags & FLAG_TOMBSTONE) !== 0 ? 0 : reader.varint();
    const valueStart = reader.skip(length);
    const row = i * WORDS;
    columns[row] = main % 0x1_0000_0000;
    columns[row + 1] = Math.floor(main / 0x1_0000_0000) + flags * 0x100_0000;
    columns[row + 2] = sub;
    columns[row + 3] = valueStart;
    columns[row + 4] = valueStart + length;
  }
  if (reader.left !== 0) throw new RangeError(`${reader.left} bytes too many`);
  return new TableBlock(keys, columns, bytes, keyBytes);
}

/** Checks that a key is above the one before it and shares with it all that it can; that one is in `scratch`. */
function checkShared(
  bytes: Buffer,
  key: { first: boolean; shared: number; unshared: number; start: number; previousLength: number },
): void {
  if (key.first) {
    if (key.shared !== 0) throw new RangeError("the first key shares with none");
    return;
  }
  if (key.shared > key.previousLength || key.unshared === 0) throw new RangeError("keys are not in order");
  if (key.shared < key.previousLength && bytes[key.start]! <= scratch[key.shared]!) {
    throw new RangeError("keys are not in order");
  }
}

function growScratch(length: number): void {
  const larger = Buffer.allocUnsafeSlow(length * 2);
  scratch.copy(larger);
  scratch = larger;
}

function copyInto(bytes: Buffer, start: number, count: number, at: number): void {
  if (count > 64) {
    scratch.set(bytes.subarray(start, start + count), at);
    return;
  }
  for (let i = 0; i < count; i++) scratch[at + i] = bytes[start + i]!;
}

/** The space of the keys has versions; all others the newest alone. */
export const keepsVersions = (space: number): boolean => space === KEYS;
