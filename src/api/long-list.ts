import { AssertionError, assert } from "../base/assert.ts";
import type { Call, Encodable, Pieces } from "../transport/transport.ts";

/** From here on an answer is sent in pieces, of about so much each. */
const PIECES_BYTES_MIN = 256 << 10;
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
  return call.takesAnyPieces === true && list.byteLength() >= PIECES_BYTES_MIN ? new ListPieces(list) : list;
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

class ListPieces<T> implements Pieces {
  readonly #bytes: number;
  readonly #pieces: Iterator<Buffer, void>;

  constructor(list: LongList<T>) {
    this.#bytes = list.byteLength();
    this.#pieces = list.pieces();
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
    return next.value;
  }

  close(): void {}
}
