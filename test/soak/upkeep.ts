import { hash } from "node:crypto";
import { assert } from "../../src/base/assert.ts";
import type { EtcdClient } from "../../src/cli/client.ts";
import { KV, Maintenance } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import type { SeededRandom } from "./random.ts";
import type { Witness } from "./witness.ts";

const LONG_MS = 120_000;
const SHA256_BYTES = 32;

/** What operators do beside the load. */
export type Upkeep = "compact" | "defragment" | "snapshot" | "status";

export async function upkeep(what: Upkeep, client: EtcdClient, witness: Witness, random: SeededRandom): Promise<void> {
  switch (what) {
    case "compact":
      return compact(client, witness, random);
    case "defragment":
      await client.unary(Maintenance.method.defragment, {}, LONG_MS);
      return;
    case "snapshot":
      return snapshot(client);
    case "status": {
      const status = await client.unary(Maintenance.method.status, {});
      assert(status.errors.length === 0 || witness.trouble, `the status tells of ${status.errors.join(", ")}`);
      return;
    }
  }
}

/** Never beyond what has been verified: the history behind it is still to be held against what clients saw. */
async function compact(client: EtcdClient, witness: Witness, random: SeededRandom): Promise<void> {
  const { verifiedTo } = witness.journal;
  const revision = verifiedTo - random.between(0, Math.max(1, Math.floor((verifiedTo - witness.compactedTo) / 2)));
  if (revision <= witness.compactedTo) return;
  // Before the answer: it may be carried out though no answer comes.
  witness.compactedTo = revision;
  await client.unary(KV.method.compact, { revision: BigInt(revision), physical: random.chance(0.1) }, LONG_MS);
}

/** Ends with the SHA-256 of all before it; at times it is left in the middle by a kill. */
async function snapshot(client: EtcdClient): Promise<void> {
  const call = await client.stream(Maintenance.method.snapshot);
  call.send({});
  call.finish();
  const blobs: Uint8Array[] = [];
  for await (const { blob } of call.messages()) blobs.push(blob);
  const all = Buffer.concat(blobs);
  assert(all.length > SHA256_BYTES, "a snapshot is not empty");
  const found = all.subarray(-SHA256_BYTES).toString("hex");
  const computed = hash("sha256", all.subarray(0, -SHA256_BYTES), "hex");
  assert(found === computed, "a snapshot ends with its SHA-256");
}

/** The whole content as of a revision, as one number; null where it was compacted meanwhile. */
export async function hashAt(client: EtcdClient, revision: number): Promise<{ hash: number; compacted: number }> {
  const answer = await client.unary(Maintenance.method.hashKV, { revision: BigInt(revision) }, LONG_MS);
  return { hash: answer.hash, compacted: Number(answer.compactRevision) };
}
