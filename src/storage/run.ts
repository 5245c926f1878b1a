import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { PointLookup } from "./point-lookup.ts";
import { comparePositions, isBetweenKeys, MAIN_NEWEST, type Position, SUB_NEWEST, startOf } from "./position.ts";
import { Starts } from "./starts.ts";
import { KEYS, type KeyRange, type Version } from "./storage.ts";
import type { OpenTable, Table } from "./table.ts";
import type { TableBlock } from "./table-block.ts";
import { addSums, type IndexBlock, noSums, type Sums } from "./table-index.ts";

/**
 * Tables that follow one another in the order of entries and do not overlap, read as one. One key's versions may lie in
 * several tables. All versions in a run are newer, key by key, than those in an older run.
 */
export class Run {
  readonly tables: readonly Table[];
  readonly bytes: number;
  /** Of the keys: how many entries are tombstones, and bytes of the others before packing. */
  readonly tombstones: number;
  readonly valueBytes: number;
  readonly #sums = new Map<number, Sums>();
  readonly #keySums: Sums;
  /** Of the tables; made when it is first needed. */
  #starts: Starts | null = null;

  constructor(tables: readonly Table[]) {
    this.tables = tables;
    let bytes = 0;
    let tombstones = 0;
    let valueBytes = 0;
    for (const { ref } of tables) {
      bytes += ref.bytes;
      for (const sums of ref.spaces) {
        this.#sums.set(sums.space, addSums(this.sums(sums.space), sums));
        if (sums.space !== KEYS) continue;
        tombstones += sums.tombstones;
        valueBytes += sums.valueBytes;
      }
    }
    this.bytes = bytes;
    this.tombstones = tombstones;
    this.valueBytes = valueBytes;
    this.#keySums = this.sums(KEYS);
  }

  /** What the run holds of a space. */
  sums(space: number): Sums {
    return this.#sums.get(space) ?? noSums;
  }

  /**
   * The newest version of a key that the lookup sees, be it a tombstone; undefined if this run has none. Each step is
   * done at once where what it needs is at hand: most reads wait for nothing. `isLast`: no older run is asked then.
   */
  get(lookup: PointLookup, isLast: boolean): MaybePromise<Version | undefined> {
    const sums = lookup.space === KEYS ? this.#keySums : this.sums(lookup.space);
    if (sums.entries === 0 || sums.mainMin > lookup.main) return undefined;
    const t = this.search(lookup);
    const table = this.tables[t]!;
    const { first, end } = table.ref;
    if (t === 0 && comparePositions(lookup, first) < 0) return this.#firstOfTable(t, lookup);
    if (comparePositions(lookup, end) >= 0) return this.#firstOfTable(t + 1, lookup);
    const open = table.open();
    if (isPromise(open)) return open.then((opened) => this.#getIfHeld(t, opened, lookup));
    return (isLast ? this.#getAtHand(t, open, lookup) : undefined) ?? this.#getIfHeld(t, open, lookup);
  }

  /** Where the block is in memory, a look into it tells as much as the filter, and of most keys that are there more. */
  #getAtHand(t: number, open: OpenTable, lookup: PointLookup): Version | undefined {
    const table = this.tables[t]!;
    const partition = table.cachedPartition(open, open.top.search(lookup));
    if (partition === undefined) return undefined;
    const b = partition.search(lookup);
    const block = partition.space(b) === lookup.space ? table.cachedBlock(partition, b) : undefined;
    if (block === undefined) return undefined;
    const found = block.find(lookup);
    return found < 0 ? undefined : block.version(found);
  }

  #getIfHeld(t: number, open: OpenTable, lookup: PointLookup): MaybePromise<Version | undefined> {
    const may = this.tables[t]!.mayHold(open, lookup.hash);
    if (isPromise(may)) return may.then((held) => (held ? this.#getFrom(t, open, lookup) : undefined));
    return may ? this.#getFrom(t, open, lookup) : undefined;
  }

  #getFrom(t: number, open: OpenTable, lookup: PointLookup): MaybePromise<Version | undefined> {
    const p = open.top.search(lookup);
    const partition = this.tables[t]!.partition(open, p);
    if (isPromise(partition)) {
      return partition.then((read) => this.#getInPartition({ t, open, p, partition: read, b: 0 }, lookup));
    }
    return this.#getInPartition({ t, open, p, partition, b: 0 }, lookup);
  }

  #getInPartition(spot: Spot, lookup: PointLookup): MaybePromise<Version | undefined> {
    const { partition } = spot;
    const b = partition.search(lookup);
    spot.b = b;
    // A key whose versions go on in the block behind may have to be looked for there: one request brings both.
    const goesOn = b + 1 < partition.count && partition.goesOnWith(b + 1, lookup.key);
    if (!goesOn && partition.space(b) === lookup.space) {
      const near = this.tables[spot.t]!.findNear(spot.open, partition, b, lookup);
      if (near !== undefined) return near ?? undefined;
    }
    const ahead = goesOn ? { bytes: partition.rawBytes(b) + partition.rawBytes(b + 1), reverse: false } : undefined;
    const block = this.tables[spot.t]!.block(spot.open, partition, b, ahead);
    if (isPromise(block)) return block.then((read) => this.#getInBlock(spot, read, lookup));
    return this.#getInBlock(spot, block, lookup);
  }

  #getInBlock(spot: Spot, block: TableBlock, lookup: PointLookup): MaybePromise<Version | undefined> {
    if (spot.partition.space(spot.b) !== lookup.space) return this.#firstOfNext(spot, lookup);
    const found = block.find(lookup);
    if (found >= 0) return block.version(found);
    const { key, main } = lookup;
    const i = block.lowerBound(key, main, SUB_NEWEST);
    if (i < block.count) return block.hasKey(i, key) ? block.version(i) : undefined;
    return this.#firstOfNext(spot, lookup);
  }

  /** The first entry of the block behind, if it is the key's: its versions go on there. */
  #firstOfNext(spot: Spot, position: Position): MaybePromise<Version | undefined> {
    const { t, open, p, partition, b } = spot;
    const { key } = position;
    const table = this.tables[t]!;
    const first = (block: TableBlock): Version | undefined => (block.hasKey(0, key) ? block.version(0) : undefined);
    if (b + 1 < partition.count) {
      return partition.goesOnWith(b + 1, key) ? chain(table.block(open, partition, b + 1), first) : undefined;
    }
    if (p + 1 < open.top.count) {
      if (!open.top.goesOnWith(p + 1, key)) return undefined;
      return chain(table.partition(open, p + 1), (next) => chain(table.block(open, next, 0), first));
    }
    return this.#firstOfTable(t + 1, position);
  }

  /** The first entry of table `t`, which begins behind `position`, if it is of that key: bounds may leave gaps. */
  #firstOfTable(t: number, { space, key }: Position): MaybePromise<Version | undefined> {
    const table = this.tables[t];
    if (table === undefined) return undefined;
    const { first } = table.ref;
    if (isBetweenKeys(first) || first.key !== key || first.space !== space) return undefined;
    return chain(table.open(), (open) =>
      chain(table.partition(open, 0), (partition) =>
        chain(table.block(open, partition, 0), (block) => (block.hasKey(0, key) ? block.version(0) : undefined)),
      ),
    );
  }

  /** By the bounds of its tables alone: no key from `first` to `last` has an entry here. */
  isEmptyBetween(first: string, last: string): boolean {
    if (this.#keySums.entries === 0) return true;
    const low = startOf(KEYS, first);
    const t = this.search(low);
    const { ref } = this.tables[t]!;
    if (isBehind(ref.first, last)) return true;
    if (comparePositions(ref.end, low) > 0) return false;
    const next = this.tables[t + 1];
    return next === undefined || isBehind(next.ref.first, last);
  }

  /** Index of the last table that begins at or before `position`; 0 where none does. */
  search(position: Position): number {
    if (this.tables.length <= 1) return 0;
    this.#starts ??= new Starts(this.tables.map(({ ref }) => ref.first));
    return this.#starts.search(position);
  }

  /**
   * Sum of the effects not newer than `at` in `range`: of what lies inside, from the index; blocks are read at its
   * edges.
   */
  count(space: number, range: KeyRange, at: number): MaybePromise<number> {
    if (this.sums(space).entries === 0 || (range.to !== null && range.to <= range.from)) return 0;
    const low = startOf(space, range.from);
    const high = range.to === null ? startOf(space + 1, "") : startOf(space, range.to);
    const window: CountWindow = { low, high, at };
    const first = this.search(low);
    return sumOver(first, this.tables.length, (t) => this.#countTable(this.tables[t]!, space, window));
  }

  #countTable(table: Table, space: number, window: CountWindow): MaybePromise<number> {
    const sums = table.ref.spaces.find((each) => each.space === space);
    if (sums === undefined) return 0;
    const start = later(table.ref.first, startOf(space, ""));
    const end = earlier(table.ref.end, startOf(space + 1, ""));
    const known = countKnown(start, end, sums, window);
    if (known !== null) return known;
    return chain(table.open(), (open) =>
      countIndex(open.top, table.ref.end, window, (p, partEnd) =>
        chain(table.partition(open, p), (partition) =>
          countIndex(partition, partEnd, window, (b) =>
            chain(table.block(open, partition, b), (block) => countBlock(block, window)),
          ),
        ),
      ),
    );
  }
}

/** Whether what begins there has no entry of a key up to `last`, of the user's. */
const isBehind = ({ space, key }: Position, last: string): boolean => space !== KEYS || key > last;

/** A block: of partition `p` of table `t`, number `b`. */
interface Spot {
  readonly t: number;
  readonly open: OpenTable;
  readonly p: number;
  readonly partition: IndexBlock;
  b: number;
}

interface CountWindow {
  readonly low: Position;
  readonly high: Position;
  readonly at: number;
}

/**
 * The count of what an index points to. Only what the window begins or ends in may lie in part outside of it: `inside`
 * looks there, and where sums do not tell.
 */
function countIndex(
  index: IndexBlock,
  end: Position,
  window: CountWindow,
  inside: (i: number, end: Position) => MaybePromise<number>,
): MaybePromise<number> {
  const first = index.search(window.low);
  const last = index.search(window.high);
  const endOf = (i: number): Position => (i + 1 < index.count ? index.start(i + 1) : end);
  return sumOver(first, last + 1, (i) => {
    const isEdge = i === first || i === last;
    const known = isEdge ? countKnown(index.start(i), endOf(i), index.sums(i), window) : index.effectSum(i, window.at);
    return known ?? inside(i, endOf(i));
  });
}

/** The count of what lies between `start` and `end`, if its sums tell it; else null. */
function countKnown(start: Position, end: Position, sums: Sums, window: CountWindow): number | null {
  const { low, high, at } = window;
  if (comparePositions(end, low) <= 0 || comparePositions(start, high) >= 0) return 0;
  if (sums.mainMin > at) return 0;
  const inside = comparePositions(start, low) >= 0 && comparePositions(end, high) <= 0;
  return inside && sums.effectMain <= at ? sums.effectSum : null;
}

function countBlock(block: TableBlock, window: CountWindow): number {
  const { low, high, at } = window;
  const end = high.space === low.space ? block.lowerBound(high.key, MAIN_NEWEST, SUB_NEWEST) : block.count;
  let sum = 0;
  for (let i = block.lowerBound(low.key, MAIN_NEWEST, SUB_NEWEST); i < end; i++) {
    if (block.main(i) <= at) sum += block.effect(i);
  }
  return sum;
}

const later = (a: Position, b: Position): Position => (comparePositions(a, b) >= 0 ? a : b);
const earlier = (a: Position, b: Position): Position => (comparePositions(a, b) <= 0 ? a : b);

/** `next` of a value that is at hand, or of a promise's once it is. */
export function chain<T, U>(value: MaybePromise<T>, next: (value: T) => MaybePromise<U>): MaybePromise<U> {
  return isPromise(value) ? value.then(next) : next(value);
}

/** The sum of `of(first)` to `of(end - 1)`, one after the other, at once as far as they are at hand. */
function sumOver(first: number, end: number, of: (i: number) => MaybePromise<number>): MaybePromise<number> {
  let sum = 0;
  for (let i = first; i < end; i++) {
    const value = of(i);
    if (isPromise(value)) return sumRest(sum, value, i + 1, end, of);
    sum += value;
  }
  return sum;
}

async function sumRest(
  sum: number,
  awaited: Promise<number>,
  next: number,
  end: number,
  of: (i: number) => MaybePromise<number>,
): Promise<number> {
  sum += await awaited;
  for (let i = next; i < end; i++) sum += await of(i);
  return sum;
}
