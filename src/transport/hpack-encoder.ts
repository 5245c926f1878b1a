import { STATIC_INDEX, STATIC_STATUS } from "./hpack-static.ts";
import { HEADER_TABLE_BYTES } from "./limits.ts";

/**
 * Encodes the header blocks of one connection's responses (RFC 7541). Only two fields are ever put into the dynamic
 * table, the ones that every gRPC call answers with, each when it is first used; so a usual call costs two bytes of
 * headers and one of trailers, and no table is kept here. Invariants:
 *  1. Blocks are sent in the order in which they are taken from here: take one only when it is written.
 *  2. The two entries (104 bytes) are never evicted: a peer that allows less than the default table gets no entries.
 */

const CONTENT_TYPE = "application/grpc";
const indexed = (index: number): number => 0x80 | index;
const dynamic = (place: number): number => 61 + place;

/**
 * `:status: 200` and the content-type: entering the table; as newest entry; with grpc-status entered after it; literal.
 */
const HEADERS_ENTERING = Buffer.from([indexed(8), 0x40 | 31, ...string(CONTENT_TYPE)]);
const HEADERS_FIRST = Buffer.from([indexed(8), indexed(dynamic(1))]);
const HEADERS_SECOND = Buffer.from([indexed(8), indexed(dynamic(2))]);
const HEADERS_LITERAL = literalBlock(200, { "content-type": CONTENT_TYPE });

const TRAILERS_ENTERING = Buffer.from([0x40, ...string("grpc-status"), ...string("0")]);
const TRAILERS_INDEXED = Buffer.from([indexed(dynamic(1))]);
const TRAILERS_LITERAL = Buffer.from([0x00, ...string("grpc-status"), ...string("0")]);

/** Bytes that no block of a successful call is longer than. */
export const OK_BLOCK_BYTES_MAX = 64;

export class ResponseEncoder {
  private contentTypeEntered = false;
  private statusEntered = false;
  private tableAllowed = true;
  /** A table size update must begin the next block. */
  private resizePending = false;

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  allowTable(bytesMax: number): void {
    if (bytesMax >= HEADER_TABLE_BYTES || !this.tableAllowed) return;
    // To zero and never up again: the smallest size of a change must be told, and zero is below any.
    this.tableAllowed = false;
    this.resizePending = true;
  }

  /** The headers of a gRPC response that has messages. */
  grpcHeaders(): Buffer {
    if (!this.tableAllowed) return this.resized(HEADERS_LITERAL);
    if (this.statusEntered) return HEADERS_SECOND;
    if (this.contentTypeEntered) return HEADERS_FIRST;
    this.contentTypeEntered = true;
    return HEADERS_ENTERING;
  }

  /** grpc-status 0. Comes after grpcHeaders of its own stream, so the content type has been entered. */
  okTrailers(): Buffer {
    if (!this.tableAllowed || !this.contentTypeEntered) return this.resized(TRAILERS_LITERAL);
    if (this.statusEntered) return TRAILERS_INDEXED;
    this.statusEntered = true;
    return TRAILERS_ENTERING;
  }

  fields(fields: Readonly<Record<string, string>>): Buffer {
    return this.resized(literalBlock(undefined, fields));
  }

  response(status: number, fields: Readonly<Record<string, string>>): Buffer {
    return this.resized(literalBlock(status, fields));
  }

  private resized(block: Buffer): Buffer {
    if (!this.resizePending) return block;
    this.resizePending = false;
    return Buffer.concat([Buffer.from([0x20]), block]);
  }
}

/** All fields as literals without indexing. Names are lower-cased; who calls has checked names and values. */
function literalBlock(status: number | undefined, fields: Readonly<Record<string, string>>): Buffer {
  const parts: number[] = [];
  if (status !== undefined) {
    const index = STATIC_STATUS.get(status);
    if (index !== undefined) parts.push(indexed(index));
    else parts.push(8, ...string(String(status)));
  }
  for (const [name, value] of Object.entries(fields)) {
    const lowerCase = name.toLowerCase();
    const index = STATIC_INDEX.get(lowerCase);
    if (index === undefined) parts.push(0x00, ...string(lowerCase));
    else parts.push(...integer(index, 4));
    for (const byte of string(value)) parts.push(byte);
  }
  return Buffer.from(parts);
}

function string(text: string): number[] {
  const bytes = Buffer.from(text, "latin1");
  return [...integer(bytes.length, 7), ...bytes];
}

/** A number in a prefix of `prefixBits`, the bits above it zero (§5.1). */
function integer(value: number, prefixBits: number): number[] {
  const prefixMax = (1 << prefixBits) - 1;
  if (value < prefixMax) return [value];
  const bytes = [prefixMax];
  let rest = value - prefixMax;
  for (; rest >= 0x80; rest >>>= 7) bytes.push(0x80 | (rest & 0x7f));
  bytes.push(rest);
  return bytes;
}
