import type { DbError } from "../base/errors.ts";
import type { Epoch, LeaseId, RecordNumber, Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { CacheStatus } from "../storage/cache-status.ts";
import type { Maintenance } from "./maintenance/maintenance.ts";
import type { Gathered } from "./mvcc/gathered.ts";

/**
 * etcd's semantics without any wire: what `api` calls, and what the library offers. Keys are latin1 strings
 * (base/latin1.ts); values are bytes. A request's byte arrays may be views into a larger buffer and are not kept after
 * the call has settled. Rows of etcd-api are named by their ids (R1, P4 …).
 *
 * Every method throws, or rejects with, a DbError. An answer reveals nothing above the committed revision, and is given
 * once all that it was evaluated against is durable.
 */
export interface Database {
  readonly identity: Identity;
  /** The present leadership's epoch, reported as raft term. */
  readonly epoch: Epoch;
  /** The newest durable revision. */
  readonly committed: Revision;
  /** As readers see it; −1 before the first compaction. */
  readonly compactRevision: number;

  /**
   * A client's stream or large answer has begun: until what this gives is called (more than once does no harm), the
   * branch is not idle.
   */
  holdOpen(): () => void;

  range(request: RangeRequest): MaybePromise<RangeResult>;
  /** The same, to be read page by page, in bounded memory. */
  openRange(request: RangeRequest): MaybePromise<RangeCursor>;
  put(request: PutRequest): MaybePromise<PutResult>;
  deleteRange(request: DeleteRangeRequest): MaybePromise<DeleteRangeResult>;
  txn(request: TxnRequest): MaybePromise<TxnResult>;
  compact(request: CompactRequest): MaybePromise<{ revision: Revision }>;

  /**
   * Versions of all keys in the order of (main, sub), tombstones among them, as of the moment of the call whatever is
   * written, compacted or merged while they are read: for who hashes or copies the key space. Memory is bounded, and a
   * batch is of about a mebibyte. Stopping to iterate, and `signal`, free what it holds.
   */
  versionsInOrder(request: OrderedVersionsRequest): AsyncIterable<readonly KeyVersion[]>;

  watch(sink: WatchSink): WatchStream;

  leaseGrant(request: {
    id: LeaseId;
    ttlSeconds: bigint;
  }): MaybePromise<{ id: LeaseId; ttlSeconds: number; revision: Revision }>;
  leaseRevoke(id: LeaseId): MaybePromise<{ revision: Revision }>;
  /** ttlSeconds 0: no such lease (L4). */
  leaseKeepAlive(id: LeaseId): MaybePromise<{ ttlSeconds: number; revision: Revision }>;
  /** ttlSeconds −1: no such lease (L5). */
  leaseTimeToLive(request: { id: LeaseId; keys: boolean }): MaybePromise<LeaseTimeToLiveResult>;
  leaseLeases(): MaybePromise<{ ids: LeaseId[]; revision: Revision }>;

  /**
   * Null while this node can prove that it leads; else what a linearizable read would get. For health and `hasleader`.
   */
  unprovenBecause(): DbError | null;
  status(): DatabaseStatus;
  /** Not checked by `as`: who serves it asks `require` first, as the rights differ by what a request asks. */
  readonly maintenance: Maintenance;

  /** Users, roles, and logging in. */
  readonly auth: Auth;
  /**
   * The same database as a caller sees it: every method first asks whether that one may, and throws `userEmpty`,
   * `invalidAuthToken`, `permissionDenied` … where not; a refused `create` of a watch stream throws, too. Without this
   * call everything is allowed: so whoever serves strangers serves nothing but what `as` gives.
   */
  as(credentials: Credentials): Database;
  /** Throws unless the caller is logged in, or has the role root. Nobody needs to while authentication is off. */
  require(right: Right): void;
}

/** What a call shows of who makes it; read only while authentication is on. */
export interface Credentials {
  /** A token that `authenticate` gave; undefined: none. */
  token(): string | undefined;
  /** The common name of a verified client certificate (a user's name, if there is no token); null: none. */
  commonName(): string | null;
}

export type Right = "user" | "root";

/**
 * Users' and roles' names are byte strings, held as keys are. Each change is one record, and moves the auth revision,
 * not the store's. Rows A1 to A18.
 */
export interface Auth {
  /** As committed; for metrics. */
  readonly revision: number;
  enable(): MaybePromise<AuthAnswer>;
  disable(): MaybePromise<AuthAnswer>;
  status(): MaybePromise<AuthAnswer & { enabled: boolean; authRevision: number }>;
  authenticate(login: Login): Promise<AuthAnswer & { token: string }>;
  userAdd(request: NewUser): MaybePromise<AuthAnswer>;
  userGet(name: string): MaybePromise<AuthAnswer & { roles: readonly string[] }>;
  userList(): MaybePromise<AuthAnswer & { users: readonly string[] }>;
  userDelete(name: string): MaybePromise<AuthAnswer>;
  userChangePassword(request: PasswordChange): MaybePromise<AuthAnswer>;
  userGrantRole(request: { user: string; role: string }): MaybePromise<AuthAnswer>;
  userRevokeRole(request: { user: string; role: string }): MaybePromise<AuthAnswer>;
  roleAdd(name: string): MaybePromise<AuthAnswer>;
  roleGet(name: string): MaybePromise<AuthAnswer & { permissions: readonly Permission[] }>;
  roleList(): MaybePromise<AuthAnswer & { roles: readonly string[] }>;
  roleDelete(name: string): MaybePromise<AuthAnswer>;
  roleGrantPermission(request: { role: string; permission: Permission | null }): MaybePromise<AuthAnswer>;
  roleRevokePermission(request: { role: string; key: string; rangeEnd: string }): MaybePromise<AuthAnswer>;
}

export interface AuthAnswer {
  readonly revision: Revision;
}

export interface Login {
  readonly name: string;
  readonly password: Uint8Array;
  /** Logins that wait are served in turn by address. */
  readonly address: string;
  /** The caller has gone: nothing is checked any more. */
  readonly signal: AbortSignal;
}

export interface NewUser {
  readonly name: string;
  readonly password: Uint8Array;
  /** Such a user is one by certificate alone. */
  readonly noPassword: boolean;
  readonly address: string;
}

export interface PasswordChange {
  readonly name: string;
  readonly password: Uint8Array;
  /** Where `password` is empty: base64 of a bcrypt hash. */
  readonly hashedPassword: string;
  readonly address: string;
}

/** As on the wire; numbers that etcd does not know are kept, and permit nothing. */
export const permissionTypes = { read: 0, write: 1, readWrite: 2 } as const;

/** `rangeEnd`: as of a range: "" one key; "\0" all from `key` on. */
export interface Permission {
  readonly type: number;
  readonly key: string;
  readonly rangeEnd: string;
}

export interface Identity {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly name: string;
  readonly branchName: string;
}

/** A stored mvccpb.KeyValue in its wire encoding: bytes[start, end), never changed. */
export interface Row {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** A stored version of a key. A tombstone's row is empty. */
export interface KeyVersion extends Row {
  readonly key: string;
  readonly main: number;
  readonly sub: number;
  readonly tombstone: boolean;
}

/** Versions with after < main <= upTo; upTo is not above the committed revision. */
export interface OrderedVersionsRequest {
  readonly after: number;
  readonly upTo: number;
  /**
   * Null: all that there is, also what a compaction has made superfluous and no merge has removed yet. Else, of the
   * versions with main <= through, only those that are their key's newest at `at` (through <= at <= upTo), and of these
   * no tombstone but one of `through` itself.
   *
   * { through: C, at: C } is what a real etcd that was compacted at C has in its store; { through: C, at: R } without
   * tombstones up to C is what its HashKV at R hashes.
   */
  readonly compacted: { readonly through: number; readonly at: number } | null;
  readonly signal?: AbortSignal | undefined;
}

export const sortOrders = { none: 0, ascend: 1, descend: 2 } as const;
export const sortTargets = { key: 0, version: 1, create: 2, mod: 3, value: 4 } as const;

export interface RangeRequest {
  readonly kind: "range";
  key: string;
  /** "" one key; "\0" all from `key` on; else the range [key, rangeEnd). */
  rangeEnd: string;
  /** 0 and below: none. */
  limit: number;
  /** 0 and below: the newest. */
  revision: number;
  /** As on the wire; the engine checks both (R2). */
  sortOrder: number;
  sortTarget: number;
  serializable: boolean;
  /** Rows are complete all the same: who encodes them leaves the values out. */
  keysOnly: boolean;
  countOnly: boolean;
  minModRevision: number;
  maxModRevision: number;
  minCreateRevision: number;
  maxCreateRevision: number;
}

export interface RangeResult {
  readonly kind: "range";
  revision: Revision;
  rows: readonly Row[];
  more: boolean;
  count: number;
}

/**
 * Goes through a range as of one moment: its rows, then whether there are more and how many there are in all. Holds
 * nothing that must be given back.
 */
export interface RangeCursor {
  /** Reported in the header. */
  readonly revision: Revision;
  /** What is read. */
  readonly at: number;
  /**
   * The next rows: until so many are there, or so many bytes of them; may be empty before the end where filters let
   * nothing through. One call at a time.
   */
  next(rowsMax: number, bytesMax: number): MaybePromise<readonly Row[]>;
  readonly ended: boolean;
  /** Known at the end. */
  readonly more: boolean;
  readonly count: number;
  /** The same once more from the beginning, whatever has happened meanwhile. */
  again(): RangeCursor;
  /** Its rows are not held any more. Left out: it holds none. */
  close?(): void;
}

export interface PutRequest {
  readonly kind: "put";
  key: string;
  value: Uint8Array;
  lease: LeaseId;
  prevKv: boolean;
  ignoreValue: boolean;
  ignoreLease: boolean;
}

export interface PutResult {
  readonly kind: "put";
  revision: Revision;
  prev: Row | null;
}

export interface DeleteRangeRequest {
  readonly kind: "deleteRange";
  key: string;
  rangeEnd: string;
  prevKv: boolean;
}

export interface DeleteRangeResult {
  readonly kind: "deleteRange";
  revision: Revision;
  deleted: number;
  prevs: readonly Row[];
}

/** `empty` is a RequestOp without a member (T3). */
export type RequestOp = RangeRequest | PutRequest | DeleteRangeRequest | TxnRequest | { readonly kind: "empty" };
export type ResponseOp = RangeResult | PutResult | DeleteRangeResult | TxnResult;

/** `unknown`: a number that etcd does not know; the comparison holds (T6). */
export type CompareResult = "equal" | "greater" | "less" | "notEqual" | "unknown";

export type Compare = { key: string; rangeEnd: string; result: CompareResult } & (
  | { target: "version" | "create" | "mod" | "lease"; operand: bigint }
  | { target: "value"; operand: Uint8Array }
  | { target: "unknown" }
);

/** Puts of a key and a value each, without a lease or any option, as a client's message holds them. */
export interface PlainPuts {
  readonly keys: readonly string[];
  readonly bytes: Buffer;
  /** The value of the n-th is bytes[bounds[2 n], bounds[2 n + 1]). */
  readonly bounds: readonly number[];
  /** Bytes of all keys and values. */
  readonly pairBytes: number;
  /** Each key is greater than the one before it. */
  readonly inOrder: boolean;
}

export interface TxnRequest {
  readonly kind: "txn";
  compare: Compare[];
  success: RequestOp[];
  failure: RequestOp[];
  /** All that it does, where that is nothing but plain puts: `success` says the same, but costs an object for each. */
  readonly plain?: PlainPuts;
  /** The engine's own: what its ranges hold in memory is counted there. */
  gathered?: Gathered | null;
}

export interface TxnResult {
  readonly kind: "txn";
  revision: Revision;
  succeeded: boolean;
  /** One for each operation of the branch taken. */
  responses: ResponseOp[];
  /** To be called when its rows are not needed any more: they count against a bound of the process until then. */
  release?: () => void;
}

export interface CompactRequest {
  revision: number;
  physical: boolean;
}

export interface LeaseTimeToLiveResult {
  revision: Revision;
  id: LeaseId;
  ttlSeconds: number;
  grantedTtlSeconds: number;
  keys: string[];
}

export interface WatchCreate {
  key: string;
  rangeEnd: string;
  startRevision: number;
  progressNotify: boolean;
  noPut: boolean;
  noDelete: boolean;
  prevKv: boolean;
  /** 0n asks for one (W2). */
  watchId: bigint;
  fragment: boolean;
}

/** Watch ids are int64 chosen by clients: exact. −1n where etcd answers −1. */
export type WatchMessage =
  | { kind: "created"; id: bigint; revision: Revision }
  /**
   * `created`: refused at creation, the two in one message (W2, W3, W5). A compacted start has compactRevision ≠ 0 and
   * revision 0 (W8).
   */
  | { kind: "canceled"; id: bigint; revision: number; created: boolean; compactRevision: number; reason: string }
  /** Encoded mvccpb.Event messages, shared between watchers. `more`: a fragment that is not the last (W12). */
  | { kind: "events"; id: bigint; revision: Revision; events: readonly Uint8Array[]; more: boolean }
  /** id −1n: the answer to a progress request for the stream (W15). */
  | { kind: "progress"; id: bigint; revision: Revision };

export interface WatchSink {
  /**
   * Takes a message; false asks to be left alone until WatchStream.resume(). What is sent all the same is still
   * delivered.
   */
  send(message: WatchMessage): boolean;
  /**
   * Whether there is room for events of so many bytes; false asks as `send` does. Left out: there always is.
   */
  hasRoom?(bytes: number): boolean;
  /** The branch is closing, or (what is no DbError) a bug was met in telling this client: no more messages. */
  fail(error: unknown): void;
}

/** One client's stream of watchers. Messages never come from within a method of this interface but for `create`. */
export interface WatchStream {
  create(request: WatchCreate): void;
  cancel(id: bigint): void;
  progress(): void;
  resume(): void;
  close(): void;
}

export interface DatabaseStatus extends CacheStatus {
  readonly branch: string;
  readonly durability: "object" | "local";
  readonly epoch: Epoch;
  readonly revision: Revision;
  readonly compactRevision: number;
  readonly record: RecordNumber;
  readonly committedRecord: RecordNumber;
  readonly nextSlot: number;
  readonly slotsInFlight: number;
  readonly uploadedRecord: RecordNumber;
  readonly uploadPendingBytes: number;
  readonly uploadDelayMs: number;
  /** Milliseconds since the newest checkpoint was written; null if there is none. */
  readonly checkpointAgeMs: number | null;
  readonly checkpointSlot: number | null;
  /** Bytes in tables and log that the branch references; and of live versions alone. */
  readonly bytes: number;
  readonly bytesInUse: number;
  readonly memtableBytes: number;
  readonly tables: number;
  readonly keys: number;
  readonly watchers: number;
  readonly watchStreams: number;
  /** Since this leadership began. */
  readonly keysPut: number;
  readonly keysDeleted: number;
  readonly leases: number;
  /** Ended because nobody kept them alive, under this leadership. */
  readonly leasesExpired: number;
  /** What is wrong just now, in words; empty when all is well. */
  readonly errors: readonly string[];
}
