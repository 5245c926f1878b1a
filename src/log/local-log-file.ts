import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch, RecordNumber } from "../base/ids.ts";
import type { Disk, DiskFile, Runtime } from "../runtime/runtime.ts";
import { encodeFileHeader, FRAME_HEADER_BYTES, sealFrame } from "./local-log-codec.ts";
import { fileName } from "./local-log-reader.ts";
import { RecordBatch } from "./record-batch.ts";
import type { RecordMark } from "./record-codec.ts";

const ZERO_CHUNK_BYTES = 1 << 20;
/** What a file is called before it is ready, and when it waits for being used again. */
export const SPARE_NAME = "spare";

/** A file of the local log that is being written, or will be. */
export interface LogFile {
  readonly path: string;
  readonly generation: Buffer;
  readonly handle: DiskFile;
  /** Written with zeros up to here. */
  bytes: number;
  /** Where the next frame goes. */
  at: number;
  checksum: number;
  lastRecord: RecordNumber;
}

export interface FileOptions {
  readonly runtime: Pick<Runtime, "disk" | "random">;
  readonly directory: string;
  readonly branch: BranchId;
  readonly epoch: Epoch;
  readonly uploaded: RecordNumber;
}

/**
 * Cuts a torn end off, and syncs what a process may have left in the system's cache: a crash of the machine must not
 * take it now.
 */
export async function makeDurable(disk: Disk, path: string, tornAt: number | null): Promise<void> {
  const file = await disk.open(path, { create: false });
  if (file === null) throw new DbError("diskFailed", `the local log ${path} has gone`);
  try {
    if (tornAt !== null) await file.write(Buffer.alloc(FRAME_HEADER_BYTES), tornAt);
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * A file ready for frames: of zeros, or one that was used before. With a `mark` its first frame is there, saying what
 * goes before.
 */
export async function createFile(
  options: FileOptions,
  wanted: {
    sequence: number;
    bytes: number;
    mark?: RecordMark;
    spare?: { path: string; bytes: number } | null;
    /** The file of zeros is there. */
    filled?: boolean;
  },
): Promise<LogFile> {
  const { runtime, directory, branch } = options;
  const { disk } = runtime;
  const temporary = `${directory}/${SPARE_NAME}`;
  const path = `${directory}/${fileName(wanted.sequence)}`;
  const generation = runtime.random.bytes(8);
  const header = encodeFileHeader({ branch, sequence: wanted.sequence, generation: generation.toString("hex") });
  let { bytes, checksum } = header;
  if (wanted.mark) {
    const frame = markFrame(options, wanted.mark, generation, checksum);
    bytes = Buffer.concat([bytes, frame.bytes]);
    checksum = frame.checksum;
  }
  try {
    // The old name must be gone for good before the content changes.
    if (wanted.spare) await disk.syncDirectory(directory);
    else if (wanted.filled !== true) await writeZeros(disk, temporary, wanted.bytes);
    const handle = await openFilled(disk, { temporary, path, bytes });
    return {
      path,
      generation,
      handle,
      bytes: wanted.spare?.bytes ?? wanted.bytes,
      at: bytes.length,
      checksum,
      lastRecord: (wanted.mark?.number ?? 0) as RecordNumber,
    };
  } catch (error) {
    // What is left of it would take room that the present file may need: a disk that is full is why this fails.
    await disk.remove(temporary).catch(() => {});
    throw error;
  }
}

/** Writes a file's beginning and gives it its name, both durable. */
async function openFilled(disk: Disk, file: { temporary: string; path: string; bytes: Buffer }): Promise<DiskFile> {
  const handle = await disk.open(file.temporary, { create: false, sync: true });
  if (handle === null) throw new DbError("diskFailed", `the local log's ${file.temporary} has gone`);
  try {
    await handle.write(file.bytes, 0);
    await disk.rename(file.temporary, file.path);
    await disk.syncDirectory(parentOf(file.path));
    return handle;
  } catch (error) {
    await handle.close().catch(() => {});
    throw error;
  }
}

function markFrame(options: FileOptions, before: RecordMark, generation: Buffer, previousChecksum: number) {
  const batch = new RecordBatch({
    headerBytes: FRAME_HEADER_BYTES,
    trailerBytes: 0,
    before,
    bytes: Buffer.alloc(FRAME_HEADER_BYTES),
  });
  const { epoch, uploaded } = options;
  const checksum = sealFrame(batch, { generation, epoch, uploaded, previousChecksum });
  return { bytes: batch.bytes.subarray(0, batch.end), checksum };
}

export function parentOf(path: string): string {
  const at = path.lastIndexOf("/");
  return at > 0 ? path.slice(0, at) : at === 0 ? "/" : ".";
}

/** Replaces it: of `bytes` zeros, synced. */
export async function writeZeros(disk: Disk, path: string, bytes: number): Promise<void> {
  await disk.remove(path);
  const file = await disk.open(path, { create: true });
  assert(file !== null, "a file that is created is there");
  try {
    const zeros = Buffer.alloc(Math.min(bytes, ZERO_CHUNK_BYTES));
    for (let at = 0; at < bytes; at += zeros.length) {
      await file.write(zeros.subarray(0, Math.min(zeros.length, bytes - at)), at);
    }
    await file.sync();
  } finally {
    await file.close();
  }
}
