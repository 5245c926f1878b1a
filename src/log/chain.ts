import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { BranchId, Slot } from "../base/ids.ts";
import { segmentKey } from "../objects/keys.ts";
import type { LogPosition, Segment, SegmentHeader } from "./log.ts";

/**
 * The judge of a branch's segments, read in slot order. Pure: no I/O, no clock.
 *
 * 1. Slots are dense. What stands in them belongs to this branch.
 * 2. A segment of an epoch below the highest seen is void: it adds nothing, and nothing else of it is believed.
 * 3. Every other one names the hash of the one before it, goes on with its record numbers, revisions and sequencing
 *    epochs, and its wall time never goes back.
 * 4. A fence of the epoch that already is the highest is repeated: the P - 1 further fences of a takeover, which are
 *    created all at once, in slots of which some may turn out to hold void segments. It names the same hash that the
 *    next segment will, and is named by nobody.
 *
 *   slot      7        8         9          10         11         12
 *   epoch     3        5 fence   5 fence    4          5 fence    5
 *   names     …        7         8          (void)     8          8
 */
export class Chain {
  readonly branch: BranchId;
  private at: LogPosition;
  /** The slot of the segment whose hash `at` names; 0 while that lies before the start. */
  private lastSlot = 0;

  constructor(branch: BranchId, start: LogPosition) {
    this.branch = branch;
    this.at = start;
  }

  /** The position behind all that was accepted. */
  position(): LogPosition {
    return this.at;
  }

  /** Throws `corrupt` naming this object and the one that it does not follow; nothing is accepted then. */
  accept(segment: Segment): "valid" | "void" {
    const { header } = segment;
    const { at } = this;
    assert(Number.isSafeInteger(at.nextSlot + 1), "slots are safe integers");
    this.expect(header, "branch", header.branch, this.branch);
    this.expect(header, "slot", header.slot, at.nextSlot);
    const nextSlot = (at.nextSlot + 1) as Slot;
    if (header.epoch < at.highestEpoch) {
      this.at = { ...at, nextSlot };
      return "void";
    }
    this.expect(header, "hash of the one before it", header.previousHash, at.lastHash);
    this.expect(header, "first record", header.firstRecord, at.lastRecord + 1);
    this.expect(header, "revision before it", header.revisionBefore, at.revision);
    this.expect(header, "epoch of the record before it", header.epochBefore, at.lastRecordEpoch);
    this.expect(header, "wall time of the record before it", header.wallMsBefore, at.wallMs);
    const last = segment.records.at(-1);
    const repeated = header.fence && header.epoch === at.highestEpoch;
    if (!repeated) this.lastSlot = header.slot;
    this.at = {
      nextSlot,
      highestEpoch: header.epoch,
      lastHash: repeated ? at.lastHash : segment.hash,
      lastRecord: last?.number ?? at.lastRecord,
      lastRecordEpoch: last?.epoch ?? at.lastRecordEpoch,
      revision: header.revisionAfter,
      wallMs: last?.wallMs ?? at.wallMs,
    };
    return "valid";
  }

  private expect(header: SegmentHeader, what: string, found: string | number, expected: string | number): void {
    if (found === expected) return;
    const before =
      this.lastSlot === 0 ? `what lies before slot ${this.at.nextSlot}` : this.keyAt(this.lastSlot as Slot);
    const object = `object ${this.keyAt(this.at.nextSlot)} (epoch ${header.epoch})`;
    throw new DbError("corrupt", `${object} does not follow ${before}: ${what} is ${found}, expected ${expected}`);
  }

  private keyAt(slot: Slot): string {
    return segmentKey(this.branch, slot);
  }
}

/** Where the log of a branch that was founded empty begins. */
export const firstPosition: LogPosition = {
  nextSlot: 1 as Slot,
  highestEpoch: 0 as LogPosition["highestEpoch"],
  lastHash: "0".repeat(64),
  lastRecord: 0 as LogPosition["lastRecord"],
  lastRecordEpoch: 0 as LogPosition["lastRecordEpoch"],
  revision: 1 as LogPosition["revision"],
  wallMs: 0,
};
