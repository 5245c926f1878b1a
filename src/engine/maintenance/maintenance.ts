import type { Revision } from "../../base/ids.ts";
import type { MaybePromise } from "../../base/maybe-promise.ts";

/** What etcd's Maintenance and Cluster services ask of a branch. Errors are DbErrors, as of all of the engine. */
export interface Maintenance {
  /** Raised now, as readers may see it; for Status and health. */
  readonly alarms: readonly Alarm[];
  /** The version to which a downgrade is under way; null: none (M7). */
  readonly downgradeTarget: string | null;
  /** Of what etcd a snapshot made now would be a store of. */
  readonly storageVersion: string;
  /** Bytes that live versions may take; null: no bound. */
  readonly quotaBytes: number | null;

  /** Linearizable; gives the alarms listed, raised or disarmed (M2). */
  alarm(request: AlarmRequest): MaybePromise<AlarmResult>;
  downgrade(request: DowngradeRequest): MaybePromise<{ revision: Revision; clusterVersion: string }>;
  /** Resolves when the node `target` leads (M6). */
  moveLeader(target: bigint): MaybePromise<void>;

  /** 0: at the newest revision; M4. */
  hashKv(revision: number, signal?: AbortSignal): Promise<HashKvResult>;
  /** Of the whole state: leases, users and alarms too. */
  hash(signal?: AbortSignal): Promise<{ readonly revision: Revision; readonly hash: number }>;
  /** The state as the file of an etcd member; `signal` frees what it holds (M5). */
  snapshot(signal: AbortSignal): Promise<Snapshot>;

  /** Merges all tables that can be merged, beside reads and writes; resolves when a checkpoint lists them (M4). */
  defragment(signal: AbortSignal): Promise<void>;

  /** By id. What others are announced without having joined is listed too (M8). */
  members(self: MemberAddresses, options: { linearizable: boolean }): MaybePromise<readonly Member[]>;
  changeMember(self: MemberAddresses, change: MemberChange): MaybePromise<MemberChanged>;
}

export interface HashKvResult {
  readonly revision: Revision;
  readonly hash: number;
  readonly compactRevision: number;
  readonly hashRevision: number;
}

export interface Snapshot {
  readonly revision: Revision;
  /** Of the file; etcd's clients append its SHA-256. */
  readonly bytes: number;
  /** Of etcd's store, that it is one of. */
  readonly version: string;
  /** The file, from its beginning; to be taken once. */
  pieces(): AsyncIterable<Uint8Array>;
}

/** As on the wire; other numbers are kept as they are. */
export const alarmTypes = { none: 0, noSpace: 1, corrupt: 2 } as const;

export interface Alarm {
  readonly memberId: bigint;
  readonly type: number;
}

export interface AlarmRequest {
  readonly action: "get" | "activate" | "deactivate";
  readonly memberId: bigint;
  /** `none` asks for all; raising or disarming it does nothing. */
  readonly type: number;
}

export interface AlarmResult {
  readonly alarms: readonly Alarm[];
  readonly revision: Revision;
}

export interface DowngradeRequest {
  readonly action: "validate" | "enable" | "cancel";
  readonly version: string;
}

/** Where this node is reached: known to the server alone. */
export interface MemberAddresses {
  readonly peerUrls: readonly string[];
  readonly clientUrls: readonly string[];
}

export interface Member extends MemberAddresses {
  readonly id: bigint;
  /** Empty: it was announced and has not joined. */
  readonly name: string;
  readonly isLearner: boolean;
}

export type MemberChange =
  | { readonly kind: "add"; readonly peerUrls: readonly string[]; readonly isLearner: boolean }
  | { readonly kind: "remove" | "promote"; readonly id: bigint }
  | { readonly kind: "update"; readonly id: bigint; readonly peerUrls: readonly string[] };

export interface MemberChanged {
  /** The one added. */
  readonly member: Member | null;
  readonly members: readonly Member[];
}
