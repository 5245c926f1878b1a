import type { Revision } from "../../base/ids.ts";
import { etcdStorageVersion } from "../../base/version.ts";
import type { Bucket } from "../bbolt/file.ts";
import type { Pair } from "../bbolt/pages.ts";
import type { KeyVersion } from "../engine.ts";
import { alarmKey, int64Bytes, leaseValue, revisionKey, versionValue } from "./etcd-encoding.ts";
import type { Alarm, Member } from "./maintenance.ts";
import { storageVersionOf } from "./storage-version.ts";

/** A branch at one moment, but for its keys. */
export interface BackendState {
  readonly revision: Revision;
  readonly compactRevision: number;
  /** Number of the newest record, taken for raft's index. */
  readonly record: number;
  readonly epoch: number;
  readonly leases: readonly { readonly id: bigint; readonly ttlSeconds: number }[];
  readonly alarms: readonly Alarm[];
  readonly members: readonly Member[];
  readonly auth: { readonly enabled: boolean; readonly revision: number };
  /** Names and encoded authpb.User and authpb.Role. */
  readonly users: readonly Pair[];
  readonly roles: readonly Pair[];
  /** "3.5.0" and the like; null: no downgrade. */
  readonly downgradeTarget: string | null;
}

type Keys = () => AsyncIterable<readonly KeyVersion[]>;

/** Keys of `meta` that say nothing of the state: not part of Hash, as in etcd. */
export const UNHASHED: ReadonlySet<string> = new Set(["consistent_index", "term", "storageVersion"]);

/** The buckets of an etcd member with this state, in the order of their names (M5). */
export function backendBuckets(state: BackendState, keys: Keys): Bucket[] {
  const { auth } = state;
  return [
    bucket(
      "alarm",
      state.alarms.map((alarm) => pair(alarmKey(alarm), "")),
    ),
    bucket("auth", [
      pair("authEnabled", Buffer.of(auth.enabled ? 1 : 0)),
      pair("authRevision", int64Bytes(BigInt(auth.revision))),
    ]),
    bucket("authRoles", state.roles),
    bucket("authUsers", state.users),
    bucket("cluster", [pair("clusterVersion", storageVersionOf(state.downgradeTarget))]),
    { name: "key", pairs: () => versionPairs(keys()) },
    bucket(
      "lease",
      state.leases.map(({ id, ttlSeconds }) => pair(int64Bytes(id), leaseValue(id, ttlSeconds))),
    ),
    bucket("members", state.members.map(memberPair)),
    bucket("members_removed", []),
    bucket("meta", metaPairs(state)),
  ];
}

async function* versionPairs(batches: AsyncIterable<readonly KeyVersion[]>): AsyncGenerator<Iterable<Pair>> {
  for await (const batch of batches)
    yield batch.map((version) => ({ key: revisionKey(version), value: versionValue(version) }));
}

function metaPairs(state: BackendState): Pair[] {
  const { compactRevision, record, epoch } = state;
  const voters = state.members.filter((member) => member.name !== "").map((member) => member.id);
  const pairs = [
    pair("confState", `{"voters":[${voters.join(",")}],"auto_leave":false}`),
    pair("consistent_index", int64Bytes(BigInt(record))),
    pair("term", int64Bytes(BigInt(epoch))),
  ];
  if (compactRevision >= 0) {
    const compacted = revisionKey({ main: compactRevision, sub: 0, tombstone: false });
    pairs.push(pair("finishedCompactRev", compacted), pair("scheduledCompactRev", compacted));
  }
  // Before 3.6 etcd had no such field, and its program of that version refuses to find one.
  if (state.downgradeTarget === null) pairs.push(pair("storageVersion", etcdStorageVersion));
  return pairs;
}

/** What has not joined is left out: whoever restores says anew who the members are. */
function memberPair({ id, name, peerUrls, clientUrls, isLearner }: Member): Pair {
  const learner = isLearner ? { isLearner } : {};
  const body = JSON.stringify({ peerURLs: peerUrls, ...learner, name, clientURLs: clientUrls });
  return pair(id.toString(16), `{"id":${id},${body.slice(1)}`);
}

/** A small one, whose pairs are at hand. */
function bucket(name: string, pairs: readonly Pair[]): Bucket {
  const sorted = [...pairs].sort((a, b) => Buffer.compare(a.key, b.key));
  return {
    name,
    async *pairs() {
      yield sorted;
    },
  };
}

const pair = (key: string | Buffer, value: string | Buffer): Pair => ({ key: bytesOf(key), value: bytesOf(value) });

const bytesOf = (bytes: string | Buffer): Buffer => (typeof bytes === "string" ? Buffer.from(bytes) : bytes);
