import type { PieceId } from "./disk-cache-format.ts";

/** Pieces of a table that wait to be written. */
export interface WaitingPieces {
  readonly table: Buffer;
  readonly objectBytes: number;
  readonly firstPiece: number;
  /** From the first piece's beginning on; to the table's end, or whole pieces. */
  readonly bytes: Buffer;
  /** Pieces of it that are written or given up. */
  done: number;
  /** Pieces of it that were found to be wrong: neither given nor written. */
  readonly wrong: Set<number>;
}

/**
 * What waits to be written to the disk cache: pieces that were fetched, up to a number of bytes, and one table that was
 * just made, which comes behind them. What does not fit is counted and not kept.
 */
export class PieceQueue {
  dropped = 0;
  readonly #pieceBytes: number;
  readonly #bytesMax: number;
  #fetched: WaitingPieces[] = [];
  #fetchedBytes = 0;
  #table: WaitingPieces | null = null;

  constructor({ pieceBytes, bytesMax }: { pieceBytes: number; bytesMax: number }) {
    this.#pieceBytes = pieceBytes;
    this.#bytesMax = bytesMax;
  }

  /** What is to be written next. */
  get first(): WaitingPieces | null {
    return this.#fetched[0] ?? this.#table;
  }

  addFetched(pieces: WaitingPieces): boolean {
    const { length } = pieces.bytes;
    if (this.#fetchedBytes + length > this.#bytesMax) return this.#refuse(pieces);
    this.#fetchedBytes += length;
    this.#fetched.push(pieces);
    return true;
  }

  addTable(pieces: WaitingPieces): boolean {
    if (this.#table !== null) return this.#refuse(pieces);
    this.#table = pieces;
    return true;
  }

  /** What waits for this piece; null: nothing does. */
  find({ table, piece }: PieceId): WaitingPieces | null {
    const holds = (waiting: WaitingPieces): boolean =>
      piece >= waiting.firstPiece + waiting.done &&
      (piece - waiting.firstPiece) * this.#pieceBytes < waiting.bytes.length &&
      !waiting.wrong.has(piece) &&
      waiting.table.equals(table);
    if (this.#table !== null && holds(this.#table)) return this.#table;
    return this.#fetched.find(holds) ?? null;
  }

  /** What waits for a piece is wrong. */
  forget(id: PieceId): void {
    for (let waiting = this.find(id); waiting !== null; waiting = this.find(id)) waiting.wrong.add(id.piece);
  }

  /** One more piece of `waiting`, the first there was, is written or given up. */
  advance(waiting: WaitingPieces): void {
    waiting.done++;
    if (waiting.done * this.#pieceBytes < waiting.bytes.length) return;
    if (waiting === this.#table) this.#table = null;
    else if (waiting === this.#fetched[0]) {
      this.#fetched.shift();
      this.#fetchedBytes -= waiting.bytes.length;
    }
  }

  clear(): void {
    for (const waiting of this.#fetched) this.#refuse(waiting);
    this.#fetched = [];
    this.#fetchedBytes = 0;
    this.clearTable();
  }

  clearTable(): void {
    if (this.#table !== null) this.#refuse(this.#table);
    this.#table = null;
  }

  #refuse({ bytes, done }: WaitingPieces): false {
    this.dropped += Math.ceil(bytes.length / this.#pieceBytes) - done;
    return false;
  }
}
