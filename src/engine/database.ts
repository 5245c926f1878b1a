import { DbError } from "../base/errors.ts";
import type { Epoch, LeaseId, Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import { AuthCalls } from "./auth-calls.ts";
import type { Guard } from "./auth-desk.ts";
import type { BranchSettings } from "./branches/branch-settings.ts";
import type { DatabaseOptions } from "./database-options.ts";
import { DatabaseParts } from "./database-parts.ts";
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
  TxnRequest,
  TxnResult,
  WatchSink,
  WatchStream,
} from "./engine.ts";
import { GuardedDatabase } from "./guarded-database.ts";
import type { Granting } from "./lease/lease-changes.ts";
import type { LeaseKeptAlive } from "./lease-calls.ts";
import type { BranchMaintenance } from "./maintenance/branch-maintenance.ts";
import type { Evaluate, Sequencer } from "./sequencer.ts";

/**
 * A branch under one leadership, as the program itself sees it, which may do everything; `as` gives what strangers see.
 * Made by `openDatabase` (open-database.ts); what it does is done by its parts (database-parts.ts).
 */
export class BranchDatabase implements Database {
  readonly identity: Identity;
  readonly auth: Auth;
  readonly maintenance: BranchMaintenance;
  readonly settings: BranchSettings;
  readonly #options: DatabaseOptions;
  readonly #parts: DatabaseParts;

  constructor(options: DatabaseOptions) {
    this.identity = options.identity;
    this.#options = options;
    this.#parts = new DatabaseParts(options);
    this.auth = new AuthCalls(this.#parts.desk, null);
    this.maintenance = this.#parts.maintenance;
    this.settings = this.#parts.settings;
  }

  as(credentials: Credentials): Database {
    return new GuardedDatabase(this, this.#parts, { credentials, lessor: this.#options.lessor });
  }

  /** The program itself may do everything. */
  require(): void {}

  get epoch(): Epoch {
    return this.#options.leadership.epoch;
  }

  get committed(): Revision {
    return this.#options.committed.revision;
  }

  get compactRevision(): number {
    return this.#options.committed.compactRevision;
  }

  /** Newest sequenced, for the one who cuts the log: everything appended so far is covered by it. Not to be shown. */
  get head(): Sequencer["head"] {
    return this.#parts.sequencer.head;
  }

  // --- keys ---

  range(request: RangeRequest): MaybePromise<RangeResult> {
    return this.#parts.reads.range(request, null);
  }

  openRange(request: RangeRequest): MaybePromise<RangeCursor> {
    return this.#parts.reads.openRange(request, null);
  }

  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]> {
    return this.#parts.reads.versionsInOrder(request);
  }

  put(request: PutRequest): MaybePromise<PutResult> {
    return this.#parts.writes.put(request, null);
  }

  deleteRange(request: DeleteRangeRequest): MaybePromise<DeleteRangeResult> {
    return this.#parts.writes.deleteRange(request, null);
  }

  txn(request: TxnRequest): MaybePromise<TxnResult> {
    return this.#parts.writes.txn(request, null);
  }

  compact(request: CompactRequest): MaybePromise<{ revision: Revision }> {
    return this.#parts.writes.compact(request);
  }

  watch(sink: WatchSink): WatchStream {
    return this.#options.watch.open(sink);
  }

  // --- leases ---

  leaseGrant(request: Granting): MaybePromise<{ id: LeaseId; ttlSeconds: number; revision: Revision }> {
    return this.#parts.leases.grant(request);
  }

  leaseRevoke(id: LeaseId): MaybePromise<{ revision: Revision }> {
    return this.#parts.leases.revoke(id, null);
  }

  leaseKeepAlive(id: LeaseId): MaybePromise<LeaseKeptAlive> {
    return this.#parts.leases.keepAlive(id, null);
  }

  leaseTimeToLive(request: { id: LeaseId; keys: boolean }): MaybePromise<LeaseTimeToLiveResult> {
    return this.#parts.leases.timeToLive(request, null);
  }

  leaseLeases(): MaybePromise<{ ids: LeaseId[]; revision: Revision }> {
    return this.#parts.leases.list(null);
  }

  // --- the branch as a whole ---

  /**
   * Any change of the branch that is evaluated against the head: for what is composed with this database. `guard` is
   * asked at each evaluation, and throws what the caller is refused with.
   */
  run<Request, Result>(
    evaluate: Evaluate<Request, Result>,
    request: Request,
    guard: Guard | null = null,
  ): MaybePromise<Result> {
    return this.#parts.gate.run(evaluate, request, guard);
  }

  unprovenBecause(): DbError | null {
    return this.#parts.serving.unprovenBecause();
  }

  status(): DatabaseStatus {
    return this.#parts.statusView.status();
  }

  /** Calls that have no answer yet: a branch with one is not idle. */
  get callsPending(): number {
    return this.#parts.serving.callsPending;
  }

  holdOpen(): () => void {
    return this.#parts.serving.holdOpen();
  }

  /**
   * The last change under this leadership: nothing is sequenced behind it, and once it is durable all ends with
   * `error`, so that the branch is opened anew, by what it then says.
   */
  last<Request, Result>(evaluate: Evaluate<Request, Result>, request: Request, error: DbError): Promise<Result> {
    return this.#parts.givingUp.last(evaluate, request, error);
  }

  /**
   * The end of a leadership that gives its branch up: takes no more writes and keep-alives, and logs how long leases
   * have left. The caller then drains the log and releases; if this rejects the next leadership gives every lease its
   * full TTL.
   */
  release(): Promise<void> {
    return this.#parts.givingUp.release(new DbError("stopped"));
  }

  /** Answers nothing any more; what is pending is told that its outcome is unknown. */
  close(error: DbError = new DbError("stopped")): void {
    this.#parts.serving.end(error);
  }
}
