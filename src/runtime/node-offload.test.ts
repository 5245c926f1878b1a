import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { seededBytes } from "../../test/properties.ts";
import { isDbError } from "../base/errors.ts";
import { NodeOffload } from "./node-offload.ts";

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest();
const offload = new NodeOffload();

test("work of every size gives what the same work done here gives", async () => {
  for (const bytes of [0, 1, 4096, 262_143, 262_144, 1 << 20]) {
    const input = seededBytes(bytes);
    deepEqual(await offload.sha256(input), digest(input));
    const packed = await offload.zstdCompress(input, 1);
    deepEqual(await offload.zstdDecompress(packed, bytes), input);
  }
});

test("the caller keeps its bytes, also those of a view or of shared memory", async () => {
  const all = seededBytes(1 << 20);
  const view = all.subarray(100_000, 900_000);
  const before = digest(all);
  deepEqual(await offload.sha256(view), digest(view));
  equal(all.length, 1 << 20);
  deepEqual(digest(all), before);
  const shared = new Uint8Array(new SharedArrayBuffer(400_000));
  shared.set(all.subarray(0, 400_000));
  deepEqual(await offload.sha256(shared), digest(all.subarray(0, 400_000)));
});

test("many pieces at once are all done, each with its own answer", async () => {
  const inputs = Array.from({ length: 40 }, (_, n) => Buffer.alloc(300_000, n));
  const digests = await Promise.all(inputs.map((input) => offload.sha256(input)));
  deepEqual(digests, inputs.map(digest));
});

test("more than may wait is refused, and what waits is done", async () => {
  const input = Buffer.alloc(262_144);
  const busy = new NodeOffload();
  const all = await Promise.allSettled(Array.from({ length: 4096 + 10 }, () => busy.sha256(input)));
  const refused = all.filter((one) => one.status === "rejected");
  equal(refused.length, 6, "two threads take two pieces each");
  ok(refused.every((one) => isDbError(one.reason, "tooManyRequests")));
});

test("bytes that do not unpack, or to too much, are corrupt; here and in a worker thread", async () => {
  for (const bytes of [1000, 1 << 20]) {
    const packed = await offload.zstdCompress(seededBytes(bytes), 1);
    const corrupt = (error: unknown) => isDbError(error, "corrupt");
    await rejects(offload.zstdDecompress(packed, bytes - 1), corrupt);
    await rejects(offload.zstdDecompress(packed.subarray(0, packed.length - 5), bytes), corrupt);
    await rejects(offload.zstdDecompress(Buffer.alloc(bytes, 7), bytes), corrupt);
  }
  const bomb = await offload.zstdCompress(Buffer.alloc(64 << 20), 1);
  ok(bomb.length < 16_384);
  await rejects(offload.zstdDecompress(bomb, 1 << 20), (error) => isDbError(error, "corrupt"));
});
