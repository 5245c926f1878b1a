import { dirname } from "node:path";
import { assert } from "../base/assert.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import { nextTurn } from "../base/event-loop.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";
import {
  OBJECT_BYTES_MAX,
  type PieceId,
  pieceLength,
  type ShelfShape,
  shelfBytes,
  shelfOf,
} from "./disk-cache-format.ts";
import { PieceQueue, type WaitingPieces } from "./disk-cache-queue.ts";
import { Shelf } from "./disk-cache-shelf.ts";
import { leftToOthers } from "./disk-room.ts";

export interface DiskCacheSettings {
  /** What its files take together, at most. */
  readonly bytesMax: number;
  /** Tables are kept, and fetched from the store, in pieces of so many bytes. */
  readonly pieceBytes: number;
  readonly piecesPerFile: number;
}

/**
 * A piece of 256 KiB takes an object store no longer than one block does, near enough, and 10 GiB of them need 2 MB of
 * memory to be found in.
 */
export const defaultDiskCacheSettings: DiskCacheSettings = {
  bytesMax: 10 * 2 ** 30,
  pieceBytes: 256 << 10,
  piecesPerFile: 256,
};

export interface DiskCacheOptions {
  readonly runtime: Pick<Runtime, "disk" | "timers">;
  /** Its own, in one that exists: whatever else lies there under names like its files' is removed. */
  readonly directory: string;
  readonly settings: DiskCacheSettings;
  /** Told when it is turned off by a failure, and when it is on again. */
  readonly notices: { warn: Tell; info: Tell };
}

type Tell = (sentence: string, facts?: Readonly<Record<string, unknown>>) => void;

export interface DiskCacheStats {
  readonly bytes: number;
  readonly bytesMax: number;
  readonly files: number;
  /** Pieces that were asked for, and were there or not. */
  readonly hits: number;
  readonly misses: number;
  /** Pieces that were written; and that were not, because there was too much to write or no room. */
  readonly written: number;
  readonly dropped: number;
  /** Pieces whose bytes were wrong or gone. */
  readonly bad: number;
}

/** How often the directory and the room on the disk are looked at. */
const LOOK_MS = 5000;
const RETRY_MS_MIN = 1000;
const RETRY_MS_MAX = 60_000;
/** Pieces that wait to be written; beyond it they are not kept. */
const QUEUE_BYTES_MAX = 16 << 20;
/** Reads given to the disk at once: few enough that a write of the log does not wait for long behind them. */
const READS_MAX = 8;
/**
 * A table larger than this part of the cache is not put into it when it is made: it would drive everything else out.
 */
const TABLE_SHARE_MAX = 1 / 4;

/**
 * Pieces of tables on the node's own disk: one cache for all branches, in a bounded number of files. Nothing but speed
 * depends on it.
 *
 * 1. Its files may be removed, cut short or changed at any time. What it gives is checked by the reader, by the
 *    checksums of the table's blocks; `forget` is how the reader tells that it was wrong.
 * 2. A failing disk turns it off: reads find nothing and nothing is written, until a look at the disk succeeds.
 * 3. Opening it reads nothing. A file's directory is read when a piece that belongs there is first asked for.
 * 4. It takes at most `bytesMax`, leaves a part of the disk to others, gives files up when less than that is free.
 * 5. Writing is behind: what waits is bounded, and found by readers; what does not fit is not kept.
 */
export class DiskCache {
  readonly pieceBytes: number;
  readonly #options: DiskCacheOptions;
  readonly #shape: ShelfShape;
  readonly #shelves: Shelf[] = [];
  #state: { kind: "on" } | { kind: "off"; why: string } | { kind: "closed" } = { kind: "on" };
  #timer: Timer | null = null;
  #looking: Promise<void> | null = null;
  #retryMs = RETRY_MS_MIN;
  /** Files that are being closed: whoever ends the cache waits for them. */
  readonly #closing = new Set<Promise<void>>();
  readonly #queue: PieceQueue;
  #writing: Promise<void> | null = null;
  #readsUnderWay = 0;
  readonly #readers: (() => void)[] = [];
  /** What may still be taken of the disk; unknown before the first look. */
  #room = 0;
  #tick = 1e6;
  #hits = 0;
  #misses = 0;
  #written = 0;
  #bad = 0;

  /** Null where the settings leave no room for a single piece. */
  static open(options: DiskCacheOptions): DiskCache | null {
    const { bytesMax, pieceBytes, piecesPerFile } = options.settings;
    let places = piecesPerFile;
    while (places > 0 && shelfBytes({ pieceBytes, places }) > bytesMax) places--;
    return places === 0 ? null : new DiskCache(options, { pieceBytes, places });
  }

  private constructor(options: DiskCacheOptions, shape: ShelfShape) {
    this.#options = options;
    this.#shape = shape;
    this.pieceBytes = shape.pieceBytes;
    this.#queue = new PieceQueue({ pieceBytes: shape.pieceBytes, bytesMax: QUEUE_BYTES_MAX });
    const shelves = Math.floor(options.settings.bytesMax / shelfBytes(shape));
    assert(shelves >= 1, "there is room for a file");
    for (let i = 0; i < shelves; i++) this.#shelves.push(this.#newShelf(i, 0));
    this.#looking = this.#look(true);
  }

  /** Why it is off; null while it is on. */
  get trouble(): string | null {
    return this.#state.kind === "off"
      ? `the disk cache is off, tables are read from the store: ${this.#state.why}`
      : null;
  }

  stats(): DiskCacheStats {
    let bytes = 0;
    let files = 0;
    for (const shelf of this.#shelves) {
      bytes += shelf.bytes;
      if (shelf.bytes > 0) files++;
    }
    return {
      bytes,
      bytesMax: this.#options.settings.bytesMax,
      files,
      hits: this.#hits,
      misses: this.#misses,
      written: this.#written,
      dropped: this.#queue.dropped,
      bad: this.#bad,
    };
  }

  /**
   * Fills `into` with the bytes of a piece from `from` on, as they were offered or as the disk now has them. Answers
   * with the size of the whole table, or −1 where the piece is not there, or ends before.
   */
  read(id: PieceId, from: number, into: Buffer): MaybePromise<number> {
    if (this.#state.kind !== "on") return -1;
    this.#tick++;
    const waiting = this.readWaiting(id, from, into);
    if (waiting >= 0) return waiting;
    const shelf = this.#shelves[shelfOf(id, this.#shelves.length)]!;
    if (!shelf.isLoaded || this.#readsUnderWay >= READS_MAX) return this.#readLater(shelf, id, from, into);
    return this.#read(shelf, id, from, into);
  }

  /** The same, if it can be done at once; −1: it cannot, or it is not there. `read` tells which. */
  readAtOnce(id: PieceId, from: number, into: Buffer): number {
    if (this.#state.kind !== "on" || this.#readsUnderWay >= READS_MAX) return -1;
    const waiting = this.readWaiting(id, from, into);
    if (waiting >= 0) return waiting;
    const shelf = this.#shelves[shelfOf(id, this.#shelves.length)]!;
    const place = shelf.isLoaded ? shelf.find(id) : -1;
    if (place < 0) return -1;
    const objectBytes = shelf.objectBytes(place);
    if (from + into.length > pieceLength(objectBytes, id.piece, this.pieceBytes)) return -1;
    try {
      if (shelf.readAtOnce(place, from, into) !== true) return -1;
    } catch (error) {
      this.#fail(error, shelf);
      return -1;
    }
    this.#hits++;
    shelf.use(place, ++this.#tick);
    return objectBytes;
  }

  /** The same, of what was offered and waits to be written. */
  readWaiting(id: PieceId, from: number, into: Buffer): number {
    const waiting = this.#writing === null ? null : this.#queue.find(id);
    if (waiting === null) return -1;
    const start = (id.piece - waiting.firstPiece) * this.pieceBytes + from;
    if (waiting.bytes.copy(into, 0, start, start + into.length) < into.length) return -1;
    this.#hits++;
    return waiting.objectBytes;
  }

  /** The bytes of a piece were wrong. */
  forget(id: PieceId): void {
    if (this.#state.kind !== "on") return;
    this.#queue.forget(id);
    const shelf = this.#shelves[shelfOf(id, this.#shelves.length)]!;
    const place = shelf.find(id);
    if (place < 0) return;
    this.#bad++;
    this.#own(shelf.erase(place));
  }

  /**
   * Keeps pieces of a table, when there is time for it. `bytes` begin with piece `firstPiece`; a part of a piece at
   * their end is passed over, unless it is the table's last. They must stay as they are.
   */
  offer(table: Buffer, objectBytes: number, firstPiece: number, bytes: Buffer): void {
    if (this.#state.kind !== "on" || objectBytes > OBJECT_BYTES_MAX || bytes.length === 0) return;
    if (this.#queue.addFetched({ table, objectBytes, firstPiece, bytes, done: 0, wrong: new Set() }))
      this.#writing ??= this.#write();
  }

  /**
   * Keeps a table that was just made: it is likely to be read soon, and need not be fetched for it. One at a time; what
   * comes meanwhile is not kept.
   */
  offerTable(table: Buffer, bytes: Buffer): void {
    const tooLarge = bytes.length > Math.min(OBJECT_BYTES_MAX, this.#options.settings.bytesMax * TABLE_SHARE_MAX);
    if (this.#state.kind !== "on" || tooLarge || bytes.length === 0) return;
    const waiting = { table, objectBytes: bytes.length, firstPiece: 0, bytes, done: 0, wrong: new Set<number>() };
    if (this.#queue.addTable(waiting)) this.#writing ??= this.#write();
  }

  /** Resolves when nothing waits to be written. */
  async settled(): Promise<void> {
    while (this.#writing !== null || this.#looking !== null) await (this.#writing ?? this.#looking);
  }

  /**
   * Writes what was fetched, so that a process that lives shortly leaves it to the next one. Waits for what the disk is
   * doing, which is not bounded by us.
   */
  async close(): Promise<void> {
    this.#state = { kind: "closed" };
    this.#timer?.cancel();
    this.#queue.clearTable();
    await this.#looking;
    await this.#writing;
    for (const shelf of this.#shelves) this.#close(shelf);
    await Promise.all(this.#closing);
  }

  /** Of a shelf that is loaded; done at once where the disk is quick. */
  #read(shelf: Shelf, id: PieceId, from: number, into: Buffer): MaybePromise<number> {
    const place = shelf.find(id);
    if (place < 0) return this.#missed();
    const objectBytes = shelf.objectBytes(place);
    if (from + into.length > pieceLength(objectBytes, id.piece, this.pieceBytes)) return this.#missed();
    const found = (whole: boolean): number => {
      if (!whole) {
        this.forget(id);
        return this.#missed();
      }
      this.#hits++;
      shelf.use(place, this.#tick);
      return objectBytes;
    };
    try {
      const read = shelf.read(place, from, into);
      if (!isPromise(read)) return found(read);
      this.#readsUnderWay++;
      return read.then(found, (error: unknown) => this.#failed(error, shelf)).finally(() => this.#readEnded());
    } catch (error) {
      return this.#failed(error, shelf);
    }
  }

  async #readLater(shelf: Shelf, id: PieceId, from: number, into: Buffer): Promise<number> {
    try {
      // Bounded by the calls that wait for these reads.
      if (this.#readsUnderWay >= READS_MAX) await new Promise<void>((resolve) => this.#readers.push(resolve));
      const loading = shelf.load();
      if (isPromise(loading)) await loading;
    } catch (error) {
      this.#nextReader();
      return this.#failed(error, shelf);
    }
    const answer = this.#read(shelf, id, from, into);
    // Who did not read at all, or at once, leaves its turn to the next one; a read under way does so at its end.
    if (!isPromise(answer)) this.#nextReader();
    return answer;
  }

  #readEnded(): void {
    this.#readsUnderWay--;
    this.#nextReader();
  }

  #nextReader(): void {
    this.#readers.shift()?.();
  }

  #failed(error: unknown, shelf: Shelf): number {
    this.#fail(error, shelf);
    return this.#missed();
  }

  #missed(): number {
    this.#misses++;
    return -1;
  }

  /** Writes what waits, a piece in a turn of the event loop. */
  async #write(): Promise<void> {
    await this.#looking;
    for (let next = this.#queue.first; next !== null && !this.#isOff; next = this.#queue.first) {
      await nextTurn(this.#options.runtime.timers);
      await this.#writePiece(next);
      this.#queue.advance(next);
    }
    this.#queue.clear();
    this.#writing = null;
  }

  get #isOff(): boolean {
    return this.#state.kind === "off";
  }

  async #writePiece({ table, objectBytes, firstPiece, bytes, done, wrong }: WaitingPieces): Promise<void> {
    const piece = firstPiece + done;
    const start = done * this.pieceBytes;
    const length = pieceLength(objectBytes, piece, this.pieceBytes);
    if (start + length > bytes.length || wrong.has(piece)) return;
    const shelf = this.#shelves[shelfOf({ table, piece }, this.#shelves.length)]!;
    try {
      const loading = shelf.load();
      if (isPromise(loading)) await loading;
      const before = shelf.bytes;
      const mayGrow = this.#room >= shelfBytes({ ...this.#shape, places: 1 });
      const entry = { table, piece, objectBytes };
      const kept = await shelf.write(entry, bytes.subarray(start, start + length), { tick: this.#tick, mayGrow });
      this.#room -= Math.max(0, shelf.bytes - before);
      if (kept) this.#written++;
      else this.#queue.dropped++;
    } catch (error) {
      this.#queue.dropped++;
      this.#fail(error, shelf);
    }
  }

  /** Turns the cache off until the disk was looked at with success. A full disk gets the room of a file back. */
  #fail(error: unknown, shelf: Shelf | null): void {
    if (!isDbError(error, "diskFailed")) throw error;
    if (this.#state.kind === "closed") this.#queue.clear();
    if (this.#state.kind !== "on") return;
    const why = messageOf(error);
    this.#state = { kind: "off", why };
    this.#options.notices.warn("the disk cache is off, it will be tried again", { why });
    const isFull = "code" in error && (error.code === "ENOSPC" || error.code === "EDQUOT");
    if (isFull && shelf !== null) this.#remove(shelf.path);
    this.#shelves.forEach((each, i) => {
      this.#close(each);
      this.#shelves[i] = this.#newShelf(i, isFull && each === shelf ? 0 : each.bytes);
    });
    this.#lookAgain(this.#retryMs);
  }

  #newShelf(i: number, bytes: number): Shelf {
    const name = `${FILE_PREFIX}${String(i).padStart(FILE_DIGITS, "0")}`;
    return new Shelf(this.#options.runtime.disk, `${this.#options.directory}/${name}`, this.#shape, bytes);
  }

  /** Failures of a disk that is given up say nothing new. */
  #close(shelf: Shelf): void {
    this.#own(shelf.close());
  }

  #remove(path: string): void {
    this.#own(this.#options.runtime.disk.remove(path).then(() => {}));
  }

  #own(work: Promise<void>): void {
    const owned: Promise<void> = work
      .catch((error: unknown) => {
        if (!isDbError(error, "diskFailed")) throw error;
      })
      .finally(() => this.#closing.delete(owned));
    this.#closing.add(owned);
  }

  #lookAgain(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#state.kind === "closed") return;
    const look = (): void => {
      this.#looking ??= this.#look(false);
    };
    this.#timer = this.#options.runtime.timers.set(delayMs, look, { background: true });
  }

  /** Looks whether the disk works, what of the files is still there, and what room there is. */
  async #look(isFirst: boolean): Promise<void> {
    const { directory } = this.#options;
    const { disk } = this.#options.runtime;
    try {
      if (this.#state.kind === "off" || isFirst) await this.#makeDirectory();
      if (this.#state.kind === "off") await tryWriting(disk, directory);
      const known = this.#shelves.filter((shelf) => shelf.bytes > 0);
      const names = new Set(await disk.list(directory));
      if (isFirst) await this.#clean(names);
      this.#missRemoved(known, names);
      if (names.size === 0) await this.#makeDirectory();
      await this.#measure();
      this.#retryMs = RETRY_MS_MIN;
      if (this.#state.kind === "off") {
        this.#state = { kind: "on" };
        this.#options.notices.info("the disk cache works again");
      }
    } catch (error) {
      this.#retryMs = Math.min(RETRY_MS_MAX, this.#retryMs * 2);
      this.#fail(error, null);
    } finally {
      this.#looking = null;
    }
    this.#lookAgain(this.#state.kind === "off" ? this.#retryMs : LOOK_MS);
  }

  /** Not the directory that it lies in: where that was removed, it is not for a cache to bring it back. */
  async #makeDirectory(): Promise<void> {
    const { directory, runtime } = this.#options;
    const parent = dirname(directory);
    if ((await runtime.disk.stat(parent)) === null) throw new DbError("diskFailed", `directory ${parent} is missing`);
    await runtime.disk.makeDirectory(directory);
  }

  /** Removes files that other settings left behind, and learns the sizes of the others. */
  async #clean(names: Set<string>): Promise<void> {
    const { directory } = this.#options;
    const { disk } = this.#options.runtime;
    for (const name of names) {
      if (!name.startsWith(FILE_PREFIX)) continue;
      const path = `${directory}/${name}`;
      const i = this.#shelves.findIndex((shelf) => shelf.path === path);
      const bytes = (await disk.stat(path))?.bytes ?? 0;
      if (i < 0 || bytes > shelfBytes(this.#shape)) {
        await disk.remove(path);
        names.delete(name);
      } else this.#shelves[i]!.learn(bytes);
    }
  }

  /** Begins anew the files that somebody has removed. */
  #missRemoved(known: readonly Shelf[], names: ReadonlySet<string>): void {
    for (const shelf of known) {
      const i = this.#shelves.indexOf(shelf);
      if (i < 0 || names.has(shelf.path.slice(this.#options.directory.length + 1))) continue;
      this.#close(shelf);
      this.#shelves[i] = this.#newShelf(i, 0);
    }
  }

  /**
   * Takes note of the room on the disk. The cache does not grow into what is left to others, and gives a file up where
   * less than half of that is free.
   */
  async #measure(): Promise<void> {
    const { directory } = this.#options;
    const { disk } = this.#options.runtime;
    const { bytes, freeBytes } = await disk.space(directory);
    const left = leftToOthers(bytes);
    this.#room = freeBytes - left;
    if (freeBytes >= left / 2) return;
    const i = this.#shelves.findLastIndex((shelf) => shelf.bytes > 0);
    if (i < 0) return;
    this.#remove(this.#shelves[i]!.path);
    this.#close(this.#shelves[i]!);
    this.#shelves[i] = this.#newShelf(i, 0);
  }
}

const FILE_PREFIX = "shelf-";
const FILE_DIGITS = 4;
const TRIAL = "trial";
const TRIAL_BYTES = 4096;

/** Rejects where nothing can be written. */
async function tryWriting(disk: Runtime["disk"], directory: string): Promise<void> {
  await disk.writeFile(`${directory}/${TRIAL}`, Buffer.alloc(TRIAL_BYTES, 1));
  await disk.remove(`${directory}/${TRIAL}`);
}
