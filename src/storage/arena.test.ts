import { deepEqual, equal, notEqual } from "node:assert/strict";
import { test } from "node:test";
import { Arena } from "./arena.ts";

const segment = (bytes: number): Buffer => {
  const whole = Buffer.allocUnsafeSlow(bytes);
  for (let i = 0; i < bytes; i++) whole[i] = i % 251;
  return whole;
};

const placed = (arena: Arena): Uint8Array => arena.chunks[arena.chunk]!.subarray(arena.start, arena.end);

test("what is kept is not copied, and is found where it lies, also through a view", () => {
  const arena = new Arena();
  const whole = segment(100_000);
  const view = whole.subarray(300, 90_000);
  arena.keep(view, 50, 400);
  deepEqual(placed(arena), whole.subarray(350, 700));
  equal(placed(arena).buffer, whole.buffer);
  arena.keep(whole, 80_000, 80_100);
  deepEqual(placed(arena), whole.subarray(80_000, 80_100));
  equal(arena.chunks.length, 1, "one chunk for all of one piece of memory");
  equal(arena.used, 450);
});

test("copies go on in the chunk that was open, whatever is kept in between", () => {
  const arena = new Arena();
  const whole = segment(100_000);
  arena.add(whole, 0, 200);
  const first = placed(arena);
  arena.keep(whole, 1000, 2000);
  arena.add(whole, 200, 400);
  equal(placed(arena).buffer, first.buffer);
  deepEqual(placed(arena), whole.subarray(200, 400));
  deepEqual(first, whole.subarray(0, 200));
});

test("a small value, and one in small memory such as Node's pool, is copied", () => {
  const arena = new Arena();
  const whole = segment(100_000);
  arena.keep(whole, 0, 64);
  notEqual(placed(arena).buffer, whole.buffer);
  const pooled = segment(10_000);
  arena.keep(pooled, 0, 500);
  notEqual(placed(arena).buffer, pooled.buffer);
  deepEqual(placed(arena), pooled.subarray(0, 500));
});
