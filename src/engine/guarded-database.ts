import type { DbError } from "../base/errors.ts";
import type { Epoch, LeaseId, Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { Access } from "./access.ts";
import { AuthCalls } from "./auth-calls.ts";
import type { BranchDatabase } from "./database.ts";
import type { DatabaseParts } from "./database-parts.ts";
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
import type { LeaseKeptAlive } from "./lease-calls.ts";
import type { Maintenance } from "./maintenance/maintenance.ts";

/**
 * A branch as one caller sees it. What reads or writes keys or leases is held against the permissions of that caller;
 * what shows or does something to all of the branch takes the role root. A method that is added to Database belongs to
 * one of the two, or says here why not.
 */
export class GuardedDatabase implements Database {
  readonly identity: Identity;
  readonly #branch: BranchDatabase;
  readonly #parts: DatabaseParts;
  readonly #access: Access;

  constructor(branch: BranchDatabase, parts: DatabaseParts, caller: { credentials: Credentials; lessor: Lessor }) {
    this.identity = branch.identity;
    this.#branch = branch;
    this.#parts = parts;
    this.#access = new Access(parts.desk, caller.credentials, caller.lessor);
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
    return this.#parts.maintenance;
  }

  get auth(): Auth {
    return new AuthCalls(this.#parts.desk, this.#access);
  }

  range(request: RangeRequest): MaybePromise<RangeResult> {
    return this.#parts.reads.range(request, this.#access);
  }

  /** Whoever may call at all. */
  holdOpen(): () => void {
    return this.#branch.holdOpen();
  }

  openRange(request: RangeRequest): MaybePromise<RangeCursor> {
    return this.#parts.reads.openRange(request, this.#access);
  }

  put(request: PutRequest): MaybePromise<PutResult> {
    return this.#parts.writes.put(request, this.#access);
  }

  deleteRange(request: DeleteRangeRequest): MaybePromise<DeleteRangeResult> {
    return this.#parts.writes.deleteRange(request, this.#access);
  }

  txn(request: TxnRequest): MaybePromise<TxnResult> {
    return this.#parts.writes.txn(request, this.#access);
  }

  compact(request: CompactRequest): MaybePromise<{ revision: Revision }> {
    this.require("root");
    return this.#parts.writes.compact(request);
  }

  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]> {
    this.require("root");
    return this.#parts.reads.versionsInOrder(request);
  }

  watch(sink: WatchSink): WatchStream {
    return new GuardedWatchStream(this.#branch.watch(sink), this.#access);
  }

  leaseGrant(request: {
    id: LeaseId;
    ttlSeconds: bigint;
  }): MaybePromise<{ id: LeaseId; ttlSeconds: number; revision: Revision }> {
    this.require("user");
    return this.#parts.leases.grant(request);
  }

  leaseRevoke(id: LeaseId): MaybePromise<{ revision: Revision }> {
    this.require("user");
    return this.#parts.leases.revoke(id, this.#access);
  }

  leaseKeepAlive(id: LeaseId): MaybePromise<LeaseKeptAlive> {
    this.require("user");
    return this.#parts.leases.keepAlive(id, this.#access);
  }

  leaseTimeToLive(request: { id: LeaseId; keys: boolean }): MaybePromise<LeaseTimeToLiveResult> {
    this.require("user");
    return this.#parts.leases.timeToLive(request, this.#access);
  }

  leaseLeases(): MaybePromise<{ ids: LeaseId[]; revision: Revision }> {
    this.require("user");
    return this.#parts.leases.list(this.#access);
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
