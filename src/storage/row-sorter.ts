import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { Scratch, ScratchFile } from "./scratch.ts";
import { PIECE_BYTES, type Piece, pieceOf, readPiece } from "./scratch-piece.ts";

/** Before each row: its length. */
const HEAD_BYTES = 4;
/** So many runs are merged at once, each with a piece in memory. */
const RUNS_MAX = 1024;

export interface SortedRow {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

export type CompareRows = (a: SortedRow, b: SortedRow) => number;

/** Rows in their order, in a scratch file; where its pieces are is kept in memory. */
interface Run {
  readonly file: ScratchFile;
  readonly pieces: Piece[];
}

/**
 * Sorts any number of rows in bounded memory: the caller hands over windows of them that it has sorted, each becomes a
 * run in a scratch file, and runs are merged as they are read, as often as one likes. Rows that tie come in the order
 * of their windows.
 */
export class RowSorter {
  readonly #scratch: Scratch;
  readonly #compare: CompareRows;
  readonly #runs: Run[] = [];
  #discarded = false;

  constructor(scratch: Scratch, compare: CompareRows) {
    this.#scratch = scratch;
    this.#compare = compare;
  }

  /** What a reader of all of it holds in memory. */
  get readingBytes(): number {
    return this.#runs.length * PIECE_BYTES;
  }

  /** Sorted by `compare`. Throws `diskFailed`, and `tooManyRequests` where there are too many. */
  async add(window: readonly SortedRow[]): Promise<void> {
    assert(!this.#discarded, "a sorter that is discarded takes nothing");
    if (this.#runs.length === RUNS_MAX) throw new DbError("tooManyRequests", "too much to be sorted: ask for less");
    const file = await this.#scratch.create();
    const run: Run = { file, pieces: [] };
    // From here on it is removed with the others, whatever happens.
    this.#runs.push(run);
    let position = 0;
    for (let from = 0; from < window.length; ) {
      const [bytes, to] = packed(window, from);
      // Bounded by the window; a process that dies here leaves a file that the next start removes.
      const written = file.write(bytes, position);
      if (isPromise(written)) await written;
      run.pieces.push(pieceOf(bytes, position));
      position += bytes.length;
      from = to;
    }
  }

  /** All rows in order. The files must stay until it is read. */
  read(): SortedRows {
    assert(!this.#discarded, "a sorter that is discarded has nothing");
    return new SortedRows(this.#runs, this.#compare);
  }

  /** Removes the files; once. */
  async discard(): Promise<void> {
    if (this.#discarded) return;
    this.#discarded = true;
    for (const { file } of this.#runs) await file.discard();
  }
}

/** The rows from `from` on that one piece takes, and the index behind them. */
function packed(rows: readonly SortedRow[], from: number): [Buffer, number] {
  let size = 0;
  let to = from;
  while (to < rows.length) {
    const { start, end } = rows[to]!;
    const more = HEAD_BYTES + end - start;
    if (to > from && size + more > PIECE_BYTES) break;
    size += more;
    to++;
  }
  const piece = Buffer.allocUnsafeSlow(size);
  let at = 0;
  for (let i = from; i < to; i++) {
    const { bytes, start, end } = rows[i]!;
    at = piece.writeUInt32LE(end - start, at);
    piece.set(bytes.subarray(start, end), at);
    at += end - start;
  }
  return [piece, to];
}

/** Merges runs: a heap of them, of which no one is before the one at half its index. */
export class SortedRows {
  readonly #runs: readonly Run[];
  readonly #compare: CompareRows;
  #heap: RunReader[] | null = null;

  constructor(runs: readonly Run[], compare: CompareRows) {
    this.#runs = runs;
    this.#compare = compare;
  }

  /** The next rows: until so many are there, or so many bytes of them. None: the end. */
  async next(rowsMax: number, bytesMax: number): Promise<SortedRow[]> {
    this.#heap ??= await this.#start();
    const rows: SortedRow[] = [];
    for (let bytes = 0; rows.length < rowsMax && bytes < bytesMax && this.#heap.length > 0; ) {
      const first = this.#heap[0]!;
      const row = first.row;
      rows.push(row);
      bytes += row.end - row.start;
      const moved = first.advance();
      if (moved !== undefined) await moved;
      this.#sink(this.#heap);
    }
    return rows;
  }

  async #start(): Promise<RunReader[]> {
    const heap: RunReader[] = [];
    for (const [number, run] of this.#runs.entries()) {
      const reader = new RunReader(run, number);
      await reader.advance();
      if (!reader.ended) heap.push(reader);
    }
    return heap.sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
  }

  #sink(heap: RunReader[]): void {
    if (heap[0]!.ended) {
      const last = heap.pop()!;
      if (heap.length === 0) return;
      heap[0] = last;
    }
    const moved = heap[0]!;
    let i = 0;
    for (let child = 1; child < heap.length; child = 2 * i + 1) {
      if (child + 1 < heap.length && this.#isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#isBefore(heap[child]!, moved)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = moved;
  }

  #isBefore(a: RunReader, b: RunReader): boolean {
    const order = this.#compare(a.row, b.row);
    return order < 0 || (order === 0 && a.number < b.number);
  }
}

/** One run from its beginning. */
class RunReader {
  readonly number: number;
  row!: SortedRow;
  ended = false;
  readonly #run: Run;
  #piece: Buffer = Buffer.alloc(0);
  #nextPiece = 0;
  #next = 0;

  constructor(run: Run, number: number) {
    this.#run = run;
    this.number = number;
  }

  /** To the first row, and then to each next one. A promise where a piece has to be read. */
  advance(): Promise<void> | undefined {
    if (this.#next < this.#piece.length) {
      this.#settle();
      return undefined;
    }
    const piece = this.#run.pieces[this.#nextPiece++];
    if (piece !== undefined) return this.#read(piece);
    this.ended = true;
    return undefined;
  }

  async #read(piece: Piece): Promise<void> {
    this.#piece = await readPiece(this.#run.file, piece);
    this.#next = 0;
    this.#settle();
  }

  #settle(): void {
    const start = this.#next + HEAD_BYTES;
    const end = start + this.#piece.readUInt32LE(this.#next);
    assert(end <= this.#piece.length, "a row ends within its piece");
    this.row = { bytes: this.#piece, start, end };
    this.#next = end;
  }
}
