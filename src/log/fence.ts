import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { BranchId, Epoch, Slot } from "../base/ids.ts";
import { createOnce } from "../objects/conditional.ts";
import { segmentKey } from "../objects/keys.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import { Chain } from "./chain.ts";
import type { LogPosition, Segment } from "./log.ts";
import { readListed } from "./reader.ts";
import { markOfPosition } from "./record-codec.ts";
import {
  decodeSegment,
  encodeFence,
  hashOfSegment,
  SEGMENT_HEADER_BYTES,
  SEGMENT_TRAILER_BYTES,
} from "./segment-codec.ts";

/** Where a takeover begins to read: the newest checkpoint, or the branch's origin. */
export interface TakeoverStart {
  readonly id: string;
  readonly position: LogPosition;
}

export interface TakeoverLogOptions<Start extends TakeoverStart> {
  readonly runtime: RetryRuntime;
  readonly store: ObjectStore;
  readonly branch: BranchId;
  /** 16 random hex digits, those of this leadership's segments too. */
  readonly nonce: string;
  readonly requestTimeoutMs: number;
  readonly signal?: AbortSignal;
  newestStart(): Promise<Start>;
}

/**
 * A fence's creation is tried for this many request timeouts before the driver is told; it may call again, with the
 * same effect.
 */
const CREATE_REQUESTS = 3;
/** Of segments that are kept for the replay: what a leader leaves behind its last checkpoint, mostly. */
const KEPT_BYTES_MAX = 16 << 20;
const FENCE_BYTES = SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES;

/**
 * The log's part of a takeover (DESIGN: leadership and fencing, rule 2); the driver is leadership's.
 *
 * 1. All fences of one takeover are the same bytes each time they are tried: what an earlier try left is met as our
 *    own.
 * 2. A segment or fence of a higher epoch, or of this one that is not our own bytes, ends the takeover.
 * 3. The further fences all name the first one, so they are created at once; what a lower epoch holds there is void and
 *    just as good.
 *
 * It exposes `end`, behind all fences: the records up to it are replayed with readLog, from `start.position` until
 * `end.nextSlot`.
 */
export class FencingLog<Start extends TakeoverStart> {
  private readonly options: TakeoverLogOptions<Start>;
  private chain: Chain | null = null;
  private startOfChain: Start | null = null;
  /** The slot of our first fence in the chain as read. */
  private fencedSlot: Slot | null = null;
  /** What was read of the log, from its start on, up to a bound: whoever replays it need not read that again. */
  readonly kept = new Map<Slot, Segment>();
  private keptBytes = 0;

  constructor(options: TakeoverLogOptions<Start>) {
    this.options = options;
  }

  newestStart(): Promise<Start> {
    return this.options.newestStart();
  }

  /** What the chain was read from. */
  get start(): Start {
    assert(this.startOfChain !== null, "the log has been read");
    return this.startOfChain;
  }

  /** Behind everything judged: after `widen`, the place of the new leadership's first segment. */
  get end(): LogPosition {
    return this.judged().position();
  }

  async firstFreeSlot(start: Start, epoch: Epoch): Promise<void> {
    try {
      await this.read(start, epoch);
    } catch (error) {
      if (!isDbError(error, "corrupt")) throw error;
      // Rule 6: a slot collected under an old start may hold the fence of a taker that stalled. The driver, who reads
      // the newest start once more, sees that it is another one.
      const newest = await this.newestStart();
      if (newest.id === start.id) throw error;
      await this.read(newest, epoch);
    }
  }

  private async read(start: Start, epoch: Epoch): Promise<void> {
    const { branch } = this.options;
    if (start.position.highestEpoch > epoch) throw deposed(start.id, start.position.highestEpoch, epoch);
    const chain = new Chain(branch, start.position);
    this.startOfChain = start;
    this.chain = chain;
    this.fencedSlot = null;
    this.kept.clear();
    this.keptBytes = 0;
    await readListed(chain, this.options, (segment, bytes) => {
      if (this.isOwn(segment, epoch)) this.fencedSlot ??= segment.header.slot;
      this.keep(segment, bytes);
    });
  }

  private keep(segment: Segment, bytes: number): void {
    this.keptBytes += bytes;
    if (this.keptBytes <= KEPT_BYTES_MAX) this.kept.set(segment.header.slot, segment);
  }

  async fence(epoch: Epoch): Promise<"fenced" | "taken"> {
    if (this.fencedSlot !== null) return "fenced";
    const chain = this.judged();
    const { nextSlot } = chain.position();
    const segment = await this.create(nextSlot, epoch);
    const own = this.isOwn(segment, epoch);
    chain.accept(segment);
    this.keep(segment, FENCE_BYTES);
    if (!own) return "taken";
    this.fencedSlot = nextSlot;
    return "fenced";
  }

  async widen(epoch: Epoch, count: number): Promise<void> {
    const chain = this.judged();
    assert(this.fencedSlot !== null, "a fence is there before it is widened");
    const end = this.fencedSlot + count + 1;
    const tries: Promise<Segment>[] = [];
    for (let at: number = chain.position().nextSlot; at < end; at++) tries.push(this.create(at as Slot, epoch));
    // All are waited for, so that nothing is sent after a failure has been told; what was created stays, and is met as
    // our own.
    const settled = await Promise.allSettled(tries);
    for (const one of settled) if (one.status === "rejected") throw one.reason;
    for (const one of settled) {
      assert(one.status === "fulfilled", "failures were thrown");
      const own = this.isOwn(one.value, epoch);
      const verdict = chain.accept(one.value);
      this.keep(one.value, FENCE_BYTES);
      assert(own === (verdict === "valid"), "behind the first fence all but our own fences is void");
    }
  }

  private judged(): Chain {
    assert(this.chain !== null, "the first free slot has been looked for");
    return this.chain;
  }

  /** Our fence in `slot`, as the chain stands. All further fences of one takeover differ in their slot alone. */
  private fenceBytes(slot: Slot, epoch: Epoch): Buffer {
    const position = this.judged().position();
    const { branch, nonce } = this.options;
    return encodeFence({ branch, epoch, nonce, slot, previousHash: position.lastHash }, markOfPosition(position));
  }

  /** Whether `segment`, the next one to be judged, is our own; throws when it shows that we are deposed. */
  private isOwn(segment: Segment, epoch: Epoch): boolean {
    const { header } = segment;
    if (header.epoch < epoch) return false;
    if (header.epoch === epoch && segment.hash === hashOfSegment(this.fenceBytes(header.slot, epoch))) return true;
    throw deposed(segmentKey(header.branch, header.slot), header.epoch, epoch);
  }

  /** What is in `slot` after our fence was tried there. */
  private async create(slot: Slot, epoch: Epoch): Promise<Segment> {
    const { store, runtime, branch, requestTimeoutMs, signal } = this.options;
    const key = segmentKey(branch, slot);
    const bytes = this.fenceBytes(slot, epoch);
    const outcome = await createOnce(store, key, bytes, {
      runtime,
      timeoutMs: CREATE_REQUESTS * requestTimeoutMs,
      attemptTimeoutMs: requestTimeoutMs,
      ...(signal ? { signal } : {}),
    });
    return decodeSegment(key, outcome.kind === "created" ? bytes : outcome.object.body);
  }
}

export const createTakeoverLog = <Start extends TakeoverStart>(options: TakeoverLogOptions<Start>): FencingLog<Start> =>
  new FencingLog(options);

const deposed = (what: string, found: Epoch, epoch: Epoch): DbError =>
  new DbError("leadershipLost", `${what} is of epoch ${found}: epoch ${epoch} cannot take over any more`);
