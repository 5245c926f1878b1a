import "../../base/latin1.ts";
import { leaseId } from "../../base/ids.ts";
import type { Compare, PlainPuts, PutRequest, RequestOp, TxnRequest } from "../../engine/engine.ts";
import type { Encodable } from "../../transport/transport.ts";
import { type Header, innerHeader } from "./headers.ts";
import { writeBool } from "./write.ts";

/**
 * The transaction that loaders send: puts of a key and a value each, and nothing else. It is read in one pass, without
 * an object for each put or its value. Whatever is not exactly so, malformed bytes among it, is left to the decoder of
 * all transactions (kv-requests.ts), which says what is wrong with it.
 *
 *   TxnRequest { success: RequestOp { request_put: PutRequest { key, value } } … }
 *
 * Each field comes once and in this order; a value may be missing, a key not.
 */
const SUCCESS = 0x12;
const REQUEST_PUT = 0x12;
const KEY = 0x0a;
const VALUE = 0x12;
/** What a length has at most: 28 bits. */
const LENGTH_BYTES_MAX = 4;

const NO_LEASE = leaseId(0n);

/** Behind the length last read. */
let next = 0;

/** A length that lies within what is left, or −1. */
function lengthAt(bytes: Buffer, at: number, end: number): number {
  let length = 0;
  for (let n = 0; n < LENGTH_BYTES_MAX && at < end; n++) {
    const byte = bytes[at++]!;
    length |= (byte & 0x7f) << (7 * n);
    if (byte >= 0x80) continue;
    next = at;
    return length <= end - at ? length : -1;
  }
  return -1;
}

/** Null: it is another kind of transaction. What it gives has views of `message`. */
export function decodePlainTxn(message: Buffer): PlainTxn | null {
  const end = message.length;
  const keys: string[] = [];
  const bounds: number[] = [];
  let pairBytes = 0;
  let inOrder = true;
  let last = "";
  let at = 0;
  while (at < end) {
    if (message[at] !== SUCCESS) return null;
    const operation = lengthAt(message, at + 1, end);
    if (operation < 2 || message[next] !== REQUEST_PUT) return null;
    const putEnd = next + operation;
    const put = lengthAt(message, next + 1, putEnd);
    if (put < 2 || next + put !== putEnd || message[next] !== KEY) return null;
    const keyBytes = lengthAt(message, next + 1, putEnd);
    if (keyBytes < 1) return null;
    at = next + keyBytes;
    const key = message.latin1Slice(next, at);
    if (key <= last) inOrder = false;
    last = key;
    keys.push(key);
    pairBytes += keyBytes;
    if (at < putEnd) {
      const valueBytes = message[at] === VALUE ? lengthAt(message, at + 1, putEnd) : -1;
      if (valueBytes < 0 || next + valueBytes !== putEnd) return null;
      at = next;
      pairBytes += valueBytes;
    }
    bounds.push(at, putEnd);
    at = putEnd;
  }
  return keys.length === 0 ? null : new PlainTxn({ keys, bytes: message, bounds, pairBytes, inOrder });
}

const NO_COMPARES: Compare[] = [];
const NO_OPERATIONS: RequestOp[] = [];

/** As any other transaction to whoever asks for its operations. */
export class PlainTxn implements TxnRequest {
  readonly kind = "txn";
  readonly plain: PlainPuts;
  readonly compare = NO_COMPARES;
  readonly failure = NO_OPERATIONS;
  #success: RequestOp[] | null = null;

  constructor(plain: PlainPuts) {
    this.plain = plain;
  }

  get success(): RequestOp[] {
    this.#success ??= this.plain.keys.map((_, n) => this.#put(n));
    return this.#success;
  }

  #put(n: number): PutRequest {
    const { keys, bytes, bounds } = this.plain;
    return {
      kind: "put",
      key: keys[n]!,
      value: bytes.subarray(bounds[2 * n]!, bounds[2 * n + 1]!),
      lease: NO_LEASE,
      prevKv: false,
      ignoreValue: false,
      ignoreLease: false,
    };
  }
}

const SUCCEEDED = 0x10;
const SUCCEEDED_BYTES = 2;
const RESPONSES = 0x1a;
const RESPONSE_PUT = 0x12;
/** Tag and length of ResponseOp, and of the PutResponse in it: an inner header is short. */
const RESPONSE_TAGS_BYTES = 4;

/** Every put is answered by the same bytes: a header with the revision. */
export class PlainTxnResponse implements Encodable {
  readonly #header: Header;
  readonly #revision: number;
  readonly #puts: number;
  readonly #putBytes: number;

  constructor(header: Header, revision: number, puts: number) {
    this.#header = header;
    this.#revision = revision;
    this.#puts = puts;
    this.#putBytes = innerHeader.size(revision);
  }

  byteLength(): number {
    return this.#header.size(this.#revision) + SUCCEEDED_BYTES + this.#puts * (RESPONSE_TAGS_BYTES + this.#putBytes);
  }

  encodeInto(buffer: Buffer, at: number): number {
    at = this.#header.write(buffer, at, this.#revision);
    at = writeBool(buffer, at, SUCCEEDED, true);
    const first = at;
    buffer[at++] = RESPONSES;
    buffer[at++] = RESPONSE_TAGS_BYTES - 2 + this.#putBytes;
    buffer[at++] = RESPONSE_PUT;
    buffer[at++] = this.#putBytes;
    at = innerHeader.write(buffer, at, this.#revision);
    const end = first + this.#puts * (at - first);
    for (let from = first; at < end; ) buffer[at++] = buffer[from++]!;
    return end;
  }
}
