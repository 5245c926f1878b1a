import { hash } from "node:crypto";
import { DbError } from "../../src/base/errors.ts";
import type { ObjectKey } from "../../src/base/ids.ts";
import { isPromise } from "../../src/base/maybe-promise.ts";
import { ByteReader } from "../../src/base/varint.ts";
import { parseKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { SpaceTally } from "../../src/readers/space-tally.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { BlockCache } from "../../src/storage/block-cache.ts";
import { KeyHash } from "../../src/storage/bloom.ts";
import { ContentHash } from "../../src/storage/content-hash.ts";
import { comparePositions, type Position } from "../../src/storage/position.ts";
import { Run } from "../../src/storage/run.ts";
import { RunSource } from "../../src/storage/run-source.ts";
import { Table, type TableRef } from "../../src/storage/table.ts";
import {
  checkTableHeader,
  corrupt,
  decodeFooter,
  footerBytes,
  TABLE_HEADER_BYTES,
  TABLE_TRAILER_BYTES,
} from "../../src/storage/table-format.ts";

/** What a whole table says of itself: what a checkpoint would list. Throws `corrupt`, naming the object. */
export function tableRefOf(key: ObjectKey, bytes: Buffer): TableRef {
  try {
    if (bytes.length < TABLE_HEADER_BYTES + TABLE_TRAILER_BYTES)
      throw new RangeError(`${bytes.length} bytes are too few`);
    checkTableHeader(key, new ByteReader(bytes, 0, TABLE_HEADER_BYTES));
    const footer = decodeFooter(key, bytes.subarray(bytes.length - footerBytes(bytes, bytes.length)), bytes.length);
    const { first, end, spaces, contentHash, compactRevision, indexStart } = footer;
    return { key, bytes: bytes.length, first, end, spaces, contentHash, compactRevision, indexStart };
  } catch (error) {
    throw corrupt(key, "", error);
  }
}

/**
 * Checks a whole table: its name, each part, the order of all entries, and that the sums, the bloom filter and the
 * multiset hash are those of its entries. Throws `corrupt`, naming the object and what was expected and found.
 */
export async function verifyTable(key: ObjectKey, bytes: Buffer, runtime: Pick<Runtime, "offload">): Promise<TableRef> {
  const fail = (what: string): DbError => new DbError("corrupt", `object ${key}: ${what}`);
  const name = parseKey(key);
  if (name?.kind !== "table") throw fail("is not named as a table is");
  const sha256 = hash("sha256", bytes, "hex");
  if (sha256 !== name.sha256) throw fail(`has the SHA-256 ${sha256}, not the one that it is named by`);
  const ref = tableRefOf(key, bytes);
  const cache = new BlockCache({ bytesMax: 64 << 20 });
  const table = new Table(ref, { store: bytesStore(key, bytes), runtime, cache, requestTimeoutMs: 1 });
  const open = await table.open();
  const source = new RunSource(new Run([table]));
  const contentHash = new ContentHash();
  const tally = new SpaceTally();
  const keyHash = new KeyHash();
  let last: Position | null = null;
  for (let moved = source.start(); ; moved = Promise.resolve(source.advance())) {
    if (isPromise(moved)) await moved;
    const { space, version } = source;
    if (version === null) break;
    const position = { space, key: version.key, main: version.main, sub: version.sub };
    if (last !== null && comparePositions(last, position) >= 0) throw fail("entries are not in order");
    if (comparePositions(position, ref.first) < 0 || comparePositions(position, ref.end) >= 0) {
      throw fail("an entry lies out of the table's bounds");
    }
    if (!(await table.mayHold(open, keyHash.of(space, version.key)))) throw fail("its bloom filter denies a key");
    tally.add(space, version, last?.space === space && last.key === version.key);
    contentHash.add(space, version);
    last = position;
  }
  if (contentHash.hex() !== ref.contentHash) throw fail(`content hash ${ref.contentHash}, found ${contentHash.hex()}`);
  const [expected, found] = [JSON.stringify(ref.spaces), JSON.stringify(tally.spaces)];
  if (expected !== found) throw fail(`sums ${expected}, found ${found}`);
  await verifySums(table, fail);
  table.release();
  return ref;
}

/** The sums of the index are those of what they point to. */
async function verifySums(table: Table, fail: (what: string) => DbError): Promise<void> {
  const open = await table.open();
  for (const [p, top] of open.top.handles().entries()) {
    const partition = await table.partition(open, p);
    let entries = 0;
    let effectSum = 0;
    for (const [b, handle] of partition.handles().entries()) {
      const block = await table.block(open, partition, b);
      let blockSum = 0;
      let effectMain = 0;
      let [mainMin, mainMax] = [block.main(0), block.main(0)];
      for (let i = 0; i < block.count; i++) {
        const main = block.main(i);
        blockSum += block.effect(i);
        if (block.effect(i) !== 0) effectMain = Math.max(effectMain, main);
        mainMin = Math.min(mainMin, main);
        mainMax = Math.max(mainMax, main);
      }
      const found = JSON.stringify({ entries: block.count, mainMin, mainMax, effectSum: blockSum, effectMain });
      if (found !== JSON.stringify(handle.sums)) throw fail(`block at ${handle.offset}: sums ${found}`);
      entries += block.count;
      effectSum += blockSum;
    }
    if (entries !== top.sums.entries || effectSum !== top.sums.effectSum) {
      throw fail(`index block at ${top.offset}: sums of ${entries} entries, ${effectSum}`);
    }
  }
}

/** The one object, as a store to read it from. */
function bytesStore(key: ObjectKey, bytes: Buffer): ObjectStore {
  const readOnly = (): never => {
    throw new DbError("storeRefused", `object ${key}: is only read here`);
  };
  return {
    name: "bytes:",
    local: true,
    get: async (_key, { range }) => {
      const start = range !== undefined && "start" in range ? range.start : 0;
      const end = range !== undefined && "start" in range ? range.end : bytes.length;
      return { body: bytes.subarray(start, end), etag: "", bytes: bytes.length };
    },
    put: readOnly,
    list: readOnly,
    delete: readOnly,
    close: async () => {},
  };
}
