import { HeaderField } from "./header-field.ts";
import { huffmanDecode, huffmanDecodedBytesMax } from "./hpack-huffman.ts";
import { STATIC_FIELDS } from "./hpack-static.ts";
import { HEADER_BLOCK_BYTES_MAX, HEADER_TABLE_BYTES } from "./limits.ts";

/** A block that breaks RFC 7541; the table is lost, so the connection ends with COMPRESSION_ERROR. */
export class HpackError extends Error {
  override readonly name = "HpackError";
}

const EMPTY = Buffer.alloc(0);
/** Where Huffman strings are decoded to; large enough for any string of a block. */
const scratch = Buffer.allocUnsafeSlow(huffmanDecodedBytesMax(HEADER_BLOCK_BYTES_MAX));
/** No entry is smaller than 32 bytes. A power of two. */
const ENTRIES_MAX = HEADER_TABLE_BYTES / 32;
const STATIC_COUNT = STATIC_FIELDS.length;

/**
 * Decodes the header blocks of one connection (RFC 7541), all of them, in order. Invariants:
 *  1. The dynamic table is what the peer's encoder has: every block changes it, also one whose request is refused.
 *  2. `tableBytes` is the sum of the entries' sizes and never above `tableBytesMax`, which is never above our setting.
 *  3. Work and memory are linear in the block's own bytes: a field past `listBytesMax` goes to the table, not to the
 *     list.
 * Fields are objects made once, when they enter the table: an indexed one costs a look-up.
 */
export class HpackDecoder {
  /** Grows with each change of the dynamic table: a block without literals to index means the same while it stays. */
  generation = 0;
  /** Size of the last block's header list, also when it was over the bound and the list is cut short. */
  listBytes = 0;
  private readonly table: (HeaderField | undefined)[] = new Array(ENTRIES_MAX).fill(undefined);
  /** The place of the next entry; the newest is before it. */
  private next = 0;
  private count = 0;
  private tableBytes = 0;
  private tableBytesMax = HEADER_TABLE_BYTES;
  private bytes: Buffer = EMPTY;
  private at = 0;
  private end = 0;

  /** Throws an HpackError; then the decoder is of no more use. */
  decode(bytes: Buffer, start: number, end: number, listBytesMax: number): HeaderField[] {
    if (end - start > HEADER_BLOCK_BYTES_MAX) throw new HpackError("header block over its bound");
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    while (this.at < end && (bytes[this.at]! & 0xe0) === 0x20) this.resize(this.integer(5));
    const fields: HeaderField[] = [];
    let listBytes = 0;
    while (this.at < end) {
      const field = this.field();
      listBytes += field.bytes;
      if (listBytes <= listBytesMax) fields.push(field);
    }
    this.listBytes = listBytes;
    this.bytes = EMPTY;
    return fields;
  }

  private field(): HeaderField {
    const byte = this.bytes[this.at]!;
    if (byte >= 0x80) {
      if (byte === 0xff) return this.lookUp(this.integer(7));
      this.at++;
      return this.lookUp(byte & 0x7f);
    }
    if (byte >= 0x40) {
      const field = this.literal(this.integer(6));
      this.insert(field);
      return field;
    }
    if (byte >= 0x20) throw new HpackError("table size update after a field");
    return this.literal(this.integer(4));
  }

  private lookUp(index: number): HeaderField {
    if (index === 0) throw new HpackError("index 0");
    if (index <= STATIC_COUNT) return STATIC_FIELDS[index - 1]!;
    const back = index - STATIC_COUNT;
    if (back > this.count) throw new HpackError("index beyond the table");
    return this.table[(this.next - back) & (ENTRIES_MAX - 1)]!;
  }

  private literal(nameIndex: number): HeaderField {
    const name = nameIndex === 0 ? this.string() : this.lookUp(nameIndex).name;
    return new HeaderField(name, this.string());
  }

  private insert(field: HeaderField): void {
    this.generation++;
    // An entry larger than the table empties it, and is not in it (§4.4).
    this.evict(this.tableBytesMax - field.bytes);
    if (field.bytes > this.tableBytesMax) return;
    this.table[this.next] = field;
    this.next = (this.next + 1) & (ENTRIES_MAX - 1);
    this.count++;
    this.tableBytes += field.bytes;
  }

  private resize(bytesMax: number): void {
    if (bytesMax > HEADER_TABLE_BYTES) throw new HpackError("table size over what was allowed");
    this.generation++;
    this.tableBytesMax = bytesMax;
    this.evict(bytesMax);
  }

  private evict(bytesMax: number): void {
    while (this.count > 0 && this.tableBytes > bytesMax) {
      const oldest = (this.next - this.count) & (ENTRIES_MAX - 1);
      this.tableBytes -= this.table[oldest]!.bytes;
      this.table[oldest] = undefined;
      this.count--;
    }
  }

  /** An integer with a prefix of `prefixBits` (§5.1). Nothing here means more than 2^28, so longer ones are refused. */
  private integer(prefixBits: number): number {
    const prefixMax = (1 << prefixBits) - 1;
    let value = this.bytes[this.at++]! & prefixMax;
    if (value < prefixMax) return value;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.at >= this.end) throw new HpackError("integer cut short");
      const byte = this.bytes[this.at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError("integer too large");
  }

  private string(): string {
    if (this.at >= this.end) throw new HpackError("string cut short");
    const huffman = this.bytes[this.at]! >= 0x80;
    const length = this.integer(7);
    const start = this.at;
    if (length > this.end - start) throw new HpackError("string cut short");
    this.at = start + length;
    if (!huffman) return this.bytes.latin1Slice(start, this.at);
    const decoded = huffmanDecode(this.bytes, start, this.at, scratch);
    if (decoded < 0) throw new HpackError("not a Huffman code");
    return scratch.latin1Slice(0, decoded);
  }
}
