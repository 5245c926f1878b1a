import { constants, createZstdCompress, createZstdDecompress, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { assert } from "../base/assert.ts";

/**
 * Packing and unpacking of blocks, with contexts that are used again: node:zlib's functions make a stream, its buffers
 * and zstd's tables for each call, which for a block of 16 KiB takes as long as the work itself (measured: 200 µs
 * instead of 100 to pack one on a busy machine). The context lies beneath such a stream, where Node documents nothing:
 * where it is not found as expected, the functions do the same, slower. Both ways give the same bytes.
 */
const ZSTD_LEVEL = 1;
/** No more memory for a block's history than its size can justify. */
const UNPACK_WINDOW_LOG_MAX = 20;
/** Blocks that are packed here are smaller than 2^18 bytes; each window has a context of its own. */
const WINDOW_LOG_MIN = 10;

interface Context {
  readonly handle: {
    writeSync(
      flush: number,
      from: Uint8Array,
      fromAt: number,
      fromBytes: number,
      into: Uint8Array,
      intoAt: number,
      intoBytes: number,
    ): void;
    onerror: (message: string) => void;
  };
  /** What the last call left: room in the output, bytes of the input. */
  readonly left: Uint32Array;
  failure: string | null;
}

function contextOf(stream: unknown): Context | null {
  const { _handle: handle, _writeState: left } = stream as { _handle?: Context["handle"]; _writeState?: Uint32Array };
  if (typeof handle?.writeSync !== "function" || !(left instanceof Uint32Array) || left.length !== 2) return null;
  const context: Context = { handle, left, failure: null };
  handle.onerror = (message) => {
    context.failure = message;
  };
  return context;
}

/**
 * One frame of all of `from`, in one call: behind a whole frame a context begins anew. Returns the bytes written, or
 * null where it failed or was not all of it; then the context is of no use any more.
 */
function run(context: Context, from: Uint8Array, into: Uint8Array): number | null {
  context.handle.writeSync(constants.ZSTD_e_end, from, 0, from.length, into, 0, into.length);
  const [room, rest] = context.left as unknown as [number, number];
  return context.failure === null && rest === 0 && room > 0 ? into.length - room : null;
}

const packing = new Map<number, Context | null>();
let scratch = Buffer.allocUnsafeSlow(0);

/** `raw` as one frame. A view of memory that the next call uses again. */
export function packBlock(raw: Buffer): Buffer {
  // A window no larger than the block: making ready for a large one takes a third of the time for a small block.
  const windowLog = Math.max(WINDOW_LOG_MIN, 32 - Math.clz32(raw.length - 1));
  const params = { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL, [constants.ZSTD_c_windowLog]: windowLog };
  let context = packing.get(windowLog);
  if (context === undefined) {
    context = contextOf(createZstdCompress({ params }));
    packing.set(windowLog, context);
  }
  if (context !== null) {
    // More than zstd needs for what it cannot pack.
    const bytesMax = raw.length + (raw.length >> 7) + 512;
    if (scratch.length < bytesMax) scratch = Buffer.allocUnsafeSlow(bytesMax);
    const bytes = run(context, raw, scratch);
    assert(bytes !== null, `a block of ${raw.length} bytes is packed in one call: ${context.failure}`);
    return scratch.subarray(0, bytes);
  }
  return zstdCompressSync(raw, { chunkSize: Math.max(64, raw.length), params });
}

const unpackParams = { [constants.ZSTD_d_windowLogMax]: UNPACK_WINDOW_LOG_MAX };
let unpacking: Context | null | undefined;

/**
 * Whether `packed` is one frame, its last block and all (RFC 8878, 3.1.1): one that is cut short would leave a context
 * amid it.
 */
function isOneFrame(packed: Buffer): boolean {
  if (packed.length < 6 || packed.readUInt32LE(0) !== 0xfd2fb528) return false;
  const descriptor = packed[4]!;
  const sizeFlag = descriptor >> 6;
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  let at = 5 + (isSingleSegment ? 0 : 1) + [0, 1, 2, 4][descriptor & 3]! + sizeBytes;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > packed.length) return false;
    const header = packed.readUIntLE(at, 3);
    isLast = (header & 1) !== 0;
    // A block of one byte repeated is that byte, whatever its size.
    at += 3 + ((header & 6) === 2 ? 1 : header >> 3);
  }
  return at + ((descriptor & 4) !== 0 ? 4 : 0) === packed.length;
}

/**
 * The same into memory that is there, which has more room than it needs: returns its bytes. Null where that was not
 * possible: `unpackBlock` does it, or tells what is wrong.
 */
export function unpackBlockInto(packed: Buffer, into: Buffer): number | null {
  if (unpacking === undefined) unpacking = contextOf(createZstdDecompress({ params: unpackParams }));
  if (unpacking === null || !isOneFrame(packed)) return null;
  const found = run(unpacking, packed, into);
  if (found === null) unpacking = undefined;
  return found;
}

/** What `packed` holds, up to one byte more than `bytes`, in memory of its own. Throws where it is no frame. */
export function unpackBlock(packed: Buffer, bytes: number): Buffer {
  if (unpacking === undefined) unpacking = contextOf(createZstdDecompress({ params: unpackParams }));
  if (unpacking !== null && isOneFrame(packed)) {
    // A byte more than it should have: what holds more is told from what fits.
    const into = Buffer.allocUnsafeSlow(bytes + 1);
    const found = run(unpacking, packed, into);
    if (found !== null) return into.subarray(0, found);
    // What is wrong with it is told below, in zlib's words.
    unpacking = undefined;
  }
  // Whatever size is asked for, zlib gives a part of 64 KiB: a cache of such would take four times what it counts.
  const within = zstdDecompressSync(packed, { maxOutputLength: bytes + 1, params: unpackParams });
  const own = Buffer.allocUnsafeSlow(within.length);
  within.copy(own);
  return own;
}
