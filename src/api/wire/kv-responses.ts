import { assert, unreachable } from "../../base/assert.ts";
import type {
  DeleteRangeResult,
  PutResult,
  RangeRequest,
  RangeResult,
  RequestOp,
  ResponseOp,
  Row,
  TxnRequest,
  TxnResult,
} from "../../engine/engine.ts";
import type { Encodable } from "../../transport/transport.ts";
import { type Header, innerHeader } from "./headers.ts";
import {
  boolSize,
  lengthDelimitedSize,
  numberSize,
  writeBool,
  writeBytes,
  writeLength,
  writeNumber,
  writeVarint,
} from "./write.ts";

/** The KV service's responses: tags, lengths, and the stored rows copied as they are. */

const RANGE_RESPONSE = 0x0a;
const KVS = 0x12;
const MORE = 0x18;
const COUNT = 0x20;
const PUT_PREV_KV = 0x12;
const DELETED = 0x10;
const PREV_KVS = 0x1a;
const SUCCEEDED = 0x10;
const RESPONSES = 0x1a;
/** Fields of ResponseOp's union. */
const operationTags = { range: 0x0a, put: 0x12, deleteRange: 0x1a, txn: 0x22 } as const;
/** Field `value` of mvccpb.KeyValue, and those before it: a key, then three varints. */
const KEY = 0x0a;
const VALUE = 0x2a;

export class RangeResponse implements Encodable {
  readonly #header: Header;
  readonly #result: RangeResult;
  readonly #keysOnly: boolean;

  constructor(header: Header, request: RangeRequest, result: RangeResult) {
    this.#header = header;
    this.#result = result;
    this.#keysOnly = request.keysOnly;
  }

  byteLength(): number {
    return rangeSize(this.#header, this.#result, this.#keysOnly);
  }

  encodeInto(buffer: Buffer, at: number): number {
    return writeRange(buffer, at, this.#header, this.#result, this.#keysOnly);
  }
}

/** Bytes that `rows` take as the elements of RangeResponse.kvs. */
export function rowsSize(rows: readonly Row[], keysOnly: boolean): number {
  let size = 0;
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i]!;
    size += lengthDelimitedSize(keysOnly ? sizeWithoutValue(row) : row.end - row.start);
  }
  return size;
}

export function writeRows(buffer: Buffer, at: number, rows: readonly Row[], keysOnly: boolean): number {
  for (let i = 0; i < rows.length; i++) {
    at = keysOnly ? writeRowWithoutValue(buffer, at, rows[i]!) : writeRow(buffer, at, KVS, rows[i]!);
  }
  return at;
}

/** What comes behind the rows. */
export const rangeTailSize = (more: boolean, count: number): number => boolSize(more) + numberSize(count);

export const writeRangeTail = (buffer: Buffer, at: number, more: boolean, count: number): number =>
  writeNumber(buffer, writeBool(buffer, at, MORE, more), COUNT, count);

/** A chunk of RangeStream: the last one alone says of which revision all is, whether there is more, and the count. */
export class RangeStreamResponse implements Encodable {
  readonly #rows: readonly Row[];
  readonly #keysOnly: boolean;
  readonly #last: { header: Header; revision: number; more: boolean; count: number } | null;
  #inner = 0;

  constructor(
    rows: readonly Row[],
    keysOnly: boolean,
    last: { header: Header; revision: number; more: boolean; count: number } | null,
  ) {
    this.#rows = rows;
    this.#keysOnly = keysOnly;
    this.#last = last;
  }

  byteLength(): number {
    const last = this.#last;
    this.#inner = rowsSize(this.#rows, this.#keysOnly);
    if (last !== null) this.#inner += last.header.size(last.revision) + rangeTailSize(last.more, last.count);
    return lengthDelimitedSize(this.#inner);
  }

  encodeInto(buffer: Buffer, at: number): number {
    const last = this.#last;
    at = writeLength(buffer, at, RANGE_RESPONSE, this.#inner);
    if (last !== null) at = last.header.write(buffer, at, last.revision);
    at = writeRows(buffer, at, this.#rows, this.#keysOnly);
    return last === null ? at : writeRangeTail(buffer, at, last.more, last.count);
  }
}

function rangeSize(header: Header, result: RangeResult, keysOnly: boolean): number {
  return header.size(result.revision) + rowsSize(result.rows, keysOnly) + rangeTailSize(result.more, result.count);
}

function writeRange(buffer: Buffer, at: number, header: Header, result: RangeResult, keysOnly: boolean): number {
  at = header.write(buffer, at, result.revision);
  at = writeRows(buffer, at, result.rows, keysOnly);
  return writeRangeTail(buffer, at, result.more, result.count);
}

function writeRow(buffer: Buffer, at: number, tag: number, row: Row): number {
  at = writeLength(buffer, at, tag, row.end - row.start);
  return writeBytes(buffer, at, row.bytes, row.start, row.end);
}

/** Where the field `value` of the row last looked at begins and ends; both at the row's end where it has none. */
let valueStart = 0;
let valueEnd = 0;

function findValue(row: Row): void {
  const { bytes, end } = row;
  let at = row.start;
  while (at < end) {
    const tag = bytes[at]!;
    const start = at++;
    let length = 0;
    let scale = 1;
    let byte = bytes[at++]!;
    for (; byte >= 0x80; byte = bytes[at++]!, scale *= 0x80) length += (byte & 0x7f) * scale;
    length += byte * scale;
    if (tag === KEY || tag === VALUE) at += length;
    assert(at <= end, "a stored row is a whole KeyValue");
    if (tag === VALUE) {
      valueStart = start;
      valueEnd = at;
      return;
    }
  }
  valueStart = end;
  valueEnd = end;
}

function sizeWithoutValue(row: Row): number {
  findValue(row);
  return row.end - row.start - (valueEnd - valueStart);
}

function writeRowWithoutValue(buffer: Buffer, at: number, row: Row): number {
  at = writeLength(buffer, at, KVS, sizeWithoutValue(row));
  const [start, end] = [valueStart, valueEnd];
  at = writeBytes(buffer, at, row.bytes, row.start, start);
  return writeBytes(buffer, at, row.bytes, end, row.end);
}

export class PutResponse implements Encodable {
  readonly #header: Header;
  readonly #result: PutResult;

  constructor(header: Header, result: PutResult) {
    this.#header = header;
    this.#result = result;
  }

  byteLength(): number {
    return putSize(this.#header, this.#result);
  }

  encodeInto(buffer: Buffer, at: number): number {
    return writePut(buffer, at, this.#header, this.#result);
  }
}

function putSize(header: Header, result: PutResult): number {
  const { prev } = result;
  return header.size(result.revision) + (prev === null ? 0 : lengthDelimitedSize(prev.end - prev.start));
}

function writePut(buffer: Buffer, at: number, header: Header, result: PutResult): number {
  at = header.write(buffer, at, result.revision);
  return result.prev === null ? at : writeRow(buffer, at, PUT_PREV_KV, result.prev);
}

export class DeleteRangeResponse implements Encodable {
  readonly #header: Header;
  readonly #result: DeleteRangeResult;

  constructor(header: Header, result: DeleteRangeResult) {
    this.#header = header;
    this.#result = result;
  }

  byteLength(): number {
    return deleteRangeSize(this.#header, this.#result);
  }

  encodeInto(buffer: Buffer, at: number): number {
    return writeDeleteRange(buffer, at, this.#header, this.#result);
  }
}

function deleteRangeSize(header: Header, result: DeleteRangeResult): number {
  let size = header.size(result.revision) + numberSize(result.deleted);
  for (const row of result.prevs) size += lengthDelimitedSize(row.end - row.start);
  return size;
}

function writeDeleteRange(buffer: Buffer, at: number, header: Header, result: DeleteRangeResult): number {
  at = header.write(buffer, at, result.revision);
  at = writeNumber(buffer, at, DELETED, result.deleted);
  for (const row of result.prevs) at = writeRow(buffer, at, PREV_KVS, row);
  return at;
}

/** Sizes of the messages inside are worked out once, in the order of writing, and used up while writing. */
export class TxnResponse implements Encodable {
  readonly #header: Header;
  readonly #request: TxnRequest;
  readonly #result: TxnResult;
  readonly #sizes: number[] = [];
  #next = 0;

  constructor(header: Header, request: TxnRequest, result: TxnResult) {
    this.#header = header;
    this.#request = request;
    this.#result = result;
  }

  byteLength(): number {
    this.#sizes.length = 0;
    return this.#txnSize(this.#header, this.#request, this.#result);
  }

  encodeInto(buffer: Buffer, at: number): number {
    this.#next = 0;
    return this.#writeTxn(buffer, at, this.#header, this.#request, this.#result);
  }

  /** What `encodeInto` writes, piece by piece; `byteLength` has been called. */
  *pieces(): Generator<Buffer> {
    this.#next = 0;
    yield* this.#txnPieces(this.#header, this.#request, this.#result);
  }

  *#txnPieces(header: Header, request: TxnRequest, result: TxnResult): Generator<Buffer> {
    const operations = takenBranch(request, result);
    const revision = headerRevision(header, result);
    yield* piece(header.size(revision) + boolSize(result.succeeded), (buffer) =>
      writeBool(buffer, header.write(buffer, 0, revision), SUCCEEDED, result.succeeded),
    );
    for (let i = 0; i < operations.length; i++) {
      const response = result.responses[i]!;
      const inner = this.#sizes[this.#next++]!;
      const outer = lengthDelimitedSize(inner);
      yield* piece(lengthDelimitedSize(outer) - inner, (buffer) => {
        const at = writeLength(buffer, 0, RESPONSES, outer);
        buffer[at] = operationTags[response.kind];
        return writeVarint(buffer, at + 1, inner);
      });
      yield* this.#operationPieces(operations[i]!, response, inner);
    }
  }

  *#operationPieces(operation: RequestOp, response: ResponseOp, bytes: number): Generator<Buffer> {
    if (response.kind === "txn") {
      assert(operation.kind === "txn", "a transaction's answer is to a transaction");
      yield* this.#txnPieces(innerHeader, operation, response);
    } else if (response.kind === "range") {
      const { revision, rows, more, count } = response;
      const keysOnly = operation.kind === "range" && operation.keysOnly;
      yield* piece(innerHeader.size(revision), (buffer) => innerHeader.write(buffer, 0, revision));
      for (let next = 0; next < rows.length; ) {
        const some = rowsUpTo(rows, next, PIECE_BYTES);
        next += some.length;
        yield* piece(rowsSize(some, keysOnly), (buffer) => writeRows(buffer, 0, some, keysOnly));
      }
      yield* piece(rangeTailSize(more, count), (buffer) => writeRangeTail(buffer, 0, more, count));
    } else yield* piece(bytes, (buffer) => this.#writeOperation(buffer, 0, operation, response));
  }

  #txnSize(header: Header, request: TxnRequest, result: TxnResult): number {
    const operations = takenBranch(request, result);
    let size = header.size(headerRevision(header, result)) + boolSize(result.succeeded);
    for (let i = 0; i < operations.length; i++) {
      const slot = this.#sizes.push(0) - 1;
      const inner = this.#operationSize(operations[i]!, result.responses[i]!);
      this.#sizes[slot] = inner;
      size += lengthDelimitedSize(lengthDelimitedSize(inner));
    }
    return size;
  }

  #operationSize(operation: RequestOp, response: ResponseOp): number {
    switch (response.kind) {
      case "range":
        return rangeSize(innerHeader, response, operation.kind === "range" && operation.keysOnly);
      case "put":
        return putSize(innerHeader, response);
      case "deleteRange":
        return deleteRangeSize(innerHeader, response);
      case "txn":
        assert(operation.kind === "txn", "a transaction's answer is to a transaction");
        return this.#txnSize(innerHeader, operation, response);
      default:
        return unreachable(response);
    }
  }

  #writeTxn(buffer: Buffer, at: number, header: Header, request: TxnRequest, result: TxnResult): number {
    const operations = takenBranch(request, result);
    at = header.write(buffer, at, headerRevision(header, result));
    at = writeBool(buffer, at, SUCCEEDED, result.succeeded);
    for (let i = 0; i < operations.length; i++) {
      const response = result.responses[i]!;
      const inner = this.#sizes[this.#next++]!;
      at = writeLength(buffer, at, RESPONSES, lengthDelimitedSize(inner));
      buffer[at++] = operationTags[response.kind];
      at = writeVarint(buffer, at, inner);
      at = this.#writeOperation(buffer, at, operations[i]!, response);
    }
    return at;
  }

  #writeOperation(buffer: Buffer, at: number, operation: RequestOp, response: ResponseOp): number {
    switch (response.kind) {
      case "range":
        return writeRange(buffer, at, innerHeader, response, operation.kind === "range" && operation.keysOnly);
      case "put":
        return writePut(buffer, at, innerHeader, response);
      case "deleteRange":
        return writeDeleteRange(buffer, at, innerHeader, response);
      case "txn":
        assert(operation.kind === "txn", "a transaction's answer is to a transaction");
        return this.#writeTxn(buffer, at, innerHeader, operation, response);
      default:
        return unreachable(response);
    }
  }
}

const PIECE_BYTES = 64 << 10;

/** Those from `first` on, until they have so many bytes: one at least. */
function rowsUpTo(rows: readonly Row[], first: number, bytesMax: number): readonly Row[] {
  let end = first;
  for (let bytes = 0; end < rows.length && bytes < bytesMax; end++) bytes += rows[end]!.end - rows[end]!.start;
  return rows.slice(first, end);
}

/** One piece, or none of nothing. */
function* piece(bytes: number, write: (buffer: Buffer) => number): Generator<Buffer> {
  if (bytes === 0) return;
  const buffer = Buffer.allocUnsafeSlow(bytes);
  assert(write(buffer) === bytes, "a piece is as long as it said");
  yield buffer;
}

function takenBranch(request: TxnRequest, result: TxnResult): readonly RequestOp[] {
  const operations = result.succeeded ? request.success : request.failure;
  assert(operations.length === result.responses.length, "each operation of the branch taken has one answer");
  return operations;
}

/** The header of a nested transaction's answer is empty in etcd. */
const headerRevision = (header: Header, result: TxnResult): number => (header === innerHeader ? 0 : result.revision);

export class CompactionResponse implements Encodable {
  readonly #header: Header;
  readonly #revision: number;

  constructor(header: Header, revision: number) {
    this.#header = header;
    this.#revision = revision;
  }

  byteLength(): number {
    return this.#header.size(this.#revision);
  }

  encodeInto(buffer: Buffer, at: number): number {
    return this.#header.write(buffer, at, this.#revision);
  }
}
