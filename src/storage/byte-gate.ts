import { assert } from "../base/assert.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";

/**
 * Lets so many bytes be under way at once; who comes beyond that waits for its turn. A single one larger than the bound
 * goes alone. Who waits is bounded by who calls.
 */
export class ByteGate {
  readonly #bytesMax: number;
  #bytes = 0;
  readonly #waiting: { readonly bytes: number; readonly enter: () => void }[] = [];

  constructor(bytesMax: number) {
    assert(bytesMax > 0, "a gate lets something through");
    this.#bytesMax = bytesMax;
  }

  /** Bytes that are under way. */
  get bytes(): number {
    return this.#bytes;
  }

  /** `leave` the same number of bytes afterwards. */
  enter(bytes: number): MaybePromise<void> {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#bytes += bytes;
      return;
    }
    return new Promise((resolve) => this.#waiting.push({ bytes, enter: resolve }));
  }

  leave(bytes: number): void {
    this.#bytes -= bytes;
    assert(this.#bytes >= 0, "only who entered leaves");
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#bytes += next.bytes;
      next.enter();
    }
  }

  #fits(bytes: number): boolean {
    return this.#bytes === 0 || this.#bytes + bytes <= this.#bytesMax;
  }
}
