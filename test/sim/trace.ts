import { createHash, type Hash } from "node:crypto";

/** Everything that happened, as a hash over lines; the last lines themselves for who has to find out why. */
export class Trace {
  readonly #hash: Hash = createHash("sha256");
  readonly #lines: string[] = [];
  readonly #keep: number;
  #count = 0;

  /** `keep`: how many of the last lines can be read. */
  constructor(keep: number) {
    this.#keep = keep;
  }

  add(atMs: number, who: string, what: string): void {
    const line = `${atMs.toFixed(3)} ${who}: ${what}`;
    this.#hash.update(line).update("\n");
    this.#count++;
    this.#lines.push(line);
    if (this.#lines.length >= 2 * this.#keep) this.#lines.splice(0, this.#lines.length - this.#keep);
  }

  get count(): number {
    return this.#count;
  }

  /** Hex; of all lines so far. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  lastLines(count = this.#keep): string[] {
    return this.#lines.slice(Math.max(0, this.#lines.length - Math.min(count, this.#keep)));
  }
}
