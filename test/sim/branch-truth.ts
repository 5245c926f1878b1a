import { ok } from "node:assert/strict";
import { hash } from "node:crypto";
import type { BranchId, Slot } from "../../src/base/ids.ts";
import type { Row } from "../../src/engine/engine.ts";
import { KeyValueReader } from "../../src/engine/mvcc/key-value.ts";
import { decodeRecord } from "../../src/engine/record.ts";
import { clusterId } from "../../src/leadership/identity.ts";
import { decodeOrigin, type Origin } from "../../src/leadership/origin.ts";
import { Chain } from "../../src/log/chain.ts";
import type { LogRecord } from "../../src/log/log.ts";
import { decodeSegment } from "../../src/log/segment-codec.ts";
import { parseKey, segmentKey } from "../../src/objects/keys.ts";
import { type Entry, KEYS } from "../../src/storage/storage.ts";
import type { BucketChange } from "./bucket.ts";

/**
 * What every branch of a repository holds, told by nobody but the bucket, and as it has ever had it: what was created
 * first in each slot, also where it was collected since. A branch is its parent's records up to where it was cut, and
 * then its own: so nothing of another branch's later writes is ever in it, whatever the program does.
 */
export class BranchTruth {
  readonly #origins = new Map<BranchId, Origin>();
  readonly #own = new Map<BranchId, readonly LogRecord[]>();
  readonly #byCluster = new Map<string, BranchId>();
  readonly #segments = new Map<BranchId, Map<Slot, Buffer>>();

  constructor(history: readonly BucketChange[], repository: string) {
    for (const { key, kind, body } of history) {
      const name = kind === "put" ? parseKey(key) : null;
      if (name?.kind === "origin") this.#origins.set(name.branch, decodeOrigin(name.branch, body!));
      if (name?.kind !== "segment") continue;
      const slots = this.#segments.get(name.branch) ?? new Map<Slot, Buffer>();
      this.#segments.set(name.branch, slots);
      if (!slots.has(name.slot)) slots.set(name.slot, body!);
    }
    for (const branch of this.#origins.keys()) this.#byCluster.set(clusterId(repository, branch).toString(16), branch);
  }

  get branches(): BranchId[] {
    return [...this.#origins.keys()];
  }

  /** The branch that was there from the start. */
  get root(): BranchId {
    return this.branches.find((branch) => this.origin(branch).parent === null)!;
  }

  /** By its cluster id, as clients see it. */
  branchOf(cluster: string): BranchId {
    const branch = this.#byCluster.get(cluster);
    ok(branch !== undefined, `cluster ${cluster} is a branch's`);
    return branch;
  }

  /** The same; undefined where there is none. */
  branchNamed(cluster: string): BranchId | undefined {
    return this.#byCluster.get(cluster);
  }

  origin(branch: BranchId): Origin {
    const origin = this.#origins.get(branch);
    ok(origin !== undefined, `branch ${branch} has had an origin`);
    return origin;
  }

  /** The records of the branch's own log. */
  own(branch: BranchId): readonly LogRecord[] {
    let records = this.#own.get(branch);
    if (records === undefined) {
      records = this.#read(branch);
      this.#own.set(branch, records);
    }
    return records;
  }

  #read(branch: BranchId): LogRecord[] {
    const slots = this.#segments.get(branch) ?? new Map<Slot, Buffer>();
    const chain = new Chain(branch, this.origin(branch).position);
    const records: LogRecord[] = [];
    for (;;) {
      const { nextSlot } = chain.position();
      const body = slots.get(nextSlot);
      if (body === undefined) return records;
      const segment = decodeSegment(segmentKey(branch, nextSlot), body);
      if (chain.accept(segment) === "valid") records.push(...segment.records);
    }
  }

  /** All that the branch's state is made of, its ancestors' first. */
  records(branch: BranchId): LogRecord[] {
    const own = this.own(branch);
    const { parent, position } = this.origin(branch);
    if (parent === null) return [...own];
    const before = this.records(parent).filter(({ number }) => number <= position.lastRecord);
    return [...before, ...own];
  }

  /** What a digest of all live pairs is at each of some revisions, in their order (`digestOf`). */
  digests(branch: BranchId, revisions: Iterable<number>): Map<number, string> {
    const records = this.records(branch);
    const pairs = new Map<string, string>();
    const digests = new Map<number, string>();
    let at = 0;
    for (const revision of [...new Set(revisions)].sort((a, b) => a - b)) {
      for (; at < records.length && records[at]!.revision <= revision; at++) applyTo(pairs, records[at]!);
      digests.set(revision, digestOf(pairs));
    }
    return digests;
  }

  /** The newest revision of the branch. */
  revision(branch: BranchId): number {
    return this.own(branch).at(-1)?.revision ?? this.origin(branch).position.revision;
  }

  /** Every version that was ever written, newest last, up to `upTo`. */
  versions(branch: BranchId, upTo: number): string[] {
    const records = this.records(branch).filter(({ revision }) => revision <= upTo);
    return records.flatMap((record) => keyEntries(record).map(versionText));
  }
}

export const versionText = (version: Omit<Entry, "space" | "effect">): string => {
  const { key, main, sub, tombstone, bytes, start, end } = version;
  const value = tombstone ? "gone" : Buffer.from(bytes.subarray(start, end)).toString("hex");
  return `${key} ${main}.${sub} ${value}`;
};

export const keyEntries = (record: LogRecord): Entry[] =>
  decodeRecord(record).entries.filter(({ space }) => space === KEYS);

function applyTo(pairs: Map<string, string>, record: LogRecord): void {
  for (const { key, tombstone, bytes, start, end } of keyEntries(record)) {
    if (tombstone) pairs.delete(key);
    else pairs.set(key, textOf(bytes, start, end));
  }
}

const textOf = (bytes: Uint8Array, start: number, end: number): string =>
  Buffer.from(bytes.subarray(start, end)).toString("base64");

function digestOf(pairs: ReadonlyMap<string, string>): string {
  const lines = [...pairs].map(([key, pair]) => `${key} ${pair}`).sort();
  return `${lines.length} keys ${hash("sha256", lines.join("\n")).slice(0, 16)}`;
}

const reader = new KeyValueReader();

/** The same of what a range of everything has answered. */
export function digestOfRows(rows: readonly Row[]): string {
  return digestOf(new Map(rows.map((row) => [reader.read(row).key, textOf(row.bytes, row.start, row.end)])));
}
