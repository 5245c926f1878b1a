import { DbError } from "../../base/errors.ts";
import type { Epoch, Revision } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";
import { KEYS, spaces, type Tree } from "../../storage/storage.ts";
import { AUTH_META_KEY, decodeAuthMeta } from "../auth/auth-records.ts";
import { FIRST_AUTH_REVISION } from "../auth/auth-state.ts";
import type { Guard } from "../auth-desk.ts";
import type { Draft } from "../draft.ts";
import type { Identity, KeyVersion, OrderedVersionsRequest } from "../engine.ts";
import type { Lessor } from "../lease/lessor.ts";
import type { Committed, Evaluate } from "../sequencer.ts";
import type { Alarms } from "./alarms.ts";
import type { BackendState } from "./backend.ts";
import type { Downgrade } from "./downgrade.ts";
import { hashKv } from "./hash-kv.ts";
import type {
  Alarm,
  AlarmRequest,
  AlarmResult,
  DowngradeRequest,
  HashKvResult,
  Maintenance,
  Member,
  MemberAddresses,
  MemberChange,
  MemberChanged,
  Snapshot,
} from "./maintenance.ts";
import { alarmTypes } from "./maintenance.ts";
import type { Members } from "./members.ts";
import type { Quota } from "./quota.ts";
import { hashBackend, makeSnapshot } from "./snapshot.ts";
import { storageVersionOf } from "./storage-version.ts";

/** What is read of a branch at its opening. */
export interface MaintenanceState {
  readonly alarms: Alarms;
  readonly members: Members;
  readonly downgrade: Downgrade;
}

export interface MaintenancePorts extends MaintenanceState {
  readonly identity: Identity;
  readonly quota: Quota;
  readonly tree: Tree;
  readonly lessor: Lessor;
  readonly committed: Committed;
  readonly epoch: () => Epoch;
  run<Request, Result>(evaluate: Evaluate<Request, Result>, request: Request): MaybePromise<Result>;
  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]>;
  defragment(signal: AbortSignal): Promise<void>;
}

/** Each goes through all versions: more at a time would only be in each other's way. */
const SCANS_MAX = 4;
/** A compaction may overtake a snapshot before it has begun; not again and again. */
const ATTEMPTS_MAX = 5;
const ALL = { from: "", to: null };

/** The maintenance of a branch by its leader. */
export class BranchMaintenance implements Maintenance {
  readonly #ports: MaintenancePorts;
  #scans = 0;
  #defragmentations = 0;

  constructor(ports: MaintenancePorts) {
    this.#ports = ports;
  }

  /** Work that may take long is under way: a branch with that is not idle. */
  get busy(): boolean {
    return this.#scans + this.#defragmentations > 0;
  }

  get alarms(): readonly Alarm[] {
    return this.#ports.alarms.committed;
  }

  get downgradeTarget(): string | null {
    return this.#ports.downgrade.committed;
  }

  get storageVersion(): string {
    return storageVersionOf(this.downgradeTarget);
  }

  get quotaBytes(): number | null {
    return this.#ports.quota.bytes;
  }

  alarm(request: AlarmRequest): MaybePromise<AlarmResult> {
    return this.#ports.run(this.#alarmEvaluation, request);
  }

  /**
   * Null where there is room for a change of this cost; else NOSPACE is raised, and then refuses it (M3). Who may not
   * make the change (`guard` throws) is told that and raises nothing: else anybody could stop the writes of others.
   */
  makeRoom(cost: number, guard: Guard | null): Promise<never> | null {
    return this.#ports.quota.hasRoomFor(cost) ? null : this.#refuseForSpace(guard);
  }

  async #refuseForSpace(guard: Guard | null): Promise<never> {
    if (guard !== null) await this.#ports.run(guard, undefined);
    const { memberId } = this.#ports.identity;
    const raised = this.alarms.some((alarm) => alarm.type === alarmTypes.noSpace && alarm.memberId === memberId);
    if (!raised) await this.alarm({ action: "activate", memberId, type: alarmTypes.noSpace });
    throw new DbError("noSpace");
  }

  downgrade(request: DowngradeRequest): MaybePromise<{ revision: Revision; clusterVersion: string }> {
    return this.#ports.run(this.#downgradeEvaluation, request);
  }

  /** Only the node that leads answers calls, so there is nobody else to give the lead to yet. */
  moveLeader(target: bigint): MaybePromise<void> {
    if (target !== this.#ports.identity.memberId) throw new DbError("badLeaderTransferee");
    return this.#ports.run(NOTHING_TO_DO, undefined);
  }

  async defragment(signal: AbortSignal): Promise<void> {
    this.#defragmentations++;
    try {
      await this.#ports.defragment(signal);
    } finally {
      this.#defragmentations--;
    }
  }

  members(self: MemberAddresses, { linearizable }: { linearizable: boolean }): MaybePromise<readonly Member[]> {
    if (!linearizable) return this.#ports.members.list(self);
    const proven = this.#ports.run(NOTHING_TO_DO, undefined);
    const list = () => this.#ports.members.list(self);
    return proven instanceof Promise ? proven.then(list) : list();
  }

  changeMember(self: MemberAddresses, change: MemberChange): MaybePromise<MemberChanged> {
    return this.#ports.run(this.#memberEvaluation, { self, change });
  }

  hashKv(revision: number, signal?: AbortSignal): Promise<HashKvResult> {
    const { committed, tree } = this.#ports;
    const state = {
      committed: committed.revision,
      compactRevision: committed.compactRevision,
      liveKeysAt: (at: number) => tree.count(KEYS, ALL, at),
      versionsInOrder: (request: OrderedVersionsRequest) => this.#ports.versionsInOrder(request),
    };
    return this.#scan(() => hashKv(state, revision, signal));
  }

  hash(signal?: AbortSignal): Promise<{ revision: Revision; hash: number }> {
    return this.#scan(async () => {
      const { state, keys } = await this.#stateNow(signal);
      return { revision: state.revision, hash: await hashBackend(state, keys()) };
    });
  }

  /** One that is made counts until its file was gone through, or `signal` fires. */
  async snapshot(signal: AbortSignal): Promise<Snapshot> {
    const end = this.#beginScan();
    signal.addEventListener("abort", end, { once: true });
    try {
      if (signal.aborted) throw new DbError("canceled");
      const { state, keys } = await this.#stateNow(signal);
      const snapshot = await makeSnapshot(state, keys(), keys());
      return { ...snapshot, pieces: () => endingWith(end, snapshot.pieces()) };
    } catch (error) {
      end();
      throw error;
    }
  }

  async #scan<T>(work: () => Promise<T>): Promise<T> {
    const end = this.#beginScan();
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** Gives what ends it; more than once does no harm. */
  #beginScan(): () => void {
    if (this.#scans >= SCANS_MAX) throw new DbError("tooManyRequests");
    this.#scans++;
    let ended = false;
    return () => {
      if (!ended) this.#scans--;
      ended = true;
    };
  }

  /** Everything of one moment: what is sequenced, once it is durable. `keys` is to be called in the same turn. */
  async #stateNow(signal?: AbortSignal): Promise<{ state: BackendState; keys: () => KeysOnceOf }> {
    const { committed } = this.#ports;
    for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
      const state = await this.#ports.run(this.#stateEvaluation, undefined);
      // Since then a compaction may have become durable: what it made superfluous may be gone already.
      const compactRevision = committed.compactRevision;
      if (compactRevision > state.revision) continue;
      const compacted = compactRevision < 0 ? null : { through: compactRevision, at: compactRevision };
      const keys = () => {
        const versions = this.#ports.versionsInOrder({ after: 0, upTo: state.revision, compacted, signal });
        return () => versions;
      };
      return { state: { ...state, compactRevision }, keys };
    }
    throw new DbError("tooManyRequests", "compactions overtake the snapshot");
  }

  readonly #alarmEvaluation = (draft: Draft, request: AlarmRequest): AlarmResult =>
    this.#ports.alarms.evaluate(draft, request);

  readonly #downgradeEvaluation = (draft: Draft, request: DowngradeRequest) =>
    this.#ports.downgrade.evaluate(draft, request);

  readonly #memberEvaluation = (
    draft: Draft,
    request: { self: MemberAddresses; change: MemberChange },
  ): MemberChanged => this.#ports.members.evaluate(draft, request);

  readonly #stateEvaluation = (draft: Draft): BackendState => {
    const { alarms, members, downgrade, lessor, epoch } = this.#ports;
    const users = draft.reads.scan(spaces.users, ALL);
    const roles = draft.reads.scan(spaces.roles, ALL);
    const auth = draft.reads.getOther(spaces.meta, AUTH_META_KEY);
    return {
      revision: draft.revision,
      compactRevision: draft.compactRevision,
      record: draft.record - 1,
      epoch: epoch(),
      leases: lessor.sequenced().map(({ id, ttlSeconds }) => ({ id, ttlSeconds })),
      alarms: alarms.sequenced,
      members: members.sequenced({ peerUrls: [], clientUrls: [] }),
      auth: auth === null ? { enabled: false, revision: FIRST_AUTH_REVISION } : decodeAuthMeta(auth),
      users: users.map(pairOf),
      roles: roles.map(pairOf),
      downgradeTarget: downgrade.sequenced,
    };
  };
}

async function* endingWith<T>(end: () => void, items: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* items;
  } finally {
    end();
  }
}

type KeysOnceOf = () => AsyncIterable<readonly KeyVersion[]>;

const NOTHING_TO_DO = (): void => {};

const pairOf = ({ key, bytes, start, end }: { key: string; bytes: Uint8Array; start: number; end: number }) => ({
  key: Buffer.from(key, "latin1"),
  value: bytes.subarray(start, end),
});
