import { ClosedByBug, DbError } from "../base/errors.ts";
import { type Epoch, type LeaseId, leaseId, type Revision } from "../base/ids.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { Leadership } from "../leadership/leadership.ts";
import { KEYS, spaces, type Tree } from "../storage/storage.ts";
import type { Access } from "./access.ts";
import type { AuthState } from "./auth/auth-state.ts";
import { AuthCalls } from "./auth-calls.ts";
import { AuthDesk, type Guard } from "./auth-desk.ts";
import { BranchSettings } from "./branches/branch-settings.ts";
import type { DatabaseOptions } from "./database-options.ts";
import type { Draft } from "./draft.ts";
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
import { Evaluations, guarded } from "./evaluations.ts";
import { GuardedDatabase } from "./guarded-database.ts";
import { HeldOpen } from "./held-open.ts";
import { type Granting, logRemaining } from "./lease/lease-changes.ts";
import type { Lease, Lessor } from "./lease/lessor.ts";
import { LeaseExpiry } from "./lease-expiry.ts";
import { LEASE_KEY_BYTES } from "./lease-key.ts";
import { BranchMaintenance } from "./maintenance/branch-maintenance.ts";
import { LEASE_COST, putCost, Quota, txnCost } from "./maintenance/quota.ts";
import { encodeReleased, metaKeys } from "./meta.ts";
import { checkDeleteRange, checkPut, checkRange, checkTxn } from "./mvcc/check-request.ts";
import { counted } from "./mvcc/gathered.ts";
import { range } from "./mvcc/range.ts";
import { openRange } from "./mvcc/range-cursor.ts";
import { isReadOnly, isSerializable } from "./mvcc/txn.ts";
import { PermittedRange } from "./permitted-range.ts";
import { readOnlyTxnAt } from "./read-only-txn.ts";
import { recordKinds } from "./record.ts";
import { type Committed, type Evaluate, notCarriedOut, Sequencer } from "./sequencer.ts";
import { versionsInOrder } from "./versions-in-order.ts";

/**
 * A branch under one leadership: etcd's semantics put together from mvcc, leases and watches, around one sequencer.
 * Made by `openDatabase` (open-database.ts).
 *
 *   reads:  check ─► proof ─► tree at `committed`           no promise where proof and tree have the answer at hand
 *   writes: check ─► sequencer.run(evaluate, request)       answered when durable
 */
export class BranchDatabase implements Database {
  readonly identity: Identity;
  readonly #options: DatabaseOptions;
  readonly #tree: Tree;
  readonly #leadership: Leadership;
  readonly #lessor: Lessor;
  readonly #evaluations: Evaluations;
  readonly #committed: Committed;
  readonly #sequencer: Sequencer;
  readonly #expiry: LeaseExpiry;
  readonly #desk: AuthDesk;
  /** Of the program itself, which may do everything. */
  readonly auth: Auth;
  readonly maintenance: BranchMaintenance;
  readonly settings: BranchSettings;
  readonly #heldOpen: HeldOpen;
  readonly #nowMs: () => number;
  /** What calls are told from now on: nothing more is taken. */
  #closing: DbError | null = null;
  #keys = 0;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.identity = options.identity;
    this.#tree = options.tree;
    this.#leadership = options.leadership;
    this.#lessor = options.lessor;
    this.#committed = options.committed;
    const { clock, timers } = options.runtime;
    this.#nowMs = () => clock.monotonicMs();
    this.#heldOpen = new HeldOpen({ readsMax: options.settings.callsMax });
    this.#evaluations = new Evaluations({
      lessor: this.#lessor,
      alarms: options.maintenance.alarms,
      nowMs: this.#nowMs,
      onGranted: () => this.#expiry.schedule(),
    });
    this.#sequencer = this.#makeSequencer();
    this.maintenance = this.#makeMaintenance();
    this.settings = this.#makeSettings();
    this.#expiry = new LeaseExpiry(this.#lessor, {
      clock,
      timers,
      perSecond: options.settings.expiriesPerSecond,
      mayExpire: () => this.unprovenBecause() === null && this.settings.takesWrites,
      expire: (lease) => this.#expire(lease),
      onBug: (error) => this.close(new ClosedByBug(error)),
    });
    this.#desk = this.#makeDesk();
    this.auth = new AuthCalls(this.#desk, null);
    options.leadership.onLost = (error) => this.#sequencer.fail(error);
    options.leadership.onRegained = () => this.#lessor.renewAll(this.#nowMs());
    const { refusal } = this.settings;
    this.#sequencer.refuseWrites(refusal);
    if (refusal === null) this.#expiry.schedule();
  }

  #makeSettings(): BranchSettings {
    return new BranchSettings(this.#options.branch, {
      identity: this.identity,
      run: (evaluate, request) => this.run(evaluate, request),
      onWritesTaken: () => {
        this.#lessor.renewAll(this.#nowMs());
        this.#expiry.schedule();
      },
    });
  }

  #makeSequencer(): Sequencer {
    const { tree, log, settings, storage, watch, onEnd } = this.#options;
    const { clock, timers } = this.#options.runtime;
    return new Sequencer(tree, log, {
      ...this.#committed,
      committed: this.#committed,
      clock,
      timers,
      requestTimeoutMs: settings.requestTimeoutMs,
      leasesStripped: this.#options.leasesStripped,
      callsMax: settings.callsMax,
      bytesMax: settings.bytesMax,
      proof: () => this.#leadership.proof(),
      storageRefusal: () => storage.refusal(),
      onCommitted: (commits) => watch.committed(commits),
      onCompacted: (compactRevision) => watch.compacted(compactRevision),
      onEnd: (error) => {
        this.#expiry.stop();
        watch.fail(notCarriedOut(error));
        onEnd(error);
      },
    });
  }

  #makeMaintenance(): BranchMaintenance {
    const { maintenance, identity, tree, lessor, committed, storage, settings } = this.#options;
    return new BranchMaintenance({
      ...maintenance,
      identity,
      tree,
      lessor,
      committed,
      quota: new Quota(settings.quotaBytes, () => storage.stats(this.#sequencer.liveBytes).bytesInUse),
      epoch: () => this.epoch,
      run: (evaluate, request) => this.run(evaluate, request),
      versionsInOrder: (request) => this.versionsInOrder(request),
      defragment: (signal) => storage.defragment(signal),
    });
  }

  #makeDesk(): AuthDesk {
    const { auth, log, settings, runtime } = this.#options;
    return new AuthDesk(auth.state, {
      ...settings.auth,
      tokens: auth.tokens,
      passwords: runtime.passwords,
      random: runtime.random,
      run: (evaluate, request, guard) => this.run(evaluate, request, guard),
      proof: () => {
        this.#checkServing();
        return this.#leadership.proof();
      },
      answer: () => ({ revision: this.committed }),
      record: () => log.head,
    });
  }

  as(credentials: Credentials): Database {
    return new GuardedDatabase(this, { desk: this.#desk, lessor: this.#lessor, credentials });
  }

  /** The program itself may do everything. */
  require(): void {}

  get epoch(): Epoch {
    return this.#leadership.epoch;
  }

  get committed(): Revision {
    return this.#committed.revision;
  }

  get compactRevision(): number {
    return this.#committed.compactRevision;
  }

  /** Newest sequenced, for the one who cuts the log: everything appended so far is covered by it. Not to be shown. */
  get head(): Sequencer["head"] {
    return this.#sequencer.head;
  }

  // --- keys ---

  // `access`: whose call it is; null: the program's own.

  range(request: RangeRequest, access: Access | null = null): MaybePromise<RangeResult> {
    checkRange(request);
    this.#checkOpen();
    if (!request.serializable) {
      const why = this.#leadership.proof();
      if (why instanceof Promise) return this.#afterProof(why, () => this.#range(request, access));
      if (why !== null) throw why;
    }
    return this.#range(request, access);
  }

  #range(request: RangeRequest, access: Access | null): MaybePromise<RangeResult> {
    if (access === null) return range(this.#tree, this.#committed, request);
    const permittedBy = access.range(request);
    return this.#stillPermitted(access, permittedBy, range(this.#tree, this.#committed, request));
  }

  openRange(request: RangeRequest, access: Access | null = null): MaybePromise<RangeCursor> {
    checkRange(request);
    this.#checkOpen();
    const why = request.serializable ? null : this.#leadership.proof();
    if (why instanceof Promise) return this.#afterProof(why, () => this.#openRange(request, access));
    if (why !== null) throw why;
    return this.#openRange(request, access);
  }

  #openRange(request: RangeRequest, access: Access | null): MaybePromise<RangeCursor> {
    const { timers } = this.#options.runtime;
    if (access === null) return openRange(this.#tree, this.#committed, request, { timers });
    const permittedBy = access.range(request);
    const rows = openRange(this.#tree, this.#committed, request, { timers });
    if (!isPromise(rows)) return new PermittedRange(rows, access, permittedBy);
    return rows.then((opened) => new PermittedRange(opened, access, permittedBy));
  }

  #stillPermitted<T>(access: Access, permittedBy: AuthState, answer: MaybePromise<T>): MaybePromise<T> {
    if (!isPromise(answer)) return answer;
    return answer.then((result) => {
      access.unchanged(permittedBy);
      return result;
    });
  }

  put(request: PutRequest, access: Access | null = null): MaybePromise<PutResult> {
    checkPut(request);
    const guard = access?.put(request) ?? null;
    return this.maintenance.makeRoom(putCost(request), guard) ?? this.run(this.#evaluations.put, request, guard);
  }

  deleteRange(request: DeleteRangeRequest, access: Access | null = null): MaybePromise<DeleteRangeResult> {
    checkDeleteRange(request);
    return this.run(this.#evaluations.deleteRange, request, access?.deleteRange(request));
  }

  txn(request: TxnRequest, access: Access | null = null): MaybePromise<TxnResult> {
    checkTxn(request, this.#options.settings.txnOpsMax);
    return counted(request, (asked) => this.#txn(asked, access));
  }

  #txn(request: TxnRequest, access: Access | null): MaybePromise<TxnResult> {
    if (!isReadOnly(request)) {
      const guard = access?.txn(request) ?? null;
      return this.maintenance.makeRoom(txnCost(request), guard) ?? this.run(this.#evaluations.txn, request, guard);
    }
    this.#checkOpen();
    const why = isSerializable(request) ? null : this.#leadership.proof();
    if (why instanceof Promise) return this.#afterProof(why, () => this.#readOnlyTxn(request, access));
    if (why !== null) throw why;
    return this.#readOnlyTxn(request, access);
  }

  #readOnlyTxn(request: TxnRequest, access: Access | null): MaybePromise<TxnResult> {
    if (access === null) return readOnlyTxnAt(this.#tree, this.#committed, request);
    const permittedBy = access.readOnlyTxn(request);
    return this.#stillPermitted(access, permittedBy, readOnlyTxnAt(this.#tree, this.#committed, request));
  }

  compact(request: CompactRequest): MaybePromise<{ revision: Revision }> {
    const done = this.run(this.#evaluations.compact, request);
    return request.physical ? this.#compactPhysically(done, request.revision as Revision) : done;
  }

  async #compactPhysically(
    done: MaybePromise<{ revision: Revision }>,
    revision: Revision,
  ): Promise<{ revision: Revision }> {
    const result = await done;
    await this.#options.storage.compacted(revision);
    return result;
  }

  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]> {
    this.#checkOpen();
    if (request.upTo > this.committed) throw new DbError("futureRevision");
    return versionsInOrder(this.#tree, request);
  }

  watch(sink: WatchSink): WatchStream {
    return this.#options.watch.open(sink);
  }

  // --- leases ---

  leaseGrant(request: Granting): MaybePromise<{ id: LeaseId; ttlSeconds: number; revision: Revision }> {
    const id = request.id === 0n ? this.#freeLeaseId() : request.id;
    const granting = { id, ttlSeconds: request.ttlSeconds };
    return this.maintenance.makeRoom(LEASE_COST, null) ?? this.run(this.#evaluations.grant, granting);
  }

  leaseRevoke(id: LeaseId, access: Access | null = null): MaybePromise<{ revision: Revision }> {
    return this.run(this.#evaluations.revoke, id, access?.leaseKeys(id, "write"));
  }

  leaseKeepAlive(id: LeaseId): MaybePromise<{ ttlSeconds: number; revision: Revision }> {
    this.#checkServing();
    const why = this.#leadership.proof();
    if (why instanceof Promise) return this.#afterProof(why, () => this.#keepAlive(id));
    if (why !== null) throw why;
    return this.#keepAlive(id);
  }

  /** The time counts from here on, which is when the answer leaves. */
  #keepAlive(id: LeaseId): MaybePromise<{ ttlSeconds: number; revision: Revision }> {
    this.#checkServing();
    const nowMs = this.#nowMs();
    const found = this.#lessor.look(id, nowMs);
    if (found === null) return { ttlSeconds: 0, revision: this.committed };
    // Nothing ends in a branch that takes no writes.
    if (found.isEnding && this.settings.takesWrites) return this.#keepAliveEnding(id, found.lease);
    this.#lessor.renew(found.lease, nowMs);
    return { ttlSeconds: found.lease.ttlSeconds, revision: this.committed };
  }

  /** Once due it cannot be saved: it is revoked first, so that an answer of 0 means that its keys are gone (L4). */
  async #keepAliveEnding(id: LeaseId, lease: Lease): Promise<{ ttlSeconds: number; revision: Revision }> {
    await this.#sequencer.run(this.#evaluations.expire, lease);
    const found = this.#lessor.look(id, this.#nowMs());
    // Proof was regained in between, which gave it its full time again: the client's next keep-alive is answered as
    // usual.
    if (found !== null && !found.isEnding && found.lease === lease) {
      this.#lessor.renew(lease, this.#nowMs());
      return { ttlSeconds: lease.ttlSeconds, revision: this.committed };
    }
    return { ttlSeconds: 0, revision: this.committed };
  }

  leaseTimeToLive(
    request: { id: LeaseId; keys: boolean },
    access: Access | null = null,
  ): MaybePromise<LeaseTimeToLiveResult> {
    const { id, keys } = request;
    // Which keys are attached is known of the head alone, so that answer waits for it.
    if (keys) return this.run(this.#attachedEvaluation, id, access?.leaseKeys(id, "read"));
    this.#checkOpen();
    const why = this.#leadership.proof();
    if (why instanceof Promise) return this.#afterProof(why, () => this.#timeToLive(id));
    if (why !== null) throw why;
    return this.#timeToLive(id);
  }

  #timeToLive(id: LeaseId): LeaseTimeToLiveResult {
    const found = this.#lessor.look(id, this.#nowMs());
    return this.#timeToLiveResult(id, found?.lease ?? null, { revision: this.committed, keys: [] });
  }

  /**
   * Keep-alives that wait for a proof may be due to come before it: where the proof costs a request, it is asked for
   * first, so that no lease ends while none can be answered (L8).
   */
  #expire(lease: Lease): MaybePromise<{ revoked: boolean }> {
    const why = this.#leadership.proof();
    if (why instanceof Promise) {
      return this.#afterProof(why, () => this.#sequencer.run(this.#evaluations.expire, lease));
    }
    if (why !== null) throw why;
    return this.#sequencer.run(this.#evaluations.expire, lease);
  }

  #timeToLiveResult(
    id: LeaseId,
    lease: Lease | null,
    { revision, keys }: { revision: Revision; keys: string[] },
  ): LeaseTimeToLiveResult {
    if (lease === null) return { revision, id, ttlSeconds: -1, grantedTtlSeconds: 0, keys: [] };
    const ttlSeconds = this.#lessor.remainingSeconds(lease, this.#nowMs());
    return { revision, id, ttlSeconds, grantedTtlSeconds: lease.ttlSeconds, keys };
  }

  leaseLeases(): MaybePromise<{ ids: LeaseId[]; revision: Revision }> {
    this.#checkOpen();
    const list = () => ({ ids: this.#lessor.list().map(({ id }) => id), revision: this.committed });
    const why = this.#leadership.proof();
    if (why instanceof Promise) return this.#afterProof(why, list);
    if (why !== null) throw why;
    return list();
  }

  /** A random positive int64 that no lease has (L1). */
  #freeLeaseId(): LeaseId {
    for (;;) {
      const id = BigInt.asUintN(63, this.#options.runtime.random.bytes(8).readBigUInt64BE(0));
      if (id !== 0n && !this.#lessor.exists(id)) return leaseId(id);
    }
  }

  // --- the rest ---

  /**
   * Any change of the branch that is evaluated against the head: for what is composed with this database (auth, alarms,
   * settings).
   */
  run<Request, Result>(
    evaluate: Evaluate<Request, Result>,
    request: Request,
    guard: Guard | null = null,
  ): MaybePromise<Result> {
    this.#checkServing();
    const guardedEvaluate = guard === null ? evaluate : guarded(guard, evaluate);
    const room = this.#options.storage.room();
    if (room === null) return this.#sequencer.run(guardedEvaluate, request);
    return room.then(() => {
      // The branch may have been given up meanwhile: nothing is sequenced behind its last record.
      this.#checkServing();
      return this.#sequencer.run(guardedEvaluate, request);
    });
  }

  /**
   * The last change under this leadership: nothing is sequenced behind it, and once it is durable all ends with
   * `error`, so that the branch is opened anew, by what it then says.
   */
  async last<Request, Result>(evaluate: Evaluate<Request, Result>, request: Request, error: DbError): Promise<Result> {
    this.#checkServing();
    this.#closing = error;
    this.#expiry.stop();
    this.#sequencer.refuseWaiting(notCarriedOut(error));
    this.#sequencer.refuseWrites(null);
    try {
      return await this.#sequencer.run(evaluate, request);
    } finally {
      this.close(error);
    }
  }

  unprovenBecause(): DbError | null {
    const { end } = this.#sequencer;
    return end === null ? this.#leadership.unprovenBecause() : notCarriedOut(end);
  }

  status(): DatabaseStatus {
    const { log, storage, watch, leadership, identity } = this.#options;
    const logStats = log.stats();
    const keys = this.#tree.count(KEYS, { from: "", to: null }, this.committed);
    // A count that must be read for is not waited for: the last one known is shown. The read warms the way for the
    // next.
    if (keys instanceof Promise) keys.then(this.#setKeys, () => {});
    else this.#keys = keys;
    const { streams, watchers } = watch.stats;
    const errors = [this.unprovenBecause(), log.trouble];
    const stored = storage.stats(this.#sequencer.liveBytes);
    return {
      branch: identity.branchName,
      durability: leadership.durability,
      epoch: leadership.epoch,
      revision: this.committed,
      compactRevision: this.compactRevision,
      record: log.head,
      committedRecord: log.durable,
      nextSlot: logStats.nextSlot,
      slotsInFlight: logStats.slotsInFlight,
      uploadedRecord: logStats.uploadedRecord,
      uploadPendingBytes: logStats.pendingBytes,
      uploadDelayMs: logStats.pendingAgeMs,
      ...stored,
      keys: this.#keys,
      watchers,
      watchStreams: streams,
      keysPut: watch.changed.puts,
      keysDeleted: watch.changed.deletes,
      leases: this.#lessor.size,
      leasesExpired: this.#expiry.expired,
      errors: [...errors.flatMap((error) => (error === null ? [] : [error.message])), ...stored.errors],
    };
  }

  readonly #setKeys = (keys: number): number => (this.#keys = keys);

  /** Calls that have no answer yet: a branch with one is not idle. */
  get callsPending(): number {
    return this.#sequencer.callsPending + this.#heldOpen.count;
  }

  holdOpen(): () => void {
    return this.#heldOpen.byStream();
  }

  /**
   * The end of a leadership that gives its branch up: takes no more writes and keep-alives, and logs how long leases
   * have left. The caller then drains the log and releases; if this rejects the next leadership gives every lease its
   * full TTL.
   */
  async release(): Promise<void> {
    this.#closing = new DbError("stopped");
    this.#expiry.stop();
    this.#sequencer.refuseWaiting(this.#closing);
    this.#sequencer.refuseWrites(null);
    const nowMs = this.#nowMs();
    const leases = this.#lessor.list();
    for (let at = 0; at < leases.length; at += RELEASE_CHUNK)
      await this.#sequencer.run(this.#remainingEvaluation, { leases: leases.slice(at, at + RELEASE_CHUNK), nowMs });
    await this.#sequencer.run(this.#releasedEvaluation, null);
  }

  /** Answers nothing any more; what is pending is told that its outcome is unknown. */
  close(error: DbError = new DbError("stopped")): void {
    this.#closing ??= error;
    this.#sequencer.fail(error);
  }

  #checkOpen(): void {
    const { end } = this.#sequencer;
    if (end !== null) throw notCarriedOut(end);
  }

  #checkServing(): void {
    if (this.#closing !== null) throw notCarriedOut(this.#closing);
    this.#checkOpen();
  }

  #afterProof<T>(proof: Promise<DbError | null>, answer: () => MaybePromise<T>): Promise<T> {
    return this.#heldOpen.byRead(async () => {
      const why = await proof;
      this.#checkOpen();
      if (why !== null) throw why;
      return await answer();
    });
  }

  // --- evaluations, bound once ---

  readonly #attachedEvaluation = (draft: Draft, id: LeaseId): LeaseTimeToLiveResult => {
    const lease = this.#lessor.revocable(id);
    const keys = lease === null ? [] : draft.attachedKeys(id).map((key) => key.slice(LEASE_KEY_BYTES));
    return this.#timeToLiveResult(id, lease, { revision: draft.revision, keys });
  };

  readonly #remainingEvaluation = (draft: Draft, request: { leases: readonly Lease[]; nowMs: number }) =>
    logRemaining(draft, this.#lessor, request);

  readonly #releasedEvaluation = (draft: Draft) => {
    draft.kind = recordKinds.leaseRelease;
    const value = encodeReleased({ epoch: this.epoch, clusterId: this.identity.clusterId });
    const effect = draft.reads.getOther(spaces.meta, metaKeys.released) === null ? 1 : 0;
    draft.entry(spaces.meta, metaKeys.released, value, effect);
  };
}

/** Leases whose remaining time goes into one record. */
const RELEASE_CHUNK = 1000;
