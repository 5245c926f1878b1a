import { ok } from "node:assert/strict";
import type { BranchId, Epoch, Slot } from "../../src/base/ids.ts";
import { Chain, firstPosition } from "../../src/log/chain.ts";
import type { LogPosition, LogRecord, Segment } from "../../src/log/log.ts";
import { decodeSegment } from "../../src/log/segment-codec.ts";
import { parseKey, segmentKey } from "../../src/objects/keys.ts";
import type { SimBucket } from "./bucket.ts";

export interface TrueRecord {
  readonly text: string;
  readonly epoch: Epoch;
}

/** What a leader found, and what it acknowledged, as told to the judge of a scenario. */
export interface Reign {
  readonly epoch: Epoch;
  /** All records that it started from, from the first on. */
  readonly found: readonly string[];
}

/**
 * The history of a branch as the bucket has ever had it: what was created first in each slot, also where it was deleted
 * since. The judge of scenarios that write logs, told by nobody but the bucket.
 */
export class LogTruth {
  readonly records: TrueRecord[] = [];
  /** Of segments that hold valid records, by slot; void ones and fences are not among them. */
  readonly valid = new Map<Slot, Segment>();
  readonly fences: Slot[] = [];
  readonly voids: Slot[] = [];

  constructor(bucket: SimBucket, branch: BranchId, start: LogPosition = firstPosition) {
    const first = new Map<Slot, Buffer>();
    for (const { key, kind, body } of bucket.history) {
      const name = parseKey(key);
      if (kind !== "put" || name?.kind !== "segment" || name.branch !== branch) continue;
      if (body === null || first.has(name.slot)) continue;
      first.set(name.slot, body);
    }
    const chain = new Chain(branch, start);
    for (;;) {
      const { nextSlot } = chain.position();
      const body = first.get(nextSlot);
      if (body === undefined) return;
      const segment = decodeSegment(segmentKey(branch, nextSlot), body);
      if (chain.accept(segment) === "void") {
        this.voids.push(nextSlot);
      } else if (segment.header.fence) {
        this.fences.push(nextSlot);
      } else {
        this.valid.set(nextSlot, segment);
        for (const record of segment.records) this.records.push({ text: textOf(record), epoch: record.epoch });
      }
    }
  }
}

export const textOf = (record: LogRecord): string => Buffer.from(record.payload).toString();

/** What every log keeps, whatever happens to who writes it. */
export class LogJudge {
  readonly reigns: Reign[] = [];
  readonly acknowledged: { text: string; number: number; epoch: Epoch }[] = [];

  begins(reign: Reign): void {
    this.reigns.push(reign);
    // A later epoch may have begun, and acknowledged, while this one was still reading.
    for (const ack of this.acknowledged) if (ack.epoch < reign.epoch) this.#found(reign, ack);
  }

  acknowledges(ack: { text: string; number: number; epoch: Epoch }): void {
    this.acknowledged.push(ack);
    for (const reign of this.reigns) if (reign.epoch > ack.epoch) this.#found(reign, ack);
  }

  /** Records that a reign found keep their place for ever; what it did not find of earlier epochs never comes back. */
  check(truth: readonly TrueRecord[]): void {
    for (const { text, number, epoch } of this.acknowledged) {
      ok(truth[number - 1]?.text === text, `record ${number} (${text}), acknowledged by epoch ${epoch}, is lost`);
    }
    for (const { epoch, found } of this.reigns) {
      for (const [index, text] of found.entries()) {
        ok(truth[index]?.text === text, `record ${index + 1} (${text}), found by epoch ${epoch}, is lost`);
      }
      for (const [index, record] of truth.entries()) {
        const isLate = index >= found.length && record.epoch < epoch;
        ok(
          !isLate,
          `record ${index + 1} (${record.text}) of epoch ${record.epoch} came back after epoch ${epoch} began`,
        );
      }
    }
  }

  #found(reign: Reign, ack: { text: string; number: number; epoch: Epoch }): void {
    ok(
      reign.found[ack.number - 1] === ack.text,
      `epoch ${reign.epoch} began without record ${ack.number} (${ack.text}), acknowledged by epoch ${ack.epoch}`,
    );
  }
}
