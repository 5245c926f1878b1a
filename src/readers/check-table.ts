import { createHash } from "node:crypto";
import { DbError } from "../base/errors.ts";
import type { ObjectKey } from "../base/ids.ts";
import { KeyValueReader } from "../engine/mvcc/key-value.ts";
import { parseKey } from "../objects/keys.ts";
import { KeyHash, mayHold, partitionOf } from "../storage/bloom.ts";
import { ContentHash } from "../storage/content-hash.ts";
import { comparePositions, type Position } from "../storage/position.ts";
import { KEYS } from "../storage/storage.ts";
import type { TableRef } from "../storage/table.ts";
import { BLOCK_TRAILER_BYTES, TABLE_HEADER_BYTES } from "../storage/table-format.ts";
import { addSums, type BlockHandle, noSums, type Sums } from "../storage/table-index.ts";
import { type Findings, isFinding } from "./faults.ts";
import { SpaceTally } from "./space-tally.ts";
import {
  blocksOf,
  openTableFile,
  type ReadBlock,
  type TableFile,
  TableMissing,
  type TableSource,
} from "./table-file.ts";

export interface TableCheckOptions extends TableSource {
  readonly findings: Findings;
  /** As checkpoints list it; null for one that none names. */
  readonly listed: TableRef | null;
  /** False: all but its data blocks. */
  readonly body: boolean;
  /** Called with bytes read. */
  readonly onRead: (bytes: number) => void;
}

/** More faults of one table are not told one by one. */
const TOLD_MAX = 20;

/**
 * Checks a table from its first byte to its last: its name, each block, the order of all entries, what checkpoint,
 * footer, index and bloom filter say of them, and the multiset hash. Null where it has a fault; "missing" where it is
 * not there, or goes while it is read.
 */
export async function checkTable(key: ObjectKey, options: TableCheckOptions): Promise<TableFile | null | "missing"> {
  const { findings, listed } = options;
  const told = new Told(findings, key);
  try {
    const file = await openTableFile(options, key);
    if (file === null) return "missing";
    if (listed !== null) compareWithListed(file, listed, told);
    checkIndex(file, told);
    options.onRead(file.tail.length);
    if (options.body) await checkBody(file, options, told);
    return told.count === 0 ? file : null;
  } catch (error) {
    if (error instanceof TableMissing) return "missing";
    told.thrown(error);
    return null;
  }
}

class Told {
  count = 0;
  readonly #findings: Findings;
  readonly #key: ObjectKey;

  constructor(findings: Findings, key: ObjectKey) {
    this.#findings = findings;
    this.#key = key;
  }

  fault(what: string): void {
    this.count++;
    if (this.count <= TOLD_MAX) this.#findings.fault(this.#key, what);
    if (this.count === TOLD_MAX + 1) this.#findings.fault(this.#key, "has more faults");
  }

  thrown(error: unknown): void {
    // Whether it might go is not told by the table.
    if (!isFinding(error) || error instanceof TableMissing) throw error;
    this.fault(error.message.replace(`object ${this.#key}: `, ""));
  }

  expect(what: string, found: unknown, expected: unknown): void {
    const [a, b] = [JSON.stringify(found), JSON.stringify(expected)];
    if (a !== b) this.fault(`${what}: ${a}, expected ${b}`);
  }
}

/** A checkpoint repeats what the footer says. */
function compareWithListed({ bytes, footer }: TableFile, listed: TableRef, told: Told): void {
  const { first, end, spaces, contentHash, compactRevision, indexStart } = footer;
  told.expect("bytes, as a checkpoint lists them", bytes, listed.bytes);
  told.expect(
    "its footer, as a checkpoint lists it",
    { first, end, spaces, contentHash, compactRevision, indexStart },
    {
      first: listed.first,
      end: listed.end,
      spaces: listed.spaces,
      contentHash: listed.contentHash,
      compactRevision: listed.compactRevision,
      indexStart: listed.indexStart,
    },
  );
}

/** Blocks lie one behind the other, start in order, and sums add up to those above them. */
function checkIndex(file: TableFile, told: Told): void {
  const { footer, top, partitions } = file;
  let at = TABLE_HEADER_BYTES;
  let before: Position | null = null;
  const spaces = new Map<number, Sums>();
  for (const [p, partition] of partitions.entries()) {
    const place = top[p]!;
    let sums: Sums = noSums;
    for (const handle of partition) {
      if (handle.offset !== at) told.fault(`block at byte ${handle.offset}: expected the next one at byte ${at}`);
      at = endOf(handle);
      if (before !== null && comparePositions(before, handle.start) >= 0) {
        told.fault(`block at byte ${handle.offset}: starts at or before the one before it`);
      }
      if (handle.start.space !== place.start.space) {
        told.fault(`index block at ${place.offset}: has space ${handle.start.space}, expected ${place.start.space}`);
      }
      before = handle.start;
      sums = addSums(sums, handle.sums);
    }
    told.expect(`index block at ${place.offset}: sums of its blocks`, sums, place.sums);
    spaces.set(place.start.space, addSums(spaces.get(place.start.space) ?? noSums, sums));
  }
  if (at !== footer.indexStart) told.fault(`data blocks end at byte ${at}, expected ${footer.indexStart}`);
  let partitionAt = footer.indexStart;
  for (const handle of top) {
    if (handle.offset !== partitionAt) told.fault(`index block at ${handle.offset}: expected at ${partitionAt}`);
    partitionAt = endOf(handle);
  }
  if (partitionAt !== footer.bloomStart) told.fault(`index ends at byte ${partitionAt}, not ${footer.bloomStart}`);
  const found = [...spaces].map(([space, sums]) => ({ space, ...sums }));
  const expected = footer.spaces.map(({ space, entries, mainMin, mainMax, effectSum, effectMain }) => {
    return { space, entries, mainMin, mainMax, effectSum, effectMain };
  });
  told.expect("sums of its spaces", found, expected);
}

const endOf = (handle: BlockHandle): number => handle.offset + handle.storedBytes + BLOCK_TRAILER_BYTES;

async function checkBody(file: TableFile, options: TableCheckOptions, told: Told): Promise<void> {
  const { key, footer } = file;
  const sha256 = createHash("sha256");
  const entries = new EntryCheck(file, told);
  const onBytes = (bytes: Buffer): void => {
    sha256.update(bytes);
    options.onRead(bytes.length);
  };
  try {
    for await (const read of blocksOf(options, file, { onBytes })) {
      if (read.block instanceof DbError) {
        told.thrown(read.block);
        entries.broken = true;
      } else entries.block(read);
    }
  } catch (error) {
    told.thrown(error);
    return;
  }
  entries.finish();
  const name = parseKey(key);
  const found = sha256.update(file.tail).digest("hex");
  if (name?.kind === "table" && found !== name.sha256) told.fault(`SHA-256 ${found}, expected the one in its name`);
  if (footer.spaces.length === 0) told.fault("has no entries");
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Holds the entries, one block after the other, against all that is said of them. */
class EntryCheck {
  /** A block could not be read: what is said of all entries cannot be checked. */
  broken = false;
  readonly #file: TableFile;
  readonly #told: Told;
  readonly #contentHash = new ContentHash();
  readonly #tally = new SpaceTally();
  readonly #hash = new KeyHash();
  readonly #pair = new KeyValueReader();
  #lastSpace = -1;
  #lastKey = "";
  #last: Position | null = null;

  constructor(file: TableFile, told: Told) {
    this.#file = file;
    this.#told = told;
  }

  block({ handle, end, block }: ReadBlock): void {
    if (block instanceof DbError) return;
    const where = `block at byte ${handle.offset}: `;
    const { space } = handle.start;
    let sums: Mutable<Sums> = { ...noSums, mainMin: Number.MAX_SAFE_INTEGER };
    for (let i = 0; i < block.count; i++) {
      const version = block.version(i);
      const position = { space, key: version.key, main: version.main, sub: version.sub };
      if (this.#last !== null && comparePositions(this.#last, position) >= 0) this.#told.fault(`${where}not in order`);
      if (comparePositions(position, handle.start) < 0 || comparePositions(position, end) >= 0) {
        this.#told.fault(`${where}entry ${i} lies out of the block's bounds`);
      }
      const sameKey = this.#lastSpace === space && this.#lastKey === version.key;
      if (!sameKey) this.#checkBloom(space, version.key, where);
      if (space === KEYS && !version.tombstone) this.#checkPair(version, where);
      this.#tally.add(space, version, sameKey);
      this.#contentHash.add(space, version);
      sums = {
        entries: sums.entries + 1,
        mainMin: Math.min(sums.mainMin, version.main),
        mainMax: Math.max(sums.mainMax, version.main),
        effectSum: sums.effectSum + version.effect,
        effectMain: version.effect === 0 ? sums.effectMain : Math.max(sums.effectMain, version.main),
      };
      this.#last = position;
      this.#lastSpace = space;
      this.#lastKey = version.key;
    }
    this.#told.expect(`${where}sums`, sums, handle.sums);
  }

  finish(): void {
    if (this.broken) return;
    const { footer } = this.#file;
    this.#told.expect("content hash", this.#contentHash.hex(), footer.contentHash);
    this.#told.expect("spaces", this.#tally.spaces, footer.spaces);
    const { first, end } = footer;
    if (this.#last !== null && comparePositions(this.#last, end) >= 0)
      this.#told.fault("its last entry is not below its end");
    const start = this.#file.partitions[0]?.[0]?.start;
    if (start !== undefined && comparePositions(first, start) > 0) this.#told.fault("its first block starts before it");
  }

  #checkBloom(space: number, key: string, where: string): void {
    const hash = this.#hash.of(space, key);
    const partition = this.#file.bloom[partitionOf(hash, this.#file.footer.bloom)]!;
    if (!mayHold(partition, hash)) this.#told.fault(`${where}the bloom filter denies a key`);
  }

  /** A stored value is the pair as it goes over the wire. */
  #checkPair(version: ReturnType<Exclude<ReadBlock["block"], DbError>["version"]>, where: string): void {
    try {
      const pair = this.#pair.read(version);
      if (pair.modRevision !== version.main) {
        this.#told.fault(`${where}mod_revision ${pair.modRevision} in an entry of revision ${version.main}`);
      } else if (pair.key !== version.key) this.#told.fault(`${where}a pair of another key than its entry's`);
    } catch (error) {
      if (!isFinding(error)) throw error;
      this.#told.fault(`${where}${error.message}`);
    }
  }
}
