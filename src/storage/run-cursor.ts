import { assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { PointLookup } from "./point-lookup.ts";
import {
  comparePositions,
  isBetweenKeys,
  MAIN_NEWEST,
  type Position,
  SUB_NEWEST,
  startAt,
  startOf,
} from "./position.ts";
import { chain, type Run } from "./run.ts";
import type { KeyRange, Version } from "./storage.ts";
import type { OpenTable, ReadAhead, Table } from "./table.ts";
import type { BlockVersion, TableBlock } from "./table-block.ts";
import type { IndexBlock } from "./table-index.ts";

/**
 * What a scan fetches at once, from its second block on: more and more, so that a short one does not pay for a long
 * one.
 */
const AHEAD_BYTES_MIN = 64 << 10;

/**
 * Walks a range of a run key by key, one version each: the newest not newer than `at`, be it a tombstone. Methods that
 * may have to wait return a promise then, and nothing else may be called until it has settled.
 */
export class RunCursor {
  /** The present one; null at the end. */
  version: Version | null = null;
  readonly #run: Run;
  readonly #space: number;
  readonly #at: number;
  readonly #reverse: boolean;
  readonly #low: Position;
  readonly #high: Position;
  /** The block at hand, and where it is; entry `#i` is the next to be looked at. Null at the end of the range. */
  #block: TableBlock | null = null;
  #i = 0;
  #t = 0;
  #p = 0;
  #b = 0;
  #open: OpenTable | null = null;
  #partition: IndexBlock | null = null;
  /** First and last entry (exclusive) of the block that lie in the range. */
  #first = 0;
  #end = 0;
  /** Forwards: the entry of the present block that was given last, and the number of its key; −1: none. */
  #given = -1;
  #doneNumber = -1;
  /** The key that was given last before this block. */
  #done: string | null = null;
  /** Where to go on backwards after a key whose versions begin in an earlier block. */
  #resumeBefore: Position | null = null;
  #ahead: ReadAhead;
  #blocksInOrder = 0;
  /** The partition behind which is being fetched already. */
  #aheadOf: IndexBlock | null = null;
  #walkedBytes = 0;
  /** The block that it was in before. */
  #leftBehind: { readonly table: Table; readonly offset: number } | null = null;
  /** The partition that it is in. */
  #inPartition: { readonly table: Table; readonly offset: number } | null = null;

  constructor(run: Run, space: number, range: KeyRange, at: number, reverse: boolean) {
    this.#run = run;
    this.#space = space;
    this.#at = at;
    this.#reverse = reverse;
    this.#low = startOf(space, range.from);
    this.#high = range.to === null ? startOf(space + 1, "") : startOf(space, range.to);
    this.#ahead = { bytes: 0, reverse };
  }

  /** Goes to the first key. */
  start(): MaybePromise<void> {
    const sums = this.#run.sums(this.#space);
    if (sums.entries === 0 || sums.mainMin > this.#at || comparePositions(this.#low, this.#high) >= 0) return;
    return this.#settleAfter(this.#reverse ? this.#seekBefore(this.#high) : this.#seek(this.#low));
  }

  /** Goes to the next key. */
  advance(): MaybePromise<void> {
    assert(this.version !== null, "a cursor at its end does not advance");
    this.version = null;
    const resume = this.#resumeBefore;
    if (resume === null) return this.#settleAfter(undefined);
    this.#resumeBefore = null;
    return this.#settleAfter(this.#seekBefore(resume));
  }

  #settleAfter(moved: MaybePromise<void>): MaybePromise<void> {
    const wait = isPromise(moved) ? moved : this.#step();
    return isPromise(wait) ? this.#settleLater(wait) : undefined;
  }

  async #settleLater(wait: Promise<void>): Promise<void> {
    for (let next: MaybePromise<void> = wait; isPromise(next); next = this.#step()) await next;
  }

  /** Looks for the next version from entry `#i` on; a promise: look again when it has settled. */
  #step(): MaybePromise<void> {
    return this.#reverse ? this.#stepBackward() : this.#stepForward();
  }

  #stepForward(): MaybePromise<void> {
    for (let block = this.#block; block !== null; block = this.#block) {
      const i = block.nextVisible(this.#i, this.#end, this.#doneNumber, this.#at);
      if (i < this.#end) {
        this.#give(block, i);
        return;
      }
      this.#i = this.#end;
      if (this.#given >= 0) this.#done = block.key(this.#given);
      const moved = this.#nextBlock();
      if (isPromise(moved)) return moved;
    }
  }

  #give(block: TableBlock, i: number): BlockVersion {
    const version = block.version(i);
    this.version = version;
    this.#given = i;
    this.#doneNumber = block.keyNumber(i);
    this.#i = i + 1;
    return version;
  }

  /**
   * Goes on forwards within the block at hand, and adds what it comes by to `rows`, tombstones left out, until there
   * are `rowsMax` or they have `bytesLeft` bytes: then the last one is the present version. Returns the bytes left.
   */
  takeFromBlock(rows: Version[], rowsMax: number, bytesLeft: number): number {
    const block = this.#block;
    if (block === null || this.#reverse) return bytesLeft;
    while (rows.length < rowsMax && bytesLeft > 0) {
      const i = block.nextVisible(this.#i, this.#end, this.#doneNumber, this.#at);
      if (i === this.#end) break;
      const version = this.#give(block, i);
      if (version.tombstone) continue;
      rows.push(version);
      bytesLeft -= version.end - version.start;
    }
    return bytesLeft;
  }

  #stepBackward(): MaybePromise<void> {
    if (this.version !== null) return;
    for (let block = this.#block; block !== null; block = this.#block) {
      while (this.#i >= this.#first) {
        const number = block.keyNumber(this.#i);
        let visible = -1;
        let i = this.#i;
        for (; i >= 0 && block.keyNumber(i) === number; i--) if (block.main(i) <= this.#at) visible = i;
        if (i < 0 && this.#beginsEarlier(block)) return this.#wholeKey(block.key(0));
        this.#i = i;
        if (visible < 0) continue;
        this.version = block.version(visible);
        return;
      }
      const moved = this.#previousBlock();
      if (isPromise(moved)) return moved;
    }
  }

  /** Whether the block before this one holds newer versions of the key that this one begins with. */
  #beginsEarlier(block: TableBlock): boolean {
    return this.#partition!.goesOnWith(this.#b, block.key(0));
  }

  /** A key that lies in several blocks is looked up as a point read does, and passed over as a whole. */
  #wholeKey(key: string): MaybePromise<void> {
    const before = startOf(this.#space, key);
    const found = this.#run.get(new PointLookup(this.#space, key, this.#at), false);
    return chain(found, (version) => {
      if (version === undefined) {
        // Called again by who waits, or by the loop in #settleLater, from the place before the key.
        return chain(this.#seekBefore(before), () => this.#step());
      }
      this.version = version;
      this.#resumeBefore = before;
    });
  }

  #nextBlock(): MaybePromise<void> {
    const partition = this.#partition!;
    let b = this.#b + 1;
    while (b < partition.count && partition.mainMin(b) > this.#at) b++;
    if (b < partition.count) return this.#goForward(partition.start(b), () => this.#enterBlock(b));
    const { top } = this.#open!;
    const p = this.#p + 1;
    if (p < top.count) return this.#goForward(top.start(p), () => this.#enterPartition(p, null));
    const nextTable = this.#run.tables[this.#t + 1];
    if (nextTable === undefined) return this.#stop();
    return this.#goForward(nextTable.ref.first, () => this.#enterTable(this.#t + 1, null));
  }

  /**
   * To the block that starts at `start`, by `enter`, unless the range ends before, or it only goes on with a key that
   * is done.
   */
  #goForward(start: Position, enter: () => MaybePromise<void>): MaybePromise<void> {
    if (comparePositions(start, this.#high) >= 0) return this.#stop();
    const { space, key, main } = start;
    if (key === this.#done && !isBetweenKeys(start)) return this.#seek(startOf(space, `${key}\0`));
    if (main > this.#at && !isBetweenKeys(start)) return this.#seek(startAt(space, key, this.#at));
    return enter();
  }

  #previousBlock(): MaybePromise<void> {
    if (comparePositions(this.#partition!.start(this.#b), this.#low) <= 0) return this.#stop();
    if (this.#b > 0) return this.#enterBlock(this.#b - 1);
    if (this.#p > 0) return this.#enterPartition(this.#p - 1, null);
    if (this.#t > 0) return this.#enterTable(this.#t - 1, null);
    return this.#stop();
  }

  #stop(): void {
    this.#block = null;
  }

  /** To the first entry at or behind `position` (or the end of a block before it, from where the search goes on). */
  #seek(position: Position): MaybePromise<void> {
    this.#blocksInOrder = 0;
    return chain(this.#enterTable(this.#run.search(position), position), () => {
      if (this.#block !== null) this.#i = this.#indexOf(position);
    });
  }

  /** To the last entry before `position`. */
  #seekBefore(position: Position): MaybePromise<void> {
    this.#blocksInOrder = 0;
    return chain(this.#enterTable(this.#run.search(position), position), () => {
      if (this.#block !== null) this.#i = Math.min(this.#indexOf(position), this.#end) - 1;
    });
  }

  /** Index in the present block of the first entry at or behind `position`. */
  #indexOf(position: Position): number {
    const block = this.#block!;
    const space = this.#partition!.space(this.#b);
    if (space !== position.space) return space < position.space ? block.count : 0;
    return block.lowerBound(position.key, position.main, position.sub);
  }

  /** Into table `t`, to the block of `position`; null: to its first, or backwards its last one. */
  #enterTable(t: number, position: Position | null): MaybePromise<void> {
    this.#t = t;
    return chain(this.#table.open(), (open) => {
      this.#open = open;
      const { top } = open;
      const edge = this.#reverse ? top.count - 1 : 0;
      return this.#enterPartition(position === null ? edge : top.search(position), position);
    });
  }

  #enterPartition(p: number, position: Position | null): MaybePromise<void> {
    this.#p = p;
    const table = this.#table;
    const offset = this.#open!.top.offset(p);
    const left = this.#inPartition;
    if (left === null || left.offset !== offset || left.table !== table) {
      if (left !== null && this.#walkedBytes > table.scanBytesKept) left.table.passed(left.offset);
      this.#inPartition = { table, offset };
    }
    return chain(table.partition(this.#open!, p, this.#blocksInOrder > 0), (partition) => {
      this.#partition = partition;
      const edge = this.#reverse ? partition.count - 1 : 0;
      return this.#enterBlock(position === null ? edge : partition.search(position));
    });
  }

  #enterBlock(b: number): MaybePromise<void> {
    this.#b = b;
    if (++this.#blocksInOrder > 1) this.#readAhead();
    this.#leaveBehind(this.#partition!.offset(b));
    return chain(this.#table.block(this.#open!, this.#partition!, b, this.#ahead), (block) => this.#setBlock(block));
  }

  #leaveBehind(offset: number): void {
    const left = this.#leftBehind;
    const table = this.#table;
    if (left?.offset === offset && left.table === table) return;
    if (left !== null && this.#walkedBytes > table.scanBytesKept) left.table.passed(left.offset);
    this.#leftBehind = { table, offset };
  }

  #setBlock(block: TableBlock): void {
    const space = this.#partition!.space(this.#b);
    this.#block = block;
    this.#walkedBytes += block.memoryBytes;
    if (space === this.#space) {
      const { key } = this.#high;
      this.#first = block.lowerBound(this.#low.key, MAIN_NEWEST, SUB_NEWEST);
      this.#end = this.#high.space > space ? block.count : block.lowerBound(key, MAIN_NEWEST, SUB_NEWEST);
    } else {
      // A block of another space, met on the way to this one's.
      this.#first = space < this.#space ? block.count : 0;
      this.#end = this.#first;
    }
    this.#i = this.#reverse ? this.#end - 1 : this.#first;
    this.#given = -1;
    const goesOn = this.#done !== null && this.#i < this.#end && block.hasKey(this.#i, this.#done);
    this.#doneNumber = goesOn ? block.keyNumber(this.#i) : -1;
  }

  get #table(): Table {
    return this.#run.tables[this.#t]!;
  }

  /** Widens the window, and has the block half a window ahead fetched while those before it are read. */
  #readAhead(): void {
    const bytes = Math.min(this.#table.aheadBytesMax, Math.max(AHEAD_BYTES_MIN, this.#ahead.bytes * 2));
    this.#ahead = { bytes, reverse: this.#reverse };
    if (this.#blocksInOrder < 4) return;
    const partition = this.#partition!;
    const stride = this.#reverse ? -1 : 1;
    let left = bytes / 2;
    for (let b = this.#b + stride; left > 0; b += stride) {
      if (b < 0 || b >= partition.count) {
        this.#readNextPartition();
        return;
      }
      left -= partition.rawBytes(b);
      if (this.#table.hasBlock(partition, b)) continue;
      if (this.#outOfRange(partition, b)) return;
      void this.#table.block(this.#open!, partition, b, this.#ahead);
      return;
    }
  }

  /** Has the beginning of the next partition fetched, in this table or the next one, once for each. */
  #readNextPartition(): void {
    if (this.#aheadOf === this.#partition) return;
    this.#aheadOf = this.#partition;
    const stride = this.#reverse ? -1 : 1;
    const { tables } = this.#run;
    const inTable = this.#p + stride >= 0 && this.#p + stride < this.#open!.top.count;
    const table = inTable ? this.#table : tables[this.#t + stride];
    if (table === undefined) return;
    const fetched = chain(inTable ? this.#open! : table.open(), (open) => {
      const { top } = open;
      const p = inTable ? this.#p + stride : this.#reverse ? top.count - 1 : 0;
      if (this.#outOfRange(top, p)) return;
      return chain(table.partition(open, p, true), (partition) => {
        const b = this.#reverse ? partition.count - 1 : 0;
        return chain(table.block(open, partition, b, this.#ahead), () => {});
      });
    });
    // Whoever comes there asks again, and is told what is wrong.
    if (isPromise(fetched)) fetched.catch(() => {});
  }

  #outOfRange(index: IndexBlock, b: number): boolean {
    if (!this.#reverse) return comparePositions(index.start(b), this.#high) >= 0;
    return b + 1 < index.count && comparePositions(index.start(b + 1), this.#low) <= 0;
  }
}
