import { DbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import type { KeyVersion, OrderedVersionsRequest } from "../engine.ts";
import { revisionKey, versionValue } from "./etcd-encoding.ts";
import type { HashKvResult } from "./maintenance.ts";
import { Sum } from "./sum.ts";

/** What of a branch is hashed. */
export interface HashedState {
  readonly committed: Revision;
  readonly compactRevision: number;
  liveKeysAt(revision: number): MaybePromise<number>;
  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]>;
}

/**
 * etcd's HashKV (M4): a CRC-32C over the bucket's name and all versions up to a revision, in their order, as etcd's
 * store holds them; of those up to the compact revision C only each key's newest at that revision, unless it is deleted
 * there. So it does not change when a compaction is carried out, and is the same for the same history.
 *
 * Where no key is left at the revision, etcd passes over nothing (its set of versions to keep is empty, which it takes
 * for no compaction): it hashes what its store still holds, which is each key's newest at C. A tombstone of C itself,
 * which newer ones keep and older ones do not, is never hashed.
 *
 * etcd answers revisions up to its last compactions with sums that it stored then; after a restart it answers as here.
 */
export async function hashKv(state: HashedState, asked: number, signal?: AbortSignal): Promise<HashKvResult> {
  const { committed, compactRevision } = state;
  if (asked > 0 && asked < compactRevision) throw new DbError("compacted");
  if (asked > committed) throw new DbError("futureRevision");
  const upTo = asked === 0 ? committed : asked;
  const result = { revision: committed, compactRevision, hashRevision: upTo };
  if (upTo < 1) return { ...result, hash: await sumOf([], compactRevision) };
  // All is asked for in one turn: it is of one moment.
  const kept = (through: number, at: number) =>
    state.versionsInOrder({ after: 0, upTo, compacted: through < 0 ? null : { through, at }, signal });
  const remembered = kept(compactRevision, upTo);
  const all = kept(compactRevision, compactRevision);
  const live = await state.liveKeysAt(upTo);
  return { ...result, hash: await sumOf(live === 0 ? all : remembered, compactRevision) };
}

async function sumOf(
  batches: AsyncIterable<readonly KeyVersion[]> | readonly [],
  compactRevision: number,
): Promise<number> {
  const sum = new Sum();
  sum.add(Buffer.from("key"));
  for await (const batch of batches) {
    for (const version of batch) {
      if (version.tombstone && version.main === compactRevision) continue;
      sum.add(revisionKey(version));
      sum.add(versionValue(version));
    }
  }
  return sum.value;
}
