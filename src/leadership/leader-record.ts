import { assert } from "../base/assert.ts";
import { DbError } from "../base/errors.ts";
import { type Epoch, epoch } from "../base/ids.ts";
import type { MemberState } from "./disk-identity.ts";
import { Fields, lineOf, patterns } from "./fields.ts";
import { isNodeName } from "./identity.ts";
import type { Durability } from "./leadership.ts";

/**
 * The leader record of a branch: who may write it (docs/formats/control-objects.md). One object, changed by
 * compare-and-swap alone, so that taking over and changing the in-sync set compete; tombstoned, never deleted.
 *
 * 1. The epoch grows by one with each take-over, never otherwise, and never goes back.
 * 2. A version with the same epoch is the same leadership: reason to read it again, not a deposition.
 * 3. `released` is true only while nobody leads and everything acknowledged is in the bucket with nothing unresolved.
 * 4. In `local` the set is exactly one disk from the take-over to the release; in `object` it is empty.
 */
export interface LeaderRecord {
  readonly epoch: Epoch;
  /** Of the session by which the branch is held. */
  readonly session: string;
  readonly node: string;
  /** Where clients and peers reach the leader. */
  readonly addresses: readonly string[];
  readonly durability: Durability;
  readonly inSync: readonly InSyncDisk[];
  readonly released: boolean;
  /** The branch is deleted, for ever. */
  readonly tombstone: boolean;
}

export interface InSyncDisk {
  readonly disk: string;
  /** Its generation: the disk's present one, or the next one of an opening that is not finished. */
  readonly generation: string;
}

const IN_SYNC_MAX = 16;
export const ADDRESSES_MAX = 16;

const names = ["epoch", "session", "node", "addresses", "durability", "inSync", "released", "tombstone"];

export function decodeLeaderRecord(json: unknown): LeaderRecord {
  const fields = new Fields(json, names);
  const node = fields.text("node", patterns.line);
  if (!isNodeName(node)) throw new Error(`field node: ${JSON.stringify(node)} is not the name of a node`);
  const record: LeaderRecord = {
    epoch: epoch(fields.count("epoch", { min: 1 })),
    session: fields.text("session", /^[a-z0-9-]{1,80}$/),
    node,
    addresses: fields.list("addresses", ADDRESSES_MAX, lineOf),
    durability: fields.oneOf<Durability>("durability", ["object", "local"]),
    inSync: fields.list("inSync", IN_SYNC_MAX, decodeInSyncDisk),
    released: fields.flag("released"),
    tombstone: fields.flag("tombstone"),
  };
  const wrong = wrongWith(record);
  if (wrong !== null) throw new Error(wrong);
  return record;
}

function decodeInSyncDisk(item: unknown, where: string): InSyncDisk {
  const fields = new Fields(item, ["disk", "generation"], where);
  return { disk: fields.text("disk", patterns.hex16), generation: fields.text("generation", patterns.hex16) };
}

/** Invariants 3 and 4, as far as one version shows them; null when they hold. */
function wrongWith(record: LeaderRecord): string | null {
  const disks = record.inSync.length;
  if (record.durability === "object" && disks > 0) return `field inSync: ${disks} disks in durability object`;
  if (record.released && disks > 0) return `field inSync: ${disks} disks in a branch that is released`;
  if (record.durability === "local" && disks === 0 && !record.released && !record.tombstone) {
    return "field inSync: no disk in durability local while somebody leads";
  }
  if (new Set(record.inSync.map((member) => member.disk)).size < disks) return "field inSync: a disk is named twice";
  return null;
}

/** Who takes over, and how the set is afterwards. */
export interface Taker {
  readonly session: string;
  readonly node: string;
  readonly addresses: readonly string[];
  readonly durability: Durability;
  readonly inSync: readonly InSyncDisk[];
}

/** Of a branch that ends for ever before anybody has led it. `node` says who has ended it. */
export const endedUnled = (node: string): LeaderRecord => ({
  ...{ epoch: epoch(1), session: "nobody", node, addresses: [] },
  ...{ durability: "object", inSync: [], released: true, tombstone: true },
});

/** `firstEpoch`: of a branch that nobody has led yet, one above the highest in what it replays. */
export function takenBy(before: LeaderRecord | null, taker: Taker, firstEpoch: Epoch): LeaderRecord {
  assert(before?.tombstone !== true, "a deleted branch is never taken");
  const record: LeaderRecord = {
    epoch: before === null ? firstEpoch : epoch(before.epoch + 1),
    session: taker.session,
    node: taker.node,
    addresses: taker.addresses,
    durability: taker.durability,
    inSync: taker.inSync,
    released: false,
    tombstone: false,
  };
  // Both sides of the boundary: a record that nobody can read would lock the branch for ever.
  return decodeLeaderRecord(record);
}

/** Given up with everything uploaded: the next leader waits for nobody, and any disk may join. */
export function releasedFrom(before: LeaderRecord): LeaderRecord {
  assert(!before.tombstone && !before.released, "what is released is held");
  return { ...before, inSync: [], released: true };
}

/** Finishes an opening of a disk that a crash cut short. */
export function withGeneration(before: LeaderRecord, disk: string, generation: string): LeaderRecord {
  assert(
    before.inSync.some((member) => member.disk === disk),
    "only a member's generation is changed",
  );
  return {
    ...before,
    inSync: before.inSync.map((member) => (member.disk === disk ? { disk, generation } : member)),
  };
}

/** What a member disk is to the record: `present` and `next` are the generations written on the disk itself. */
export function membershipOf(record: LeaderRecord, disk: MemberState | null): Membership {
  const member = record.inSync.find((entry) => entry.disk === disk?.disk);
  if (disk === null || member === undefined) return "stranger";
  if (member.generation === disk.present) return disk.next === null ? "member" : "openingNotSwapped";
  return member.generation === disk.next ? "openingSwapped" : "rolledBack";
}

export type Membership =
  | "stranger"
  /** The record shows the present generation, and no opening is under way. */
  | "member"
  /** An opening wrote its next generation to the disk; the record does not show it (it may yet, by a late swap). */
  | "openingNotSwapped"
  /** The record shows the next generation; the disk has not made it the present one. */
  | "openingSwapped"
  /** The record shows a generation that the disk knows nothing of: the disk is an old copy. */
  | "rolledBack";

/** What a version that was just read means to the leader of `mine`. */
export function isDeposed(mine: { epoch: Epoch; session: string }, seen: LeaderRecord | null): boolean {
  // A record is never deleted: one that is missing shows no epoch of ours, so nothing is proven.
  if (seen === null) return true;
  if (seen.epoch < mine.epoch) {
    throw new DbError(
      "corrupt",
      `a leader record went back from epoch ${mine.epoch} to ${seen.epoch}: was the bucket restored?`,
    );
  }
  return seen.epoch > mine.epoch || seen.session !== mine.session || seen.tombstone || seen.released;
}
