import { type LeaseId, leaseId } from "../../src/base/ids.ts";
import type {
  Compare,
  CompareResult,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  ResponseOp,
  Row,
  TxnRequest,
} from "../../src/engine/engine.ts";
import { KeyValueReader } from "../../src/engine/mvcc/key-value.ts";

/** Requests in one line each. */
export const put = (key: string, value = "v", more: Partial<PutRequest> = {}): PutRequest => ({
  kind: "put",
  key,
  value: Buffer.from(value, "latin1"),
  lease: leaseId(0n),
  prevKv: false,
  ignoreValue: false,
  ignoreLease: false,
  ...more,
});

export const range = (key: string, rangeEnd = "", more: Partial<RangeRequest> = {}): RangeRequest => ({
  kind: "range",
  key,
  rangeEnd,
  limit: 0,
  revision: 0,
  sortOrder: 0,
  sortTarget: 0,
  serializable: false,
  keysOnly: false,
  countOnly: false,
  minModRevision: 0,
  maxModRevision: 0,
  minCreateRevision: 0,
  maxCreateRevision: 0,
  ...more,
});

export const del = (key: string, rangeEnd = "", prevKv = false): DeleteRangeRequest => ({
  kind: "deleteRange",
  key,
  rangeEnd,
  prevKv,
});

export const txn = (success: RequestOp[], failure: RequestOp[] = [], compare: Compare[] = []): TxnRequest => ({
  kind: "txn",
  compare,
  success,
  failure,
});

export const compareMod = (key: string, operand: number, result: CompareResult = "equal", rangeEnd = ""): Compare => ({
  key,
  rangeEnd,
  result,
  target: "mod",
  operand: BigInt(operand),
});

export const compareValue = (key: string, operand: string, result: CompareResult, rangeEnd = ""): Compare => ({
  key,
  rangeEnd,
  result,
  target: "value",
  operand: Buffer.from(operand, "latin1"),
});

export const lease = (id: number | bigint): LeaseId => leaseId(BigInt(id));

/** All keys. */
export const everything = ["\0", "\0"] as const;

/** "key=value@create/mod/version" with "+lease" where there is one. */
export function shown(row: Row | null): string | null {
  if (row === null) return null;
  const pair = new KeyValueReader().read(row);
  const value = Buffer.from(pair.value).toString("latin1");
  const suffix = pair.hasLease ? `+${pair.lease}` : "";
  return `${pair.key}=${value}@${pair.createRevision}/${pair.modRevision}/${pair.version}${suffix}`;
}

/** A response as plain data, for comparison. */
export function plain(response: ResponseOp): unknown {
  switch (response.kind) {
    case "range": {
      const { revision, more, count } = response;
      return { revision, more, count, rows: response.rows.map(shown) };
    }
    case "put":
      return { revision: response.revision, prev: shown(response.prev) };
    case "deleteRange":
      return { revision: response.revision, deleted: response.deleted, prevs: response.prevs.map(shown) };
    case "txn": {
      const { revision, succeeded, responses } = response;
      return { revision, succeeded, responses: responses.map(plain) };
    }
  }
}
