import type { DbError } from "../base/errors.ts";
import type { BranchId, Epoch } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";

/**
 * Who may write a branch: the leader record (epochs), sessions (terms), disk identities (the in-sync set). Safety of
 * writes rests on epochs and fences alone, never on a clock; terms only prove reads (DESIGN: leadership and fencing).
 *
 * Taking over, step by step (each may be the last before a crash):
 *   hold ─ swap the record to epoch+1 ─ find the first free slot ─ fence ─ read the newest checkpoint again
 *        ─ P−1 more fences ─ serve
 */
export interface Leadership {
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly durability: Durability;
  /** Null while leading is proven for a read that has already arrived; else what to answer it with. */
  proof(): MaybePromise<DbError | null>;
  /** The same without waiting and without a request, for health: the last that is known. */
  unprovenBecause(): DbError | null;
  /** Deposed, or the session is dead and the branch must be won anew. Called once. */
  onLost: (error: DbError) => void;
  /** Proof has come back after `unprovenBecause` was not null (leases get their full TTL again). */
  onRegained: () => void;
  /** Gives the branch up after everything is uploaded: the next leader needs no wait. */
  release(): Promise<void>;
  /** Ends the branch for ever: nobody leads it any more. For one that was taken for that. */
  bury(): Promise<void>;
  /** Stops without giving up, as a crash would. */
  abandon(): Promise<void>;
}

export type Durability = "object" | "local";

/**
 * What taking over needs of the log and of the checkpoints; the composition root supplies it.
 * `Start` is the newest checkpoint, or the branch's origin: `id` tells two apart.
 */
export interface TakeoverLog<Start extends { readonly id: string }> {
  /** Called before the leader record is swapped: whatever can be read by then need not be waited for later. */
  readAhead?(): void;
  /** The first answer may be what was the newest when it was read ahead; each further one is asked for. */
  newestStart(): Promise<Start>;
  /**
   * Reads slots in order from `start`, judging each by the rules (void below the highest epoch seen, hash chain), to
   * the first free one. Throws `leadershipLost` on meeting an epoch above `epoch`.
   */
  firstFreeSlot(start: Start, epoch: Epoch): Promise<void>;
  /**
   * Creates this epoch's fence in the slot that `firstFreeSlot` found. `taken`: another's segment got there first, and
   * has been read and judged; the free slot is now the next one. Throws `leadershipLost` if it was of a higher epoch.
   */
  fence(epoch: Epoch): Promise<"fenced" | "taken">;
  /** Creates fences in the next `count` slots; a slot that a lower epoch's segment holds is void and just as good. */
  widen(epoch: Epoch, count: number): Promise<void>;
}
