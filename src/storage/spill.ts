import { isPromise } from "../base/maybe-promise.ts";
import type { Scratch, ScratchFile } from "./scratch.ts";
import { PIECE_BYTES, type Piece, pieceOf, readPiece } from "./scratch-piece.ts";
import { mainAt, recordEnd, subAt } from "./version-record.ts";

/** A sorted sequence of records in a scratch file. Its pieces' places and checksums are kept in memory. */
export interface Spill {
  readonly file: ScratchFile;
  readonly pieces: readonly Piece[];
}

/** Writes records one after the other. When it fails, or is given up, `discard` removes the file. */
export class SpillWriter {
  readonly #file: ScratchFile;
  readonly #pieces: Piece[] = [];
  #buffer: Buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  #filled = 0;
  #position = 0;

  constructor(file: ScratchFile) {
    this.#file = file;
  }

  static async create(scratch: Scratch): Promise<SpillWriter> {
    return new SpillWriter(await scratch.create());
  }

  /** Appends the record at from[start, end). A promise: wait for it before the next. */
  add(from: Buffer, start: number, end: number): Promise<void> | undefined {
    if (this.#filled > 0 && this.#filled + end - start > this.#buffer.length) {
      const written = this.#flush();
      if (written !== undefined) return written.then(() => this.#take(from, start, end));
    }
    this.#take(from, start, end);
    return undefined;
  }

  #take(from: Buffer, start: number, end: number): void {
    if (end - start > this.#buffer.length) this.#buffer = Buffer.allocUnsafeSlow(end - start);
    this.#filled += from.copy(this.#buffer, this.#filled, start, end);
  }

  async finish(): Promise<Spill> {
    await this.#flush();
    return { file: this.#file, pieces: this.#pieces };
  }

  discard(): Promise<void> {
    return this.#file.discard();
  }

  #flush(): Promise<void> | undefined {
    if (this.#filled === 0) return;
    const bytes = this.#buffer.subarray(0, this.#filled);
    this.#pieces.push(pieceOf(bytes, this.#position));
    const written = this.#file.write(bytes, this.#position);
    this.#position += this.#filled;
    this.#filled = 0;
    return isPromise(written) ? written : undefined;
  }
}

/** Reads a spill from its beginning. */
export class SpillReader {
  readonly spill: Spill;
  /** The piece at hand, and the present record's place in it. */
  buffer: Buffer = Buffer.alloc(0);
  at = 0;
  main = 0;
  sub = 0;
  ended = false;
  #nextPiece = 0;
  #next = 0;

  constructor(spill: Spill) {
    this.spill = spill;
  }

  /** To the first record, and then to each next one. A promise where a piece has to be read. */
  advance(): Promise<void> | undefined {
    if (this.#next < this.buffer.length) {
      this.#settle();
      return undefined;
    }
    const piece = this.spill.pieces[this.#nextPiece];
    if (piece !== undefined) return this.#read(piece);
    this.ended = true;
    return undefined;
  }

  async #read(piece: Piece): Promise<void> {
    this.buffer = await readPiece(this.spill.file, piece);
    this.#next = 0;
    this.#nextPiece++;
    this.#settle();
  }

  #settle(): void {
    this.at = this.#next;
    this.main = mainAt(this.buffer, this.at);
    this.sub = subAt(this.buffer, this.at);
    this.#next = recordEnd(this.buffer, this.at);
  }
}

/** Merges sorted spills: the least (main, sub) first. */
export class SpillMerge {
  /** A heap: no one is before the one at half its index. */
  readonly #readers: SpillReader[] = [];
  readonly #spills: readonly Spill[];

  constructor(spills: readonly Spill[]) {
    this.#spills = spills;
  }

  async start(): Promise<void> {
    for (const spill of this.#spills) {
      const reader = new SpillReader(spill);
      await reader.advance();
      if (reader.ended) continue;
      this.#readers.push(reader);
      this.#rise(this.#readers.length - 1);
    }
  }

  /** Whose present record comes next; null at the end. */
  get first(): SpillReader | null {
    return this.#readers[0] ?? null;
  }

  /** Behind the record of `first`. */
  advance(): Promise<void> | undefined {
    const moved = this.#readers[0]!.advance();
    if (moved !== undefined) return moved.then(() => this.#sink());
    this.#sink();
    return undefined;
  }

  async discard(): Promise<void> {
    for (const spill of this.#spills) await spill.file.discard();
  }

  #rise(i: number): void {
    const readers = this.#readers;
    for (let parent = (i - 1) >> 1; i > 0 && isBefore(readers[i]!, readers[parent]!); parent = (i - 1) >> 1) {
      [readers[i], readers[parent]] = [readers[parent]!, readers[i]!];
      i = parent;
    }
  }

  #sink(): void {
    const readers = this.#readers;
    if (readers[0]!.ended) {
      const last = readers.pop()!;
      if (readers.length === 0) return;
      readers[0] = last;
    }
    const moved = readers[0]!;
    let i = 0;
    for (let child = 1; child < readers.length; child = 2 * i + 1) {
      if (child + 1 < readers.length && isBefore(readers[child + 1]!, readers[child]!)) child++;
      if (!isBefore(readers[child]!, moved)) break;
      readers[i] = readers[child]!;
      i = child;
    }
    readers[i] = moved;
  }
}

const isBefore = (a: SpillReader, b: SpillReader): boolean => a.main < b.main || (a.main === b.main && a.sub < b.sub);
