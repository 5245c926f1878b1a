/** A request that takes this many times the usual is most likely stuck, not slow. */
const FACTOR = 4;
/** Share of the newest answer in the mean. */
const MEAN_SHARE = 1 / 8;

/** How long to wait for an answer before its request is taken for stuck: by how long others took, at least as told. */
export class Patience {
  readonly #leastMs: number;
  #meanMs = 0;

  constructor(leastMs: number) {
    this.#leastMs = leastMs;
  }

  answered(tookMs: number): void {
    this.#meanMs += (tookMs - this.#meanMs) * MEAN_SHARE;
  }

  get ms(): number {
    return Math.max(this.#leastMs, FACTOR * this.#meanMs);
  }
}
