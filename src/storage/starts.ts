import { compareEnd } from "./key-bytes.ts";
import { headOfBytes, headOfText } from "./key-heads.ts";
import { comparePositions, MAIN_NEWEST, type Position, sharedLength } from "./position.ts";

/** Per start: its space, its key's end and head, main and sub. */
const START_BYTES = 25;

/**
 * Where things begin that follow one another: positions in order, in columns. Nearly all are of one space, the first;
 * of these the bytes that all begin with are kept once, and the next eight as numbers, so that a search looks at little
 * memory.
 */
export class Starts {
  readonly count: number;
  readonly memoryBytes: number;
  readonly #spaces: Uint8Array;
  readonly #mains: Float64Array;
  readonly #subs: Uint32Array;
  /** The keys, those of the first space without the prefix. Each ends here, and begins where the one before it ends. */
  readonly #keys: Buffer;
  readonly #ends: Uint32Array;
  /** So many are of the first space. */
  readonly #alike: number;
  readonly #prefix: string;
  /** Two words each, of those of the first space. */
  readonly #heads: Uint32Array;

  /** In order; one at least. */
  constructor(starts: readonly Position[]) {
    const first = starts[0]!;
    const { length } = starts;
    this.count = length;
    let alike = length;
    while (starts[alike - 1]!.space !== first.space) alike--;
    this.#alike = alike;
    const prefixLength = sharedLength(first.key, starts[alike - 1]!.key);
    this.#prefix = first.key.slice(0, prefixLength);
    let keyBytes = -alike * prefixLength;
    for (const { key } of starts) keyBytes += key.length;
    this.#keys = Buffer.allocUnsafeSlow(keyBytes);
    this.#spaces = new Uint8Array(length);
    this.#mains = new Float64Array(length);
    this.#subs = new Uint32Array(length);
    this.#ends = new Uint32Array(length);
    this.#heads = new Uint32Array(2 * alike);
    let at = 0;
    for (let i = 0; i < length; i++) {
      const { space, key, main, sub } = starts[i]!;
      const begin = at;
      at += this.#keys.latin1Write(i < alike ? key.slice(prefixLength) : key, at);
      this.#spaces[i] = space;
      this.#mains[i] = main;
      this.#subs[i] = sub;
      this.#ends[i] = at;
      if (i >= alike) continue;
      this.#heads[2 * i] = headOfBytes(this.#keys, begin, at);
      this.#heads[2 * i + 1] = headOfBytes(this.#keys, begin + 4, at);
    }
    this.memoryBytes = length * START_BYTES + keyBytes;
  }

  /** Made anew each time. */
  start(i: number): Position {
    const end = this.#keys.latin1Slice(this.#keyStart(i), this.#ends[i]!);
    const key = i < this.#alike ? this.#prefix + end : end;
    return { space: this.#spaces[i]!, key, main: this.#mains[i]!, sub: this.#subs[i]! };
  }

  space(i: number): number {
    return this.#spaces[i]!;
  }

  /** Whether `i` begins amid the versions of `key`. */
  goesOnWith(i: number, key: string): boolean {
    if (this.#mains[i]! === MAIN_NEWEST) return false;
    if (i >= this.#alike) return this.#compareKey(i, key, 0) === 0;
    return key.startsWith(this.#prefix) && this.#compareKey(i, key, this.#prefix.length) === 0;
  }

  /** Index of the last one at or before `position`; 0 where none is. */
  search(position: Position): number {
    const { space, key } = position;
    const alike = this.#alike;
    const ofAlike = this.#spaces[0]!;
    if (space !== ofAlike) return space < ofAlike ? 0 : this.#searchOthers(position);
    const prefix = this.#prefix;
    const { length } = prefix;
    for (let j = 0; j < length; j++) {
      const difference = j < key.length ? key.charCodeAt(j) - prefix.charCodeAt(j) : -1;
      if (difference !== 0) return difference < 0 ? 0 : alike - 1;
    }
    const heads = this.#heads;
    const high = headOfText(key, length);
    const low = headOfText(key, length + 4);
    let from = 1;
    let to = alike;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const head = heads[2 * middle]!;
      const isUpTo = head === high ? this.#isUpTo(middle, position, low) : head < high;
      if (isUpTo) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }

  /** Whether start `i`, whose first four bytes are those of the position's key, is at or before it. */
  #isUpTo(i: number, { key, main, sub }: Position, low: number): boolean {
    const head = this.#heads[2 * i + 1]!;
    if (head !== low) return head < low;
    const order = this.#compareKey(i, key, this.#prefix.length);
    if (order !== 0) return order < 0;
    const found = this.#mains[i]!;
    return found === main ? this.#subs[i]! >= sub : found > main;
  }

  #searchOthers(position: Position): number {
    let from = this.#alike;
    let to = this.count;
    while (from < to) {
      const middle = (from + to) >>> 1;
      if (comparePositions(this.start(middle), position) <= 0) from = middle + 1;
      else to = middle;
    }
    return from - 1;
  }

  #keyStart(i: number): number {
    return i === 0 ? 0 : this.#ends[i - 1]!;
  }

  #compareKey(i: number, key: string, from: number): number {
    return compareEnd(this.#keys, this.#keyStart(i), this.#ends[i]!, key, from);
  }
}
