import { DbError } from "../base/errors.ts";
import type { ObjectKey, Slot } from "../base/ids.ts";
import { timeText } from "../engine/branches/moment.ts";
import { LEASE_KEY_BYTES, leaseIdOfKey } from "../engine/lease-key.ts";
import { KeyValueReader } from "../engine/mvcc/key-value.ts";
import { decodeRecord, recordKinds } from "../engine/record.ts";
import { decodeSegment } from "../log/segment-codec.ts";
import { decodeEnvelope } from "../objects/envelope.ts";
import { parseKey, prefixes, segmentKey } from "../objects/keys.ts";
import type { Checkpoint } from "../storage/checkpoint.ts";
import { isBetweenKeys, type Position } from "../storage/position.ts";
import { type Entry, KEYS, spaces, type Version } from "../storage/storage.ts";
import type { TableRef } from "../storage/table.ts";
import { listObjects } from "./list-objects.ts";
import type { OfflineBranch, OfflineRepository } from "./open-offline.ts";
import { openTableFile } from "./table-file.ts";

/** What objects hold, as plain values: for people and for JSON. */
export type Described = { readonly [name: string]: unknown };

const spaceNames: ReadonlyMap<number, string> = new Map(Object.entries(spaces).map(([name, number]) => [number, name]));
const kindNames: ReadonlyMap<number, string> = new Map(
  Object.entries(recordKinds).map(([name, number]) => [number, name]),
);
const spaceName = (space: number): string => spaceNames.get(space) ?? `space ${space}`;

/** Text as it is where it is UTF-8 without control characters, else in base64 with that said. */
function bytesShown(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes);
  const plain = !/[\p{Cc}\ufffd]/u.test(text) && !text.startsWith("base64:");
  return plain ? text : `base64:${Buffer.from(bytes).toString("base64")}`;
}

const keyShown = (key: string): string => bytesShown(Buffer.from(key, "latin1"));

/** An envelope's body is JSON; its counter tells how often it was written. */
export async function describeControl({ store, request }: OfflineRepository, key: ObjectKey): Promise<Described> {
  const object = await store.get(key, request);
  if (object === null) throw new DbError("notFound", `there is no object ${key} in ${store.name}`);
  const { counter, body } = decodeEnvelope(key, object.body);
  return { object: key, bytes: object.bytes, counter, ...(body as object) };
}

export async function describeAll(repository: OfflineRepository, prefix: string): Promise<Described[]> {
  const all: Described[] = [];
  for await (const { key } of listObjects(repository.store, prefix, repository.request)) {
    if (parseKey(key) !== null) all.push(await describeControl(repository, key));
  }
  return all;
}

export function describeCheckpoint(object: ObjectKey, checkpoint: Checkpoint): Described {
  const { id, branch, epoch, n, parent, point, runs, retained, firstLogSlot, range } = checkpoint;
  return {
    object,
    id,
    branch,
    epoch,
    n,
    parent,
    position: point.position,
    compactRevision: point.compactRevision,
    time: timeText(point.wallMs),
    firstLogSlot,
    checkpointsBefore: range.leaves,
    retained: retained.map(({ id: of, nextSlot, n: number, revision, wallMs }) => {
      return { id: of, nextSlot, n: number, revision, time: timeText(wallMs) };
    }),
    runs: runs.map((tables) => tables.map(describeRef)),
  };
}

function describeRef({ key, bytes, first, end, spaces: held, compactRevision }: TableRef): Described {
  return {
    table: key,
    bytes,
    first: positionShown(first),
    end: positionShown(end),
    compactRevision,
    spaces: held.map(({ space, ...sums }) => ({ space: spaceName(space), ...sums })),
  };
}

function positionShown(position: Position): string {
  const place = `${spaceName(position.space)} ${JSON.stringify(keyShown(position.key))}`;
  return isBetweenKeys(position) ? place : `${place} at ${position.main}`;
}

export async function describeSegment(
  { store, request }: OfflineRepository,
  branch: OfflineBranch,
  slot: Slot,
): Promise<Described> {
  const key = segmentKey(branch.id, slot);
  const object = await store.get(key, request);
  if (object === null) throw new DbError("notFound", `there is no object ${key} in ${store.name}`);
  const { header, records, hash } = decodeSegment(key, object.body);
  return {
    object: key,
    bytes: object.bytes,
    sha256: hash,
    ...header,
    records: records.map((record) => {
      const { kind, entries } = decodeRecord(record);
      const { number, epoch, revision, wallMs } = record;
      const made = { number, epoch, revision, time: timeText(wallMs), kind: kindNames.get(kind) };
      return { ...made, entries: entries.map(describeEntry) };
    }),
  };
}

function describeEntry(entry: Entry): Described {
  const { space, key, tombstone, effect } = entry;
  const place = { space: spaceName(space), ...keyOf(space, key) };
  if (tombstone) return { ...place, deleted: true, effect };
  if (space === KEYS) return { ...place, effect, ...describePair(entry) };
  return { ...place, effect, value: bytesShown(entry.bytes.subarray(entry.start, entry.end)) };
}

/** Leases are known by their number, and so is what is attached to them. */
function keyOf(space: number, key: string): Described {
  if (space !== spaces.leases && space !== spaces.leaseKeys) return { key: keyShown(key) };
  const lease = BigInt.asUintN(64, leaseIdOfKey(key)).toString(16);
  return space === spaces.leases ? { lease } : { lease, key: keyShown(key.slice(LEASE_KEY_BYTES)) };
}

const reader = new KeyValueReader();

/** A stored version of a user's key, with etcd's names. */
function describePair(version: Pick<Version, "bytes" | "start" | "end">): Described {
  const { createRevision, modRevision, version: count, lease, value } = reader.read(version);
  const attached = lease === 0n ? {} : { lease: BigInt.asUintN(64, lease).toString(16) };
  return { createRevision, modRevision, version: count, ...attached, value: bytesShown(value) };
}

export function describeVersion(version: Version): Described {
  const key = keyShown(version.key);
  return version.tombstone ? { key, modRevision: version.main, deleted: true } : { key, ...describePair(version) };
}

/** A table by its name, or by how its SHA-256 begins. */
export async function describeTable(
  { store, request }: OfflineRepository,
  name: string,
  { blocks }: { blocks: boolean },
): Promise<Described> {
  const key = await findTable({ store, request }, name);
  const file = await openTableFile({ store, request }, key);
  if (file === null) throw new DbError("notFound", `there is no object ${key} in ${store.name}`);
  const { footer, bytes, partitions } = file;
  const shown = partitions.flat().map(({ start, offset, storedBytes, rawBytes, sums }) => {
    return { start: positionShown(start), offset, storedBytes, rawBytes, ...sums };
  });
  return {
    object: key,
    bytes,
    first: positionShown(footer.first),
    end: positionShown(footer.end),
    compactRevision: footer.compactRevision,
    contentHash: footer.contentHash,
    blocks: shown.length,
    partitions: footer.partitions,
    indexStart: footer.indexStart,
    bloom: footer.bloom,
    rawBytesMax: footer.rawBytesMax,
    spaces: footer.spaces.map(({ space, ...sums }) => ({ space: spaceName(space), ...sums })),
    ...(blocks ? { index: shown } : {}),
  };
}

const SHORTEST_SHA256 = 6;

async function findTable(
  { store, request }: Pick<OfflineRepository, "store" | "request">,
  name: string,
): Promise<ObjectKey> {
  const full = name.startsWith(prefixes.tables) ? name : `${prefixes.tables}${name}`;
  if (parseKey(full)?.kind === "table") return full as ObjectKey;
  const found: ObjectKey[] = [];
  if (name.length >= SHORTEST_SHA256) {
    for await (const { key } of listObjects(store, prefixes.tables, request)) {
      const parsed = parseKey(key);
      if (parsed?.kind === "table" && parsed.sha256.startsWith(name)) found.push(key);
    }
  }
  if (found.length === 1) return found[0]!;
  const what = found.length === 0 ? "no table is" : `${found.length} tables are`;
  throw new DbError("notFound", `${what} named ${name}: give its name, or ${SHORTEST_SHA256} digits of its SHA-256`);
}
