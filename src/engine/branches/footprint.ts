import type { BranchId, ObjectKey, Slot } from "../../base/ids.ts";
import { type BranchReferences, KnownCheckpoints, tablesIn } from "../../collector/branch-references.ts";
import { readReferences } from "../../collector/references.ts";
import { SEGMENT_HEADER_BYTES, SEGMENT_TRAILER_BYTES } from "../../log/segment-codec.ts";
import { checkpointKey, parseKey } from "../../objects/keys.ts";
import { LIST_LIMIT_MAX, type ObjectStore, type RequestOptions } from "../../objects/objects.ts";
import type { Checkpoint, RetainedCheckpoint } from "../../storage/checkpoint.ts";

/** A segment without records is a fence, which is never deleted. */
const FENCE_BYTES = SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES;

interface Parts {
  readonly branches: ReadonlyMap<BranchId, BranchReferences>;
  readonly needs: ReadonlyMap<BranchId, ReadonlySet<ObjectKey>>;
  readonly listed: Listed;
  readonly known: KnownCheckpoints;
}

export interface Sized {
  readonly objects: number;
  readonly bytes: number;
}

/**
 * Which objects each branch needs, by the collector's rule (collector/references.ts), and how large they are: so it
 * can be
 * told what a deletion would free before it is done. Of tables, checkpoints and segments; what else there is, is small
 * and stays. Costs a listing of the repository, and its checkpoints; memory is a name and a number for each object.
 */
export class Footprint {
  readonly branches: ReadonlyMap<BranchId, BranchReferences>;
  readonly #sizes: ReadonlyMap<ObjectKey, number>;
  readonly #needs: ReadonlyMap<BranchId, ReadonlySet<ObjectKey>>;
  readonly #needed: ReadonlyMap<ObjectKey, number>;
  readonly #all: Sized;
  readonly #known: KnownCheckpoints;

  private constructor({ branches, needs, listed, known }: Parts) {
    this.branches = branches;
    this.#needs = needs;
    this.#known = known;
    this.#sizes = listed.sizes;
    this.#all = listed.all;
    const needed = new Map<ObjectKey, number>();
    for (const keys of needs.values()) for (const key of keys) needed.set(key, (needed.get(key) ?? 0) + 1);
    this.#needed = needed;
  }

  static async read(store: ObjectStore, request: RequestOptions): Promise<Footprint> {
    const known = new KnownCheckpoints();
    // The past needs of readers that are slow count as well for a collection; they pass by themselves.
    const reading = { store, request, graceFromMs: Number.POSITIVE_INFINITY, known };
    const { branches } = await readReferences(reading);
    const listed = await listSizes(store, request);
    const needs = new Map<BranchId, Set<ObjectKey>>();
    for (const [branch, references] of branches) {
      const start = references.origin?.checkpoint ?? null;
      const startKey = start === null ? null : checkpointKey(start.branch, start.nextSlot, start.n);
      const keys = new Set<ObjectKey>([...references.tables, ...references.checkpoints]);
      if (startKey !== null) for (const key of [startKey, ...(await tablesIn(startKey, reading))]) keys.add(key);
      for (const key of segmentsOf(references, listed.segments)) keys.add(key);
      needs.set(branch, keys);
    }
    return new Footprint({ branches, needs, listed, known });
  }

  /** All objects of the repository. */
  get all(): Sized {
    return this.#all;
  }

  /** Tables, checkpoints and segments that nobody needs. */
  get garbage(): Sized {
    return this.#sum([...this.#sizes.keys()].filter((key) => !this.#needed.has(key)));
  }

  /** All that a branch needs. */
  needs(branch: BranchId): ReadonlySet<ObjectKey> {
    return this.#needs.get(branch) ?? new Set();
  }

  /** Needed by this branch, and by no other: what deleting it frees. */
  own(branch: BranchId): Sized {
    return this.freed(branch, new Set());
  }

  shared(branch: BranchId): Sized {
    return this.#sum([...this.needs(branch)].filter((key) => this.#needed.get(key)! > 1));
  }

  /** What is freed when the branch needs no more than `left`. */
  freed(branch: BranchId, left: ReadonlySet<ObjectKey>): Sized {
    return this.#sum([...this.needs(branch)].filter((key) => this.#needed.get(key) === 1 && !left.has(key)));
  }

  /** Tables of older retained moments alone. */
  history(branch: BranchId): Sized {
    const newest = this.branches.get(branch)?.newest ?? null;
    if (newest === null) return { objects: 0, bytes: 0 };
    const now = new Set(newest.runs.flat().map(({ key }) => key));
    return this.#sum([...this.needs(branch)].filter((key) => parseKey(key)?.kind === "table" && !now.has(key)));
  }

  /** Of a retained checkpoint; null where it was not read. */
  tableBytesAt({ branch, nextSlot, n }: Pick<RetainedCheckpoint, "branch" | "nextSlot" | "n">): number | null {
    const needs = this.#known.get(checkpointKey(branch, nextSlot, n));
    return needs === undefined ? null : this.#sum(needs.tables).bytes;
  }

  log(branch: BranchId): Sized {
    return this.#sum([...this.needs(branch)].filter((key) => parseKey(key)?.kind === "segment"));
  }

  /** What of its needs a branch keeps whose newest checkpoint retained these older ones, and the log from there on. */
  kept(branch: BranchId, newest: Checkpoint, by: Pick<Checkpoint, "retained" | "firstLogSlot">): Set<ObjectKey> {
    const keys = new Set<ObjectKey>(newest.runs.flat().map(({ key }) => key));
    keys.add(checkpointKey(newest.branch, newest.point.position.nextSlot, newest.n));
    for (const { nextSlot, n } of by.retained) {
      const key = checkpointKey(branch, nextSlot, n);
      keys.add(key);
      for (const table of this.#known.get(key)?.tables ?? []) keys.add(table);
    }
    const origin = this.branches.get(branch)?.origin ?? null;
    const atOrigin = origin !== null && by.firstLogSlot <= origin.position.nextSlot;
    for (const key of this.needs(branch)) {
      const name = parseKey(key);
      const isOwn = name?.kind === "segment" && name.branch === branch;
      // What it was cut with stays as long as its log from the beginning on.
      if (isOwn ? name.slot >= by.firstLogSlot : atOrigin) keys.add(key);
    }
    return keys;
  }

  #sum(keys: readonly ObjectKey[]): Sized {
    let [objects, bytes] = [0, 0];
    for (const key of keys) {
      const size = this.#sizes.get(key);
      if (size === undefined) continue;
      objects++;
      bytes += size;
    }
    return { objects, bytes };
  }
}

/** Its own log from the first slot kept on, and what it replays of others'. */
function segmentsOf({ branch, logFrom, origin }: BranchReferences, segments: Listed["segments"]): ObjectKey[] {
  const own = (segments.get(branch) ?? []).filter(({ slot }) => logFrom !== null && slot >= logFrom);
  const others = (origin?.runs ?? []).flatMap((run) =>
    (segments.get(run.branch) ?? []).filter(({ slot }) => slot >= run.first && slot <= run.last),
  );
  return [...own, ...others].map(({ key }) => key);
}

interface Listed {
  /** Of what may be deleted once nobody needs it. */
  readonly sizes: ReadonlyMap<ObjectKey, number>;
  readonly segments: ReadonlyMap<BranchId, readonly { readonly slot: Slot; readonly key: ObjectKey }[]>;
  readonly all: Sized;
}

/** All that is the repository's, as `t4 verify` counts it: not what is foreign, or left from a test of the store. */
async function listSizes(store: ObjectStore, request: RequestOptions): Promise<Listed> {
  const sizes = new Map<ObjectKey, number>();
  const segments = new Map<BranchId, { slot: Slot; key: ObjectKey }[]>();
  const all = { objects: 0, bytes: 0 };
  let last: ObjectKey | undefined;
  // Bounded by what there is: each page begins behind the one before it.
  for (;;) {
    const after = last === undefined ? {} : { startAfter: last };
    const page = await store.list("", { ...request, ...after, limit: LIST_LIMIT_MAX });
    for (const { key, bytes } of page.objects) {
      last = key;
      const name = parseKey(key);
      if (name === null || name.kind === "probe") continue;
      all.objects++;
      all.bytes += bytes;
      if (name.kind === "segment" && bytes > FENCE_BYTES) {
        const others = segments.get(name.branch);
        if (others === undefined) segments.set(name.branch, [{ slot: name.slot, key }]);
        else others.push({ slot: name.slot, key });
        sizes.set(key, bytes);
      } else if (name.kind === "table" || name.kind === "checkpoint") sizes.set(key, bytes);
    }
    if (!page.more || page.objects.length === 0) return { sizes, segments, all };
  }
}
