import { createHash } from "node:crypto";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { DbError, messageOf } from "../base/errors.ts";

/** One piece of work, as it goes to a worker thread. */
export type Work =
  | { kind: "sha256"; bytes: Uint8Array }
  | { kind: "zstdCompress"; bytes: Uint8Array; level: number }
  | { kind: "zstdDecompress"; bytes: Uint8Array; bytesMax: number };

/** zlib gathers its output in pieces of this size: few for a table, and not allocated by what the input claims. */
const CHUNK_BYTES_MAX = 256 * 1024;
const CHUNK_BYTES_MIN = 1024;

/** Does the work here and now. Bytes that are no zstd frame, or unpack to more than allowed, are `corrupt`. */
export function doWork(work: Work): Buffer {
  switch (work.kind) {
    case "sha256":
      return createHash("sha256").update(work.bytes).digest();
    case "zstdCompress":
      return zstdCompressSync(work.bytes, {
        chunkSize: chunkBytes(work.bytes.length),
        params: { [constants.ZSTD_c_compressionLevel]: work.level },
      });
    case "zstdDecompress":
      try {
        return zstdDecompressSync(work.bytes, {
          maxOutputLength: Math.max(1, work.bytesMax),
          chunkSize: chunkBytes(work.bytesMax),
        });
      } catch (error) {
        throw new DbError("corrupt", `zstd cannot unpack ${work.bytes.length} bytes: ${messageOf(error)}`, {
          cause: error,
        });
      }
  }
}

const chunkBytes = (bytes: number): number => Math.max(CHUNK_BYTES_MIN, Math.min(bytes, CHUNK_BYTES_MAX));
