import type { LeaseId, Revision } from "../base/ids.ts";
import { compact } from "./compaction.ts";
import type { Draft } from "./draft.ts";
import type {
  CompactRequest,
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  TxnRequest,
  TxnResult,
} from "./engine.ts";
import { expireLease, type Granting, grantLease, revokeLease } from "./lease/lease-changes.ts";
import type { Lease, Lessor } from "./lease/lessor.ts";
import type { Alarms } from "./maintenance/alarms.ts";
import { deleteRange } from "./mvcc/delete-range.ts";
import { put } from "./mvcc/put.ts";
import { txn } from "./mvcc/txn.ts";

export interface EvaluationParts {
  readonly lessor: Lessor;
  readonly alarms: Alarms;
  readonly nowMs: () => number;
  /** A grant is durable. */
  readonly onGranted: () => void;
}

/**
 * The changes that clients ask for, as the sequencer evaluates them; bound once. Each is first held against the alarms
 * that were sequenced before it.
 */
export class Evaluations {
  readonly #lessor: Lessor;
  readonly #alarms: Alarms;
  readonly #nowMs: () => number;
  readonly #onGranted: () => void;

  constructor({ lessor, alarms, nowMs, onGranted }: EvaluationParts) {
    this.#lessor = lessor;
    this.#alarms = alarms;
    this.#nowMs = nowMs;
    this.#onGranted = onGranted;
  }

  readonly put = (draft: Draft, request: PutRequest): PutResult => {
    this.#alarms.checkGrowth();
    return put(draft, this.#lessor, request);
  };

  readonly deleteRange = (draft: Draft, request: DeleteRangeRequest): DeleteRangeResult => {
    this.#alarms.checkChange();
    return deleteRange(draft, request);
  };

  readonly txn = (draft: Draft, request: TxnRequest): TxnResult => {
    this.#alarms.checkTxn(request);
    return txn(draft, this.#lessor, request);
  };

  readonly compact = (draft: Draft, request: CompactRequest): { revision: Revision } => {
    this.#alarms.checkChange();
    return compact(draft, request);
  };

  readonly grant = (draft: Draft, request: Granting) => {
    this.#alarms.checkGrowth();
    const granted = grantLease(draft, this.#lessor, { request, nowMs: this.#nowMs });
    const start = draft.afterCommit;
    draft.afterCommit = () => {
      start?.();
      this.#onGranted();
    };
    return granted;
  };

  readonly revoke = (draft: Draft, id: LeaseId) => {
    this.#alarms.checkChange();
    return revokeLease(draft, this.#lessor, id);
  };

  readonly expire = (draft: Draft, lease: Lease) => {
    this.#alarms.checkChange();
    return expireLease(draft, this.#lessor, { lease, nowMs: this.#nowMs });
  };
}
