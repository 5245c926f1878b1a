import { ByteReader } from "../base/varint.ts";
import { type ByteWriter, unzigzag } from "./byte-writer.ts";
import { comparePositions, type Position, readVersionPlace, sharedLength, writeVersionPlace } from "./position.ts";
import { Starts } from "./starts.ts";

/**
 * An index block: where blocks are and what they hold in sum. A partition points to data blocks, the top index of a
 * table to its partitions; both are written the same way (docs/formats/table.md).
 *
 * Block i holds the entries from position i on and before position i + 1 (of the last one: before the table's end).
 */
export interface BlockHandle {
  /** Not above the first entry. */
  readonly start: Position;
  readonly offset: number;
  /** As stored, without its trailer; and unpacked. */
  readonly storedBytes: number;
  readonly rawBytes: number;
  /** Entries of the data block, or of the index block that this points to. */
  readonly count: number;
  readonly sums: Sums;
}

/** What a block, a partition or a table holds of one space. */
export interface Sums {
  readonly entries: number;
  readonly mainMin: number;
  readonly mainMax: number;
  /** Sum of the effects. */
  readonly effectSum: number;
  /** Greatest main with a non-zero effect; 0 for none. */
  readonly effectMain: number;
}

export const noSums: Sums = { entries: 0, mainMin: 0, mainMax: 0, effectSum: 0, effectMain: 0 };

export function addSums(a: Sums, b: Sums): Sums {
  if (a.entries === 0) return b;
  if (b.entries === 0) return a;
  return {
    entries: a.entries + b.entries,
    mainMin: Math.min(a.mainMin, b.mainMin),
    mainMax: Math.max(a.mainMax, b.mainMax),
    effectSum: a.effectSum + b.effectSum,
    effectMain: Math.max(a.effectMain, b.effectMain),
  };
}

export function writeSums(writer: ByteWriter, sums: Sums): void {
  writer.varint(sums.entries);
  writer.varint(sums.mainMin);
  writer.varint(sums.mainMax - sums.mainMin);
  writer.zigzag(sums.effectSum);
  writer.varint(sums.effectMain);
}

export function readSums(reader: ByteReader): Sums {
  const entries = reader.varint();
  const mainMin = reader.varint();
  const mainMax = mainMin + reader.varint();
  const effectSum = unzigzag(reader.varint());
  const effectMain = reader.varint();
  if (!Number.isSafeInteger(mainMax) || mainMax >= Number.MAX_SAFE_INTEGER) throw new RangeError(`main ${mainMax}`);
  if (Math.abs(effectSum) > entries) throw new RangeError(`effects of ${effectSum} in ${entries} entries`);
  if (effectMain !== 0 && (effectMain < mainMin || effectMain > mainMax))
    throw new RangeError(`effect at ${effectMain}`);
  return { entries, mainMin, mainMax, effectSum, effectMain };
}

/** Appends a handle; `previous` is the key of the handle before it ("" for the first). */
export function writeHandle(writer: ByteWriter, handle: BlockHandle, previous: string): void {
  const { start } = handle;
  const shared = sharedLength(previous, start.key);
  writer.u8(start.space);
  writer.varint(shared);
  writer.varint(start.key.length - shared);
  writer.latin1(start.key, shared);
  writeVersionPlace(writer, start);
  writer.varint(handle.offset);
  writer.varint(handle.storedBytes);
  writer.varint(handle.rawBytes);
  writer.varint(handle.count);
  writeSums(writer, handle.sums);
}

const HANDLE_BYTES_MIN = 13;
const INDEX_MEMORY_BYTES = 600;
/** What is kept of a handle beside its start. */
const NUMBERS = 9;
const OFFSET = 0;
const STORED_BYTES = 1;
const RAW_BYTES = 2;
const COUNT = 3;
const ENTRIES = 4;
const MAIN_MIN = 5;
const MAIN_MAX = 6;
const EFFECT_SUM = 7;
const EFFECT_MAIN = 8;

/** An index block in memory: where each block starts, and rows of numbers. */
export class IndexBlock {
  readonly count: number;
  readonly memoryBytes: number;
  readonly #numbers: Float64Array;
  readonly #starts: Starts;

  constructor(handles: readonly BlockHandle[]) {
    this.count = handles.length;
    this.#starts = new Starts(handles.map(({ start }) => start));
    this.#numbers = new Float64Array(handles.length * NUMBERS);
    for (const [i, { offset, storedBytes, rawBytes, count, sums }] of handles.entries()) {
      const { entries, mainMin, mainMax, effectSum, effectMain } = sums;
      const row = [offset, storedBytes, rawBytes, count, entries, mainMin, mainMax, effectSum, effectMain];
      this.#numbers.set(row, i * NUMBERS);
    }
    this.memoryBytes = INDEX_MEMORY_BYTES + this.#numbers.byteLength + this.#starts.memoryBytes;
  }

  /** Made anew each time. */
  handle(i: number): BlockHandle {
    const start = this.start(i);
    const [offset, storedBytes, rawBytes] = [this.offset(i), this.storedBytes(i), this.rawBytes(i)];
    return { start, offset, storedBytes, rawBytes, count: this.#numbers[i * NUMBERS + COUNT]!, sums: this.sums(i) };
  }

  /** Where the block is, and its size, of its handle. */
  place(i: number): Pick<BlockHandle, "offset" | "storedBytes" | "rawBytes" | "count"> {
    const [offset, storedBytes, rawBytes] = [this.offset(i), this.storedBytes(i), this.rawBytes(i)];
    return { offset, storedBytes, rawBytes, count: this.#numbers[i * NUMBERS + COUNT]! };
  }

  handles(first = 0, end = this.count): BlockHandle[] {
    const handles: BlockHandle[] = [];
    for (let i = first; i < end; i++) handles.push(this.handle(i));
    return handles;
  }

  start(i: number): Position {
    return this.#starts.start(i);
  }

  space(i: number): number {
    return this.#starts.space(i);
  }

  offset(i: number): number {
    return this.#numbers[i * NUMBERS + OFFSET]!;
  }

  storedBytes(i: number): number {
    return this.#numbers[i * NUMBERS + STORED_BYTES]!;
  }

  rawBytes(i: number): number {
    return this.#numbers[i * NUMBERS + RAW_BYTES]!;
  }

  sums(i: number): Sums {
    const numbers = this.#numbers;
    const row = i * NUMBERS;
    return {
      entries: numbers[row + ENTRIES]!,
      mainMin: numbers[row + MAIN_MIN]!,
      mainMax: numbers[row + MAIN_MAX]!,
      effectSum: numbers[row + EFFECT_SUM]!,
      effectMain: numbers[row + EFFECT_MAIN]!,
    };
  }

  mainMin(i: number): number {
    return this.#numbers[i * NUMBERS + MAIN_MIN]!;
  }

  /** The sum of the effects not newer than `at`, if it is known without a look inside; else null. */
  effectSum(i: number, at: number): number | null {
    const row = i * NUMBERS;
    if (this.#numbers[row + MAIN_MIN]! > at) return 0;
    return this.#numbers[row + EFFECT_MAIN]! <= at ? this.#numbers[row + EFFECT_SUM]! : null;
  }

  /** Whether what `i` points to begins amid the versions of `key`. */
  goesOnWith(i: number, key: string): boolean {
    return this.#starts.goesOnWith(i, key);
  }

  /** Index of the block in which `position` lies: the last one that starts at or before it; 0 where none does. */
  search(position: Position): number {
    return this.#starts.search(position);
  }
}

/** Bounds within which all that an index block points to must lie. */
export interface IndexBounds {
  readonly count: number;
  readonly offsetMin: number;
  readonly offsetMax: number;
  readonly trailerBytes: number;
  readonly rawBytesMax: number;
}

/** Throws a RangeError for whatever is not an index block of `bounds.count` handles in order and within bounds. */
export function decodeIndexBlock(bytes: Buffer, bounds: IndexBounds): IndexBlock {
  const { count } = bounds;
  if (count < 1 || count > bytes.length / HANDLE_BYTES_MIN) {
    throw new RangeError(`${count} handles in ${bytes.length} bytes`);
  }
  const reader = new ByteReader(bytes);
  const handles: BlockHandle[] = [];
  let previous: BlockHandle | null = null;
  for (let i = 0; i < count; i++) {
    const handle = readHandle(reader, previous === null ? "" : previous.start.key);
    if (previous !== null && comparePositions(previous.start, handle.start) >= 0) {
      throw new RangeError("handles are not in order");
    }
    const least = previous === null ? bounds.offsetMin : previous.offset + previous.storedBytes + bounds.trailerBytes;
    const end = handle.offset + handle.storedBytes + bounds.trailerBytes;
    if (handle.offset < least || !(end <= bounds.offsetMax)) {
      throw new RangeError(`a block at ${handle.offset} to ${end}, expected within ${least} to ${bounds.offsetMax}`);
    }
    if (handle.rawBytes > bounds.rawBytesMax) throw new RangeError(`a block of ${handle.rawBytes} bytes`);
    handles.push(handle);
    previous = handle;
  }
  if (reader.left !== 0) throw new RangeError(`${reader.left} bytes too many`);
  return new IndexBlock(handles);
}

let scratch = Buffer.allocUnsafeSlow(1024);

/** `previous` is the key before, whose bytes are in `scratch`. */
function readHandle(reader: ByteReader, previous: string): BlockHandle {
  const space = reader.u8();
  const shared = reader.varint();
  const unshared = reader.varint();
  if (shared > previous.length) throw new RangeError("a key shares more than there is");
  const from = reader.skip(unshared);
  const length = shared + unshared;
  if (length > scratch.length) {
    const larger = Buffer.allocUnsafeSlow(2 * length);
    scratch.copy(larger);
    scratch = larger;
  }
  scratch.set(reader.bytes.subarray(from, from + unshared), shared);
  const { main, sub } = readVersionPlace(reader);
  // One text, not two put together: those would be put together at the first comparison, and kept as well.
  const start = { space, key: scratch.latin1Slice(0, length), main, sub };
  const offset = reader.varint();
  const storedBytes = reader.varint();
  const rawBytes = reader.varint();
  const count = reader.varint();
  return { start, offset, storedBytes, rawBytes, count, sums: readSums(reader) };
}
