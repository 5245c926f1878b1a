import { assert } from "../base/assert.ts";
import { DbError, isDbError } from "../base/errors.ts";
import type { BranchId, Epoch, Slot } from "../base/ids.ts";
import { createOnce } from "../objects/conditional.ts";
import { segmentKey } from "../objects/keys.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { RetryRuntime } from "../objects/retry.ts";
import { Chain } from "./chain.ts";
import type { LogPosition, Segment } from "./log.ts";
import { readListed, readUntilMissing } from "./reader.ts";
import { markOfPosition } from "./record-codec.ts";
import { decodeSegment, encodeFence, hashOfSegment } from "./segment-codec.ts";

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
  /** P, of the repository. */
  readonly window: number;
  readonly requestTimeoutMs: number;
  readonly signal?: AbortSignal;
  newestStart(): Promise<Start>;
  /** Left out: nobody replays what is read (a branch that is taken to be ended). */
  readonly replay?: Replay<Start>;
}

/** Takes what a takeover reads, as it is read: no segment is fetched or decoded twice, or kept. */
export interface Replay<Start> {
  /** What was taken so far is void: the log is read from `start` on. */
  begin(start: Start): Promise<void>;
  /** A valid segment or fence, each in its turn. */
  take(segment: Segment): void;
}

/**
 * A fence's creation is tried for this many request timeouts before the driver is told; it may call again, with the
 * same effect.
 */
const CREATE_REQUESTS = 3;

/**
 * The log's part of a takeover (DESIGN: leadership and fencing, rule 2); the driver is leadership's.
 *
 * 1. All fences of one takeover are the same bytes each time they are tried: what an earlier try left is met as our
 *    own.
 * 2. A segment or fence of a higher epoch, or of this one that is not our own bytes, ends the takeover.
 * 3. The further fences all name the first one, so they are created at once; what a lower epoch holds there is void and
 *    just as good.
 * 4. What is there may be read before the branch is won (`readAhead`), while the swap of the leader record is on its
 *    way. A slot never changes, and whether it is valid depends on the slots before it alone: what was read then is
 *    what the taker finds, if it begins from the same start and no epoch read is its own or above. Whether the start is
 *    still the newest is asked once the fence is in place, as ever.
 *
 * It exposes `end`, behind all fences. `replay` has taken all that is valid from `start.position` up to there.
 */
export class FencingLog<Start extends TakeoverStart> {
  private readonly options: TakeoverLogOptions<Start>;
  private chain: Chain | null = null;
  private startOfChain: Start | null = null;
  /** The slot of our first fence in the chain as read. */
  private fencedSlot: Slot | null = null;
  /** The start of what was read ahead, null where that failed; until the taker has asked for it. */
  private ahead: Promise<Start | null> | null = null;
  private readonly closing = new AbortController();

  constructor(options: TakeoverLogOptions<Start>) {
    this.options = options;
  }

  /** Begins to read what the log has now. What fails of it is met again by who takes the branch. */
  readAhead(): void {
    if (this.chain !== null) return;
    this.ahead ??= this.readFromNewest();
    // A bug in it is thrown to whoever asks for its start; nobody may.
    this.ahead.catch(() => {});
  }

  private async readFromNewest(): Promise<Start | null> {
    try {
      const start = await this.options.newestStart();
      await this.readFrom(start);
      return start;
    } catch (error) {
      if (!isDbError(error)) throw error;
      this.chain = null;
      return null;
    }
  }

  /** Ends what is being read: nothing is replayed any more. */
  async close(): Promise<void> {
    this.closing.abort();
    await this.ahead?.catch(() => {});
  }

  /** The first time what was read ahead from, if that was done: the newest one then. */
  async newestStart(): Promise<Start> {
    const ahead = await this.ahead;
    this.ahead = null;
    return ahead ?? this.options.newestStart();
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
    if (start.position.highestEpoch > epoch) throw deposed(start.id, start.position.highestEpoch, epoch);
    this.fencedSlot = null;
    const isAhead = this.chain !== null && this.startOfChain?.id === start.id;
    // One that has met our own epoch, or a later one, was read by an earlier attempt: fences of ours must be known.
    if (isAhead && this.end.highestEpoch < epoch) await this.readOn(readUntilMissing, epoch);
    else await this.readFrom(start, epoch);
  }

  /** All that is behind the chain. Without an epoch nobody has won the branch yet. */
  private async readOn(read: typeof readListed, epoch: Epoch | null): Promise<void> {
    const { signal } = this.options;
    const options = {
      ...this.options,
      signal: signal ? AbortSignal.any([signal, this.closing.signal]) : this.closing.signal,
    };
    await read(this.judged(), options, (segment) => {
      if (epoch !== null && this.isOwn(segment, epoch)) this.fencedSlot ??= segment.header.slot;
      this.accept(segment);
    });
  }

  private async readFrom(start: Start, epoch: Epoch | null = null): Promise<void> {
    this.chain = null;
    await this.options.replay?.begin(start);
    this.startOfChain = start;
    this.chain = new Chain(this.options.branch, start.position);
    await this.readOn(readListed, epoch);
  }

  private accept(segment: Segment): "valid" | "void" {
    const verdict = this.judged().accept(segment);
    if (verdict === "void") return verdict;
    try {
      this.options.replay?.take(segment);
    } catch (error) {
      // What was replayed is behind the chain now: nobody goes on from here.
      this.chain = null;
      throw error;
    }
    return verdict;
  }

  async fence(epoch: Epoch): Promise<"fenced" | "taken"> {
    if (this.fencedSlot !== null) return "fenced";
    const chain = this.judged();
    const { nextSlot } = chain.position();
    const segment = await this.create(nextSlot, epoch);
    const own = this.isOwn(segment, epoch);
    this.accept(segment);
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
      const verdict = this.accept(one.value);
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
