import { createHash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { DbError, isDbError, messageOf } from "../base/errors.ts";
import { nextTurn } from "../base/event-loop.ts";
import type { BranchId, Epoch, ObjectKey, Slot } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";
import type { ObjectStore, StoredObject } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { HedgedCreate } from "./hedged-create.ts";
import type { LogPosition } from "./log.ts";
import { type PutSegmentOptions, putSegment } from "./put-segment.ts";
import type { RecordBatch } from "./record-batch.ts";
import { decodeSegment, hashOfSegment, type SegmentPlace, sealSegment } from "./segment-codec.ts";
import { Waits } from "./waits.ts";

/**
 * What is hashed of a segment in one turn of the event loop: 200 µs. Another thread would need a copy of it, and making
 * that takes as long as hashing.
 */
const HASHED_BYTES_PER_TURN = 256 << 10;
/** A segment that is not answered for as long is trouble, though nothing has failed yet. */
const SILENCE_MS = 3000;

const seconds = (ms: number): string => (ms / 1000).toFixed(1);

export interface UploaderOptions {
  readonly runtime: Runtime;
  readonly store: ObjectStore;
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly nonce: string;
  /** Where the first segment goes. */
  readonly position: LogPosition;
  /** P. */
  readonly window: number;
  readonly requestTimeoutMs: number;
  /**
   * The segment made of `batch` and all before it are in the bucket; in slot order. `reusable`: nothing reads the
   * batch's bytes any more.
   */
  readonly onUploaded: (batch: RecordBatch, after: LogPosition, reusable: boolean) => void;
  /** `canSend` may have become true. */
  readonly onReady: () => void;
  /** Called once: the slot holds another's segment. Nothing is sent any more. */
  readonly onFailed: (error: DbError) => void;
}

interface Flight {
  readonly batch: RecordBatch;
  readonly bytes: Buffer;
  readonly slot: Slot;
  readonly sentMs: number;
  /** Null until the segment's hash is known. */
  after: LogPosition | null;
  created: boolean;
  reusable: boolean;
}

/**
 * Puts segments into their slots, several at once.
 *
 * 1. A slot gets one content, for ever: a segment is tried again with the same bytes until it is known what the slot
 *    holds.
 * 2. No slot is sent `window` or more beyond the lowest one that is not resolved, so P fences end all that is under
 *    way.
 * 3. Each segment names the hash of the one before it, also while that one is under way.
 * 4. Segments are reported in slot order: one that is there behind one that is not is not durable.
 * 5. A slot that holds anything but our bytes ends it: with another's segment in our way we are deposed.
 */
export class Uploader {
  private readonly options: UploaderOptions;
  private readonly flights: Flight[] = [];
  private readonly abort = new AbortController();
  private readonly putOptions: PutSegmentOptions;
  /** Behind the last segment sent; null while its hash is being made. */
  private tip: LogPosition | null;
  /** The first slot never sent. */
  nextSlot: Slot;
  private stopped = false;
  private troubleOfStore: DbError | null = null;
  /** When the store last said that it has a segment. */
  private answeredMs = Number.NEGATIVE_INFINITY;
  private readonly waits: Waits;
  resolved: LogPosition;
  segmentsWritten = 0;
  bytesUploaded = 0;

  constructor(options: UploaderOptions) {
    assert(options.window >= 1, "at least one slot may be in flight");
    this.options = options;
    this.tip = options.position;
    this.resolved = options.position;
    this.nextSlot = options.position.nextSlot;
    this.waits = new Waits(options.runtime.timers);
    this.putOptions = {
      runtime: options.runtime,
      store: options.store,
      hedged: new HedgedCreate(options.store, options.runtime),
      requestTimeoutMs: options.requestTimeoutMs,
      signal: this.abort.signal,
      onTrouble: (trouble) => {
        this.troubleOfStore = trouble;
        if (trouble === null) this.answered();
      },
      waits: this.waits,
    };
  }

  /** Segments not resolved. */
  get inFlight(): number {
    return this.flights.length;
  }

  get canSend(): boolean {
    return !this.stopped && this.tip !== null && this.flights.length < this.options.window;
  }

  /** What the store last said against a segment under way; null when all is well. */
  get trouble(): DbError | null {
    return this.troubleOfStore ?? this.silence();
  }

  send(batch: RecordBatch): void {
    assert(this.canSend && this.tip !== null, "a segment is sent within the window, its predecessor's hash known");
    assert(batch.before.number === this.tip.lastRecord, "a segment goes on where the one before it ends");
    const { branch, epoch, nonce } = this.options;
    const slot = this.nextSlot;
    const lowest = this.flights[0]?.slot ?? slot;
    assert(slot < lowest + this.options.window, "no slot is sent P or more beyond the lowest unresolved one");
    const place: SegmentPlace = { branch, epoch, nonce, slot, previousHash: this.tip.lastHash };
    const bytes = sealSegment(batch, place);
    const sentMs = this.options.runtime.clock.monotonicMs();
    const flight: Flight = { batch, bytes, slot, sentMs, after: null, created: false, reusable: false };
    this.flights.push(flight);
    this.nextSlot = (slot + 1) as Slot;
    this.tip = null;
    this.owned(this.create(flight, segmentKey(branch, slot)));
    if (bytes.length <= HASHED_BYTES_PER_TURN) this.hashed(flight, hashOfSegment(bytes));
    else this.owned(this.hashInTurns(flight));
  }

  /** A store that says nothing at all, until the requests under way run out of time. */
  private silence(): DbError | null {
    const oldest = this.flights[0];
    if (oldest === undefined || oldest.created) return null;
    const ageMs = this.options.runtime.clock.monotonicMs() - oldest.sentMs;
    if (ageMs < SILENCE_MS) return null;
    const key = segmentKey(this.options.branch, oldest.slot);
    return new DbError("storeUnavailable", `${key} in ${this.options.store.name}: no answer for ${seconds(ageMs)} s`);
  }

  /**
   * After a silence the store is back: nobody waits on for it. While it answers some, as one that throttles, all do.
   */
  private answered(): void {
    const nowMs = this.options.runtime.clock.monotonicMs();
    if (nowMs - this.answeredMs >= SILENCE_MS) this.waits.endAll();
    this.answeredMs = nowMs;
  }

  /** Nothing more is sent or reported. */
  stop(): void {
    this.stopped = true;
    this.abort.abort();
  }

  /** The bytes stay as they are meanwhile: no segment is reported, nor its buffer used again, before it is hashed. */
  private async hashInTurns(flight: Flight): Promise<void> {
    const { bytes } = flight;
    const hash = createHash("sha256");
    const { timers } = this.options.runtime;
    for (let at = 0; at < bytes.length; at += HASHED_BYTES_PER_TURN) {
      if (at > 0) await nextTurn(timers);
      if (this.stopped) return;
      hash.update(bytes.subarray(at, at + HASHED_BYTES_PER_TURN));
    }
    this.hashed(flight, hash.digest("hex"));
    this.report();
    this.options.onReady();
  }

  private hashed(flight: Flight, lastHash: string): void {
    const { last } = flight.batch;
    flight.after = {
      nextSlot: (flight.slot + 1) as Slot,
      highestEpoch: this.options.epoch,
      lastHash,
      lastRecord: last.number,
      lastRecordEpoch: last.epoch,
      revision: last.revision,
      wallMs: last.wallMs,
    };
    this.tip = flight.after;
  }

  private async create(flight: Flight, key: ObjectKey): Promise<void> {
    const outcome = await putSegment(key, flight.bytes, this.putOptions);
    // Stopped meanwhile: whether the slot is ours is left unknown, and nobody is told that it is.
    if (this.stopped || outcome.kind === "aborted") return;
    if (outcome.kind === "taken") return this.fail(this.takenBy(key, outcome.object));
    flight.created = true;
    flight.reusable = outcome.atOnce;
    this.report();
    this.options.onReady();
  }

  /** Reports what is resolved with all before it. */
  private report(): void {
    while (!this.stopped) {
      const first = this.flights[0];
      if (!first?.created || first.after === null) return;
      this.flights.shift();
      this.resolved = first.after;
      this.segmentsWritten++;
      this.bytesUploaded += first.bytes.length;
      this.options.onUploaded(first.batch, first.after, first.reusable);
    }
  }

  private takenBy(key: ObjectKey, object: StoredObject): DbError {
    const { epoch } = this.options;
    try {
      const { header } = decodeSegment(key, object.body);
      return new DbError("leadershipLost", `object ${key} is of epoch ${header.epoch}: epoch ${epoch} is over`);
    } catch (error) {
      if (isDbError(error)) return error;
      throw error;
    }
  }

  private fail(error: DbError): void {
    this.stop();
    this.options.onFailed(error);
  }

  /**
   * A failure that is no answer of the store is a bug: durability has failed all the same.
   */
  private owned(work: Promise<void>): void {
    work.catch((error: unknown) => {
      if (this.stopped) return;
      const text = `writing the log of branch ${this.options.branch} failed: ${messageOf(error)}`;
      this.fail(isDbError(error) ? error : new DbError("leadershipLost", text, { cause: error }));
    });
  }
}
