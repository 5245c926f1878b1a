/** Counts of durations by upper bounds, as Prometheus shows them; cheap enough for what happens a million times. */
export class Histogram {
  readonly #boundsS: readonly number[];
  readonly #counts: number[];
  #sumS = 0;

  /** Bounds in seconds, ascending. */
  constructor(boundsS: readonly number[]) {
    this.#boundsS = boundsS;
    this.#counts = new Array<number>(boundsS.length + 1).fill(0);
  }

  observeMs(durationMs: number): void {
    this.observeSeconds(durationMs / 1000);
  }

  observeSeconds(seconds: number): void {
    let at = 0;
    while (at < this.#boundsS.length && seconds > this.#boundsS[at]!) at++;
    this.#counts[at]!++;
    this.#sumS += seconds;
  }

  /** The series' lines; `labels` as they stand between the braces: 'a="b"', or "". */
  lines(name: string, labels: string): string {
    const prefix = labels === "" ? "" : `${labels},`;
    let upTo = 0;
    let text = "";
    for (const [n, count] of this.#counts.entries()) {
      upTo += count;
      const bound = this.#boundsS[n];
      text += `${name}_bucket{${prefix}le="${bound === undefined ? "+Inf" : bound}"} ${upTo}\n`;
    }
    const own = labels === "" ? "" : `{${labels}}`;
    return `${text}${name}_sum${own} ${this.#sumS}\n${name}_count${own} ${upTo}\n`;
  }
}

/** `first`, then each twice the one before. */
export const doublingBounds = (first: number, count: number): number[] =>
  Array.from({ length: count }, (_, n) => Number((first * 2 ** n).toPrecision(12)));
