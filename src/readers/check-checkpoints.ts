import type { BranchId, ObjectKey } from "../base/ids.ts";
import type { Origin } from "../leadership/origin.ts";
import { checkpointKey, parseKey, prefixes } from "../objects/keys.ts";
import type { Checkpoint, CheckpointPosition, RetainedCheckpoint } from "../storage/checkpoint.ts";
import { decodeCheckpoint } from "../storage/checkpoint-codec.ts";
import { appendLeaf, emptyRange, type LeafProof, type MountainRange } from "../storage/mountain-range.ts";
import type { Findings } from "./faults.ts";
import { inOrder, type ListedObject, listObjects, type Width } from "./list-objects.ts";
import type { NamedTables } from "./named-tables.ts";
import type { TableSource } from "./table-file.ts";

/** What is known of a branch's checkpoints once all of them are read. */
export interface CheckedCheckpoints {
  readonly count: number;
  readonly bytes: number;
  /** Whole, with its tables. */
  readonly newest: Checkpoint | null;
  readonly newestKey: ObjectKey | null;
  /** False: the newest one is damaged, so what is retained is not known. */
  readonly complete: boolean;
  /** Of the newest and all retained ones, by next slot. */
  readonly positions: Map<number, { object: ObjectKey; position: CheckpointPosition }[]>;
  /** Retained ones that do not exist: looked for once more before each is called a fault. */
  readonly missing: readonly RetainedCheckpoint[];
}

const WIDTH: Width = { requests: 4, bytes: 8 << 20 };
/** Parents are looked for among so many objects before their child. */
const PARENTS_KEPT = 64;

/**
 * Reads all checkpoints of a branch, and checks each by itself, the newest one's claims on those it retains, and each
 * against its parent where that exists. Where the parents in between were collected, the Merkle range must be that of
 * one history: what a retained checkpoint says went before it is what the newest one's proof says.
 */
export async function checkCheckpoints(
  source: TableSource & { onRead: (bytes: number) => void },
  branch: { id: BranchId; origin: Origin | null; tables: NamedTables },
  findings: Findings,
): Promise<CheckedCheckpoints> {
  const { store, request } = source;
  const prefix = prefixes.checkpoints(branch.id);
  const keys: ListedObject[] = [];
  for await (const object of listObjects(store, prefix, request)) {
    if (parseKey(object.key)?.kind === "checkpoint") keys.push(object);
    else findings.fault(object.key, "is no checkpoint: nothing else may lie there, and readers stop at it");
  }
  const walk = new CheckpointWalk(branch, findings);
  // The newest one says what the others are to be held against.
  const read = async ({ key }: ListedObject) => (await store.get(key, request))?.body ?? null;
  const newest = keys.at(-1);
  if (newest !== undefined) walk.newest(newest.key, await read(newest));
  for await (const { item, result } of inOrder(iterate(keys), WIDTH, read)) {
    source.onRead(item.bytes);
    walk.object(item, result);
  }
  return { count: keys.length, bytes: keys.reduce((sum, { bytes }) => sum + bytes, 0), ...walk.finish() };
}

async function* iterate<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}

class CheckpointWalk {
  readonly #branch: { id: BranchId; origin: Origin | null; tables: NamedTables };
  readonly #findings: Findings;
  readonly #positions: CheckedCheckpoints["positions"] = new Map();
  readonly #retained = new Map<string, RetainedCheckpoint>();
  readonly #parents = new Map<string, MountainRange>();
  #newest: Checkpoint | null = null;
  #newestKey: ObjectKey | null = null;
  #complete = true;

  constructor(branch: { id: BranchId; origin: Origin | null; tables: NamedTables }, findings: Findings) {
    this.#branch = branch;
    this.#findings = findings;
  }

  newest(key: ObjectKey, body: Buffer | null): void {
    const checkpoint = body === null ? null : this.#decode(key, body);
    if (checkpoint === null) {
      this.#complete = false;
      return;
    }
    this.#newest = checkpoint;
    this.#newestKey = key;
    for (const one of checkpoint.retained) {
      this.#retained.set(checkpointKey(one.branch, one.nextSlot, one.n), one);
    }
    this.#checkFirst(key, checkpoint);
  }

  object({ key, bytes }: ListedObject, body: Buffer | null): void {
    if (body === null) return;
    const checkpoint = key === this.#newestKey ? this.#newest : this.#decode(key, body);
    if (checkpoint === null) {
      this.#retained.delete(key);
      return;
    }
    this.#checkParent(key, checkpoint);
    const retained = this.#retained.get(key);
    if (key === this.#newestKey) this.#take(key, checkpoint);
    else if (retained !== undefined) {
      this.#retained.delete(key);
      this.#checkRetained(key, checkpoint, retained);
      this.#take(key, checkpoint);
    } else if (this.#complete) {
      this.#findings.unnamed(key, bytes, "is not retained: thinned, or a fork by a deposed leader");
    } else this.#branch.tables.add(key, checkpoint.runs);
  }

  finish(): Omit<CheckedCheckpoints, "count" | "bytes"> {
    return {
      newest: this.#newest,
      newestKey: this.#newestKey,
      complete: this.#complete,
      positions: this.#positions,
      missing: [...this.#retained.values()],
    };
  }

  #decode(key: ObjectKey, body: Buffer): Checkpoint | null {
    try {
      return decodeCheckpoint(key, body);
    } catch (error) {
      this.#findings.thrown(key, error);
      return null;
    }
  }

  #take(key: ObjectKey, { point, runs }: Checkpoint): void {
    const { position } = point;
    const there = this.#positions.get(position.nextSlot) ?? [];
    this.#positions.set(position.nextSlot, [...there, { object: key, position }]);
    this.#branch.tables.add(key, runs);
  }

  /** What the newest one says of a retained one is what that says of itself. */
  #checkRetained(key: ObjectKey, found: Checkpoint, listed: RetainedCheckpoint): void {
    const newest = this.#newest!;
    const by = `as ${this.#newestKey} lists it`;
    if (found.id !== listed.id) {
      this.#findings.fault(key, `SHA-256 ${found.id}, expected ${listed.id}, ${by}`);
      return;
    }
    const { revision } = found.point.position;
    if (revision !== listed.revision || found.point.wallMs !== listed.wallMs) {
      this.#findings.fault(
        key,
        `revision ${revision} of ${found.point.wallMs} ms, expected ${listed.revision} of ${listed.wallMs} ms, ${by}`,
      );
    }
    if (found.epoch > newest.epoch)
      this.#findings.fault(key, `epoch ${found.epoch}, above the newest one's ${newest.epoch}`);
    const expected = rangeBefore(newest.range, listed.proof);
    if (!sameRange(found.range, expected)) {
      this.#findings.fault(key, `a history of ${found.range.leaves} checkpoints that is not the one ${by}`);
    }
  }

  #checkParent(key: ObjectKey, checkpoint: Checkpoint): void {
    const { parent, range, id } = checkpoint;
    const before = parent === null ? undefined : this.#parents.get(parent);
    if (before !== undefined && !sameRange(range, appendLeaf(before, parent!, []).range)) {
      this.#findings.fault(key, `its range is not its parent's with that appended (${range.leaves} checkpoints)`);
    }
    this.#parents.set(id, range);
    if (this.#parents.size > PARENTS_KEPT) this.#parents.delete(this.#parents.keys().next().value!);
  }

  /** The newest one's parent is the last leaf; the first leaf of a branch that was cut is its origin's checkpoint. */
  #checkFirst(key: ObjectKey, { parent, range, retained }: Checkpoint): void {
    if ((parent === null) !== (range.leaves === 0)) {
      this.#findings.fault(key, `${parent === null ? "no parent" : "a parent"} and ${range.leaves} checkpoints before`);
    }
    const last = retained.find(({ proof }) => proof.leaf === range.leaves - 1);
    if (last !== undefined && last.id !== parent)
      this.#findings.fault(key, `parent ${parent}, the last before is ${last.id}`);
    const from = this.#branch.origin?.checkpoint ?? null;
    if (from === null || range.leaves !== 1) return;
    if (!sameRange(range, appendLeaf(emptyRange, from.sha256, []).range)) {
      this.#findings.fault(key, `its first leaf is not its origin's checkpoint ${from.sha256}`);
    }
  }
}

const sameRange = (a: MountainRange, b: MountainRange): boolean =>
  a.leaves === b.leaves && a.peaks.length === b.peaks.length && a.peaks.every((peak, i) => peak === b.peaks[i]);

/**
 * The range over all leaves before one whose proof is given: the mountains before its own, then what lies to the left
 * of its path, the largest first.
 */
function rangeBefore(range: MountainRange, proof: LeafProof): MountainRange {
  const peaks: string[] = [];
  let first = 0;
  for (const [i, size] of mountainSizes(range.leaves).entries()) {
    if (proof.leaf >= first + size) {
      peaks.push(range.peaks[i]!);
      first += size;
      continue;
    }
    const place = proof.leaf - first;
    for (let height = proof.path.length - 1; height >= 0; height--) {
      if (Math.floor(place / 2 ** height) % 2 === 1) peaks.push(proof.path[height]!);
    }
    break;
  }
  return { leaves: proof.leaf, peaks };
}

/** Leaves of each mountain, the largest first. */
function mountainSizes(leaves: number): number[] {
  const sizes: number[] = [];
  for (let size = 1, rest = leaves; rest > 0; size *= 2, rest = Math.floor(rest / 2)) {
    if (rest % 2 === 1) sizes.unshift(size);
  }
  return sizes;
}
