import type { BranchId, ObjectKey, Slot } from "../base/ids.ts";
import { decodeRecord } from "../engine/record.ts";
import { Chain } from "../log/chain.ts";
import type { LogPosition, Segment } from "../log/log.ts";
import { decodeSegment } from "../log/segment-codec.ts";
import { parseKey, prefixes, segmentKey } from "../objects/keys.ts";
import { type Findings, isFinding } from "./faults.ts";
import { inOrder, type ListedObject, listObjects, type Width } from "./list-objects.ts";
import type { TableSource } from "./table-file.ts";

/** What a branch's newest checkpoint, or its origin, says of its log. */
export interface LogBounds {
  readonly branch: BranchId;
  /** P of the repository: no slot is sent P or more beyond the lowest one that is not resolved. */
  readonly window: number;
  /** The log is kept from here on; null: nothing says where it begins, so each object is checked by itself. */
  readonly start: LogPosition | null;
  /** All slots below this one are in the log: the newest checkpoint covers them. */
  readonly covered: Slot;
  /** Positions that checkpoints give, by their next slot. */
  readonly positions: ReadonlyMap<number, readonly { object: ObjectKey; position: LogPosition }[]>;
  /** The leader has given the branch up with nothing unresolved: there is no hole. */
  readonly released: boolean;
}

export interface CheckedLog {
  readonly segments: number;
  readonly bytes: number;
  readonly records: number;
  readonly highestEpoch: number;
  /** What is missing and named: looked for once more before it is called a fault. */
  readonly missing: readonly { slot: Slot; what: string }[];
  readonly end: LogPosition | null;
}

const WIDTH: Width = { requests: 8, bytes: 8 << 20 };

/**
 * Reads every object of a branch's log once, in slot order, and checks each by itself, and each kept one against the
 * one before it: previous hash, numbers, epochs, fences, records.
 */
export async function checkLog(
  source: TableSource & { onRead: (bytes: number) => void },
  bounds: LogBounds,
  findings: Findings,
): Promise<CheckedLog> {
  const walk = new LogWalk(bounds, findings);
  const { store, request } = source;
  const objects = listObjects(store, prefixes.segments(bounds.branch), request);
  const read = async ({ key }: ListedObject) => (await store.get(key, request))?.body ?? null;
  for await (const { item, result } of inOrder(objects, WIDTH, read)) {
    source.onRead(item.bytes);
    walk.object(item, result);
  }
  return walk.finish();
}

class LogWalk {
  readonly #bounds: LogBounds;
  readonly #findings: Findings;
  readonly #missing: { slot: Slot; what: string }[] = [];
  #chain: Chain | null;
  /** Behind a hole within the window: writes that are under way, or that nobody waits for any more. */
  #hole: { from: Slot; to: Slot } | null = null;
  #highestEpoch = 0;
  #fence: { epoch: number; slot: number } | null = null;
  #segments = 0;
  #bytes = 0;
  #records = 0;

  constructor(bounds: LogBounds, findings: Findings) {
    this.#bounds = bounds;
    this.#findings = findings;
    this.#chain = bounds.start === null ? null : new Chain(bounds.branch, bounds.start);
    if (bounds.start !== null) this.#comparePosition();
  }

  object({ key, bytes }: ListedObject, body: Buffer | null): void {
    const name = parseKey(key);
    if (name?.kind !== "segment") {
      this.#findings.fault(key, "is no segment: nothing else may lie in a log, and readers stop at it");
      return;
    }
    // Collected since it was listed; whether it may be is told by the one behind it.
    if (body === null) return;
    this.#segments++;
    this.#bytes += bytes;
    const segment = this.#decode(key, body);
    const { start } = this.#bounds;
    if (start !== null && name.slot < start.nextSlot) {
      if (segment !== null && !segment.header.fence) {
        this.#findings.unnamed(key, bytes, "lies below the first log slot kept");
      }
      return;
    }
    this.#follow(key, name.slot, segment);
  }

  finish(): CheckedLog {
    const { branch, covered } = this.#bounds;
    const end = this.#chain?.position() ?? null;
    if (end !== null && end.nextSlot < covered) this.#miss(end.nextSlot, covered, "the newest checkpoint covers it");
    for (const [at, named] of this.#bounds.positions) {
      if (end === null || this.#missing.length > 0 || at <= end.nextSlot) continue;
      for (const { object } of named) this.#findings.fault(object, `covers slots up to ${at}, the log ends before`);
    }
    if (this.#hole !== null) {
      const { from, to } = this.#hole;
      this.#findings.notice(
        `${segmentKey(branch, from)} is missing and ${segmentKey(branch, to)} exists: writes under way, or left ` +
          "unresolved by a crash; the log ends before them, and the next leader fences there",
      );
    }
    const { length } = this.#missing;
    return {
      segments: this.#segments,
      bytes: this.#bytes,
      records: this.#records,
      highestEpoch: this.#highestEpoch,
      missing: this.#missing,
      end: length > 0 ? null : end,
    };
  }

  #decode(key: ObjectKey, body: Buffer): Segment | null {
    let segment: Segment;
    try {
      segment = decodeSegment(key, body);
    } catch (error) {
      this.#findings.thrown(key, error);
      return null;
    }
    const { header } = segment;
    const found = segmentKey(header.branch, header.slot);
    if (found !== key) this.#findings.fault(key, `holds ${found}`);
    this.#highestEpoch = Math.max(this.#highestEpoch, header.epoch);
    return found === key ? segment : null;
  }

  /** Judges the next object of the log that is kept. */
  #follow(key: ObjectKey, slot: Slot, segment: Segment | null): void {
    const chain = this.#chain;
    if (chain === null) {
      this.#startAt(segment);
      return;
    }
    const { nextSlot } = chain.position();
    if (slot > nextSlot && this.#hole === null && !this.#isHole(nextSlot, slot, segment)) {
      this.#miss(nextSlot, slot, `the log goes on with slot ${slot}`);
      this.#chain = null;
      this.#startAt(segment);
      return;
    }
    if (slot > nextSlot) {
      this.#hole = { from: nextSlot, to: slot };
      return;
    }
    if (segment === null) {
      // Its fault is told. What follows is checked by itself and against one another.
      this.#chain = null;
      return;
    }
    try {
      if (chain.accept(segment) === "void") return;
    } catch (error) {
      this.#findings.thrown(key, error);
      this.#chain = null;
      this.#startAt(segment);
      return;
    }
    this.#valid(key, segment);
    this.#comparePosition();
  }

  /** A missing slot that may be one on its way: nothing behind it is known to be in the log. */
  #isHole(from: Slot, slot: Slot, segment: Segment | null): boolean {
    const { covered, window, released } = this.#bounds;
    if (released || slot < covered || from < covered || slot - from >= window) return false;
    return segment === null || segment.header.epoch <= this.#chain!.position().highestEpoch;
  }

  #miss(from: Slot, to: Slot, because: string): void {
    const what = to - from === 1 ? `is missing: ${because}` : `and all up to slot ${to - 1} are missing: ${because}`;
    this.#missing.push({ slot: from, what });
  }

  /** Goes on behind damage: believes what this segment says goes before it. */
  #startAt(segment: Segment | null): void {
    if (segment === null || segment.header.epoch < this.#highestEpoch || this.#bounds.start === null) return;
    const { header } = segment;
    const chain = new Chain(this.#bounds.branch, {
      nextSlot: header.slot,
      highestEpoch: (header.epoch - 1) as LogPosition["highestEpoch"],
      lastHash: header.previousHash,
      lastRecord: (header.firstRecord - 1) as LogPosition["lastRecord"],
      lastRecordEpoch: header.epochBefore,
      revision: header.revisionBefore,
      wallMs: header.wallMsBefore,
    });
    // A fence may repeat one that lies before the damage, whose hash then stays the one to be named.
    if (header.fence) return;
    chain.accept(segment);
    this.#chain = chain;
    this.#records += segment.records.length;
  }

  #valid(key: ObjectKey, { header, records }: Segment): void {
    this.#checkFence(key, header);
    let before: number = header.revisionBefore;
    for (const record of records) {
      try {
        const { entries } = decodeRecord(record);
        if (entries.some(({ space }) => space === 0) && record.revision !== before + 1) {
          this.#findings.fault(key, `record ${record.number} changes keys at ${record.revision}, after ${before}`);
        }
      } catch (error) {
        if (!isFinding(error)) throw error;
        this.#findings.fault(key, error.message);
      }
      before = record.revision;
    }
    this.#records += records.length;
  }

  /** A fence is P slots wide: its leader writes nothing else in them. */
  #checkFence(key: ObjectKey, header: Segment["header"]): void {
    const { epoch, slot } = header;
    if (header.fence) {
      if (this.#fence === null || this.#fence.epoch !== epoch) this.#fence = { epoch, slot };
      return;
    }
    const fence = this.#fence;
    if (fence !== null && fence.epoch === epoch && slot < fence.slot + this.#bounds.window) {
      this.#findings.fault(
        key,
        `records within the fence of its own epoch ${epoch}, which began at slot ${fence.slot}`,
      );
    }
  }

  #comparePosition(): void {
    const position = this.#chain!.position();
    for (const named of this.#bounds.positions.get(position.nextSlot) ?? []) {
      const [found, expected] = [JSON.stringify(named.position), JSON.stringify(position)];
      if (found !== expected) this.#findings.fault(named.object, `position ${found}, the log's is ${expected}`);
    }
  }
}
