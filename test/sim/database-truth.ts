import type { BranchId } from "../../src/base/ids.ts";
import { ByteReader } from "../../src/base/varint.ts";
import { decodeLease } from "../../src/engine/lease/lease-record.ts";
import { leaseIdOfKey } from "../../src/engine/lease-key.ts";
import { metaKeys } from "../../src/engine/meta.ts";
import { KeyValueReader } from "../../src/engine/mvcc/key-value.ts";
import { decodeRecord } from "../../src/engine/record.ts";
import type { LogRecord } from "../../src/log/log.ts";
import { parseKey } from "../../src/objects/keys.ts";
import { type Entry, KEYS, spaces } from "../../src/storage/storage.ts";
import type { SimBucket } from "./bucket.ts";
import type { TruePair, TrueRecord } from "./history.ts";
import { LogTruth } from "./log-truth.ts";

/** The branch's records as the bucket has ever had them, also where they were collected since. */
export function trueRecords(bucket: SimBucket, branch: BranchId): TrueRecord[] {
  const writtenMs = new Map<number, number>();
  for (const { key, kind, atMs } of bucket.history) {
    const name = parseKey(key);
    if (kind === "put" && name?.kind === "segment" && !writtenMs.has(name.slot)) writtenMs.set(name.slot, atMs);
  }
  const records: TrueRecord[] = [];
  for (const [slot, { records: inSlot }] of new LogTruth(bucket, branch).valid)
    for (const record of inSlot) records.push(trueRecord(record, writtenMs.get(slot)!));
  return records;
}

function trueRecord(record: LogRecord, uploadedMs: number): TrueRecord {
  const { entries } = decodeRecord(record);
  const changes: TrueRecord["changes"][number][] = [];
  const granted: TrueRecord["granted"][number][] = [];
  const ended: bigint[] = [];
  let compacted: number | null = null;
  for (const entry of entries) {
    if (entry.space === KEYS) changes.push({ key: entry.key, pair: entry.tombstone ? null : pairOf(entry) });
    else if (entry.space === spaces.leases && entry.tombstone) ended.push(leaseIdOfKey(entry.key));
    else if (entry.space === spaces.leases && entry.effect === 1)
      granted.push({ id: leaseIdOfKey(entry.key), ttlSeconds: decodeLease(entry).ttlSeconds });
    else if (entry.space === spaces.meta && entry.key === metaKeys.compact)
      compacted = new ByteReader(entry.bytes, entry.start, entry.end).varint();
  }
  return { epoch: record.epoch, revision: record.revision, changes, granted, ended, compacted, uploadedMs };
}

const reader = new KeyValueReader();

function pairOf(entry: Entry): TruePair {
  const pair = reader.read(entry);
  return {
    key: pair.key,
    create: pair.createRevision,
    mod: pair.modRevision,
    version: pair.version,
    value: Buffer.from(pair.value).toString("latin1"),
    lease: pair.hasLease ? pair.lease : 0n,
  };
}
