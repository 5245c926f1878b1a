import { AssertionError, assert } from "../base/assert.ts";
import type { TxnResult } from "../engine/engine.ts";
import type { Call, Encodable, Pieces } from "../transport/transport.ts";
import type { TxnResponse } from "./wire/kv-responses.ts";

/** From here on an answer is sent in pieces. */
const PIECES_BYTES_MIN = 256 << 10;

/**
 * A transaction's answer. A large one is written piece by piece, as the client takes it, from the rows that the engine
 * holds and counts: there is no second copy of it. A small one is written at once.
 */
export function answerTxn(response: TxnResponse, result: TxnResult, call: Call): Encodable {
  if (result.release === undefined) return response;
  const bytes = response.byteLength();
  if (call.takesAnyPieces === true && bytes >= PIECES_BYTES_MIN) return new TxnPieces(response, bytes, result.release);
  // Written in this turn of the event loop, or by a gateway that refuses what is large.
  result.release();
  return response;
}

class TxnPieces implements Pieces {
  readonly #bytes: number;
  readonly #pieces: Iterator<Buffer>;
  readonly #onClose: () => void;
  #given = 0;

  constructor(response: TxnResponse, bytes: number, onClose: () => void) {
    this.#bytes = bytes;
    this.#pieces = response.pieces();
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
