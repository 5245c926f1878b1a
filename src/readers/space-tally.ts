import type { SpaceSums } from "../storage/table-format.ts";
import { noSums } from "../storage/table-index.ts";

/**
 * What a table's entries come to in each space, as they are gone through in order. Counted apart from what the table's
 * builder counts: the one is held against the other.
 */
export class SpaceTally {
  readonly #spaces: { -readonly [K in keyof SpaceSums]: SpaceSums[K] }[] = [];

  get spaces(): readonly SpaceSums[] {
    return this.#spaces;
  }

  /** `sameKey`: the entry before it was of the same key. */
  add(
    space: number,
    version: { main: number; tombstone: boolean; effect: number; start: number; end: number },
    sameKey: boolean,
  ): void {
    let sums = this.#spaces.at(-1);
    if (sums === undefined || sums.space !== space) {
      sums = { space, ...noSums, mainMin: version.main, keys: 0, tombstones: 0, valueBytes: 0 };
      this.#spaces.push(sums);
    }
    sums.entries++;
    sums.mainMin = Math.min(sums.mainMin, version.main);
    sums.mainMax = Math.max(sums.mainMax, version.main);
    sums.effectSum += version.effect;
    if (version.effect !== 0) sums.effectMain = Math.max(sums.effectMain, version.main);
    if (!sameKey) sums.keys++;
    if (version.tombstone) sums.tombstones++;
    sums.valueBytes += version.end - version.start;
  }
}
