import "../../base/latin1.ts";

/** A message that cannot be decoded; the text is etcd's, without what gRPC sets before it (errors.ts). */
export class WireError extends Error {
  override readonly name = "WireError";
}

/**
 * A cursor over one protobuf message, as etcd's own decoder reads it: unknown fields are passed over, the last
 * value of a field
 * wins, a known field of another wire type is an error (unlike in most protobuf libraries), and what is malformed
 * gets the text
 * that etcd gives. Never reads past `end`; allocates nothing by a length that it has not compared with what is left.
 */
export class WireReader {
  readonly bytes: Buffer;
  at: number;
  end: number;
  /** The last varint: 64 bits in two words; low as a signed 32-bit number. */
  low = 0;
  high = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
    this.at = 0;
    this.end = bytes.length;
  }

  /** Field number and wire type in one number, as on the wire. */
  tag(): number {
    const byte = this.at < this.end ? this.bytes[this.at]! : 0x80;
    if (byte < 0x80) {
      this.at++;
      this.low = byte;
      this.high = 0;
      return byte;
    }
    this.varint();
    return this.high * 0x100000000 + (this.low >>> 0);
  }

  varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; ; shift += 7) {
      if (shift >= 64) throw malformed("proto: integer overflow");
      if (this.at >= this.end) throw malformed("unexpected EOF");
      const byte = this.bytes[this.at++]!;
      const bits = byte & 0x7f;
      if (shift < 28) {
        low |= bits << shift;
      } else if (shift === 28) {
        low |= bits << 28;
        high = bits >>> 4;
      } else {
        high |= bits << (shift - 32);
      }
      if (byte < 0x80) break;
    }
    this.low = low;
    this.high = high >>> 0;
  }

  bool(): boolean {
    this.varint();
    return (this.low | this.high) !== 0;
  }

  /** An enum's number: the low 32 bits, signed. */
  enumeration(): number {
    this.varint();
    return this.low;
  }

  /**
   * An int64 whose exact value matters only within ±(2^53 − 1), such as a revision or a limit: what lies beyond is
   * clamped
   * there. No store reaches such a revision, so the answer is the same as to the exact number.
   */
  int64Clamped(): number {
    this.varint();
    const high = this.high | 0;
    if (high === 0) return this.low >>> 0;
    const value = high * 0x100000000 + (this.low >>> 0);
    if (value > Number.MAX_SAFE_INTEGER) return Number.MAX_SAFE_INTEGER;
    return value < Number.MIN_SAFE_INTEGER ? Number.MIN_SAFE_INTEGER : value;
  }

  int64(): bigint {
    this.varint();
    if (this.high === 0) return BigInt(this.low >>> 0);
    return BigInt.asIntN(64, (BigInt(this.high) << 32n) | BigInt(this.low >>> 0));
  }

  /** The length of a string, bytes or message field, which lies wholly within what is left. */
  length(): number {
    const byte = this.at < this.end ? this.bytes[this.at]! : 0x80;
    if (byte < 0x80) {
      this.at++;
      if (byte > this.end - this.at) throw malformed("unexpected EOF");
      return byte;
    }
    this.varint();
    if (this.high >= 0x80000000) throw malformed("proto: negative length found during unmarshaling");
    const length = this.high * 0x100000000 + (this.low >>> 0);
    if (length > this.end - this.at) throw malformed("unexpected EOF");
    return length;
  }

  latin1(): string {
    const length = this.length();
    const start = this.at;
    this.at = start + length;
    return length === 0 ? "" : this.bytes.latin1Slice(start, this.at);
  }

  utf8(): string {
    const length = this.length();
    const start = this.at;
    this.at = start + length;
    return this.bytes.toString("utf8", start, this.at);
  }

  /** A view, not a copy. */
  view(): Uint8Array {
    const length = this.length();
    const start = this.at;
    this.at = start + length;
    return this.bytes.subarray(start, this.at);
  }

  /**
   * What to do with a field that the decoder of `message` has no case for: fails when the field is known (named in
   * `fields`, by
   * number), because then its wire type is wrong; else passes over it. To be called right after tag().
   */
  other(message: string, fields: readonly (string | undefined)[]): void {
    const wireType = this.low & 7;
    const field = (this.low >>> 3) | (this.high << 29);
    if (wireType === 4) throw malformed(`proto: ${message}: wiretype end group for non-group`);
    if (field <= 0) {
      const wire = (BigInt(this.high) << 32n) | BigInt(this.low >>> 0);
      throw malformed(`proto: ${message}: illegal tag ${field} (wire type ${wire})`);
    }
    const known = fields[field];
    if (known !== undefined) throw malformed(`proto: wrong wireType = ${wireType} for field ${known}`);
    this.#skip(wireType);
  }

  /** Passes over a field's content; groups, which may be nested, are passed over whole, without recursion. */
  #skip(wireType: number): void {
    let depth = 0;
    for (;;) {
      if (wireType === 0) this.varint();
      else if (wireType === 1) this.#forward(8);
      else if (wireType === 2) this.#forward(this.length());
      else if (wireType === 3) depth++;
      else if (wireType === 4) depth--;
      else if (wireType === 5) this.#forward(4);
      else throw malformed(`proto: illegal wireType ${wireType}`);
      if (depth === 0) return;
      this.varint();
      wireType = this.low & 7;
    }
  }

  #forward(count: number): void {
    if (count > this.end - this.at) throw malformed("unexpected EOF");
    this.at += count;
  }
}

const malformed = (what: string): WireError => new WireError(what);
