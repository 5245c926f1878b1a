import { assert } from "../base/assert.ts";
import type { BranchId, Slot } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";
import type { ObjectStore, RequestOptions, StoredObject } from "../objects/objects.ts";

const AHEAD_MAX = 32;
/** At first, of slots that are known to be there: their sizes are not known yet. */
const AHEAD_KNOWN = 4;
/** Of all objects being fetched ahead, guessed by the largest one seen. */
const AHEAD_BYTES_MAX = 64 << 20;

/**
 * Gets the objects of a branch's slots in order, several ahead. It begins with one and doubles with each that is there,
 * so that who looks at the end of a log asks for little in vain, and who replays a long one soon asks for many at once.
 */
export class SlotFetcher {
  private readonly store: ObjectStore;
  private readonly branch: BranchId;
  private readonly timeoutMs: number;
  /** No slot from here on is asked for. */
  private readonly until: number;
  private readonly abort = new AbortController();
  private readonly signal: AbortSignal;
  private readonly queue: Promise<StoredObject | null>[] = [];
  private nextSlot: number;
  private ahead: number;
  private largestBytes = 1;

  constructor(options: {
    store: ObjectStore;
    branch: BranchId;
    from: Slot;
    /** All up to this slot are known to be there. */
    until?: Slot;
    request: RequestOptions;
  }) {
    this.store = options.store;
    this.branch = options.branch;
    this.nextSlot = options.from;
    this.until = options.until ?? Number.MAX_SAFE_INTEGER;
    this.ahead = options.until === undefined ? 1 : AHEAD_KNOWN;
    this.timeoutMs = options.request.timeoutMs;
    const { signal } = options.request;
    this.signal = signal ? AbortSignal.any([signal, this.abort.signal]) : this.abort.signal;
  }

  /** The object in the next slot, or null if there is none. Rejects as ObjectStore.get does. */
  async next(): Promise<StoredObject | null> {
    this.fill();
    const first = this.queue.shift();
    assert(first !== undefined, "no slot is asked for beyond the known ones");
    const object = await first;
    if (object !== null) {
      this.largestBytes = Math.max(this.largestBytes, object.bytes);
      const byBytes = Math.max(1, Math.floor(AHEAD_BYTES_MAX / this.largestBytes));
      this.ahead = Math.min(this.ahead * 2, AHEAD_MAX, byBytes);
      // The next ones are on their way while the caller works on this one.
      this.fill();
    }
    return object;
  }

  close(): void {
    this.abort.abort();
  }

  private fill(): void {
    while (this.queue.length < this.ahead && this.nextSlot < this.until) {
      const key = segmentKey(this.branch, this.nextSlot as Slot);
      const object = this.store.get(key, { timeoutMs: this.timeoutMs, signal: this.signal });
      // It may fail long before its turn comes, or never be asked for.
      object.catch(() => {});
      this.queue.push(object);
      this.nextSlot++;
    }
  }
}
