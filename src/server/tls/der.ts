/**
 * ASN.1 in the distinguished encoding (X.690), as far as certificates and revocation lists need it. Tags of one byte,
 * definite lengths; everything read is checked against the end of what holds it.
 */

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectIdentifier: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

export class DerError extends Error {
  override readonly name = "DerError";
}

export interface DerValue {
  readonly tag: number;
  readonly content: Buffer;
}

/** The values that lie one after the other in `bytes`. */
export class DerReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag of the next value; -1 at the end. */
  peek(): number {
    return this.#bytes[this.#at] ?? -1;
  }

  next(): DerValue {
    const tag = this.#byte();
    if ((tag & 0x1f) === 0x1f) throw new DerError("a tag of several bytes");
    const length = this.#length();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new DerError("a value is longer than what holds it");
    const content = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return { tag, content };
  }

  expect(tag: number): Buffer {
    const value = this.next();
    if (value.tag !== tag) throw new DerError(`expected the tag ${tag}, found ${value.tag}`);
    return value.content;
  }

  /** A reader of the next value's content, which must be a sequence. */
  sequence(): DerReader {
    return new DerReader(this.expect(Tag.sequence));
  }

  #byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new DerError("the encoding ends early");
    return byte;
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 4) throw new DerError("a length that is not definite, or over 4 bytes");
    let length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + this.#byte();
    return length;
  }
}

export function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  if (length < 0x80) return Buffer.concat([Buffer.from([tag, length]), content]);
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return Buffer.concat([Buffer.from([tag, 0x80 | digits.length, ...digits]), content]);
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => der(Tag.sequence, ...parts);

/** A number that is not negative, of any length. */
export function unsignedInteger(bigEndian: Uint8Array): Buffer {
  let start = 0;
  while (start < bigEndian.length - 1 && bigEndian[start] === 0) start++;
  const digits = bigEndian.subarray(start);
  return (digits[0] ?? 0) >= 0x80 ? der(Tag.integer, Buffer.from([0]), digits) : der(Tag.integer, digits);
}

/** "1.2.840.10045.4.3.2" */
export function objectIdentifier(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const digits = [arc & 0x7f];
    for (let high = arc >>> 7; high > 0; high >>>= 7) digits.unshift((high & 0x7f) | 0x80);
    bytes.push(...digits);
  }
  return der(Tag.objectIdentifier, Buffer.from(bytes));
}

/** RFC 5280 §4.1.2.5: two digits of the year through 2049, four from then on. */
export function time(ms: number): Buffer {
  const digits = new Date(ms).toISOString().replace(/[-:T]|\.\d+/g, "");
  const year = new Date(ms).getUTCFullYear();
  return year < 2050
    ? der(Tag.utcTime, Buffer.from(digits.slice(2), "latin1"))
    : der(Tag.generalizedTime, Buffer.from(digits, "latin1"));
}

/** The DER of each PEM block with this label; of a file that has no PEM at all, the file itself. */
export function pemOrDer(file: Buffer, label: string): Buffer[] {
  const text = file.toString("latin1");
  if (!text.includes("-----BEGIN")) return [file];
  const blocks: Buffer[] = [];
  const pattern = new RegExp(`-----BEGIN ${label}-----([A-Za-z0-9+/=\\s]*)-----END ${label}-----`, "g");
  for (const [, base64 = ""] of text.matchAll(pattern)) blocks.push(Buffer.from(base64, "base64"));
  return blocks;
}

export function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}
