import type { LogRecord } from "../../log/log.ts";
import type { Timers } from "../../runtime/runtime.ts";

/** Bytes of records applied in one turn of the event loop: 2 to 5 ms. */
const TURN_BYTES = 512 << 10;

export type ApplyRecord = (record: LogRecord) => void;

interface Piece {
  readonly records: readonly LogRecord[];
  readonly apply: ApplyRecord;
}

/**
 * What was read of a log waits here to be applied, in its order, a few milliseconds in each turn of the event loop: so
 * what else a start waits for (files synced, requests of the store) goes on meanwhile instead of behind it.
 *
 * Its bound is the log that a start replays, the bytes of which the memtable keeps anyway. After a failure nothing more
 * is applied; it is told to whoever asks for the end.
 */
export class ReplayQueue {
  readonly #timers: Timers;
  #pieces: Piece[] = [];
  /** Of the first piece. */
  #at = 0;
  #isDue = false;
  #failure: { readonly error: unknown } | null = null;
  #waiting: { resolve: () => void; reject: (error: unknown) => void } | null = null;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  add(records: readonly LogRecord[], apply: ApplyRecord): void {
    if (records.length === 0 || this.#failure !== null) return;
    this.#pieces.push({ records, apply });
    this.#soon();
  }

  /** Nothing of what waits is applied any more, and a failure is forgotten: the log is read anew. */
  clear(): void {
    this.#pieces = [];
    this.#at = 0;
    this.#failure = null;
  }

  /** Resolves when all is applied; rejects with what applying has thrown. Asked for once at a time. */
  done(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
      this.#settle();
    });
  }

  #soon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#timers.defer(() => {
      this.#isDue = false;
      this.#applySome();
    });
  }

  #applySome(): void {
    try {
      for (let left = TURN_BYTES; left > 0 && this.#pieces.length > 0; ) {
        const { records, apply } = this.#pieces[0]!;
        const record = records[this.#at]!;
        apply(record);
        left -= record.payload.length + 1;
        if (++this.#at === records.length) {
          this.#pieces.shift();
          this.#at = 0;
        }
      }
    } catch (error) {
      this.clear();
      this.#failure = { error };
    }
    if (this.#pieces.length > 0) this.#soon();
    this.#settle();
  }

  #settle(): void {
    const waiting = this.#waiting;
    if (waiting === null || this.#pieces.length > 0) return;
    this.#waiting = null;
    if (this.#failure === null) waiting.resolve();
    else waiting.reject(this.#failure.error);
  }
}
