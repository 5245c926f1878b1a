import { crc32c } from "../../base/crc32c.ts";

const GATHER_BYTES = 64 << 10;

/** A CRC-32C over many small pieces: gathered, as a call for each costs more than copying them. */
export class Sum {
  readonly #gathered = Buffer.allocUnsafe(GATHER_BYTES);
  #at = 0;
  #crc = 0;

  add(bytes: Uint8Array): void {
    if (bytes.length > GATHER_BYTES - this.#at) this.#flush();
    if (bytes.length > GATHER_BYTES) {
      this.#crc = crc32c(bytes, 0, bytes.length, this.#crc);
      return;
    }
    this.#gathered.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** An unsigned 32-bit number. */
  get value(): number {
    this.#flush();
    return this.#crc;
  }

  #flush(): void {
    this.#crc = crc32c(this.#gathered, 0, this.#at, this.#crc);
    this.#at = 0;
  }
}
