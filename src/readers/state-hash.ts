import type { Revision } from "../base/ids.ts";
import type { PastState } from "../engine/branches/past-state.ts";
import { hashKv } from "../engine/maintenance/hash-kv.ts";
import { versionsInOrder } from "../engine/versions-in-order.ts";
import { contentHashOf } from "../storage/checkpoint.ts";
import { KEYS } from "../storage/storage.ts";

/**
 * `hashKv` is that of etcd's HashKV, over all versions that a compaction leaves: equal for equal states, however they
 * are stored. `contentHash` is that of the entries of the checkpoint that the state begins with (not of its log): equal
 * for the same entries in other tables, and another one once a compaction has dropped some.
 */
export async function hashOfState(
  state: PastState,
): Promise<{ hashKv: number; hashRevision: number; compactRevision: number; contentHash: string | null }> {
  const { tree, checkpoint } = state;
  const found = await hashKv(
    {
      committed: state.revision as Revision,
      compactRevision: state.compactRevision,
      liveKeysAt: (at) => tree.count(KEYS, { from: "", to: null }, at),
      versionsInOrder: (request) => versionsInOrder(tree, request),
    },
    0,
  );
  return {
    hashKv: found.hash,
    hashRevision: found.hashRevision,
    compactRevision: state.compactRevision,
    contentHash: checkpoint === null ? null : contentHashOf(checkpoint.runs),
  };
}
