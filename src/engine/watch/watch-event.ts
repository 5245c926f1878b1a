import { varintSize, writeVarint } from "../../base/varint.ts";
import type { Row } from "../engine.ts";

/** Field tags of mvccpb.Event: type = DELETE (1), kv (2), prev_kv (3). */
const TYPE_TAG = 0x08;
const TYPE_DELETE = 1;
const KV_TAG = 0x12;
const PREV_KV_TAG = 0x1a;

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

  constructor(event: { key: string; revision: number; deleted: boolean; kv: Row; prev: Row | null }) {
    this.key = event.key;
    this.revision = event.revision;
    this.deleted = event.deleted;
    this.#kv = event.kv;
    this.#prev = event.prev;
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

  /** The same change for whoever may not be told the pair before it: that is compacted (W10). */
  withoutPrevious(): WatchEvent {
    if (this.#prev === null) return this;
    return new WatchEvent({ key: this.key, revision: this.revision, deleted: this.deleted, kv: this.#kv, prev: null });
  }

  /** What it costs to keep, in bytes, roughly. */
  get bytes(): number {
    return this.#kv.end - this.#kv.start + 128;
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
