import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, ObjectKey, Slot } from "../base/ids.ts";
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from "../log/segment-codec.ts";
import { readDecoded } from "../objects/checked-read.ts";
import { parseKey, prefixes } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../objects/objects.ts";

export interface OldSegment {
  readonly key: ObjectKey;
  readonly slot: Slot;
  readonly bytes: number;
  readonly modifiedMs: number;
}

/** Headers asked for at once. */
const HEADERS_AT_ONCE = 16;
const JUDGED_MAX = 200_000;

/**
 * Tells the segments that may go from fences and void ones, which never do: every slot that a stalled leader could
 * still create stays occupied (DESIGN: leadership and fencing, rule 4).
 *
 * A void segment has an epoch below the highest before it. That one is still there to be seen: void segments stand
 * behind the fence that voided them, which is kept.
 */
export class OldSegments {
  readonly #store: ObjectStore;
  /** What a header said: a segment never changes, and those that stay are met again by each collection. */
  readonly #headers = new Map<ObjectKey, { epoch: Epoch; fence: boolean }>();

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** In slot order, those below `before` that are neither fences nor void, a page at a time. */
  async *below(branch: BranchId, before: Slot, request: RequestOptions): AsyncGenerator<OldSegment[]> {
    let highest = 0;
    let last: ObjectKey | undefined;
    for (;;) {
      const after = last === undefined ? {} : { startAfter: last };
      const page = await this.#store.list(prefixes.segments(branch), { ...request, ...after, limit: LIST_LIMIT_MAX });
      const old = page.objects.map(segmentOf).filter(({ slot }) => slot < before);
      const headers = await this.#headersOf(old, request);
      const valid = old.filter(({ key }) => {
        const header = headers.get(key);
        // Deleted since it was listed.
        if (header === undefined) return false;
        const goes = this.mayGo(header, highest);
        highest = Math.max(highest, header.epoch);
        return goes;
      });
      if (valid.length > 0) yield valid;
      if (!page.more || old.length < page.objects.length || old.length === 0) return;
      last = old.at(-1)!.key;
    }
  }

  /** `highest`: of the epochs before it. */
  mayGo(header: { epoch: Epoch; fence: boolean }, highest: number): boolean {
    return !header.fence && header.epoch >= highest;
  }

  async #headersOf(
    segments: readonly OldSegment[],
    request: RequestOptions,
  ): Promise<Map<ObjectKey, { epoch: Epoch; fence: boolean }>> {
    const found = new Map<ObjectKey, { epoch: Epoch; fence: boolean }>();
    for (let at = 0; at < segments.length; at += HEADERS_AT_ONCE) {
      const some = segments.slice(at, at + HEADERS_AT_ONCE);
      const headers = await Promise.all(some.map((segment) => this.#header(segment, request)));
      headers.forEach((header, n) => {
        if (header !== null) found.set(some[n]!.key, header);
      });
    }
    return found;
  }

  async #header({ key }: OldSegment, request: RequestOptions): Promise<{ epoch: Epoch; fence: boolean } | null> {
    const known = this.#headers.get(key);
    if (known !== undefined) return known;
    const range = { start: 0, end: SEGMENT_HEADER_BYTES };
    const header = await readDecoded(this.#store, key, { ...request, range }, ({ body, bytes }) =>
      decodeSegmentHeader(key, body, bytes),
    );
    if (header === null) return null;
    const { epoch, fence } = header;
    if (fence && this.#headers.size < JUDGED_MAX) this.#headers.set(key, { epoch, fence });
    return { epoch, fence };
  }
}

function segmentOf(object: { key: ObjectKey; bytes: number; modifiedMs: number }): OldSegment {
  const name = parseKey(object.key);
  if (name?.kind !== "segment")
    throw new DbError("corrupt", `object ${object.key}: is foreign, expected only segments`);
  return { ...object, slot: name.slot };
}
