/**
 * A smaller list that still fails, found by leaving out ever smaller runs of it (Zeller's delta debugging, in its
 * simple form).
 * `fails` is asked at most `triesMax` times.
 */
export async function shrink<T>(
  failing: readonly T[],
  fails: (candidate: readonly T[]) => Promise<boolean>,
  triesMax: number,
): Promise<readonly T[]> {
  let best = failing;
  let tries = 0;
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < best.length; ) {
      if (tries++ >= triesMax) return best;
      const candidate = [...best.slice(0, start), ...best.slice(start + size)];
      if (await fails(candidate)) best = candidate;
      else start += size;
    }
  }
  return best;
}
