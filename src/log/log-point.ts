import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { BranchId, ObjectKey, RecordNumber, Slot } from "../base/ids.ts";
import { parseKey, prefixes, segmentKey } from "../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../objects/objects.ts";
import type { LogPosition, LogRecord, Segment, SegmentHeader } from "./log.ts";
import { decodeSegment, decodeSegmentHeader, SEGMENT_HEADER_BYTES, SEGMENT_TRAILER_BYTES } from "./segment-codec.ts";

const FENCE_BYTES = SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES;

/** A place in a branch's log that is looked for: behind the last record up to it. */
export type LogMoment =
  | { readonly kind: "end" }
  | { readonly kind: "revision"; readonly revision: number }
  | { readonly kind: "time"; readonly wallMs: number };

export interface LogPointOptions {
  readonly store: ObjectStore;
  readonly branch: BranchId;
  /** A position at or before the moment, such as a checkpoint's. */
  readonly from: LogPosition;
  readonly moment: LogMoment;
  /** P, the repository's window of slots in flight. */
  readonly window: number;
  readonly request: RequestOptions;
}

/**
 * Finds the position behind a moment without reading the log up to it: by slots' names and, of a few, their headers.
 *
 * 1. Along valid segments, revisions and wall times never go back: the last one that begins at or before the moment
 *    holds its last record. It is found by halving.
 * 2. A segment is void only if one of the P − 1 slots before it has a higher epoch: whoever still wrote it had not seen
 *    that slot lost, and sends no slot P or more beyond the lowest one that is not resolved. So a slot is judged by its
 *    window.
 * 3. A fence whose window shows its own epoch before it is repeated: it names the hash that the next segment names.
 *
 * 4. A new leader begins with fences, but after a clean release, which leaves nobody anything to write late. So a slot
 *    is not void if none of the P − 1 before it is a fence, and a fence is told by its size.
 *
 * Requests: one list for a thousand slots, about P headers for each halving and one whole segment; by rule 4 the end
 * takes the list and the segment. Throws `corrupt` for what is not as it must be; a slot taken by a collector meanwhile
 * is `notFound`: begin anew from the newest checkpoint.
 */
export async function findLogPoint(options: LogPointOptions): Promise<LogPosition> {
  const { slots, lastAreRecords } = await denseSlots(options);
  if (slots === 0) return options.from;
  const finder = new PointFinder(options);
  const end = options.moment.kind === "end" && lastAreRecords ? await finder.endBySizes(slots - 1) : null;
  if (end !== null) return end;
  let best: number | null = null;
  let low = 0;
  let high = slots - 1;
  while (low <= high) {
    // The end is what is asked for most: looked at first.
    const middle = options.moment.kind === "end" ? high : (low + high) >> 1;
    const at = await finder.lastValid(low, middle);
    if (at === null) low = middle + 1;
    else if (beginsBy(options.moment, await finder.header(at))) {
      best = at;
      low = middle + 1;
    } else high = at - 1;
  }
  return best === null ? options.from : finder.positionIn(best);
}

interface Listed {
  /** The number of slots from the first on that follow one another. */
  readonly slots: number;
  /** None of the last P of them, or of all, is a fence. */
  readonly lastAreRecords: boolean;
}

async function denseSlots({ store, branch, from, window, request }: LogPointOptions): Promise<Listed> {
  let count = 0;
  let lastFence = Number.NEGATIVE_INFINITY;
  const listed = (): Listed => ({ slots: count, lastAreRecords: lastFence < count - window });
  let startAfter = from.nextSlot === 1 ? undefined : segmentKey(branch, (from.nextSlot - 1) as Slot);
  for (;;) {
    const options = { ...request, limit: LIST_LIMIT_MAX, ...(startAfter && { startAfter }) };
    const page = await store.list(prefixes.segments(branch), options);
    for (const { key, bytes } of page.objects) {
      const name = parseKey(key);
      if (name?.kind !== "segment" || name.slot !== from.nextSlot + count) return listed();
      if (bytes <= FENCE_BYTES) lastFence = count;
      count++;
      startAfter = key;
    }
    if (!page.more || page.objects.length === 0) return listed();
  }
}

function beginsBy(moment: LogMoment, header: SegmentHeader): boolean {
  switch (moment.kind) {
    case "end":
      return true;
    case "revision":
      return header.revisionBefore <= moment.revision;
    case "time":
      return header.wallMsBefore <= moment.wallMs;
  }
}

const isBy = (moment: LogMoment, record: LogRecord): boolean => {
  if (moment.kind === "end") return true;
  return moment.kind === "revision" ? record.revision <= moment.revision : record.wallMs <= moment.wallMs;
};

/** Looks at slots by their distance from the first. */
class PointFinder {
  readonly #options: LogPointOptions;
  readonly #headers = new Map<number, Promise<SegmentHeader>>();

  constructor(options: LogPointOptions) {
    this.#options = options;
  }

  header(index: number): Promise<SegmentHeader> {
    let header = this.#headers.get(index);
    if (header === undefined) {
      header = this.#readHeader(index);
      // Who asked is told; nobody else waits for it.
      header.catch(() => {});
      this.#headers.set(index, header);
    }
    return header;
  }

  /** Rule 4. Null where what lies before the first slot may make it void. */
  async endBySizes(index: number): Promise<LogPosition | null> {
    const key = this.#keyOf(index);
    const segment = decodeSegment(key, (await this.#read(key)).body);
    assert(!segment.header.fence, "a segment with records is larger than a fence");
    if (segment.header.epoch < this.#options.from.highestEpoch) return null;
    return this.#behind(segment, { repeated: false });
  }

  /** The last slot in [low, high] that is not void; null if all are. */
  async lastValid(low: number, high: number): Promise<number | null> {
    for (let at = high; at >= low; at--) if ((await this.#epochBefore(at)) <= (await this.header(at)).epoch) return at;
    return null;
  }

  /** The highest epoch that rule 2 asks for. */
  async #epochBefore(index: number): Promise<number> {
    const before = await Promise.all(this.#windowBefore(index).map((at) => this.header(at)));
    return before.reduce((highest, { epoch }) => Math.max(highest, epoch), this.#options.from.highestEpoch as number);
  }

  #windowBefore(index: number): number[] {
    const first = Math.max(0, index - this.#options.window + 1);
    return Array.from({ length: index - first }, (_none, i) => first + i);
  }

  /** Behind the last record of a valid slot that lies at or before the moment. */
  async positionIn(index: number): Promise<LogPosition> {
    const key = this.#keyOf(index);
    const segment = decodeSegment(key, (await this.#read(key)).body);
    const before = await this.#epochBefore(index);
    assert(before <= segment.header.epoch, "the slot is valid");
    return this.#behind(segment, { repeated: segment.header.fence && before === segment.header.epoch });
  }

  #behind({ header, records, hash }: Segment, { repeated }: { repeated: boolean }): LogPosition {
    const { moment } = this.#options;
    const last = records.findLast((record) => isBy(moment, record));
    return {
      nextSlot: (header.slot + 1) as Slot,
      highestEpoch: header.epoch,
      lastHash: repeated ? header.previousHash : hash,
      lastRecord: last?.number ?? ((header.firstRecord - 1) as RecordNumber),
      lastRecordEpoch: last?.epoch ?? header.epochBefore,
      revision: last?.revision ?? header.revisionBefore,
      wallMs: last?.wallMs ?? header.wallMsBefore,
    };
  }

  async #readHeader(index: number): Promise<SegmentHeader> {
    const key = this.#keyOf(index);
    const { body, bytes } = await this.#read(key, { start: 0, end: SEGMENT_HEADER_BYTES });
    return decodeSegmentHeader(key, body, bytes);
  }

  async #read(key: ObjectKey, range?: { start: number; end: number }): Promise<{ body: Uint8Array; bytes: number }> {
    const { store, request } = this.#options;
    const object = await store.get(key, { ...request, ...(range && { range }) });
    if (object === null) throw new DbError("notFound", `object ${key} has just been collected`);
    return object;
  }

  #keyOf(index: number): ObjectKey {
    const { branch, from } = this.#options;
    return segmentKey(branch, (from.nextSlot + index) as Slot);
  }
}
