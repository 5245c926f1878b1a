import type { RequestOp, TxnRequest } from "../engine/engine.ts";
import type { CallCounts } from "./call-counts.ts";
import type { LargeRanges } from "./large-ranges.ts";
import { answerRange } from "./range.ts";
import type { RequestSizeCheck } from "./request-size.ts";
import { answerTxn } from "./txn-pieces.ts";
import { encoded, type Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { decodeCompaction, decodeDeleteRange, decodePut, decodeRange, decodeTxn } from "./wire/kv-requests.ts";
import { CompactionResponse, DeleteRangeResponse, PutResponse, TxnResponse } from "./wire/kv-responses.ts";
import { decodePlainTxn, PlainTxnResponse } from "./wire/plain-txn.ts";

/** etcdserverpb.KV. What a request may ask is checked by the engine. */
export function kvService(checkSize: RequestSizeCheck, large: LargeRanges, counts: CallCounts): Record<string, Method> {
  return {
    "/etcdserverpb.KV/Range": (database, message, call) => {
      counts.ranges++;
      return answerRange(database, decodeRange(message), call, large);
    },
    "/etcdserverpb.KV/Put": (database, message) => {
      const request = decodePut(message);
      checkSize(message);
      return encoded(database.put(request), (result) => new PutResponse(headerOf(database), result));
    },
    "/etcdserverpb.KV/DeleteRange": (database, message) => {
      const request = decodeDeleteRange(message);
      checkSize(message);
      return encoded(database.deleteRange(request), (result) => new DeleteRangeResponse(headerOf(database), result));
    },
    "/etcdserverpb.KV/Txn": (database, message, call) => {
      const plain = decodePlainTxn(message);
      if (plain !== null) {
        const puts = plain.plain.keys.length;
        checkSize(message);
        return encoded(database.txn(plain), (result) => {
          counts.txnDone(result);
          return new PlainTxnResponse(headerOf(database), result.revision, puts);
        });
      }
      const request = decodeTxn(message);
      if (!isReadOnly(request)) checkSize(message);
      return encoded(database.txn(request), (result) => {
        counts.txnDone(result);
        return answerTxn(new TxnResponse(headerOf(database), request, result), result, call);
      });
    },
    "/etcdserverpb.KV/Compact": (database, message) => {
      const request = decodeCompaction(message);
      return encoded(
        database.compact(request),
        (result) => new CompactionResponse(headerOf(database), result.revision),
      );
    },
  };
}

/** Such a transaction is not written to etcd's log. */
const isReadOnly = (txn: TxnRequest): boolean => txn.success.every(onlyReads) && txn.failure.every(onlyReads);

const onlyReads = (operation: RequestOp): boolean =>
  operation.kind === "range" || (operation.kind === "txn" && isReadOnly(operation));
