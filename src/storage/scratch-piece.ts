import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import type { ScratchFile } from "./scratch.ts";

/** Scratch files of what is sorted are written and read in pieces of about this many bytes, a whole item at least. */
export const PIECE_BYTES = 64 << 10;

/** Where a piece lies in its file, and what must be read there: kept in memory. */
export interface Piece {
  readonly start: number;
  readonly bytes: number;
  readonly checksum: number;
}

/** Of `bytes` that are written at `start`. */
export const pieceOf = (bytes: Uint8Array, start: number): Piece => ({
  start,
  bytes: bytes.length,
  checksum: crc32c(bytes),
});

/** Into a buffer of its own: what was given out of the piece before stays as it is. Throws `diskFailed`. */
export async function readPiece(file: ScratchFile, piece: Piece): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(piece.bytes);
  const read = await file.read(bytes, piece.start);
  if (read === piece.bytes && crc32c(bytes) === piece.checksum) return bytes;
  throw new DbError("diskFailed", "a scratch file has not kept what was written to it");
}
