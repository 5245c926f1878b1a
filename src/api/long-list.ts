import { assert } from "../base/assert.ts";
import type { Call, Encodable } from "../transport/transport.ts";
import { EncodedPieces, PIECES_BYTES_MIN } from "./encoded-pieces.ts";

/** About so much is in a piece. */
const PIECE_BYTES = 64 << 10;

/** How one element is encoded, its tag and length included. */
export interface ElementCodec<T> {
  size(element: T): number;
  write(buffer: Buffer, at: number, element: T): number;
}

/**
 * An answer with a repeated field that may have a million elements: leases, or the keys of one. It is written from the
 * list, whole or, to a client that may take its time, a piece at a time; the fields before it are `head`.
 */
export function answerLongList<T>(
  head: Encodable,
  elements: readonly T[],
  codec: ElementCodec<T>,
  call: Call,
): Encodable {
  const list = new LongList(head, elements, codec);
  const bytes = list.byteLength();
  if (call.takesAnyPieces !== true || bytes < PIECES_BYTES_MIN) return list;
  return new EncodedPieces(bytes, list.pieces(), () => {});
}

class LongList<T> implements Encodable {
  readonly #head: Encodable;
  readonly #elements: readonly T[];
  readonly #codec: ElementCodec<T>;
  readonly #bytes: number;

  constructor(head: Encodable, elements: readonly T[], codec: ElementCodec<T>) {
    this.#head = head;
    this.#elements = elements;
    this.#codec = codec;
    let bytes = head.byteLength();
    for (const element of elements) bytes += codec.size(element);
    this.#bytes = bytes;
  }

  byteLength(): number {
    return this.#bytes;
  }

  encodeInto(buffer: Buffer, at: number): number {
    at = this.#head.encodeInto(buffer, at);
    for (const element of this.#elements) at = this.#codec.write(buffer, at, element);
    return at;
  }

  /** The same as `encodeInto` writes. */
  *pieces(): Generator<Buffer, void> {
    const head = Buffer.allocUnsafeSlow(this.#head.byteLength());
    this.#head.encodeInto(head, 0);
    yield head;
    for (let from = 0; from < this.#elements.length; ) {
      let bytes = 0;
      let to = from;
      while (to < this.#elements.length && bytes < PIECE_BYTES) bytes += this.#codec.size(this.#elements[to++]!);
      const piece = Buffer.allocUnsafeSlow(bytes);
      let at = 0;
      while (from < to) at = this.#codec.write(piece, at, this.#elements[from++]!);
      assert(at === bytes, "a piece is as long as it said");
      yield piece;
    }
  }
}
