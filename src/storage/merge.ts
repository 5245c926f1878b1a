import { createHash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { TimeSlice } from "../base/event-loop.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { TaskSurroundings } from "../runtime/runtime.ts";
import { ContentHash } from "./content-hash.ts";
import type { EncodedBlock } from "./encoded-block.ts";
import { comparePositions, type Position, startOf } from "./position.ts";
import type { EntrySource } from "./run-source.ts";
import type { Effect, Version } from "./storage.ts";
import type { TableRef } from "./table.ts";
import { keepsVersions } from "./table-block.ts";
import { TableBuilder } from "./table-builder.ts";
import { SALT_BYTES, type TableFacts } from "./table-format.ts";

/** Between two pauses lies so much work, or the time of a slice: looked at every few entries. */
const SLICE_BYTES = 192 << 10;
const ENTRIES_PER_LOOK = 32;
/** What an entry costs beside its bytes, in the same measure. */
const ENTRY_COST_BYTES = 64;
const HASH_SLICE_BYTES = 2 << 20;

export interface MergeOptions {
  readonly runtime: TaskSurroundings["runtime"];
  /** Younger sources first; started. */
  readonly sources: readonly EntrySource[];
  /** About what the sources hold. */
  readonly bytesHint: number;
  /** Versions that a newer one at or below this revision hides are dropped; −1: none. */
  readonly compactRevision: number;
  /** Nothing older lies below: tombstones have done their work. */
  readonly bottom: boolean;
  /** A table is ended when it has this many bytes, a block when it has these. */
  readonly tableBytes: number;
  readonly blockBytes: number;
  /** Between these lies what is written: bounds of the tables that it will stand between; null where there is none. */
  readonly after: Position | null;
  readonly before: Position | null;
  /** Stores a table. The bytes are the receiver's. */
  write(table: WrittenTable): Promise<TableRef>;
  readonly signal: AbortSignal;
}

export interface WrittenTable {
  readonly body: Buffer;
  /** Of the body, 64 hex digits. */
  readonly sha256: string;
  readonly facts: TableFacts;
}

export interface Merged {
  /** In order: a run. Empty if nothing was left. */
  readonly tables: TableRef[];
  readonly dropped: { readonly hash: ContentHash; readonly entries: number };
  /** Entries written. */
  readonly entries: number;
  /** Of what was written, by space; one whose sum is 0 may be missing. */
  readonly effectSums: Map<number, number>;
}

/**
 * Merges sources into one run of tables.
 *
 *   key   k      k      k      k           C = compact revision
 *   main  9      7   C  5      2
 *         kept   kept   kept   dropped     the one at 5 takes over the effect of the one at 2, so that
 *                                         counts at 5 and above stay as they are
 *
 * 1. Of the versions not newer than C the newest of a key stays and takes over the effects of the others, which are
 *    dropped. So the sum of effects is the same before and after, for every revision from C on.
 * 2. A tombstone below C goes only where nothing older lies below, and its effect is then 0: the birth that it ended
 *    was dropped with it. Else an older version would come to life again. One at C stays: C is the first revision that
 *    can be watched.
 * 3. In the spaces beside the keys the newest alone stays.
 * 4. Versions are told apart by (main, sub). Two sources never hold the same one.
 * 5. It runs beside the event loop (merge-task.ts), or in it, in slices.
 */
export class Merge {
  readonly #options: MergeOptions;
  readonly #tables: TableRef[] = [];
  readonly #dropped = new ContentHash();
  readonly #effectSums = new Map<number, number>();
  #droppedEntries = 0;
  #entries = 0;
  #builder: TableBuilder | null = null;
  #last: Position | null = null;
  /** The newest version at or below C of the present key, with the effects it has taken over. */
  #survivor: { space: number; version: Version; effect: number } | null = null;
  #work = 0;
  #seen = 0;
  readonly #slice: TimeSlice;

  constructor(options: MergeOptions) {
    this.#options = options;
    this.#last = options.after;
    this.#slice = new TimeSlice(options.runtime);
  }

  /** Tables that are written when this fails are listed nowhere: they are left to the collector. */
  async run(): Promise<Merged> {
    const heap = new SourceHeap(this.#options.sources);
    let previous: Position | null = null;
    for (let source = heap.first; source !== null; source = heap.first) {
      const { block } = source;
      if (block !== null && this.#goesWhole(block, heap.second)) {
        if (previous !== null && comparePositions(previous, block.first) >= 0)
          throw wrong("a version is in two sources");
        previous = block.last;
        const added = this.#takeBlock(block);
        if (isPromise(added)) await added;
        const passed = source.pass();
        if (isPromise(passed)) await passed;
        heap.moved();
        this.#work += ENTRY_COST_BYTES * block.count + block.bytes.length;
        if (this.#sliceIsOver()) await this.#pause();
        continue;
      }
      const version = source.version!;
      const { space } = source;
      const position = { space, key: version.key, main: version.main, sub: version.sub };
      if (previous !== null && comparePositions(previous, position) >= 0) throw wrong("a version is in two sources");
      const sameKey = previous !== null && previous.space === space && previous.key === version.key;
      previous = position;
      const taken = this.#take(space, version, sameKey);
      if (isPromise(taken)) await taken;
      const moved = source.advance();
      if (isPromise(moved)) await moved;
      heap.moved();
      this.#work += ENTRY_COST_BYTES + version.key.length + version.end - version.start;
      if (++this.#seen % ENTRIES_PER_LOOK === 0 && this.#sliceIsOver()) await this.#pause();
    }
    const flushed = this.#writeSurvivor();
    if (isPromise(flushed)) await flushed;
    if (this.#builder !== null) await this.#finishTable(this.#options.before);
    const dropped = { hash: this.#dropped, entries: this.#droppedEntries };
    return { tables: this.#tables, dropped, entries: this.#entries, effectSums: this.#effectSums };
  }

  /**
   * Whether a block has nothing to drop, and no entry of another source comes before its last: so none of an older
   * version of what came before it, as that is not newer than C.
   */
  #goesWhole({ space, mainMin, last }: EncodedBlock, other: EntrySource | null): boolean {
    if (!keepsVersions(space) || mainMin <= this.#options.compactRevision) return false;
    if (other === null) return true;
    const { key, main, sub } = other.version!;
    return comparePositions(last, { space: other.space, key, main, sub }) < 0;
  }

  #takeBlock(block: EncodedBlock): MaybePromise<void> {
    const flushed = this.#writeSurvivor();
    return flushed === undefined ? this.#writeBlock(block) : flushed.then(() => this.#writeBlock(block));
  }

  #writeBlock(block: EncodedBlock): MaybePromise<void> {
    const builder = this.#builder;
    if (builder !== null && block.tableAt !== null) return this.#beginTable(builder, block, block.tableAt);
    if (builder !== null && builder.bytes >= this.#options.tableBytes) {
      return this.#finishTable(block.first).then(() => this.#addBlock(this.#newBuilder(), block));
    }
    return this.#addBlock(builder ?? this.#newBuilder(), block);
  }

  /** What lies before the bound and what lies behind it share no position, however short theirs are made. */
  async #beginTable(builder: TableBuilder, block: EncodedBlock, at: string): Promise<void> {
    const bound = startOf(block.space, at);
    const isBetween = comparePositions(builder.last!, bound) < 0 && comparePositions(bound, block.first) <= 0;
    assert(isBetween, "a table is begun between two entries");
    await this.#finishTable(bound);
    this.#last = bound;
    await this.#addBlock(this.#newBuilder(), block);
  }

  #addBlock(builder: TableBuilder, block: EncodedBlock): MaybePromise<void> {
    this.#entries += block.count;
    const added = builder.addBlock(block);
    return isPromise(added)
      ? added.then((effect) => this.#addEffect(block.space, effect))
      : this.#addEffect(block.space, added);
  }

  #addEffect(space: number, effect: number): void {
    if (effect !== 0) this.#effectSums.set(space, (this.#effectSums.get(space) ?? 0) + effect);
  }

  #take(space: number, version: Version, sameKey: boolean): Promise<void> | undefined {
    if (!sameKey) {
      const flushed = this.#writeSurvivor();
      if (flushed !== undefined) return flushed.then(() => this.#takeVersion(space, version));
    }
    return this.#takeVersion(space, version);
  }

  #takeVersion(space: number, version: Version): Promise<void> | undefined {
    const survivor = this.#survivor;
    if (survivor !== null) {
      survivor.effect += version.effect;
      this.#drop(space, version);
      return;
    }
    const isOld = !keepsVersions(space) || version.main <= this.#options.compactRevision;
    if (!isOld) return this.#write(space, version, version.effect);
    this.#survivor = { space, version, effect: version.effect };
    return;
  }

  #writeSurvivor(): Promise<void> | undefined {
    const survivor = this.#survivor;
    if (survivor === null) return;
    this.#survivor = null;
    const { space, version, effect } = survivor;
    if (version.tombstone && this.#options.bottom && !this.#isAtCompaction(space, version)) {
      if (effect !== 0) throw wrong("a tombstone dropped at the bottom has no effect left");
      this.#drop(space, version);
      return;
    }
    if (effect < -1 || effect > 1) throw wrong(`the effect of what survives is ${effect}`);
    return this.#write(space, version, effect as Effect);
  }

  /** Who watches from C on is told of a deletion at C. */
  #isAtCompaction(space: number, version: Version): boolean {
    return keepsVersions(space) && version.main === this.#options.compactRevision;
  }

  #drop(space: number, version: Version): void {
    this.#dropped.add(space, version);
    this.#droppedEntries++;
  }

  #write(space: number, version: Version, effect: Effect): Promise<void> | undefined {
    const builder = this.#builder;
    if (builder !== null && builder.bytes >= this.#options.tableBytes) {
      const next = { space, key: version.key, main: version.main, sub: version.sub };
      return this.#finishTable(next).then(() => this.#add(this.#newBuilder(), space, version, effect));
    }
    return this.#add(builder ?? this.#newBuilder(), space, version, effect);
  }

  #add(builder: TableBuilder, space: number, version: Version, effect: Effect): Promise<void> | undefined {
    this.#entries++;
    this.#addEffect(space, effect);
    const added = builder.add(space, version, effect);
    return isPromise(added) ? added : undefined;
  }

  #newBuilder(): TableBuilder {
    const { runtime, bytesHint, tableBytes, blockBytes } = this.#options;
    this.#builder = new TableBuilder({
      runtime,
      salt: runtime.random.bytes(SALT_BYTES),
      bytesHint: Math.min(bytesHint, tableBytes + (tableBytes >> 3)),
      blockBytes,
      previous: this.#last,
    });
    return this.#builder;
  }

  async #finishTable(next: Position | null): Promise<void> {
    const builder = this.#builder!;
    const { compactRevision, write } = this.#options;
    this.#last = builder.last;
    this.#builder = null;
    const { body: built, facts } = await builder.finish({ next, compactRevision, pause: () => this.#pause() });
    const body = aloneInMemory(built);
    // Dying here leaves a table that nothing lists: safe.
    this.#tables.push(await write({ body, sha256: await this.#hashOf(body), facts }));
  }

  /** In slices: whoever else is in this thread has its turn. */
  async #hashOf(body: Buffer): Promise<string> {
    const hash = createHash("sha256");
    for (let at = 0; at < body.length; at += HASH_SLICE_BYTES) {
      if (at > 0) await this.#pause();
      hash.update(body.subarray(at, at + HASH_SLICE_BYTES));
    }
    return hash.digest("hex");
  }

  #sliceIsOver(): boolean {
    return this.#work >= SLICE_BYTES || this.#slice.isOver;
  }

  /** Lets the event loop have its turn. */
  async #pause(): Promise<void> {
    await this.#slice.end();
    this.#work = 0;
    if (this.#options.signal.aborted) throw new DbError("canceled", "merging was given up: the branch is closing");
  }
}

/**
 * A table that packs well fills little of the memory that was there for it. All of that would go along to whoever
 * stores it, and count there as taken, untouched as it is: the collector of garbage came for it with each table.
 */
function aloneInMemory(body: Buffer): Buffer {
  if (body.length * 2 > body.buffer.byteLength) return body;
  const own = Buffer.allocUnsafeSlow(body.length);
  body.copy(own);
  return own;
}

/** What the sources hold cannot be: a table lies of its entries, or tables are not of one tree. */
const wrong = (what: string): DbError => new DbError("corrupt", `merging: ${what}`);

/** The sources in the order of their present entries. */
class SourceHeap {
  readonly #sources: EntrySource[] = [];

  constructor(sources: readonly EntrySource[]) {
    for (const source of sources) {
      this.#sources.unshift(source);
      this.moved();
    }
  }

  get first(): EntrySource | null {
    return this.#sources[0] ?? null;
  }

  get second(): EntrySource | null {
    return this.#sources[1] ?? null;
  }

  /** The first one has moved on: puts it where it belongs. */
  moved(): void {
    const sources = this.#sources;
    const source = sources[0]!;
    if (source.version === null) {
      sources.shift();
      return;
    }
    let at = 0;
    for (; at + 1 < sources.length && isBefore(sources[at + 1]!, source); at++) sources[at] = sources[at + 1]!;
    sources[at] = source;
  }
}

function isBefore(a: EntrySource, b: EntrySource): boolean {
  if (a.space !== b.space) return a.space < b.space;
  const x = a.version!;
  const y = b.version!;
  if (x.key !== y.key) return x.key < y.key;
  return x.main > y.main || (x.main === y.main && x.sub > y.sub);
}
