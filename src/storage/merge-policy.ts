/** When and which runs are merged. */
export interface MergePolicy {
  /** Up to so many runs nothing is merged: a read looks into each. */
  readonly runsMax: number;
  /** At most so many are merged at once: each is read through a window of its own. */
  readonly inputsMax: number;
}

/** Runs below this size count as this large: so small they cost requests, not bytes. */
const SMALL_BYTES = 1 << 20;
/** A run joins those younger than it while it is not larger than this many times all of them. */
const RATIO = 1.5;

/**
 * Which adjacent runs to merge, as [first, end); null for none. `bytes` are the sizes of the runs, the youngest first.
 * Runs of like size are merged, so that each byte is rewritten a number of times that grows with the logarithm of the
 * whole; where there are none, the two neighbours that cost the least.
 */
export function pickMerge(bytes: readonly number[], policy: MergePolicy): { first: number; end: number } | null {
  if (bytes.length <= policy.runsMax) return null;
  let best: { first: number; end: number } | null = null;
  for (let first = 0; first < bytes.length - 1; first++) {
    const end = endOfAlike(bytes, first, policy.inputsMax);
    const count = end - first;
    if (count >= 2 && (best === null || count > best.end - best.first)) best = { first, end };
  }
  return best ?? cheapestPair(bytes);
}

function endOfAlike(bytes: readonly number[], first: number, inputsMax: number): number {
  let sum = Math.max(bytes[first]!, SMALL_BYTES);
  let end = first + 1;
  while (end < bytes.length && end - first < inputsMax && bytes[end]! <= sum * RATIO) {
    sum += Math.max(bytes[end]!, SMALL_BYTES);
    end++;
  }
  return end;
}

function cheapestPair(bytes: readonly number[]): { first: number; end: number } {
  let first = 0;
  for (let i = 1; i + 1 < bytes.length; i++) {
    if (bytes[i]! + bytes[i + 1]! < bytes[first]! + bytes[first + 1]!) first = i;
  }
  return { first, end: first + 2 };
}
