import type { Revision } from "../base/ids.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Access } from "./access.ts";
import type {
  CompactRequest,
  DeleteRangeRequest,
  DeleteRangeResult,
  PutRequest,
  PutResult,
  TxnRequest,
  TxnResult,
} from "./engine.ts";
import type { Evaluations } from "./evaluations.ts";
import type { KeyReads } from "./key-reads.ts";
import type { BranchMaintenance } from "./maintenance/branch-maintenance.ts";
import { putCost, txnCost } from "./maintenance/quota.ts";
import { checkDeleteRange, checkPut, checkTxn } from "./mvcc/check-request.ts";
import { counted } from "./mvcc/gathered.ts";
import { isReadOnly } from "./mvcc/txn.ts";
import type { SequencerGate } from "./sequencer-gate.ts";

export interface KeyWritesParts {
  readonly gate: SequencerGate;
  readonly evaluations: Evaluations;
  /** Where a transaction goes that turns out to write nothing. */
  readonly reads: KeyReads;
  readonly maintenance: Pick<BranchMaintenance, "makeRoom">;
  readonly txnOpsMax: number;
  /** Done once what a compaction makes superfluous is gone, as far as the storage promises that. */
  readonly compacted: (revision: Revision) => MaybePromise<void>;
}

/**
 * Changes of the keys: check ─► quota ─► gate ─► sequencer; answered when durable.
 *
 * `access`: whose call it is; null: the program's own.
 */
export class KeyWrites {
  readonly #parts: KeyWritesParts;

  constructor(parts: KeyWritesParts) {
    this.#parts = parts;
  }

  put(request: PutRequest, access: Access | null): MaybePromise<PutResult> {
    checkPut(request);
    const { gate, evaluations, maintenance } = this.#parts;
    const guard = access === null ? null : access.put(request);
    return maintenance.makeRoom(putCost(request), guard) ?? gate.run(evaluations.put, request, guard);
  }

  deleteRange(request: DeleteRangeRequest, access: Access | null): MaybePromise<DeleteRangeResult> {
    checkDeleteRange(request);
    return this.#parts.gate.run(this.#parts.evaluations.deleteRange, request, access?.deleteRange(request));
  }

  txn(request: TxnRequest, access: Access | null): MaybePromise<TxnResult> {
    checkTxn(request, this.#parts.txnOpsMax);
    return counted(request, (asked) =>
      isReadOnly(asked) ? this.#parts.reads.txn(asked, access) : this.#writingTxn(asked, access),
    );
  }

  #writingTxn(request: TxnRequest, access: Access | null): MaybePromise<TxnResult> {
    const { gate, evaluations, maintenance } = this.#parts;
    const guard = access === null ? null : access.txn(request);
    return maintenance.makeRoom(txnCost(request), guard) ?? gate.run(evaluations.txn, request, guard);
  }

  /** For the program itself. */
  compact(request: CompactRequest): MaybePromise<{ revision: Revision }> {
    const done = this.#parts.gate.run(this.#parts.evaluations.compact, request);
    return request.physical ? this.#compactPhysically(done, request.revision as Revision) : done;
  }

  async #compactPhysically(
    done: MaybePromise<{ revision: Revision }>,
    revision: Revision,
  ): Promise<{ revision: Revision }> {
    const result = await done;
    await this.#parts.compacted(revision);
    return result;
  }
}
