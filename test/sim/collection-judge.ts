import { ok } from "node:assert/strict";
import type { BranchId, ObjectKey, Slot } from "../../src/base/ids.ts";
import { PURGING } from "../../src/engine/branches/name-changes.ts";
import { decodeBranchName } from "../../src/leadership/branch-name.ts";
import { decodeLeaderRecord } from "../../src/leadership/leader-record.ts";
import { decodeOrigin, type Origin, type OriginRun } from "../../src/leadership/origin.ts";
import { decodeSegmentHeader } from "../../src/log/segment-codec.ts";
import { decodeEnvelope } from "../../src/objects/envelope.ts";
import { checkpointKey, originKey, parseKey, segmentKey } from "../../src/objects/keys.ts";
import type { Checkpoint } from "../../src/storage/checkpoint.ts";
import { decodeCheckpoint } from "../../src/storage/checkpoint-codec.ts";
import type { BucketChange, SimBucket } from "./bucket.ts";
import { LogTruth } from "./log-truth.ts";

/**
 * Goes through all that ever happened to a bucket, change by change, and says where something was missing that a branch
 * needed. It knows the formats, and nothing of how a collector decides.
 *
 * A branch counts from its name on (`main` from the start) until its leader record is a tombstone; one that is deleted,
 * for as long as it can be brought back. It needs its newest
 * checkpoint, those that this retains, the tables of all of them, the log from the first slot kept; and while it has no
 * checkpoint of its own, what its origin names.
 */
export class CollectionJudge {
  readonly problems: string[] = [];
  readonly #objects = new Map<string, Buffer>();
  readonly #checkpoints = new Map<string, Checkpoint>();
  readonly #main: BranchId;
  #followed = 0;
  /** Keys needed now, by who needs them; and logs needed from a slot on. Made anew after what may change them. */
  #needed: { keys: Map<string, string>; logs: Map<BranchId, Slot> } | null = null;

  constructor(main: BranchId) {
    this.#main = main;
  }

  /** Takes what has happened since it was last asked to. */
  follow(history: readonly BucketChange[]): this {
    for (; this.#followed < history.length; this.#followed++) this.#apply(history[this.#followed]!);
    return this;
  }

  #apply({ kind, key, body, atMs, by }: BucketChange): void {
    const name = parseKey(key);
    ok(name !== null, `${key} is a name of ours`);
    if (kind === "delete") {
      const why = this.#whoNeeds(key);
      if (why !== null) this.problems.push(`at ${atMs.toFixed(0)} ms ${by} deleted ${key}, needed by ${why}`);
      this.#objects.delete(key);
    } else {
      this.#objects.set(key, body!);
      if (name.kind === "checkpoint") {
        const checkpoint = decodeCheckpoint(key as ObjectKey, body!);
        this.#checkpoints.set(key, checkpoint);
      }
    }
    if (["checkpoint", "name", "origin", "leader"].includes(name.kind)) {
      this.#needed = null;
      if (kind === "put" && (name.kind === "checkpoint" || name.kind === "name"))
        this.#checkAll(`${by} put ${key}`, atMs);
    }
  }

  #whoNeeds(key: string): string | null {
    const { keys, logs } = this.#needs();
    const by = keys.get(key);
    if (by !== undefined) return by;
    const name = parseKey(key);
    if (name?.kind !== "segment") return null;
    const from = logs.get(name.branch);
    return from !== undefined && name.slot >= from ? `the log of ${name.branch}, kept from slot ${from} on` : null;
  }

  /** What has just become needed is there. */
  #checkAll(why: string, atMs: number): void {
    for (const [key, by] of this.#needs().keys) {
      if (!this.#objects.has(key))
        this.problems.push(`at ${atMs.toFixed(0)} ms, when ${why}: ${key} is missing, needed by ${by}`);
    }
  }

  #needs(): { keys: Map<string, string>; logs: Map<BranchId, Slot> } {
    this.#needed ??= this.#needsOf(this.named());
    return this.#needed;
  }

  #needsOf(branches: Iterable<BranchId>): { keys: Map<string, string>; logs: Map<BranchId, Slot> } {
    const keys = new Map<string, string>();
    const logs = new Map<BranchId, Slot>();
    for (const branch of branches) {
      const newest = this.newest(branch);
      if (newest === null) this.#addOrigin(branch, keys);
      else {
        logs.set(branch, newest.firstLogSlot);
        this.#addCheckpoint(newest, `the newest checkpoint of ${branch}`, keys);
        for (const each of newest.retained) {
          const key = checkpointKey(each.branch, each.nextSlot, each.n);
          keys.set(key, `the newest checkpoint of ${branch}, which retains it`);
          const retained = this.#checkpoints.get(key);
          if (retained !== undefined) this.#addCheckpoint(retained, `${key}, retained`, keys);
        }
      }
    }
    return { keys, logs };
  }

  #addCheckpoint(checkpoint: Checkpoint, by: string, keys: Map<string, string>): void {
    keys.set(checkpointKey(checkpoint.branch, checkpoint.point.position.nextSlot, checkpoint.n), by);
    for (const run of checkpoint.runs) for (const table of run) keys.set(table.key, by);
  }

  #addOrigin(branch: BranchId, keys: Map<string, string>): void {
    const by = `the origin of ${branch}`;
    const origin = this.origin(branch);
    keys.set(originKey(branch), `branch ${branch}, which is named`);
    if (origin === null) return;
    if (origin.checkpoint !== null) {
      const { branch: of, nextSlot, n } = origin.checkpoint;
      keys.set(checkpointKey(of, nextSlot, n), by);
      const checkpoint = this.#checkpoints.get(checkpointKey(of, nextSlot, n));
      if (checkpoint !== undefined) this.#addCheckpoint(checkpoint, by, keys);
    }
    for (const run of origin.runs) for (const key of keysOf(run)) keys.set(key, by);
  }

  /** Branches that a name points to and that are not deleted. */
  named(): BranchId[] {
    const branches = new Set([this.#main]);
    for (const [key, body] of this.#objects) {
      if (parseKey(key)?.kind !== "name") continue;
      const name = decodeBranchName(decodeEnvelope(key as ObjectKey, body).body);
      // One that is deleted can be brought back, until its time of grace is over.
      if (!name.tombstone || (name.purgeMs ?? PURGING) !== PURGING) branches.add(name.branch);
    }
    return [...branches].filter((branch) => !this.#isDeleted(branch));
  }

  #isDeleted(branch: BranchId): boolean {
    const body = this.#objects.get(`branch/${branch}/leader`);
    return (
      body !== undefined &&
      decodeLeaderRecord(decodeEnvelope(`branch/${branch}/leader` as ObjectKey, body).body).tombstone
    );
  }

  origin(branch: BranchId): Origin | null {
    const body = this.#objects.get(originKey(branch));
    return body === undefined ? null : decodeOrigin(branch, body);
  }

  newest(branch: BranchId): Checkpoint | null {
    const prefix = `branch/${branch}/checkpoint/`;
    let newest = "";
    for (const key of this.#objects.keys()) if (key.startsWith(prefix) && key > newest) newest = key;
    return newest === "" ? null : this.#checkpoints.get(newest)!;
  }

  /** What nobody needs, and is still there; for when all is quiet and everything has been collected. */
  leftOver(): string[] {
    const branches = new Set(this.named());
    const origins: BranchId[] = [];
    for (const key of this.#objects.keys()) {
      const name = parseKey(key);
      if (name?.kind !== "origin") continue;
      origins.push(name.branch);
      // Whoever cut it took its name back, or died before; it may have been led meanwhile, and nobody has deleted it.
      if (!this.#isDeleted(name.branch)) branches.add(name.branch);
    }
    const { keys, logs } = this.#needsOf(branches);
    // An origin keeps what it names, whatever becomes of its branch.
    for (const branch of origins) this.#addOrigin(branch, keys);
    return [...this.#objects.keys()].filter((key) => !keys.has(key) && this.#mayGo(key, logs));
  }

  #mayGo(key: string, logs: ReadonlyMap<BranchId, Slot>): boolean {
    const name = parseKey(key);
    if (name?.kind === "checkpoint") return true;
    if (name?.kind === "segment") {
      const from = logs.get(name.branch) ?? (this.#isDeleted(name.branch) ? Number.MAX_SAFE_INTEGER : 1);
      return name.slot < from && !this.#endsEpochs(key as ObjectKey, name.branch, name.slot);
    }
    if (name?.kind !== "table") return false;
    // Of the last leadership: it may have been about to be referenced.
    const newest = this.newest(name.branch);
    return this.#isDeleted(name.branch) || (newest !== null && name.epoch < newest.epoch);
  }

  /** A fence, or void: written by a lower epoch than a fence before it. */
  #endsEpochs(key: ObjectKey, branch: BranchId, slot: Slot): boolean {
    const header = headerOf(key, this.#objects.get(key)!);
    if (header.fence) return true;
    for (const [other, body] of this.#objects) {
      const name = parseKey(other);
      if (name?.kind !== "segment" || name.branch !== branch || name.slot >= slot) continue;
      if (headerOf(other as ObjectKey, body).epoch > header.epoch) return true;
    }
    return false;
  }
}

const headerOf = (key: ObjectKey, body: Buffer) => decodeSegmentHeader(key, body, body.length);

function* keysOf({ branch, first, last }: OriginRun): Iterable<ObjectKey> {
  for (let slot: number = first; slot <= last; slot++) yield segmentKey(branch, slot as Slot);
}

/** Fences and void segments of a log that are not in the bucket any more. */
export function lostFences(bucket: SimBucket, branch: BranchId, origin: Origin): string[] {
  const { fences, voids } = new LogTruth(bucket, branch, origin.position);
  return [...fences, ...voids].map((slot) => segmentKey(branch, slot)).filter((key) => !bucket.objects.has(key));
}
