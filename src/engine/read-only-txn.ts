import { DbError } from "../base/errors.ts";
import type { MaybePromise } from "../base/maybe-promise.ts";
import type { Tree } from "../storage/storage.ts";
import type { TxnRequest, TxnResult } from "./engine.ts";
import type { RangePoint } from "./mvcc/range.ts";
import { readOnlyTxn } from "./mvcc/txn.ts";
import { Reads, suspension } from "./reads.ts";

/** T13: evaluated at the committed revision of this moment, beside the sequencer. */
export function readOnlyTxnAt(tree: Tree, committed: RangePoint, request: TxnRequest): MaybePromise<TxnResult> {
  const point = { revision: committed.revision, compactRevision: committed.compactRevision };
  const reads = new Reads(tree, point.revision);
  try {
    return readOnlyTxn(reads, point, request);
  } catch (error) {
    if (error !== suspension) throw error;
    return afterReads(tree, committed, request);
  }
}

/** How often compaction may overtake one transaction before that is given up. */
const OVERTAKEN_MAX = 20;

/**
 * Runs it again with each read's answer, which gets further every time as a revision does not change; from a newer
 * revision if compaction has overtaken this one, as its reads would then miss what is gone.
 */
async function afterReads(tree: Tree, committed: RangePoint, request: TxnRequest): Promise<TxnResult> {
  let read: Promise<unknown> | null = suspension.take();
  for (let overtaken = 0; overtaken < OVERTAKEN_MAX; overtaken++) {
    if (read !== null) await read;
    read = null;
    const point = { revision: committed.revision, compactRevision: committed.compactRevision };
    const reads = new Reads(tree, point.revision);
    const answers: unknown[] = [];
    while (committed.compactRevision <= point.revision) {
      reads.begin(answers);
      try {
        return readOnlyTxn(reads, point, request);
      } catch (error) {
        if (error !== suspension) throw error;
      }
      answers.push(await suspension.take());
    }
  }
  throw new DbError("timeout", "compaction overtook a transaction again and again");
}
