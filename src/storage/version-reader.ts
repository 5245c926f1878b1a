import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import { TimeSlice } from "../base/event-loop.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { HistoryWindow } from "./history-window.ts";
import type { Memtable } from "./memtable.ts";
import type { Run } from "./run.ts";
import { RunVersions } from "./run-versions.ts";
import type { Scratch } from "./scratch.ts";
import type { HistoryPage, OrderedVersions, Version, VersionsRequest } from "./storage.ts";
import { VersionFilter } from "./version-filter.ts";
import { VersionSorter } from "./version-sorter.ts";

/** So many entries are taken before it is looked at again whether others should have a turn. */
const ENTRIES_PER_LOOK = 64;
/** Revisions of a memtable that are looked through in one piece. */
const MEMTABLE_REVISIONS = 2048;
/** What a version costs in memory beside its bytes. */
const VERSION_OVERHEAD_BYTES = 128;

export interface VersionSources {
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  /** The layers at one moment, each the youngest first. */
  readonly memtables: readonly Memtable[];
  readonly runs: readonly Run[];
  /** The newest revision at that moment. */
  readonly head: number;
  /** Null: there is no disk to sort on. */
  readonly scratch: Scratch | null;
  /** So much is sorted at a time; without a disk, gathered in one pass over the blocks. */
  readonly windowBytes: number;
  /** Told of each block read. */
  readonly onBlock: () => void;
  /** Takes a turn at sorting, of which only so many go on at once; gives it back. */
  readonly takeTurn: (signal: AbortSignal | undefined) => Promise<() => void>;
}

/**
 * Versions in the order of (main, sub), of the layers that a tree had when it was made: a consistent view whatever is
 * written, merged or compacted meanwhile.
 *
 *   runs ─► blocks that meet the window, each once ─► kept by the compaction? ─► sorted on disk ─┐
 *   memtables, the oldest first: in order as they are, and newer than any run ──────────────────┴─► next
 *
 * Without a disk to sort on, or when it fails, the runs are read in passes, each of which gathers the oldest versions
 * that are left, a window of them: slower as there is more, in as little memory.
 */
export class VersionReader implements OrderedVersions {
  readonly #sources: VersionSources;
  readonly #request: VersionsRequest;
  readonly #filter: VersionFilter | null;
  /** Below it everything is in the runs, from it on in the memtables. */
  readonly #memoryFrom: number;
  /** What was applied later than the question is not seen. */
  readonly #seesUpTo: number;
  /** Given so far: everything up to this main. */
  #through: number;
  #sorter: VersionSorter | null = null;
  #inPasses: boolean;
  /** What a pass has gathered: versions in order, complete up to `through`. */
  #pass: { versions: Version[]; next: number; through: number } | null = null;
  #closed = false;
  #busy = false;
  #seen = 0;
  readonly #slice: TimeSlice;

  constructor(sources: VersionSources, request: VersionsRequest) {
    const { compacted, after, upTo } = request;
    assert(compacted === null || (compacted.through <= compacted.at && compacted.at <= upTo), "compacted is in order");
    this.#sources = sources;
    this.#request = request;
    this.#through = Math.min(after, upTo);
    const filters = compacted !== null && compacted.through > after;
    this.#filter = filters ? new VersionFilter(compacted, sources.memtables) : null;
    const oldest = sources.memtables.findLast(({ revisionMin }) => revisionMin !== 0);
    this.#memoryFrom = oldest === undefined ? Number.MAX_SAFE_INTEGER : oldest.revisionMin;
    this.#seesUpTo = Math.min(upTo, sources.head);
    this.#inPasses = sources.scratch === null;
    this.#slice = new TimeSlice(sources.runtime);
  }

  get isOpen(): boolean {
    return !this.#closed;
  }

  async next(limit: number, bytesMax: number): Promise<HistoryPage> {
    assert(!this.#busy, "one page at a time");
    this.#busy = true;
    try {
      return await this.#page(new Page(limit, bytesMax));
    } catch (error) {
      this.#busy = false;
      await this.close();
      throw error;
    } finally {
      this.#busy = false;
      if (this.#closed) await this.#discard();
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    if (!this.#busy) await this.#discard();
  }

  async #discard(): Promise<void> {
    const sorter = this.#sorter;
    this.#sorter = null;
    this.#pass = null;
    await sorter?.discard();
  }

  async #page(page: Page): Promise<HistoryPage> {
    const { upTo } = this.#request;
    this.#check();
    const runsUpTo = Math.min(upTo, this.#memoryFrom - 1);
    if (this.#through < runsUpTo && this.#sources.runs.length > 0) {
      await this.#pageFromRuns(page, runsUpTo);
      if (this.#through < runsUpTo) return { versions: page.versions, through: this.#through };
      await this.#discard();
    }
    while (this.#through < upTo && !page.isFull) {
      this.#takeFromMemory(page);
      await this.#pauseIfDue();
      this.#check();
    }
    return { versions: page.versions, through: this.#through };
  }

  #check(): void {
    if (this.#closed || this.#request.signal?.aborted) throw new DbError("canceled", "reading versions was given up");
  }

  // --- memtables ---

  #takeFromMemory(page: Page): void {
    const { range, upTo } = this.#request;
    const { memtables } = this.#sources;
    const seesUpTo = this.#seesUpTo;
    const from = this.#through;
    const memtable = memtables.findLast(({ revisionMax }) => revisionMax > from);
    if (memtable === undefined || memtable.revisionMin > seesUpTo || from >= seesUpTo) {
      this.#through = upTo;
      return;
    }
    const after = Math.max(from, memtable.revisionMin - 1);
    const until = Math.min(seesUpTo, memtable.revisionMax, after + MEMTABLE_REVISIONS);
    const found: Version[] = [];
    this.#through = memtable.history(range, { after, upTo: until }, page.left, found);
    for (const version of found) if (this.#filter === null || this.#filter.keepsInMemory(version)) page.add(version);
  }

  // --- runs ---

  async #pageFromRuns(page: Page, upTo: number): Promise<void> {
    if (!this.#inPasses) {
      try {
        await this.#pageFromSorter(page, upTo);
        return;
      } catch (error) {
        if (!isDbError(error, "diskFailed")) throw error;
        // The disk is full or broken: what is left is read in passes, which need none. The page ends with a whole main.
        await this.#discard();
        this.#inPasses = true;
        page.cutAbove(this.#through);
      }
    }
    await this.#pageFromPasses(page, upTo);
  }

  async #pageFromSorter(page: Page, upTo: number): Promise<void> {
    const sorter = this.#sorter ?? (await this.#sort(upTo));
    for (let main = sorter.nextMain; main !== null; main = sorter.nextMain) {
      if (page.isFull && main !== page.lastMain) {
        this.#through = page.lastMain;
        return;
      }
      page.add(sorter.take());
      const moved = sorter.advance();
      if (moved !== undefined) await moved;
      this.#check();
    }
    this.#through = upTo;
  }

  async #sort(upTo: number): Promise<VersionSorter> {
    const endTurn = await this.#sources.takeTurn(this.#request.signal);
    try {
      const sorter = new VersionSorter(this.#sources.scratch!, this.#sources.windowBytes);
      this.#sorter = sorter;
      await this.#walk(this.#through, upTo, (version) => sorter.add(version));
      await sorter.finish();
      return sorter;
    } finally {
      endTurn();
    }
  }

  async #pageFromPasses(page: Page, upTo: number): Promise<void> {
    while (this.#through < upTo) {
      this.#pass ??= await this.#gather(upTo);
      const pass = this.#pass;
      for (; pass.next < pass.versions.length; pass.next++) {
        const version = pass.versions[pass.next]!;
        if (page.isFull && version.main !== page.lastMain) {
          this.#through = page.lastMain;
          return;
        }
        page.add(version);
      }
      this.#through = pass.through;
      this.#pass = null;
      if (page.isFull) return;
    }
  }

  async #gather(upTo: number): Promise<{ versions: Version[]; next: number; through: number }> {
    const endTurn = await this.#sources.takeTurn(this.#request.signal);
    try {
      const { windowBytes } = this.#sources;
      const window = new HistoryWindow(this.#through, upTo, {
        versions: Math.ceil(windowBytes / VERSION_OVERHEAD_BYTES),
        bytes: windowBytes,
      });
      await this.#walk(this.#through, upTo, (version) => {
        window.addCopy(version);
        return undefined;
      });
      return { versions: window.take(), next: 0, through: window.through };
    } finally {
      endTurn();
    }
  }

  /**
   * All versions of the runs in the window that the compaction keeps, in no order. What decides about a key may lie in
   * any run, but nothing that matters lies before `after`.
   */
  async #walk(after: number, upTo: number, take: (version: Version) => Promise<void> | undefined): Promise<void> {
    const { runs, onBlock } = this.#sources;
    const walks = runs.map((run) => new RunVersions(run, { range: this.#request.range, after, upTo }, onBlock));
    if (this.#filter === null) {
      for (const walk of walks) await this.#walkOne(walk, take);
      return;
    }
    this.#filter.restart();
    for (const walk of walks) {
      const moved = walk.advance();
      if (isPromise(moved)) await moved;
    }
    await this.#walkTogether(
      walks.filter(({ block }) => block !== null),
      this.#filter,
      take,
    );
  }

  async #walkOne(walk: RunVersions, take: (version: Version) => Promise<void> | undefined): Promise<void> {
    for (;;) {
      const moved = walk.advance();
      if (isPromise(moved)) await moved;
      if (walk.block === null) return;
      const taken = take(walk.block.version(walk.i));
      if (taken !== undefined) await taken;
      if (++this.#seen % ENTRIES_PER_LOOK === 0) await this.#pauseIfDue();
    }
  }

  /** Key by key over all runs, the newest version first. Few runs: the first is kept by moving it to its place. */
  async #walkTogether(
    walks: RunVersions[],
    filter: VersionFilter,
    take: (version: Version) => Promise<void> | undefined,
  ): Promise<void> {
    walks.sort(compareWalks);
    for (let walk = walks[0]; walk !== undefined; walk = walks[0]) {
      const version = walk.block!.version(walk.i);
      if (filter.keepsNext(version.key, version.main, version.tombstone)) {
        const taken = take(version);
        if (taken !== undefined) await taken;
      }
      const moved = walk.advance();
      if (isPromise(moved)) await moved;
      if (walk.block === null) walks.shift();
      else {
        let at = 0;
        for (; at + 1 < walks.length && compareWalks(walks[at + 1]!, walk) < 0; at++) walks[at] = walks[at + 1]!;
        walks[at] = walk;
      }
      if (++this.#seen % ENTRIES_PER_LOOK === 0) await this.#pauseIfDue();
    }
  }

  /** Lets others run when this has run for long enough. */
  async #pauseIfDue(): Promise<void> {
    if (!this.#slice.isOver) return;
    await this.#slice.end();
    this.#check();
  }
}

/** Newest first within a key. */
function compareWalks(a: RunVersions, b: RunVersions): number {
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  return b.block!.main(b.i) - a.block!.main(a.i) || b.block!.sub(b.i) - a.block!.sub(a.i);
}

/** A page being filled: whole mains until it is full. */
class Page {
  readonly versions: Version[] = [];
  readonly #limit: number;
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(limit: number, bytesMax: number) {
    this.#limit = Math.max(1, limit);
    this.#bytesMax = bytesMax;
  }

  get isFull(): boolean {
    return this.versions.length >= this.#limit || this.#bytes >= this.#bytesMax;
  }

  get left(): { versions: number; bytes: number } {
    return { versions: this.#limit - this.versions.length, bytes: this.#bytesMax - this.#bytes };
  }

  get lastMain(): number {
    return this.versions[this.versions.length - 1]!.main;
  }

  add(version: Version): void {
    this.versions.push(version);
    this.#bytes += version.end - version.start;
  }

  /** Takes back what is newer than `main`. */
  cutAbove(main: number): void {
    while (this.versions.length > 0 && this.lastMain > main) {
      const { start, end } = this.versions.pop()!;
      this.#bytes -= end - start;
    }
  }
}
