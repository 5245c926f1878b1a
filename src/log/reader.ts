import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { BranchId, Slot } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { parseKey, prefixes, segmentKey } from "../objects/keys.ts";
import type { ObjectStore, StoredObject } from "../objects/objects.ts";
import { Chain } from "./chain.ts";
import type { LogPosition, Segment } from "./log.ts";
import { decodeSegment } from "./segment-codec.ts";
import { SlotFetcher } from "./slot-fetcher.ts";

/** Reading a branch's log in slot order (DESIGN: leadership and fencing, rules 1, 5 and 6). */
export interface LogReadOptions {
  readonly store: ObjectStore;
  readonly branch: BranchId;
  readonly from: LogPosition;
  /** Bound of one object request. */
  readonly requestTimeoutMs: number;
  readonly signal?: AbortSignal;
  /** Takes each valid segment and fence in order; the next one waits for its promise. Void ones are left out. */
  onSegment(segment: Segment): MaybePromise<void>;
}

export interface LogTailOptions extends LogReadOptions {
  /** The next slot of the newest checkpoint (1 if there is none), read from the store when it is called. */
  newestCheckpointSlot(): Promise<Slot>;
  /** Reads up to this slot, which is known to lie within the log; unset: to the first free slot. */
  readonly until?: Slot;
}

export type LogReadResult =
  /** All that there is (or what was asked for) was read. */
  | { kind: "end"; position: LogPosition }
  /**
   * Rule 5: `checkpointSlot` is the next slot of a checkpoint beyond the missing slot. Reopen from that one: this is
   * not the end.
   */
  | { kind: "passed"; position: LogPosition; checkpointSlot: Slot }
  /** Rule 6: a segment does not follow. Reopen from the newest checkpoint; if it repeats, throw `error`. */
  | { kind: "broken"; position: LogPosition; error: DbError };

/**
 * Rejects with DbError: `corrupt` (an object that is damaged in itself), `storeUnavailable`, `canceled`, or as
 * `onSegment` does.
 */
export async function readLog(options: LogTailOptions): Promise<LogReadResult> {
  const { branch, from, until } = options;
  const chain = new Chain(branch, from);
  let fetcher: SlotFetcher | null = null;
  try {
    for (;;) {
      const { nextSlot } = chain.position();
      if (until !== undefined && nextSlot >= until) return { kind: "end", position: chain.position() };
      fetcher ??= new SlotFetcher({ ...options, from: nextSlot, request: requestOf(options) });
      const object = await fetcher.next();
      if (object === null) return await judgeMiss(options, chain.position());
      const segment = await readSegment(options, branch, nextSlot, object);
      const error = accept(chain, segment);
      if (error === "void") continue;
      if (error !== null) return { kind: "broken", position: chain.position(), error };
      await options.onSegment(segment);
    }
  } finally {
    fetcher?.close();
  }
}

/** What lies between may have damaged the answer: it is asked for once more before the object is called corrupt. */
async function readSegment(options: Requests, branch: BranchId, slot: Slot, object: StoredObject): Promise<Segment> {
  const key = segmentKey(branch, slot);
  try {
    return decodeSegment(key, object.body);
  } catch (error) {
    if (!isDbError(error, "corrupt")) throw error;
    const again = await options.store.get(key, { ...requestOf(options), fresh: true });
    // It was collected meanwhile: what it was is no longer asked.
    if (again === null) throw error;
    return decodeSegment(key, again.body);
  }
}

/** Null if the segment is valid. */
function accept(chain: Chain, segment: Segment): DbError | "void" | null {
  try {
    return chain.accept(segment) === "void" ? "void" : null;
  } catch (error) {
    if (isDbError(error, "corrupt")) return error;
    throw error;
  }
}

/**
 * The checkpoint is read after the miss: one that was there before could not have had the slot collected without being
 * seen now.
 */
async function judgeMiss(options: LogTailOptions, position: LogPosition): Promise<LogReadResult> {
  const checkpointSlot = await options.newestCheckpointSlot();
  if (checkpointSlot > position.nextSlot) return { kind: "passed", position, checkpointSlot };
  if (options.until !== undefined) {
    const missing = segmentKey(options.branch, position.nextSlot);
    throw new DbError(
      "corrupt",
      `object ${missing} is missing: expected the log to go on to slot ${options.until - 1}`,
    );
  }
  return { kind: "end", position };
}

export interface TakeoverReadOptions extends Omit<LogReadOptions, "from" | "onSegment" | "branch"> {
  /** P: slots that a writer may have under way at once. */
  readonly window: number;
}

/**
 * For a takeover: reads what a listing shows from the chain's position on, up to the first slot that it does not show
 * (or that has gone meanwhile). `accept` judges each segment by the chain; it may throw.
 *
 * A writer goes no further than its window beyond the first slot that it has not written. So a free slot with an object
 * a window or more behind it is not the end: somebody has deleted a segment. That is `corrupt`, before anything is
 * written there.
 */
export async function readListed(
  chain: Chain,
  options: TakeoverReadOptions,
  accept: (segment: Segment) => void,
): Promise<void> {
  const from = chain.position().nextSlot;
  const { next, beyond } = await listRun(chain.branch, from, options);
  if (beyond !== null && beyond >= next + options.window) await refuseGap(chain.branch, next, beyond, options);
  if (next === from) return;
  await readTo(chain, next, options, accept);
}

/** The same for a log of which little is expected behind the chain: its end is where a slot is asked for in vain. */
export const readUntilMissing = (
  chain: Chain,
  options: TakeoverReadOptions,
  accept: (segment: Segment) => void,
): Promise<void> => readTo(chain, null, options, accept);

async function readTo(
  chain: Chain,
  until: Slot | null,
  options: TakeoverReadOptions,
  accept: (segment: Segment) => void,
): Promise<void> {
  const fetcher = new SlotFetcher({
    store: options.store,
    branch: chain.branch,
    from: chain.position().nextSlot,
    ...(until !== null && { until }),
    request: requestOf(options),
  });
  try {
    while (until === null || chain.position().nextSlot < until) {
      const { nextSlot } = chain.position();
      const object = await fetcher.next();
      // If it was collected a newer checkpoint is there, which the taker reads next (rule 2d).
      if (object === null) return;
      const segment = await readSegment(options, chain.branch, nextSlot, object);
      accept(segment);
      assert(chain.position().nextSlot === nextSlot + 1, "a segment that is read is judged");
    }
  } finally {
    fetcher.close();
  }
}

const PAGE_OBJECTS = 1000;

interface SlotsPage {
  slots: Slot[];
  more: boolean;
}

type Requests = Pick<LogReadOptions, "store" | "requestTimeoutMs" | "signal">;

/** The first slot from `from` on that a listing does not show, and the last one that was seen beyond it. */
async function listRun(branch: BranchId, from: Slot, options: Requests): Promise<{ next: Slot; beyond: Slot | null }> {
  let next = from;
  for (;;) {
    const page = await listSlots(branch, next, options);
    for (const slot of page.slots) {
      if (slot === next) next = (next + 1) as Slot;
      else return { next, beyond: await lastOf(page, branch, options) };
    }
    // Bounded by the log: each further page begins behind objects that exist.
    if (!page.more || page.slots.length === 0) return { next, beyond: null };
  }
}

/** The gap may be found at the end of a page: then the next one tells. */
async function lastOf(page: SlotsPage, branch: BranchId, options: Requests): Promise<Slot> {
  const last = page.slots.at(-1)!;
  if (!page.more) return last;
  return (await listSlots(branch, (last + 1) as Slot, options)).slots.at(-1) ?? last;
}

/** One page of the slots from `from` on. */
async function listSlots(branch: BranchId, from: Slot, options: Requests): Promise<SlotsPage> {
  const after = from > 1 ? { startAfter: segmentKey(branch, (from - 1) as Slot) } : {};
  const page = await options.store.list(prefixes.segments(branch), {
    ...requestOf(options),
    ...after,
    limit: PAGE_OBJECTS,
    keysOnly: true,
  });
  const slots = page.objects.map(({ key }) => {
    const name = parseKey(key);
    if (name?.kind !== "segment")
      throw new DbError("corrupt", `object ${key} is foreign: expected only segments there`);
    return name.slot;
  });
  return { slots, more: page.more };
}

/** What was written while the list was made may be in it without what came just before: the slot is asked for. */
async function refuseGap(branch: BranchId, slot: Slot, beyond: Slot, options: Requests): Promise<void> {
  const missing = segmentKey(branch, slot);
  const range = { start: 0, end: 1 };
  if ((await options.store.get(missing, { ...requestOf(options), range })) !== null) return;
  throw new DbError(
    "corrupt",
    `object ${missing} is missing: the log goes on to ${segmentKey(branch, beyond)}, so it has been deleted`,
  );
}

function requestOf(options: Pick<LogReadOptions, "requestTimeoutMs" | "signal">) {
  return { timeoutMs: options.requestTimeoutMs, ...(options.signal ? { signal: options.signal } : {}) };
}
