import { assert } from "../base/assert.ts";
import type { ObjectKey } from "../base/ids.ts";
import { isPromise } from "../base/maybe-promise.ts";
import { ForwardingStore } from "../objects/forwarding.ts";
import { parseKey } from "../objects/keys.ts";
import type { GetOptions, ObjectStore, PutOptions, PutOutcome, StoredObject } from "../objects/objects.ts";
import type { DiskCache } from "./disk-cache.ts";

/** Keys whose tables are remembered, so that a name is taken apart once. */
const TABLES_MAX = 4096;

/** What one request brought. */
interface Fetched {
  readonly body: Buffer;
  readonly start: number;
  readonly objectBytes: number;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/**
 * A store with the disk cache in front of its tables: ranges of them come from the disk where it has them. What is
 * missing is fetched in whole pieces, one request for all that one range needs, and a piece that is on its way is not
 * asked for again. All else goes through as it is.
 *
 * A table that is written goes to the cache right away: a node reads what it has just merged, and would otherwise fetch
 * back what it held in its hands. In the cache it competes like anything that was used once.
 */
export class CachedStore extends ForwardingStore {
  readonly #cache: DiskCache;
  readonly #tables = new Map<ObjectKey, Buffer | null>();
  /** Pieces on their way, by table and number. */
  readonly #coming = new Map<string, Promise<Fetched | null>>();

  constructor(inner: ObjectStore, cache: DiskCache) {
    super(inner);
    this.#cache = cache;
  }

  override get(key: ObjectKey, options: GetOptions): Promise<StoredObject | null> {
    const { range } = options;
    const table = this.#tableOf(key);
    if (table === null || range === undefined || "suffix" in range || range.end <= range.start) {
      return this.inner.get(key, options);
    }
    if (options.fresh) this.#forget(table, range);
    return this.#read(key, table, range, options);
  }

  /**
   * Fills `into` with a table's bytes from `start` on, if the disk has them and is quick; answers with the size of the
   * whole table, or −1: `get` finds them, wherever they are.
   */
  readAtOnce(key: ObjectKey, start: number, into: Buffer): number {
    const table = this.#tableOf(key);
    if (table === null) return -1;
    const { pieceBytes } = this.#cache;
    const end = start + into.length;
    let objectBytes = -1;
    for (let at = start; at < end; ) {
      const piece = Math.floor(at / pieceBytes);
      const partEnd = Math.min(end, (piece + 1) * pieceBytes);
      const isAll = at === start && partEnd === end;
      const part = isAll ? into : into.subarray(at - start, partEnd - start);
      objectBytes = this.#cache.readAtOnce({ table, piece }, at - piece * pieceBytes, part);
      if (objectBytes < 0) break;
      at = partEnd;
    }
    return objectBytes;
  }

  override async put(key: ObjectKey, body: Uint8Array, options: PutOptions): Promise<PutOutcome> {
    const outcome = await this.inner.put(key, body, options);
    const table = this.#tableOf(key);
    if (table !== null && outcome.kind === "written") {
      this.#cache.offerTable(table, Buffer.from(body.buffer, body.byteOffset, body.byteLength));
    }
    return outcome;
  }

  #tableOf(key: ObjectKey): Buffer | null {
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const name = parseKey(key);
    const table = name?.kind === "table" ? Buffer.from(name.sha256.slice(0, 32), "hex") : null;
    if (this.#tables.size >= TABLES_MAX) this.#tables.clear();
    this.#tables.set(key, table);
    return table;
  }

  #forget(table: Buffer, { start, end }: Range): void {
    const { pieceBytes } = this.#cache;
    for (let piece = Math.floor(start / pieceBytes); piece * pieceBytes < end; piece++) {
      this.#cache.forget({ table, piece });
    }
  }

  async #read(key: ObjectKey, table: Buffer, range: Range, options: GetOptions): Promise<StoredObject | null> {
    const { pieceBytes } = this.#cache;
    const { start, end } = range;
    const first = Math.floor(start / pieceBytes);
    const last = Math.floor((end - 1) / pieceBytes);
    const body = Buffer.allocUnsafeSlow(end - start);
    const partOf = (piece: number): Buffer =>
      body.subarray(Math.max(0, piece * pieceBytes - start), Math.min(end, (piece + 1) * pieceBytes) - start);
    let objectBytes = -1;
    const missing: number[] = [];
    const reads: Promise<void>[] = [];
    const took = (piece: number, answer: number): void => {
      if (answer < 0) missing.push(piece);
      else objectBytes = answer;
    };
    const fromOf = (piece: number): number => Math.max(0, start - piece * pieceBytes);
    for (let piece = first; piece <= last; piece++) {
      const answer = options.fresh ? -1 : this.#cache.read({ table, piece }, fromOf(piece), partOf(piece));
      if (isPromise(answer)) reads.push(answer.then((found) => took(piece, found)));
      else took(piece, answer);
    }
    if (reads.length > 0) {
      if (reads.length === 1) await reads[0];
      else await Promise.all(reads);
      // Others may have fetched meanwhile what was missing.
      for (const piece of missing.splice(0)) {
        took(piece, this.#cache.readWaiting({ table, piece }, fromOf(piece), partOf(piece)));
      }
    }
    if (missing.length === 0) return { body, etag: "", bytes: objectBytes };
    // What will not be read again is not kept; and without a cache to fill nobody is served by whole pieces.
    if (options.once || this.#cache.trouble !== null) return this.inner.get(key, options);
    missing.sort((a, b) => a - b);
    for (const coming of this.#fetch(key, table, missing, options)) {
      const fetched = await coming;
      if (fetched === null) return null;
      objectBytes = fetched.objectBytes;
      for (const piece of missing) {
        const part = partOf(piece);
        const from = Math.max(start, piece * pieceBytes) - fetched.start;
        if (from >= 0 && from < fetched.body.length) fetched.body.copy(part, 0, from, from + part.length);
      }
    }
    return {
      body: end > objectBytes ? body.subarray(0, Math.max(0, objectBytes - start)) : body,
      etag: "",
      bytes: objectBytes,
    };
  }

  /** What brings all `missing` pieces: requests that are under way, and at most one that is made. */
  #fetch(key: ObjectKey, table: Buffer, missing: readonly number[], options: GetOptions): Set<Promise<Fetched | null>> {
    const nameOf = (piece: number): string => `${key} ${piece}`;
    const bringing = new Set<Promise<Fetched | null>>();
    const own: number[] = [];
    for (const piece of missing) {
      const coming = options.fresh ? undefined : this.#coming.get(nameOf(piece));
      if (coming === undefined) own.push(piece);
      else bringing.add(coming);
    }
    if (own.length === 0) return bringing;
    const first = own[0]!;
    const last = own[own.length - 1]!;
    const fetching = this.#request(key, table, { first, last }, options.timeoutMs);
    for (const piece of own) this.#coming.set(nameOf(piece), fetching);
    const ended = (): void => {
      for (const piece of own) if (this.#coming.get(nameOf(piece)) === fetching) this.#coming.delete(nameOf(piece));
    };
    fetching.then(ended, ended);
    return bringing.add(fetching);
  }

  /** Not ended by the signal of who asked first: others may wait for it. Bounded by the time limit. */
  async #request(
    key: ObjectKey,
    table: Buffer,
    { first, last }: { first: number; last: number },
    timeoutMs: number,
  ): Promise<Fetched | null> {
    const { pieceBytes } = this.#cache;
    const range = { start: first * pieceBytes, end: (last + 1) * pieceBytes };
    const object = await this.inner.get(key, { range, timeoutMs });
    if (object === null) return null;
    const { body, bytes } = object;
    assert(body.length === Math.max(0, Math.min(range.end, bytes) - range.start), "a store gives the range asked for");
    this.#cache.offer(table, bytes, first, body);
    return { body, start: range.start, objectBytes: bytes };
  }
}
