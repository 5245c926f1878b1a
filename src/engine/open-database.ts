import type { Revision } from "../base/ids.ts";
import { AT_HEAD, type Space, spaces, type Tree, type Version } from "../storage/storage.ts";
import { AUTH_META_KEY, authStateOf } from "./auth/auth-records.ts";
import type { AuthState } from "./auth/auth-state.ts";
import { createTokens } from "./auth/create-tokens.ts";
import { readPromotions } from "./branches/promotion.ts";
import { readWriteProtected } from "./branches/write-protection.ts";
import { BranchDatabase } from "./database.ts";
import type { DatabaseOptions, WatchPort } from "./database-options.ts";
import { decodeLease } from "./lease/lease-record.ts";
import { Lessor } from "./lease/lessor.ts";
import { leaseIdOfKey } from "./lease-key.ts";
import { Alarms } from "./maintenance/alarms.ts";
import { Downgrade } from "./maintenance/downgrade.ts";
import { Members } from "./maintenance/members.ts";
import { readCompactRevision, readLeasesStripped, readReleased } from "./meta.ts";
import type { Committed } from "./sequencer.ts";

export type OpenOptions = Omit<
  DatabaseOptions,
  "lessor" | "auth" | "committed" | "leasesStripped" | "branch" | "maintenance" | "watch"
> & {
  /** After the last record replayed. */
  readonly revision: Revision;
  /** Makes the watch half; `told` is the revision that it starts at. */
  watch(source: WatchedState): WatchPort;
};

/** What watches read of the branch. */
export interface WatchedState {
  readonly tree: Tree;
  readonly told: Revision;
  /** As readers see it, at each moment. */
  readonly compactRevision: number;
}

/**
 * A database over a tree that the log has been replayed into (`applyRecord`), by the leader of its branch, with all of
 * the log durable. Reads what the engine keeps in memory: the compact revision, the leases, users and roles, not the
 * keys.
 */
export async function openDatabase(options: OpenOptions): Promise<BranchDatabase> {
  const { tree, revision, runtime, leadership, identity } = options;
  const lessor = new Lessor(options.settings.lease);
  const nowMs = () => runtime.clock.monotonicMs();
  const readLeases = async (): Promise<void> => {
    const released = await readReleased(tree);
    const isLastEpoch = released !== null && released.epoch + 1 === leadership.epoch;
    await restoreLeases(lessor, tree, { nowMs, wasReleased: isLastEpoch && released.clusterId === identity.clusterId });
  };
  // At once: on a store that is far away each of them may wait for blocks of its own, and those they share come once.
  const [compactRevision, alarms, members, downgrade, authState, leasesStripped, promotions, writeProtected] =
    await Promise.all([
      readCompactRevision(tree),
      Alarms.read(tree),
      Members.read(tree, identity),
      Downgrade.read(tree),
      readAuthState(tree),
      readLeasesStripped(tree),
      readPromotions(tree, identity),
      readWriteProtected(tree, identity),
      readLeases(),
    ]);
  const committed: Committed = { revision, compactRevision };
  const watch = options.watch({
    tree,
    told: revision,
    get compactRevision() {
      return committed.compactRevision;
    },
  });
  const maintenance = { alarms, members, downgrade };
  const auth = {
    state: authState,
    tokens: createTokens(options.settings.auth, { runtime, clusterId: identity.clusterId }),
  };
  const branch = { ...promotions, writeProtected };
  const parts = { lessor, auth, committed, leasesStripped, branch, maintenance, watch };
  return new BranchDatabase({ ...options, ...parts });
}

async function readAuthState(tree: Tree): Promise<AuthState> {
  const users: Version[] = [];
  const roles: Version[] = [];
  const [meta] = await Promise.all([
    tree.get(spaces.meta, AUTH_META_KEY, AT_HEAD),
    eachVersion(tree, spaces.users, (version) => users.push(version)),
    eachVersion(tree, spaces.roles, (version) => roles.push(version)),
  ]);
  return authStateOf({ meta, users, roles });
}

/** Entries read at once. */
const PAGE = 10_000;

/**
 * Every lease has its full TTL again, but what remained where the leadership just before this one logged that as its
 * last act. Epochs without a gap prove that nobody led in between, and a cut branch has another cluster id.
 */
async function restoreLeases(
  lessor: Lessor,
  tree: Tree,
  { nowMs, wasReleased }: { nowMs: () => number; wasReleased: boolean },
): Promise<void> {
  await eachVersion(tree, spaces.leases, (version) => {
    const { ttlSeconds, remainingSeconds } = decodeLease(version);
    const left = wasReleased && remainingSeconds !== null ? remainingSeconds : ttlSeconds;
    lessor.restore(leaseIdOfKey(version.key), { ttlSeconds, remainingSeconds: left }, nowMs());
  });
}

async function eachVersion(tree: Tree, space: Space, take: (version: Version) => void): Promise<void> {
  for (let from: string | null = ""; from !== null; ) {
    const page = await tree.scan(space, { from, to: null }, AT_HEAD, { limit: PAGE });
    for (const version of page) take(version);
    from = page.length < PAGE ? null : `${page[page.length - 1]!.key}\0`;
  }
}
