import { assert } from "../base/assert.ts";
import type { GetOptions } from "./objects.ts";

/**
 * The bytes [start, end) of an object of `bytes` bytes that `range` asks for: clipped at its end, all of it without a
 * range.
 */
export function rangeOf(range: GetOptions["range"], bytes: number): { start: number; end: number } {
  if (range === undefined) return { start: 0, end: bytes };
  if ("suffix" in range) {
    assert(Number.isSafeInteger(range.suffix) && range.suffix >= 0, "a suffix is a safe integer >= 0");
    return { start: Math.max(0, bytes - range.suffix), end: bytes };
  }
  const { start, end } = range;
  assert(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end, "0 <= start <= end");
  return { start: Math.min(start, bytes), end: Math.min(end, bytes) };
}
