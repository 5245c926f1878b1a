import type { DbError } from "../base/errors.ts";
import type { Epoch, LeaseId, Revision } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import { Access } from "./access.ts";
import { AuthCalls } from "./auth-calls.ts";
import type { AuthDesk } from "./auth-desk.ts";
import type { BranchDatabase } from "./database.ts";
import type {
  Auth,
  CompactRequest,
  Credentials,
  Database,
  DatabaseStatus,
  DeleteRangeRequest,
  DeleteRangeResult,
  Identity,
  KeyVersion,
  LeaseTimeToLiveResult,
  OrderedVersionsRequest,
  PutRequest,
  PutResult,
  RangeCursor,
  RangeRequest,
  RangeResult,
  Right,
  TxnRequest,
  TxnResult,
  WatchSink,
  WatchStream,
} from "./engine.ts";
import { GuardedWatchStream } from "./guarded-watch-stream.ts";
import type { Lessor } from "./lease/lessor.ts";
import type { Maintenance } from "./maintenance/maintenance.ts";

/**
 * A branch as one caller sees it. What reads or writes keys or leases is held against the permissions of that caller;
 * what shows or does something to all of the branch takes the role root. A method that is added to Database belongs to
 * one of the two, or says here why not.
 */
export class GuardedDatabase implements Database {
  readonly identity: Identity;
  readonly #branch: BranchDatabase;
  readonly #desk: AuthDesk;
  readonly #access: Access;

  constructor(branch: BranchDatabase, parts: { desk: AuthDesk; lessor: Lessor; credentials: Credentials }) {
    this.identity = branch.identity;
    this.#branch = branch;
    this.#desk = parts.desk;
    this.#access = new Access(parts.desk, parts.credentials, parts.lessor);
  }

  /** What every answer's header tells. */
  get epoch(): Epoch {
    return this.#branch.epoch;
  }

  get committed(): Revision {
    return this.#branch.committed;
  }

  get compactRevision(): number {
    return this.#branch.compactRevision;
  }

  require(right: Right): void {
    this.#access.require(right);
  }

  as(credentials: Credentials): Database {
    return this.#branch.as(credentials);
  }

  /** Who serves it asks `require` first: the rights differ by what a request asks. */
  get maintenance(): Maintenance {
    return this.#branch.maintenance;
  }

  get auth(): Auth {
    return new AuthCalls(this.#desk, this.#access);
  }

  range(request: RangeRequest): MaybePromise<RangeResult> {
    return this.#branch.range(request, this.#access);
  }

  /** Whoever may call at all. */
  holdOpen(): () => void {
    return this.#branch.holdOpen();
  }

  openRange(request: RangeRequest): MaybePromise<RangeCursor> {
    return this.#branch.openRange(request, this.#access);
  }

  put(request: PutRequest): MaybePromise<PutResult> {
    return this.#branch.put(request, this.#access);
  }

  deleteRange(request: DeleteRangeRequest): MaybePromise<DeleteRangeResult> {
    return this.#branch.deleteRange(request, this.#access);
  }

  txn(request: TxnRequest): MaybePromise<TxnResult> {
    return this.#branch.txn(request, this.#access);
  }

  compact(request: CompactRequest): MaybePromise<{ revision: Revision }> {
    this.require("root");
    return this.#branch.compact(request);
  }

  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]> {
    this.require("root");
    return this.#branch.versionsInOrder(request);
  }

  watch(sink: WatchSink): WatchStream {
    return new GuardedWatchStream(this.#branch.watch(sink), this.#access);
  }

  leaseGrant(request: {
    id: LeaseId;
    ttlSeconds: bigint;
  }): MaybePromise<{ id: LeaseId; ttlSeconds: number; revision: Revision }> {
    this.require("user");
    return this.#branch.leaseGrant(request);
  }

  leaseRevoke(id: LeaseId): MaybePromise<{ revision: Revision }> {
    this.require("user");
    return this.#branch.leaseRevoke(id, this.#access);
  }

  leaseKeepAlive(id: LeaseId): MaybePromise<{ ttlSeconds: number; revision: Revision }> {
    this.require("user");
    if (this.#access.isRoot) return this.#branch.leaseKeepAlive(id);
    const checked = this.#branch.run(nothing, null, this.#access.leaseKeys(id, "write"));
    return isPromise(checked) ? checked.then(() => this.#branch.leaseKeepAlive(id)) : this.#branch.leaseKeepAlive(id);
  }

  leaseTimeToLive(request: { id: LeaseId; keys: boolean }): MaybePromise<LeaseTimeToLiveResult> {
    this.require("user");
    return this.#branch.leaseTimeToLive(request, this.#access);
  }

  leaseLeases(): MaybePromise<{ ids: LeaseId[]; revision: Revision }> {
    this.require("user");
    if (this.#access.isRoot) return this.#branch.leaseLeases();
    const checked = this.#branch.run(nothing, null, this.#access.allLeaseKeys());
    return isPromise(checked) ? checked.then(() => this.#branch.leaseLeases()) : this.#branch.leaseLeases();
  }

  /** Of the node, not of its data: every call may meet it. */
  unprovenBecause(): DbError | null {
    return this.#branch.unprovenBecause();
  }

  status(): DatabaseStatus {
    this.require("user");
    return this.#branch.status();
  }
}

/** A check by itself: its guard is all of it. */
const nothing = (): void => {};
