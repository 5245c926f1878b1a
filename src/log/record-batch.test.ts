import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { Epoch, RecordNumber, Revision } from "../base/ids.ts";
import { RecordBatch } from "./record-batch.ts";

const before = { number: 0 as RecordNumber, epoch: 1 as Epoch, wallMs: 0, revision: 0 as Revision };

test("a batch's buffer doubles up to what a full one takes, and beyond that only for what needs more", () => {
  const batch = new RecordBatch({
    headerBytes: 10,
    trailerBytes: 4,
    before,
    bytes: Buffer.allocUnsafeSlow(1000),
    fullBytes: 5000,
  });
  const sizes = new Set<number>();
  const append = (bytes: number): void => {
    batch.append(Buffer.alloc(bytes, 7), 0 as Revision, 1 as Epoch, 0);
    sizes.add(batch.bytes.length);
  };
  while (batch.end < 4500) append(300);
  deepEqual([...sizes], [1000, 2000, 4000, 5000]);
  append(600);
  equal(batch.bytes.length, 10_000);
});
