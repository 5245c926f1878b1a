import { varintSize, writeVarint } from "../../base/varint.ts";
import type { Row } from "../engine.ts";

/** Field tags of mvccpb.Event: type = DELETE (1), kv (2), prev_kv (3). */
const TYPE_TAG = 0x08;
const TYPE_DELETE = 1;
const KV_TAG = 0x12;
const PREV_KV_TAG = 0x1a;

/** Some events in a row, encoded for whoever asks for the same of them. */
interface Run {
  readonly from: string;
  readonly to: string | null | undefined;
  readonly wants: number;
  readonly encoded: readonly Uint8Array[];
}

/** Who is told: which keys, and `wants`, a number for the filters and prev_kv. */
export interface Interest {
  readonly from: string;
  readonly to: string | null | undefined;
  readonly prevKv: boolean;
  readonly wantsNumber: number;
}

/**
 * One change as watchers see it. It is encoded at most once with and once without prev_kv, and shared by all of them.
 */
export class WatchEvent {
  readonly key: string;
  readonly revision: number;
  readonly deleted: boolean;
  readonly #kv: Row;
  readonly #prev: Row | null;
  #plain: Uint8Array | null = null;
  #withPrev: Uint8Array | null = null;
  #run: Run | null = null;

  constructor(event: { key: string; revision: number; deleted: boolean; kv: Row; prev: Row | null }) {
    this.key = event.key;
    this.revision = event.revision;
    this.deleted = event.deleted;
    this.#kv = event.kv;
    this.#prev = event.prev === null ? null : outOfBlock(event.prev);
  }

  /** The wire encoding of mvccpb.Event. */
  encoded(options: { prevKv: boolean }): Uint8Array {
    if (options.prevKv && this.#prev !== null) {
      this.#withPrev ??= encode(this.#kv, this.deleted, this.#prev);
      return this.#withPrev;
    }
    this.#plain ??= encode(this.#kv, this.deleted, null);
    return this.#plain;
  }

  /**
   * This event and those behind it that one commit has for a watcher, encoded. Watchers of the same keys are told the
   * same, and share the list; a single event is shared by all whose keys it is among.
   */
  encodedWith(more: readonly WatchEvent[] | null, watcher: Interest): readonly Uint8Array[] {
    const count = more === null ? 1 : 1 + more.length;
    const known = this.#run;
    if (known !== null && known.wants === watcher.wantsNumber && known.encoded.length === count) {
      if (count === 1 || (known.from === watcher.from && known.to === watcher.to)) return known.encoded;
    }
    const encoded = [this.encoded(watcher)];
    if (more !== null) for (const event of more) encoded.push(event.encoded(watcher));
    this.#run = { from: watcher.from, to: watcher.to, wants: watcher.wantsNumber, encoded };
    return encoded;
  }

  /** The same change for whoever may not be told the pair before it: that is compacted (W10). */
  withoutPrevious(): WatchEvent {
    if (this.#prev === null) return this;
    return new WatchEvent({ key: this.key, revision: this.revision, deleted: this.deleted, kv: this.#kv, prev: null });
  }

  /** What it costs to keep, in bytes, roughly. */
  get bytes(): number {
    const prevBytes = this.#prev === null ? 0 : this.#prev.end - this.#prev.start;
    return this.#kv.end - this.#kv.start + prevBytes + 128;
  }
}

function encode(kv: Row, deleted: boolean, prev: Row | null): Uint8Array {
  const kvBytes = kv.end - kv.start;
  const prevBytes = prev === null ? 0 : prev.end - prev.start;
  const size =
    (deleted ? 2 : 0) + 1 + varintSize(kvBytes) + kvBytes + (prev === null ? 0 : 1 + varintSize(prevBytes) + prevBytes);
  const out = new Uint8Array(size);
  let at = 0;
  if (deleted) {
    out[at++] = TYPE_TAG;
    out[at++] = TYPE_DELETE;
  }
  at = writeRow(out, at, KV_TAG, kv);
  if (prev !== null) writeRow(out, at, PREV_KV_TAG, prev);
  return out;
}

function writeRow(out: Uint8Array, at: number, tag: number, row: Row): number {
  out[at++] = tag;
  at = writeVarint(out, at, row.end - row.start);
  out.set(row.bytes.subarray(row.start, row.end), at);
  return at + row.end - row.start;
}

/** What a row may keep in memory beside its own bytes. */
const BESIDE_BYTES_MAX = 1024;

/**
 * The pair before was read from a block of a table or a chunk of a memtable, all of which it would keep in memory for
 * as long as the event is kept: thousands of events, far more than caches may have.
 */
function outOfBlock(row: Row): Row {
  const bytes = row.end - row.start;
  if (row.bytes.buffer.byteLength <= bytes + BESIDE_BYTES_MAX) return row;
  const own = Buffer.allocUnsafe(bytes);
  own.set(row.bytes.subarray(row.start, row.end));
  return { bytes: own, start: 0, end: bytes };
}
