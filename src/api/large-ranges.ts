import { AssertionError, assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { nextTurn } from "../base/event-loop.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { Turns } from "../base/turns.ts";
import type { RangeCursor, Row } from "../engine/engine.ts";
import type { Call, Pieces } from "../transport/transport.ts";
import { unaryError } from "./errors.ts";
import type { ServiceTimers } from "./settings.ts";
import { untilCanceled } from "./until-canceled.ts";
import type { Header } from "./wire/headers.ts";
import { rangeTailSize, rowsSize, writeRangeTail, writeRows } from "./wire/kv-responses.ts";

/** A range that has not ended within its first page is a large one. */
export const FIRST_PAGE_ROWS = 10_000;
export const FIRST_PAGE_BYTES = 512 << 10;
const PAGE_ROWS = 4096;
const PAGE_BYTES = 512 << 10;
const PIECE_ROWS = 4096;
const PIECE_BYTES = 64 << 10;
/** What a row that is kept costs beside its bytes. */
const ROW_OVERHEAD_BYTES = 100;

export interface LargeRangeBounds {
  /** Rows of all answers under way that are kept from measuring to sending. */
  readonly keptBytesMax: number;
  /** Of one answer. */
  readonly keptBytesEach: number;
  /** Answers measured at once, and those that wait in line for it, each with its first page in memory. */
  readonly measuredMax: number;
  readonly waitingMax: number;
}

const defaultLargeRangeBounds: LargeRangeBounds = {
  keptBytesMax: 64 << 20,
  keptBytesEach: 16 << 20,
  measuredMax: 64,
  waitingMax: 1000,
};

interface Asked {
  readonly header: Header;
  readonly keysOnly: boolean;
  readonly call: Call;
  /** Whose first page was taken, and that page. */
  readonly cursor: RangeCursor;
  readonly first: readonly Row[];
  /** Called when no more of the answer is wanted; not where it rejects. */
  readonly onClose?: () => void;
}

/**
 * Unary answers of any size in bounded memory. A unary message begins with its length, so the range is read twice: to
 * measure, and to send. What was read to measure is kept for sending while there is room; where there is none the rows
 * are read again, as of the same moment, at the pace at which the client takes them.
 *
 *   first page ─► measure, page by page ─► length known ─► pieces: kept rows, or the range once more
 *
 * Measuring is done in turns; sending is not, as it takes as long as a client likes: what that holds is bounded for
 * each connection, and clients that do not read keep nobody else waiting.
 */
export class LargeRanges {
  readonly #bounds: LargeRangeBounds;
  readonly #timers: ServiceTimers;
  readonly #turns: Turns;
  #keptBytes = 0;

  constructor(timers: ServiceTimers, bounds = defaultLargeRangeBounds) {
    this.#bounds = bounds;
    this.#timers = timers;
    this.#turns = new Turns(bounds.measuredMax, bounds.waitingMax);
  }

  /** Rows kept just now, in bytes. */
  get keptBytes(): number {
    return this.#keptBytes;
  }

  async answer(asked: Asked): Promise<Pieces> {
    const signal = untilCanceled(asked.call);
    const endTurn = await this.#turns.take(signal);
    const kept = new KeptRows((bytes) => this.#reserve(bytes, kept.bytes));
    const close = (): void => {
      this.#keptBytes -= kept.bytes;
      asked.onClose?.();
    };
    try {
      return await this.#measure(asked, { kept, close, signal });
    } catch (error) {
      close();
      throw error;
    } finally {
      endTurn();
    }
  }

  #reserve(bytes: number, already: number): boolean {
    const { keptBytesMax, keptBytesEach } = this.#bounds;
    if (this.#keptBytes + bytes > keptBytesMax || already + bytes > keptBytesEach) {
      this.#keptBytes -= already;
      return false;
    }
    this.#keptBytes += bytes;
    return true;
  }

  async #measure(
    { header, keysOnly, cursor, first }: Asked,
    { kept, close, signal }: { kept: KeptRows; close: () => void; signal: AbortSignal },
  ): Promise<Pieces> {
    let bytes = rowsSize(first, keysOnly);
    kept.add(first);
    // Each page gets further; between two others have their turn.
    while (!cursor.ended) {
      await nextTurn(this.#timers);
      if (signal.aborted) throw new DbError("canceled");
      const page = cursor.next(PAGE_ROWS, PAGE_BYTES);
      const rows = isPromise(page) ? await page : page;
      bytes += rowsSize(rows, keysOnly);
      kept.add(rows);
    }
    const { revision, more, count } = cursor;
    const pages = kept.rows === null ? new PagesAgain(cursor.again()) : new PagesKept(kept.rows);
    const size = header.size(revision) + bytes + rangeTailSize(more, count);
    return new RangePieces({ header, keysOnly, revision, more, count }, size, pages, close);
  }
}

/** Rows, as long as there is room for them. */
class KeptRows {
  rows: (readonly Row[])[] | null = [];
  bytes = 0;
  readonly #reserve: (bytes: number) => boolean;

  constructor(reserve: (bytes: number) => boolean) {
    this.#reserve = reserve;
  }

  add(rows: readonly Row[]): void {
    if (this.rows === null) return;
    // Where only keys are wanted the values are held all the same: a row is a part of what it was read from.
    const bytes = rowsSize(rows, false) + rows.length * ROW_OVERHEAD_BYTES;
    if (this.#reserve(bytes)) {
      this.bytes += bytes;
      this.rows.push(rows);
    } else {
      this.rows = null;
      this.bytes = 0;
    }
  }
}

/** The rows once more; none: the end. */
interface Pages {
  next(): MaybePromise<readonly Row[]>;
}

class PagesAgain implements Pages {
  readonly #cursor: RangeCursor;

  constructor(cursor: RangeCursor) {
    this.#cursor = cursor;
  }

  /** Filters may let nothing of a page through. */
  next(): MaybePromise<readonly Row[]> {
    while (!this.#cursor.ended) {
      const page = this.#cursor.next(PIECE_ROWS, PIECE_BYTES);
      if (isPromise(page)) return page.then((rows) => (rows.length > 0 ? rows : this.next()));
      if (page.length > 0) return page;
    }
    return [];
  }
}

class PagesKept implements Pages {
  readonly #pages: (readonly Row[])[];
  #page = 0;
  #row = 0;

  constructor(pages: (readonly Row[])[]) {
    this.#pages = pages;
  }

  next(): readonly Row[] {
    let page = this.#pages[this.#page];
    while (page !== undefined && this.#row === page.length) {
      this.#pages[this.#page] = [];
      this.#row = 0;
      page = this.#pages[++this.#page];
    }
    if (page === undefined) return [];
    const from = this.#row;
    for (let bytes = 0; this.#row < page.length && bytes < PIECE_BYTES; this.#row++) {
      const { start, end } = page[this.#row]!;
      bytes += end - start;
    }
    return page.slice(from, this.#row);
  }
}

interface RangeFrame {
  readonly header: Header;
  readonly keysOnly: boolean;
  readonly revision: number;
  readonly more: boolean;
  readonly count: number;
}

class RangePieces implements Pieces {
  readonly #frame: RangeFrame;
  readonly #size: number;
  readonly #pages: Pages;
  readonly #onClose: () => void;
  #begun = false;
  #given = 0;

  constructor(frame: RangeFrame, size: number, pages: Pages, onClose: () => void) {
    this.#frame = frame;
    this.#size = size;
    this.#pages = pages;
    this.#onClose = onClose;
  }

  byteLength(): number {
    return this.#size;
  }

  encodeInto(): number {
    throw new AssertionError("a large answer is taken in pieces");
  }

  nextPiece(): MaybePromise<Buffer> {
    if (!this.#begun) {
      this.#begun = true;
      const { header, revision } = this.#frame;
      return this.#give(header.size(revision), (buffer) => header.write(buffer, 0, revision));
    }
    const rows = this.#read();
    return isPromise(rows) ? rows.then((found) => this.#rowsOrTail(found)) : this.#rowsOrTail(rows);
  }

  close(): void {
    this.#onClose();
  }

  /** Errors have etcd's codes, as those of any other call. */
  #read(): MaybePromise<readonly Row[]> {
    const mapped = (error: unknown): never => {
      throw unaryError(error);
    };
    try {
      const rows = this.#pages.next();
      return isPromise(rows) ? rows.catch(mapped) : rows;
    } catch (error) {
      return mapped(error);
    }
  }

  #rowsOrTail(rows: readonly Row[]): Buffer {
    const { keysOnly, more, count } = this.#frame;
    if (rows.length > 0) return this.#give(rowsSize(rows, keysOnly), (buffer) => writeRows(buffer, 0, rows, keysOnly));
    const tail = this.#give(rangeTailSize(more, count), (buffer) => writeRangeTail(buffer, 0, more, count));
    assert(this.#given === this.#size, "a range is read the second time as it was the first");
    return tail;
  }

  #give(bytes: number, write: (buffer: Buffer) => number): Buffer {
    const buffer = Buffer.allocUnsafeSlow(bytes);
    assert(write(buffer) === bytes, "a piece is as long as it said");
    this.#given += bytes;
    return buffer;
  }
}
