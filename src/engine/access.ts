import { DbError } from "../base/errors.ts";
import type { LeaseId } from "../base/ids.ts";
import { spaces } from "../storage/storage.ts";
import {
  type Access as AccessKind,
  type AuthState,
  type Caller,
  checkRange,
  checkRoot,
  isRoot,
} from "./auth/auth-state.ts";
import type { AuthDesk, Guard } from "./auth-desk.ts";
import type { Draft } from "./draft.ts";
import type {
  Credentials,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  Right,
  TxnRequest,
  WatchCreate,
} from "./engine.ts";
import { LEASE_KEY_BYTES } from "./lease-key.ts";
import type { Reads } from "./reads.ts";

/** Which leases there are, as of the head. */
interface LeaseLookup {
  exists(id: bigint): boolean;
}

/**
 * What one caller may do with a branch (A10 to A16). Reads are held against the committed state when they are
 * evaluated, and once more when they had to wait. Writes make a guard, which holds them against the head where they are
 * sequenced, as often as they are evaluated.
 */
export class Access {
  readonly #auth: AuthDesk;
  readonly #credentials: Credentials;
  readonly #leases: LeaseLookup;

  constructor(auth: AuthDesk, credentials: Credentials, leases: LeaseLookup) {
    this.#auth = auth;
    this.#credentials = credentials;
    this.#leases = leases;
  }

  require(right: Right): void {
    const state = this.#auth.committed;
    if (!state.enabled) return;
    const caller = this.#auth.callerOf(this.#credentials, state);
    if (right === "root") checkRoot(state, caller);
    else if (caller === null) throw new DbError("userEmpty");
  }

  get isRoot(): boolean {
    const state = this.#auth.committed;
    return !state.enabled || isRoot(state, this.#auth.callerOf(this.#credentials, state));
  }

  // --- reads, against what is committed ---

  /** Throws, or gives the state that the range was held against, for `unchanged`. */
  range(request: Pick<RangeRequest, "key" | "rangeEnd">): AuthState {
    const state = this.#auth.committed;
    if (state.enabled) checkRange(state, this.#auth.callerOf(this.#credentials, state), "read", request);
    return state;
  }

  /** For a transaction that writes nothing. */
  readOnlyTxn(request: TxnRequest): AuthState {
    const state = this.#auth.committed;
    if (state.enabled) new TxnCheck(state, this.#auth.callerOf(this.#credentials, state), null).check(request);
    return state;
  }

  /** What was permitted may not be any more: an answer that took its time is not given then. */
  unchanged(state: AuthState): void {
    if (state.enabled && this.#auth.committed.revision !== state.revision) throw new DbError("authOldRevision");
  }

  watch({ key, rangeEnd }: Pick<WatchCreate, "key" | "rangeEnd">): void {
    this.range({ key: key === "" ? "\0" : key, rangeEnd });
  }

  // --- writes, against the head ---

  put(request: PutRequest): Guard {
    return this.#guard((check) => check.put(request));
  }

  deleteRange(request: DeleteRangeRequest): Guard {
    return this.#guard((check) => check.deleteRange(request));
  }

  txn(request: TxnRequest): Guard {
    return this.#guard((check) => check.check(request));
  }

  /** Whoever may not write all that hangs on a lease may not end it, keep it, or hang more on it (A13, A15). */
  leaseKeys(id: LeaseId, access: AccessKind): Guard {
    return this.#guard((check) => check.leaseKeys(id, access));
  }

  /** All keys of all leases may be read. */
  allLeaseKeys(): Guard {
    return this.#guard((check) => check.allLeaseKeys());
  }

  root(): Guard {
    const caller = this.arrive();
    return () => checkRoot(this.#auth.head, caller);
  }

  /** Who calls, as of now; null: nobody, or nobody needs to. Throws `invalidAuthToken`. */
  arrive(): Caller | null {
    return this.#auth.committed.enabled ? this.#auth.callerOf(this.#credentials, this.#auth.head) : null;
  }

  #guard(check: (check: TxnCheck) => void): Guard {
    const caller = this.arrive();
    return (draft) => {
      const state = this.#auth.head;
      if (state.enabled) check(new TxnCheck(state, caller, { draft, leases: this.#leases }));
    };
  }
}

/** One request against one state. `writing` null: it was found to write nothing. */
class TxnCheck {
  readonly #state: AuthState;
  readonly #caller: Caller | null;
  readonly #writing: { draft: Draft; leases: LeaseLookup } | null;

  constructor(state: AuthState, caller: Caller | null, writing: { draft: Draft; leases: LeaseLookup } | null) {
    this.#state = state;
    this.#caller = caller;
    this.#writing = writing;
  }

  #key(access: AccessKind, key: string): void {
    checkRange(this.#state, this.#caller, access, { key, rangeEnd: "" });
  }

  put(request: PutRequest): void {
    this.#key("write", request.key);
    if (request.lease !== 0n) this.leaseKeys(request.lease, "write");
    if (request.prevKv) this.#key("read", request.key);
  }

  deleteRange(request: DeleteRangeRequest): void {
    checkRange(this.#state, this.#caller, "write", request);
    if (request.prevKv) checkRange(this.#state, this.#caller, "read", request);
  }

  /** A14: comparisons, and both branches, whichever is taken; so are those of nested ones. */
  check({ compare, success, failure }: TxnRequest): void {
    for (const one of compare) checkRange(this.#state, this.#caller, "read", one);
    for (const op of success) this.#operation(op);
    for (const op of failure) this.#operation(op);
  }

  #operation(op: RequestOp): void {
    if (op.kind === "range") checkRange(this.#state, this.#caller, "read", op);
    else if (op.kind === "put") this.put(op);
    else if (op.kind === "deleteRange") this.deleteRange(op);
    else if (op.kind === "txn") this.check(op);
  }

  leaseKeys(id: LeaseId, access: AccessKind): void {
    const { draft, leases } = this.#writing!;
    if (!leases.exists(id) || isRoot(this.#state, this.#caller)) return;
    for (const key of draft.attachedKeys(id)) this.#key(access, key.slice(LEASE_KEY_BYTES));
  }

  allLeaseKeys(): void {
    if (isRoot(this.#state, this.#caller)) return;
    const { reads } = this.#writing!.draft;
    for (let from: string | null = ""; from !== null; from = this.#leaseKeysFrom(reads, from));
  }

  /** A page at a time: the first key that may not be read ends it. */
  #leaseKeysFrom(reads: Reads, from: string): string | null {
    const page = reads.once(() => reads.tree.scan(spaces.leaseKeys, { from, to: null }, reads.at, { limit: PAGE }));
    for (const { key } of page) this.#key("read", key.slice(LEASE_KEY_BYTES));
    return page.length < PAGE ? null : `${page[page.length - 1]!.key}\0`;
  }
}

const PAGE = 1000;
