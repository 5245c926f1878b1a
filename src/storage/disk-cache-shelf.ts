import { assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Disk, DiskFile } from "../runtime/runtime.ts";
import {
  decodeEntry,
  ENTRY_BYTES,
  encodeEntry,
  encodeHeader,
  HEADER_BYTES,
  isEntryOf,
  isHeader,
  objectBytesOf,
  type PieceEntry,
  type PieceId,
  pieceLength,
  placesStart,
  type ShelfShape,
  shelfBytes,
  tagOf,
} from "./disk-cache-format.ts";

/** Pieces that were used again stay while others come and go, up to this part of a file. */
const KEPT_SHARE = 0.75;
/** Uses of the cache after a piece came within which its use is taken for the same one: a scan's next window. */
const SAME_USE_TICKS = 128;

/**
 * One file of the disk cache, with what it holds. Opened when it is first asked for anything; the directory is in
 * memory from then on, the pieces are not.
 *
 * 1. A place that is being read or written is not given to another piece.
 * 2. A piece is found only after its bytes were written: what is read is what was offered, or the disk's fault.
 * 3. Methods throw DiskError as the disk does. Who owns the shelf then closes it; that forgets nothing on the disk.
 */
export class Shelf {
  readonly path: string;
  readonly #disk: Disk;
  readonly #shape: ShelfShape;
  readonly #dataStart: number;
  #file: DiskFile | null = null;
  #loading: Promise<void> | null = null;
  #loaded = false;
  #closed = false;
  /** False where the file has no header yet. */
  #begun = false;
  /** As in the file. */
  #directory = Buffer.alloc(0);
  /** By place; 0: nothing is to be found there. */
  #tags = new Uint32Array(0);
  #bornAt = new Float64Array(0);
  #usedAt = new Float64Array(0);
  #kept = new Uint8Array(0);
  #keptCount = 0;
  /** Reads and writes under way. */
  #busy = new Uint32Array(0);
  /** Places that the file has room for as it is. */
  #made = 0;
  #bytes: number;

  /** `bytes`: what the file is known to take already. */
  constructor(disk: Disk, path: string, shape: ShelfShape, bytes: number) {
    this.#disk = disk;
    this.path = path;
    this.#shape = shape;
    this.#dataStart = placesStart(shape);
    this.#bytes = bytes;
  }

  /** What the file takes. */
  get bytes(): number {
    return this.#bytes;
  }

  get isLoaded(): boolean {
    return this.#loaded;
  }

  /** Of a file that was not opened yet: what it takes was looked up. */
  learn(bytes: number): void {
    if (!this.#loaded) this.#bytes = bytes;
  }

  /** Reads the directory, once. */
  load(): MaybePromise<void> {
    if (this.#loaded) return;
    this.#loading ??= this.#load().finally(() => {
      this.#loading = null;
    });
    return this.#loading;
  }

  async #load(): Promise<void> {
    const { places } = this.#shape;
    const file = await this.#disk.open(this.path, { create: false });
    const directory = Buffer.alloc(this.#dataStart);
    let bytes = 0;
    if (file !== null) {
      try {
        bytes = await file.size();
        const read = await file.read(directory, 0);
        if (!isHeader(directory, this.#shape) || bytes > shelfBytes(this.#shape)) {
          await file.truncate(0);
          bytes = 0;
        } else directory.fill(0, read);
      } catch (error) {
        await file.close().catch(() => {});
        throw error;
      }
    }
    if (this.#closed) return file?.close();
    this.#file = file;
    this.#begun = bytes > 0;
    this.#bytes = bytes;
    this.#made = Math.max(0, Math.ceil((bytes - this.#dataStart) / this.#shape.pieceBytes));
    this.#directory = directory;
    this.#tags = new Uint32Array(places);
    this.#bornAt = new Float64Array(places);
    this.#usedAt = new Float64Array(places);
    this.#kept = new Uint8Array(places);
    this.#busy = new Uint32Array(places);
    for (let place = 0; bytes > 0 && place < places; place++) {
      const entry = decodeEntry(directory, HEADER_BYTES + place * ENTRY_BYTES, this.#shape);
      if (entry !== null && this.#endOf(place, entry) <= bytes) this.#tags[place] = tagOf(entry);
    }
    this.#loaded = true;
  }

  /** The place of a piece, or −1. Of a loaded shelf. */
  find(id: PieceId): number {
    const tag = tagOf(id);
    for (let place = this.#tags.indexOf(tag); place >= 0; place = this.#tags.indexOf(tag, place + 1)) {
      const at = HEADER_BYTES + place * ENTRY_BYTES;
      if (isEntryOf(this.#directory, at, id)) return place;
    }
    return -1;
  }

  /** Of the whole table, a piece of which is at `place`. */
  objectBytes(place: number): number {
    return objectBytesOf(this.#directory, HEADER_BYTES + place * ENTRY_BYTES);
  }

  /** Fills `into` from byte `from` of the piece at `place`; false: the file does not have so much any more. */
  read(place: number, from: number, into: Buffer): MaybePromise<boolean> {
    if (this.#file === null) return false;
    const read = this.#file.read(into, this.#placeStart(place) + from);
    return isPromise(read) ? this.#readLater(place, read, into.length) : read === into.length;
  }

  /** The same, if the disk is quick enough for it to be done at once; null: it is not. */
  readAtOnce(place: number, from: number, into: Buffer): boolean | null {
    const read = this.#file === null ? -1 : this.#file.readAtOnce(into, this.#placeStart(place) + from);
    return read === null ? null : read === into.length;
  }

  async #readLater(place: number, read: Promise<number>, wanted: number): Promise<boolean> {
    this.#busy[place]!++;
    try {
      return (await read) === wanted;
    } finally {
      this.#busy[place]!--;
    }
  }

  /** Says that the piece at `place` was used; `tick` counts the uses of the whole cache. */
  use(place: number, tick: number): void {
    if (this.#kept[place] === 0 && tick - this.#bornAt[place]! > SAME_USE_TICKS) {
      this.#kept[place] = 1;
      this.#keptCount++;
    }
    this.#usedAt[place] = tick;
    if (this.#keptCount <= this.#shape.places * KEPT_SHARE) return;
    const oldest = this.#oldest(1);
    if (oldest >= 0) this.#unkeep(oldest);
  }

  /**
   * Keeps a piece, in place of the one that is missed least; false if there is no place for it. `mayGrow`: the file may
   * become longer.
   */
  async write(
    entry: PieceEntry,
    bytes: Buffer,
    { tick, mayGrow }: { tick: number; mayGrow: boolean },
  ): Promise<boolean> {
    const { pieceBytes } = this.#shape;
    assert(bytes.length === pieceLength(entry.objectBytes, entry.piece, pieceBytes), "a piece is whole");
    if (this.#closed) return false;
    assert(this.#loaded, "a shelf is loaded before it is written");
    if (this.find(entry) >= 0) return true;
    const place = this.#takePlace(mayGrow);
    if (place < 0) return false;
    this.#busy[place]!++;
    try {
      const file = await this.#begin();
      if (file === null) return false;
      // In this order: dying in between leaves an entry of what was there before, whose bytes fail their checksums.
      await file.write(bytes, this.#placeStart(place));
      if (this.#closed) return false;
      const at = HEADER_BYTES + place * ENTRY_BYTES;
      const encoded = encodeEntry(entry);
      await file.write(encoded, at);
      if (this.#closed) return false;
      encoded.copy(this.#directory, at);
      this.#bytes = Math.max(this.#bytes, this.#endOf(place, entry));
      this.#tags[place] = tagOf(entry);
      this.#bornAt[place] = tick;
      this.#usedAt[place] = tick;
      return true;
    } finally {
      this.#busy[place]!--;
    }
  }

  /** What is at `place` was wrong, and is not to be found any more, also after a restart. */
  async erase(place: number): Promise<void> {
    this.#forget(place);
    await this.#file?.write(Buffer.alloc(ENTRY_BYTES), HEADER_BYTES + place * ENTRY_BYTES);
  }

  #forget(place: number): void {
    this.#tags[place] = 0;
    this.#unkeep(place);
  }

  /** Nothing is read or written any more. What is under way ends by itself. */
  async close(): Promise<void> {
    this.#closed = true;
    const file = this.#file;
    this.#file = null;
    await file?.close();
  }

  /** The file with its header; null once the shelf is closed. */
  async #begin(): Promise<DiskFile | null> {
    let file = this.#file;
    if (file === null) {
      file = await this.#disk.open(this.path, { create: true });
      assert(file !== null, "a file that is to be made is there");
      if (this.#closed) {
        await file.close();
        return null;
      }
      this.#file = file;
    }
    if (!this.#begun) {
      await file.write(encodeHeader(this.#shape), 0);
      this.#begun = true;
      this.#bytes = Math.max(this.#bytes, HEADER_BYTES);
    }
    return this.#closed ? null : file;
  }

  #takePlace(mayGrow: boolean): number {
    for (let place = 0; place < this.#made; place++) {
      if (this.#tags[place] === 0 && this.#busy[place] === 0) return place;
    }
    if (mayGrow && this.#made < this.#shape.places) return this.#made++;
    let place = this.#oldest(0);
    if (place < 0) place = this.#oldest(1);
    if (place >= 0) this.#forget(place);
    return place;
  }

  /** The place that was not used for longest, among those that are kept or those that are not; −1: there is none. */
  #oldest(kept: 0 | 1): number {
    let oldest = -1;
    for (let place = 0; place < this.#made; place++) {
      if (this.#tags[place] === 0 || this.#kept[place] !== kept || this.#busy[place] !== 0) continue;
      if (oldest < 0 || this.#usedAt[place]! < this.#usedAt[oldest]!) oldest = place;
    }
    return oldest;
  }

  #unkeep(place: number): void {
    if (this.#kept[place] === 0) return;
    this.#kept[place] = 0;
    this.#keptCount--;
  }

  #placeStart(place: number): number {
    return this.#dataStart + place * this.#shape.pieceBytes;
  }

  #endOf(place: number, { objectBytes, piece }: PieceEntry): number {
    return this.#placeStart(place) + pieceLength(objectBytes, piece, this.#shape.pieceBytes);
  }
}
