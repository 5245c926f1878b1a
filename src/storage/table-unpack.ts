import { assert } from "../base/assert.ts";
import { DbError, messageOf } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Offload } from "../runtime/runtime.ts";
import { unpackBlock } from "./block-packing.ts";
import { BLOCK_RAW, BLOCK_TRAILER_BYTES, BLOCK_ZSTD, blockChecksum, hex } from "./table-format.ts";

/** From this size on unpacking a block would hold up the event loop. */
const OFFLOAD_BYTES_MIN = 256 << 10;

/** Where a block is. */
export interface Place {
  readonly offset: number;
  readonly storedBytes: number;
  readonly rawBytes: number;
  readonly count: number;
}

/** Bytes of a table, from `offset` on. */
export interface TableBytes {
  readonly bytes: Buffer;
  readonly offset: number;
}

/** Whether the bytes of a block are those that were written. */
export function isWhole(salt: Buffer, place: Place, { bytes, offset }: TableBytes): boolean {
  const start = place.offset - offset;
  const end = start + place.storedBytes;
  assert(start >= 0 && end + BLOCK_TRAILER_BYTES <= bytes.length, "a block lies in the bytes that were fetched");
  return bytes.readUInt32LE(end + 1) === blockChecksum(salt, place.offset, bytes, start, end + 1);
}

/** Throws `corrupt`, naming the object and the block, where the checksum is not that of the bytes. */
export function checkBlock(key: ObjectKey, salt: Buffer, place: Place, part: TableBytes): void {
  if (isWhole(salt, place, part)) return;
  const start = place.offset - part.offset;
  const end = start + place.storedBytes;
  const expected = blockChecksum(salt, place.offset, part.bytes, start, end + 1);
  throw wrong(key, place, `checksum ${hex(part.bytes.readUInt32LE(end + 1))}, expected ${hex(expected)}`);
}

/**
 * Unpacks a block that was checked. The result is a buffer of its own, so that it alone is kept in memory. A large one
 * is unpacked elsewhere.
 */
export function unpackChecked(
  key: ObjectKey,
  place: Place,
  { bytes, offset }: TableBytes,
  offload: Pick<Offload, "zstdDecompress">,
): MaybePromise<Buffer> {
  const start = place.offset - offset;
  const end = start + place.storedBytes;
  const codec = bytes[end]!;
  const { rawBytes } = place;
  if (codec === BLOCK_RAW) {
    if (rawBytes !== place.storedBytes) {
      throw wrong(key, place, `${place.storedBytes} bytes, expected ${rawBytes}`);
    }
    // What was read for this block alone need not be copied.
    const isAlone = bytes.buffer.byteLength === place.storedBytes + BLOCK_TRAILER_BYTES;
    return isAlone ? bytes.subarray(start, end) : ownCopy(bytes, start, end);
  }
  if (codec !== BLOCK_ZSTD) throw wrong(key, place, `codec ${codec} is unknown to this version of t4`);
  const packed = bytes.subarray(start, end);
  const check = (raw: Buffer): Buffer => {
    if (raw.length !== rawBytes) throw wrong(key, place, `unpacks to ${raw.length} bytes, expected ${rawBytes}`);
    return raw;
  };
  const broken = (error: unknown): never => {
    throw wrong(key, place, `does not unpack: ${messageOf(error)}`);
  };
  if (rawBytes >= OFFLOAD_BYTES_MIN) return offload.zstdDecompress(packed, rawBytes).then(check, broken);
  let raw: Buffer;
  try {
    raw = unpackBlock(packed, rawBytes);
  } catch (error) {
    return broken(error);
  }
  return check(raw);
}

/** Not out of the pool that small buffers share: it would keep its neighbours in memory. */
export function ownCopy(bytes: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start);
  bytes.copy(copy, 0, start, end);
  return copy;
}

const wrong = (key: ObjectKey, place: Place, what: string): DbError =>
  new DbError("corrupt", `object ${key}: block at ${place.offset}: ${what}`);
