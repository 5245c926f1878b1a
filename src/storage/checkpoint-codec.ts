import { hash } from "node:crypto";
import { assert } from "../base/assert.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import {
  type BranchId,
  branchId,
  type Epoch,
  epoch,
  type ObjectKey,
  recordNumber,
  revision,
  slot,
} from "../base/ids.ts";
import { ByteReader } from "../base/varint.ts";
import { parseKey, tableKey } from "../objects/keys.ts";
import { ByteWriter } from "./byte-writer.ts";
import {
  assertCheckpoint,
  type Checkpoint,
  type CheckpointPosition,
  contentHashOf,
  type FirstCheckpoint,
  type RetainedCheckpoint,
} from "./checkpoint.ts";
import { type CheckpointSigner, readSignatures, writeSignatures } from "./checkpoint-signature.ts";
import { type LeafProof, type MountainRange, peakCount, provesLeaf } from "./mountain-range.ts";
import { comparePositions } from "./position.ts";
import type { TableRef } from "./table.ts";
import { corrupt, hex, readFactsBounds, writeFactsBounds } from "./table-format.ts";

/** A checkpoint's bytes (docs/formats/checkpoint.md): header, fields, CRC-32C of all before it. */
const MAGIC = 0x50433454; // "T4CP", little-endian
const VERSION_PLAIN = 1;
/** With the first checkpoint and signatures. */
const VERSION_SIGNED = 2;
const CODEC_PLAIN = 0;
const KEY_NONE = 0;
const HEADER_BYTES = 12;
const TRAILER_BYTES = 4;
const ZERO_HASH = "0".repeat(64);
/** The least that a listed thing takes, so that a count cannot ask for more memory than its bytes justify. */
const TABLE_BYTES_MIN = 80;
const RETAINED_BYTES_MIN = 54;

/** One that has neither a first checkpoint nor a signature is written as version 1. */
export function encodeCheckpoint(
  checkpoint: Omit<Checkpoint, "id" | "signatures">,
  signer: CheckpointSigner | null = null,
): Buffer {
  assertCheckpoint(checkpoint);
  const isPlain = checkpoint.first === undefined && signer === null;
  const writer = new ByteWriter(4096);
  writer.u32(MAGIC);
  writer.u8(isPlain ? VERSION_PLAIN : VERSION_SIGNED);
  writer.u8(CODEC_PLAIN);
  writer.u8(0);
  writer.u8(0);
  writer.u32(KEY_NONE);
  writer.hex(checkpoint.branch, 16);
  writer.varint(checkpoint.epoch);
  writer.varint(checkpoint.n);
  writer.hex(checkpoint.parent ?? ZERO_HASH, 32);
  writeCheckpointPosition(writer, checkpoint.point.position);
  writer.zigzag(checkpoint.point.compactRevision);
  writer.varint(checkpoint.point.wallMs);
  writer.hex(contentHashOf(checkpoint.runs), 16);
  writer.varint(checkpoint.runs.length);
  for (const run of checkpoint.runs) {
    writer.varint(run.length);
    for (const table of run) writeTable(writer, table);
  }
  writer.varint(checkpoint.firstLogSlot);
  writer.varint(checkpoint.range.leaves);
  for (const peak of checkpoint.range.peaks) writer.hex(peak, 32);
  writer.varint(checkpoint.retained.length);
  for (const retained of checkpoint.retained) writeRetained(writer, retained);
  if (!isPlain) {
    writeFirst(writer, checkpoint.first);
    writeSignatures(writer, signer);
  }
  writer.u32(crc32c(writer.bytes, 0, writer.at));
  return writer.view();
}

/**
 * Throws `corrupt` naming the object, what was expected and what was found; `storeRefused` for what a newer t4 has
 * written. `proofs`: that each retained checkpoint is of this history, and the sum of the tables' hashes, are for those
 * who look at history. Who opens a branch, or goes on from a checkpoint of its own, has them told by the checksum, and
 * proving a thousand takes 20 ms.
 */
export function decodeCheckpoint(
  key: ObjectKey,
  bytes: Buffer,
  { proofs }: { proofs: "checked" | "trusted" } = { proofs: "checked" },
): Checkpoint {
  try {
    if (bytes.length < HEADER_BYTES + TRAILER_BYTES) throw new RangeError(`${bytes.length} bytes are too few`);
    const reader = new ByteReader(bytes, 0, bytes.length - TRAILER_BYTES);
    const magic = reader.u32();
    if (magic !== MAGIC) throw new RangeError(`begins with ${hex(magic)}, expected ${hex(MAGIC)} (T4CP)`);
    const version = reader.u8();
    if (version !== VERSION_PLAIN && version !== VERSION_SIGNED) throw refused(key, `format version ${version}`);
    const expected = crc32c(bytes, 0, bytes.length - TRAILER_BYTES);
    const found = bytes.readUInt32LE(bytes.length - TRAILER_BYTES);
    if (found !== expected) throw new RangeError(`checksum ${hex(found)}, expected ${hex(expected)}`);
    const codec = reader.u8();
    if (codec !== CODEC_PLAIN) throw refused(key, `codec ${codec}`);
    const flags = reader.u8();
    const reserved = reader.u8();
    if (flags !== 0 || reserved !== 0) throw refused(key, `flags ${flags}, ${reserved}`);
    const keyId = reader.u32();
    if (keyId !== KEY_NONE) throw refused(key, `encryption key ${keyId}`);
    const fields = readFields(reader, proofs === "checked");
    const more = version === VERSION_PLAIN ? {} : readMore(reader, fields.range);
    const checkpoint = { ...fields, ...more, id: hash("sha256", bytes, "hex") };
    if (reader.left !== 0) throw new RangeError(`${reader.left} bytes too many`);
    checkName(key, checkpoint);
    return checkpoint;
  } catch (error) {
    throw corrupt(key, "", error);
  }
}

/** An object copied to another name is refused, not believed. */
function checkName(key: ObjectKey, checkpoint: Checkpoint): void {
  const name = parseKey(key);
  assert(name?.kind === "checkpoint", `${key} is the name of a checkpoint`);
  const { nextSlot } = checkpoint.point.position;
  if (name.branch !== checkpoint.branch || name.nextSlot !== nextSlot || name.n !== checkpoint.n) {
    throw new RangeError(`holds checkpoint ${nextSlot}-${checkpoint.n} of branch ${checkpoint.branch}`);
  }
}

function readFields(reader: ByteReader, proving: boolean): Omit<Checkpoint, "id"> {
  const branch = readBranch(reader);
  const writerEpoch = readEpoch(reader);
  const n = reader.varint();
  const parentHash = readHash(reader, 32);
  const position = readCheckpointPosition(reader);
  const compact = reader.varint();
  if (compact % 2 === 1 && compact !== 1) throw new RangeError("a negative compact revision");
  const compactRevision = compact === 1 ? -1 : revision(compact / 2);
  const wallMs = reader.varint();
  const contentHash = readHash(reader, 16);
  const runs = readRuns(reader);
  const found = proving ? contentHashOf(runs) : contentHash;
  if (found !== contentHash) throw new RangeError(`content hash ${contentHash}, its tables have ${found}`);
  const firstLogSlot = slot(reader.varint());
  const range = readRange(reader);
  const retained = readRetained(reader, proving ? range : null);
  if (compactRevision > position.revision) throw new RangeError(`compact revision ${compactRevision} is not covered`);
  if (firstLogSlot < 1 || firstLogSlot > position.nextSlot) throw new RangeError(`first log slot ${firstLogSlot}`);
  if (position.highestEpoch > writerEpoch) throw new RangeError(`covers epoch ${position.highestEpoch}`);
  return {
    branch,
    epoch: writerEpoch,
    n,
    parent: parentHash === ZERO_HASH ? null : parentHash,
    point: { position, compactRevision, wallMs },
    runs,
    retained,
    firstLogSlot,
    range,
  };
}

/** All fields of a log position, in the order of their declaration. */
function writeCheckpointPosition(writer: ByteWriter, position: CheckpointPosition): void {
  writer.varint(position.nextSlot);
  writer.varint(position.highestEpoch);
  writer.hex(position.lastHash, 32);
  writer.varint(position.lastRecord);
  writer.varint(position.lastRecordEpoch);
  writer.varint(position.revision);
  writer.varint(position.wallMs);
}

function readCheckpointPosition(reader: ByteReader): CheckpointPosition {
  const position = {
    nextSlot: slot(reader.varint()),
    highestEpoch: readEpoch(reader),
    lastHash: readHash(reader, 32),
    lastRecord: recordNumber(reader.varint()),
    lastRecordEpoch: readEpoch(reader),
    revision: revision(reader.varint()),
    wallMs: reader.varint(),
  };
  if (position.nextSlot < 1) throw new RangeError("slots begin at 1");
  return position;
}

function writeTable(writer: ByteWriter, table: TableRef): void {
  const name = parseKey(table.key);
  assert(name?.kind === "table", `${table.key} is the name of a table`);
  writer.hex(name.branch, 16);
  writer.varint(name.epoch);
  writer.hex(name.sha256, 32);
  writer.varint(table.bytes);
  writer.varint(table.indexStart);
  writer.hex(table.contentHash, 16);
  writer.zigzag(table.compactRevision);
  writeFactsBounds(writer, table);
}

function readTable(reader: ByteReader): TableRef {
  const key = tableKey({ branch: readBranch(reader), epoch: readEpoch(reader), sha256: readHash(reader, 32) });
  const bytes = reader.varint();
  const indexStart = reader.varint();
  const contentHash = readHash(reader, 16);
  const compact = reader.varint();
  const compactRevision = compact === 1 ? -1 : compact / 2;
  if (!Number.isSafeInteger(compactRevision)) throw new RangeError("a negative compact revision");
  return { key, bytes, indexStart, contentHash, compactRevision, ...readFactsBounds(reader) };
}

function readRuns(reader: ByteReader): TableRef[][] {
  const runs: TableRef[][] = [];
  const count = readCount(reader, TABLE_BYTES_MIN, "runs");
  for (let i = 0; i < count; i++) {
    const run: TableRef[] = [];
    const tables = readCount(reader, TABLE_BYTES_MIN, "tables");
    for (let t = 0; t < tables; t++) {
      const table = readTable(reader);
      if (t > 0 && comparePositions(run[t - 1]!.end, table.first) > 0) {
        throw new RangeError(`table ${table.key} overlaps the one before it`);
      }
      run.push(table);
    }
    if (tables === 0) throw new RangeError("a run without tables");
    runs.push(run);
  }
  return runs;
}

function writeFirst(writer: ByteWriter, first: FirstCheckpoint | undefined): void {
  writer.u8(first === undefined ? 0 : 1);
  if (first === undefined) return;
  writer.hex(first.id, 32);
  writer.varint(first.path.length);
  for (const beside of first.path) writer.hex(beside, 32);
}

function readMore(reader: ByteReader, range: MountainRange): Pick<Checkpoint, "first" | "signatures"> {
  const has = reader.u8();
  if (has > 1) throw new RangeError(`flag ${has} before the first checkpoint`);
  const first = has === 0 ? undefined : readFirst(reader, range);
  return { ...(first && { first }), signatures: readSignatures(reader) };
}

function readFirst(reader: ByteReader, range: MountainRange): FirstCheckpoint {
  const id = readHash(reader, 32);
  const path = readPath(reader);
  if (!provesLeaf(range, id, { leaf: 0, path })) throw new RangeError(`the first checkpoint ${id} is not proved`);
  return { id, path };
}

function readRange(reader: ByteReader): MountainRange {
  const leaves = reader.varint();
  const peaks: string[] = [];
  for (let i = peakCount(leaves); i > 0; i--) peaks.push(readHash(reader, 32));
  return { leaves, peaks };
}

function writeRetained(writer: ByteWriter, retained: RetainedCheckpoint): void {
  writer.hex(retained.id, 32);
  writer.hex(retained.branch, 16);
  writer.varint(retained.nextSlot);
  writer.varint(retained.n);
  writer.varint(retained.revision);
  writer.varint(retained.wallMs);
  writer.varint(retained.proof.leaf);
  writer.varint(retained.proof.path.length);
  for (const beside of retained.proof.path) writer.hex(beside, 32);
}

function readRetained(reader: ByteReader, range: MountainRange | null): RetainedCheckpoint[] {
  const all: RetainedCheckpoint[] = [];
  const count = readCount(reader, RETAINED_BYTES_MIN, "retained checkpoints");
  for (let i = 0; i < count; i++) {
    const retained: RetainedCheckpoint = {
      id: readHash(reader, 32),
      branch: readBranch(reader),
      nextSlot: slot(reader.varint()),
      n: reader.varint(),
      revision: revision(reader.varint()),
      wallMs: reader.varint(),
      proof: readProof(reader),
    };
    if (retained.nextSlot < 1) throw new RangeError("slots begin at 1");
    if (range !== null && !provesLeaf(range, retained.id, retained.proof)) {
      throw new RangeError(`retained checkpoint ${retained.id} is not proved to be of this history`);
    }
    all.push(retained);
  }
  return all;
}

function readProof(reader: ByteReader): LeafProof {
  const leaf = reader.varint();
  return { leaf, path: readPath(reader) };
}

function readPath(reader: ByteReader): string[] {
  const path: string[] = [];
  const count = readCount(reader, 32, "hashes of a proof");
  for (let i = 0; i < count; i++) path.push(readHash(reader, 32));
  return path;
}

function readCount(reader: ByteReader, bytesMin: number, what: string): number {
  const count = reader.varint();
  if (count * bytesMin > reader.left) throw new RangeError(`${count} ${what} in ${reader.left} bytes`);
  return count;
}

function readHash(reader: ByteReader, byteCount: number): string {
  const start = reader.skip(byteCount);
  const { bytes } = reader;
  // There are thousands in the checkpoint of a large branch.
  if (bytes instanceof Buffer) return bytes.toString("hex", start, start + byteCount);
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, byteCount).toString("hex");
}

const readBranch = (reader: ByteReader): BranchId => branchId(readHash(reader, 16));
const readEpoch = (reader: ByteReader): Epoch => epoch(reader.varint());

const refused = (key: ObjectKey, what: string): DbError =>
  new DbError("storeRefused", `object ${key}: ${what} is unknown to this version of t4: a newer one has written it`);
