import { AssertionError, assert } from "../base/assert.ts";
import type { Pieces } from "../transport/transport.ts";

/** From here on an answer is sent in pieces to a client that takes them. */
export const PIECES_BYTES_MIN = 256 << 10;

/** A large answer, each piece of which is encoded when the client has room for it. `bytes` is the length of all. */
export class EncodedPieces implements Pieces {
  readonly #bytes: number;
  readonly #pieces: Iterator<Buffer, void>;
  readonly #onClose: () => void;
  #given = 0;

  constructor(bytes: number, pieces: Iterator<Buffer, void>, onClose: () => void) {
    this.#bytes = bytes;
    this.#pieces = pieces;
    this.#onClose = onClose;
  }

  byteLength(): number {
    return this.#bytes;
  }

  encodeInto(): number {
    throw new AssertionError("a large answer is taken in pieces");
  }

  nextPiece(): Buffer {
    const next = this.#pieces.next();
    assert(next.done !== true, "no more is asked for than there is");
    this.#given += next.value.length;
    assert(this.#given <= this.#bytes, "a message is as long as it said");
    return next.value;
  }

  close(): void {
    this.#onClose();
  }
}
