import { DbError } from "../base/errors.ts";
import type { BranchId, Epoch } from "../base/ids.ts";
import { ByteReader, varintSize, writeVarint } from "../base/varint.ts";
import { AT_HEAD, spaces, type Tree, type Version } from "../storage/storage.ts";

/** What the space `meta` holds (docs/formats/record.md). */
export const metaKeys = {
  compact: "compact",
  released: "released",
  downgrade: "downgrade",
  member: (id: string) => `member/${id}`,
  setting: (name: string) => `setting/${name}`,
  /** What a branch was cut without: written when that is done. */
  stripped: (by: BranchId) => `stripped/${by}`,
};

/** Bits of what "stripped/…" holds. */
export const STRIPPED_AUTH = 1;
export const STRIPPED_LEASES = 2;

/** Whether leases were ever left out at a cut: then a key may name one that it does not hang on. */
export async function readLeasesStripped(tree: Tree): Promise<boolean> {
  const marks = await tree.scan(spaces.meta, { from: "stripped/", to: "stripped0" }, AT_HEAD, { limit: 0 });
  return marks.some(({ bytes, start, end }) => start < end && (bytes[start]! & STRIPPED_LEASES) !== 0);
}

/** −1 before the first compaction (C1). */
export async function readCompactRevision(tree: Tree): Promise<number> {
  const version = await tree.get(spaces.meta, metaKeys.compact, AT_HEAD);
  return version === null ? -1 : read(version, metaKeys.compact, (reader) => reader.varint());
}

export function encodeCompactRevision(revision: number): Uint8Array {
  const bytes = new Uint8Array(varintSize(revision));
  writeVarint(bytes, 0, revision);
  return bytes;
}

/** The leadership that ended cleanly, after logging how long its leases had left. */
export interface Released {
  readonly epoch: number;
  readonly clusterId: bigint;
}

export async function readReleased(tree: Tree): Promise<Released | null> {
  const version = await tree.get(spaces.meta, metaKeys.released, AT_HEAD);
  if (version === null) return null;
  return read(version, metaKeys.released, (reader) => {
    const epoch = reader.varint();
    const bytes = reader.take(8);
    return { epoch, clusterId: Buffer.from(bytes).readBigUInt64BE(0) };
  });
}

export function encodeReleased({ epoch, clusterId }: { epoch: Epoch; clusterId: bigint }): Uint8Array {
  const bytes = Buffer.alloc(varintSize(epoch) + 8);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, clusterId), writeVarint(bytes, 0, epoch));
  return bytes;
}

/** A logged setting of the branch; null if it was never set. */
export async function readSetting(tree: Tree, name: string): Promise<string | null> {
  const version = await tree.get(spaces.meta, metaKeys.setting(name), AT_HEAD);
  return version === null ? null : Buffer.from(version.bytes.subarray(version.start, version.end)).toString("utf8");
}

function read<T>(version: Version, key: string, parse: (reader: ByteReader) => T): T {
  try {
    const reader = new ByteReader(version.bytes, version.start, version.end);
    const value = parse(reader);
    if (reader.left !== 0) throw new RangeError("goes on");
    return value;
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new DbError("corrupt", `the stored "${key}" ${error.message}`);
  }
}
