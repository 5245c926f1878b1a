import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { at, number } from "../../test/log/samples.ts";
import type { Epoch, Revision } from "../base/ids.ts";
import type { DiskTail } from "./local-log-reader.ts";
import type { LogRecord } from "./log.ts";
import { tailToReappend } from "./tail.ts";

/** A disk that knows record 40 of epoch 3 to be in the bucket, and has those behind it, of the epochs given. */
const disk = (...epochs: number[]): DiskTail => ({
  before: { number: number(40), epoch: 3 as Epoch, wallMs: 5, revision: 41 as Revision },
  records: epochs.map(
    (epoch, index): LogRecord => ({
      number: number(41 + index),
      epoch: epoch as Epoch,
      wallMs: 6,
      revision: (42 + index) as Revision,
      payload: Buffer.of(index),
    }),
  ),
});
const bucket = (lastRecord: number, lastRecordEpoch: number) =>
  at({ nextSlot: 90, highestEpoch: 9, lastRecord, lastRecordEpoch, revision: lastRecord + 1 });
const numbers = (records: readonly LogRecord[]) => records.map((record) => record.number);

test("the tail behind the bucket's last record is taken, with the epochs that sequenced it", () => {
  const tail = tailToReappend(bucket(41, 3), disk(3, 3, 4));
  deepEqual(numbers(tail), [42, 43]);
  deepEqual(
    tail.map((record) => record.epoch),
    [3, 4],
  );
  deepEqual(numbers(tailToReappend(bucket(40, 3), disk(3, 3))), [41, 42]);
});

test("nothing is taken where the bucket has all", () => {
  deepEqual(tailToReappend(bucket(42, 3), disk(3, 3)), []);
  deepEqual(tailToReappend(bucket(40, 3), disk()), []);
});

test("fences and the uploader's epoch do not count: only who sequenced the last record does", () => {
  deepEqual(numbers(tailToReappend({ ...bucket(41, 3), highestEpoch: 99 as Epoch }, disk(3, 3))), [42]);
});

test("a disk that ends before the bucket does is rolled back", () => {
  throws(() => tailToReappend(bucket(43, 3), disk(3, 3)), { kind: "corrupt", message: /local log is rolled back/ });
  throws(() => tailToReappend(bucket(41, 3), disk()), /ends with record 40 of epoch 3.*bucket ends with record 41/);
  throws(() => tailToReappend(bucket(41, 3), null), { kind: "corrupt", message: /local log is empty/ });
});

test("a record of the same number and another epoch is another record: diverged", () => {
  throws(() => tailToReappend(bucket(41, 5), disk(3, 3)), { kind: "corrupt", message: /has diverged: its record 41/ });
  throws(() => tailToReappend(bucket(40, 2), disk(3)), /has diverged: its record 40 is of epoch 3/);
});

test("a bucket that ends before what was known to be in it is rolled back", () => {
  throws(() => tailToReappend(bucket(39, 3), disk(3)), { kind: "corrupt", message: /bucket is rolled back/ });
});

test("a branch without records has a tail from its beginning", () => {
  const empty: DiskTail = {
    before: { number: number(0), epoch: 0 as Epoch, wallMs: 0, revision: 1 as Revision },
    records: [],
  };
  equal(tailToReappend(at({}), empty).length, 0);
});
