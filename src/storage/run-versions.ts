import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { comparePositions, MAIN_NEWEST, type Position, SUB_NEWEST, startOf } from "./position.ts";
import { chain, type Run } from "./run.ts";
import { KEYS, type KeyRange } from "./storage.ts";
import type { OpenTable, Table } from "./table.ts";
import type { TableBlock } from "./table-block.ts";
import type { BlockHandle, IndexBlock, Sums } from "./table-index.ts";

/** What is fetched at once, as stored. */
const WINDOW_BYTES = 256 << 10;

/** Revisions after < main <= upTo of the keys in a range. */
export interface VersionWindow {
  readonly range: KeyRange;
  readonly after: number;
  readonly upTo: number;
}

/** Neighbouring blocks: fetched together, or one that the cache has. */
interface Window {
  readonly table: Table;
  readonly open: OpenTable;
  readonly partition: IndexBlock;
  readonly first: number;
  readonly handles: readonly BlockHandle[];
  readonly fetched: { readonly bytes: Buffer; readonly offset: number } | null;
}

/**
 * Walks all of a run's versions of keys in a range and a span of revisions, in the order of tables. Reads only blocks
 * whose bounds of keys and revisions meet both, each once; what the cache does not have is read past it. Two windows at
 * most are in memory: the one being read and the one being fetched.
 */
export class RunVersions {
  /** The entry at hand is number `i` of `block`; null at the end. */
  block: TableBlock | null = null;
  i = 0;
  /** Entries of the block before it are in the range. */
  #end = 0;
  #key: string | null = null;
  readonly #run: Run;
  readonly #window: VersionWindow;
  readonly #low: Position;
  readonly #high: Position;
  readonly #onBlock: () => void;
  #current: Window | null = null;
  #nextInWindow = 0;
  #coming: Promise<Window | null> | null = null;
  /** Where the next window is looked for. */
  #t = -1;
  #p = 0;
  #b = 0;

  /** `onBlock` is told of each block that is read. */
  constructor(run: Run, window: VersionWindow, onBlock: () => void) {
    this.#run = run;
    this.#window = window;
    this.#low = startOf(KEYS, window.range.from);
    this.#high = window.range.to === null ? startOf(KEYS + 1, "") : startOf(KEYS, window.range.to);
    this.#onBlock = onBlock;
  }

  /** To the first entry, and then to each next one. */
  advance(): MaybePromise<void> {
    for (;;) {
      const block = this.block;
      if (block !== null) {
        this.#key = null;
        for (this.i++; this.i < this.#end; this.i++) if (this.#holds(block, this.i)) return;
      }
      const moved = this.#toNextBlock();
      if (isPromise(moved)) return moved.then(() => (this.block === null ? undefined : this.advance()));
      if (this.block === null) return;
    }
  }

  /** The key of the entry at hand. */
  get key(): string {
    return (this.#key ??= this.block!.key(this.i));
  }

  #holds(block: TableBlock, i: number): boolean {
    const { after, upTo } = this.#window;
    const main = block.main(i);
    return main > after && main <= upTo;
  }

  /** The entry before the first one of the next block; `block` is null at the end. */
  #toNextBlock(): MaybePromise<void> {
    this.block = null;
    const window = this.#current;
    if (window === null || this.#nextInWindow === window.handles.length) return this.#toNextWindow();
    const n = this.#nextInWindow++;
    const { table, open, partition, fetched } = window;
    this.#onBlock();
    const block =
      fetched === null
        ? table.block(open, partition, window.first + n)
        : table.unpackBlock(open, window.handles[n]!, fetched.bytes, fetched.offset);
    return chain(block, (decoded) => {
      const { from, to } = this.#window.range;
      this.block = decoded;
      this.i = decoded.lowerBound(from, MAIN_NEWEST, SUB_NEWEST) - 1;
      this.#end = to === null ? decoded.count : decoded.lowerBound(to, MAIN_NEWEST, SUB_NEWEST);
    });
  }

  async #toNextWindow(): Promise<void> {
    const coming = this.#coming ?? this.#fetchWindow();
    this.#coming = null;
    this.#current = await coming;
    this.#nextInWindow = 0;
    if (this.#current === null) return;
    this.#coming = this.#fetchWindow();
    // Whoever awaits it gets the failure; nobody may, if the walk ends early.
    this.#coming.catch(() => {});
    await this.#toNextBlock();
  }

  async #fetchWindow(): Promise<Window | null> {
    const found = await this.#find();
    if (found === null) return null;
    const { table, open, partition } = found;
    const first = this.#b;
    let last = first;
    if (!table.hasBlock(partition, first)) {
      let bytes = partition.storedBytes(first);
      const takes = (b: number): boolean => {
        if (b >= partition.count || !this.#wants(partition, b) || table.hasBlock(partition, b)) return false;
        bytes += partition.storedBytes(b);
        return bytes <= WINDOW_BYTES;
      };
      while (takes(last + 1)) last++;
    }
    this.#b = last + 1;
    const fetched = table.hasBlock(partition, first) ? null : await table.fetchBlocks(partition, first, last);
    return { table, open, partition, first, handles: partition.handles(first, last + 1), fetched };
  }

  /** Moves on to the next block that may hold something; null at the end. */
  async #find(): Promise<{ table: Table; open: OpenTable; partition: IndexBlock } | null> {
    const { tables } = this.#run;
    if (this.#t < 0) {
      if (!this.#meets(this.#run.sums(KEYS))) return null;
      this.#t = this.#run.search(this.#low);
      this.#p = -1;
    }
    for (; this.#t < tables.length; this.#t++, this.#p = -1) {
      const table = tables[this.#t]!;
      if (this.#isBeyond(table.ref.first)) return null;
      const sums = table.ref.spaces.find((each) => each.space === KEYS);
      if (sums === undefined || !this.#meets(sums)) continue;
      const open = await table.open();
      if (this.#p < 0) {
        this.#p = open.top.search(this.#low);
        this.#b = -1;
      }
      for (const { top } = open; this.#p < top.count; this.#p++, this.#b = -1) {
        if (this.#isBeyond(top.start(this.#p))) return null;
        if (!this.#meets(top.sums(this.#p))) continue;
        const partition = await table.partition(open, this.#p);
        if (this.#b < 0) this.#b = partition.search(this.#low);
        for (; this.#b < partition.count; this.#b++) {
          if (!this.#meets(partition.sums(this.#b))) continue;
          return this.#isBeyond(partition.start(this.#b)) ? null : { table, open, partition };
        }
      }
    }
    return null;
  }

  #wants(partition: IndexBlock, b: number): boolean {
    return this.#meets(partition.sums(b)) && !this.#isBeyond(partition.start(b));
  }

  #meets(sums: Sums): boolean {
    return sums.entries > 0 && sums.mainMax > this.#window.after && sums.mainMin <= this.#window.upTo;
  }

  #isBeyond(start: Position): boolean {
    return comparePositions(start, this.#high) >= 0;
  }
}
