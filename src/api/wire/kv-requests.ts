import { DbError } from "../../base/errors.ts";
import { type LeaseId, leaseId } from "../../base/ids.ts";
import type {
  CompactRequest,
  Compare,
  CompareResult,
  DeleteRangeRequest,
  PutRequest,
  RangeRequest,
  RequestOp,
  TxnRequest,
} from "../../engine/engine.ts";
import { WireReader } from "./reader.ts";

/**
 * etcd allows 128 operations a level and takes each level's from the next one's allowance: no legal transaction
 * nests deeper.
 */
const NESTING_MAX = 128;

const NO_BYTES = new Uint8Array(0);
const NO_LEASE = leaseId(0n);

const rangeFields = [
  undefined,
  ...["Key", "RangeEnd", "Limit", "Revision", "SortOrder", "SortTarget", "Serializable", "KeysOnly", "CountOnly"],
  ...["MinModRevision", "MaxModRevision", "MinCreateRevision", "MaxCreateRevision"],
];
const putFields = [undefined, "Key", "Value", "Lease", "PrevKv", "IgnoreValue", "IgnoreLease"];
const deleteRangeFields = [undefined, "Key", "RangeEnd", "PrevKv"];
const operationFields = [undefined, "RequestRange", "RequestPut", "RequestDeleteRange", "RequestTxn"];
const txnFields = [undefined, "Compare", "Success", "Failure"];
const compactionFields = [undefined, "Revision", "Physical"];
const compareFields: (string | undefined)[] = [
  undefined,
  ...["Result", "Target", "Key", "Version", "CreateRevision", "ModRevision", "Value", "Lease"],
];
compareFields[64] = "RangeEnd";

export const decodeRange = (message: Buffer): RangeRequest => readRange(new WireReader(message));
export const decodePut = (message: Buffer): PutRequest => readPut(new WireReader(message));
export const decodeDeleteRange = (message: Buffer): DeleteRangeRequest => readDeleteRange(new WireReader(message));
export const decodeTxn = (message: Buffer): TxnRequest => readTxn(new WireReader(message), 0);

export function decodeCompaction(message: Buffer): CompactRequest {
  const reader = new WireReader(message);
  const request: CompactRequest = { revision: 0, physical: false };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x08:
        request.revision = reader.int64Clamped();
        break;
      case 0x10:
        request.physical = reader.bool();
        break;
      default:
        reader.other("CompactionRequest", compactionFields);
    }
  }
  return request;
}

function readRange(reader: WireReader): RangeRequest {
  const request: RangeRequest = {
    kind: "range",
    key: "",
    rangeEnd: "",
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
  };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x0a:
        request.key = reader.latin1();
        break;
      case 0x12:
        request.rangeEnd = reader.latin1();
        break;
      case 0x18:
        request.limit = reader.int64Clamped();
        break;
      case 0x20:
        request.revision = reader.int64Clamped();
        break;
      case 0x28:
        request.sortOrder = reader.enumeration();
        break;
      case 0x30:
        request.sortTarget = reader.enumeration();
        break;
      case 0x38:
        request.serializable = reader.bool();
        break;
      case 0x40:
        request.keysOnly = reader.bool();
        break;
      case 0x48:
        request.countOnly = reader.bool();
        break;
      case 0x50:
        request.minModRevision = reader.int64Clamped();
        break;
      case 0x58:
        request.maxModRevision = reader.int64Clamped();
        break;
      case 0x60:
        request.minCreateRevision = reader.int64Clamped();
        break;
      case 0x68:
        request.maxCreateRevision = reader.int64Clamped();
        break;
      default:
        reader.other("RangeRequest", rangeFields);
    }
  }
  return request;
}

function readPut(reader: WireReader): PutRequest {
  const request: PutRequest = {
    kind: "put",
    key: "",
    value: NO_BYTES,
    lease: NO_LEASE,
    prevKv: false,
    ignoreValue: false,
    ignoreLease: false,
  };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x0a:
        request.key = reader.latin1();
        break;
      case 0x12:
        request.value = reader.view();
        break;
      case 0x18:
        request.lease = reader.int64() as LeaseId;
        break;
      case 0x20:
        request.prevKv = reader.bool();
        break;
      case 0x28:
        request.ignoreValue = reader.bool();
        break;
      case 0x30:
        request.ignoreLease = reader.bool();
        break;
      default:
        reader.other("PutRequest", putFields);
    }
  }
  return request;
}

function readDeleteRange(reader: WireReader): DeleteRangeRequest {
  const request: DeleteRangeRequest = { kind: "deleteRange", key: "", rangeEnd: "", prevKv: false };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x0a:
        request.key = reader.latin1();
        break;
      case 0x12:
        request.rangeEnd = reader.latin1();
        break;
      case 0x18:
        request.prevKv = reader.bool();
        break;
      default:
        reader.other("DeleteRangeRequest", deleteRangeFields);
    }
  }
  return request;
}

function readTxn(reader: WireReader, depth: number): TxnRequest {
  if (depth > NESTING_MAX) throw new DbError("tooManyOps");
  const request: TxnRequest = { kind: "txn", compare: [], success: [], failure: [] };
  const end = reader.end;
  while (reader.at < end) {
    switch (reader.tag()) {
      case 0x0a:
        narrow(reader);
        request.compare.push(readCompare(reader));
        reader.end = end;
        break;
      case 0x12:
        narrow(reader);
        request.success.push(readOperation(reader, depth));
        reader.end = end;
        break;
      case 0x1a:
        narrow(reader);
        request.failure.push(readOperation(reader, depth));
        reader.end = end;
        break;
      default:
        reader.other("TxnRequest", txnFields);
    }
  }
  return request;
}

/** Makes the reader end where the message that begins here ends; the caller sets its end back afterwards. */
function narrow(reader: WireReader): void {
  const length = reader.length();
  reader.end = reader.at + length;
}

/** The last member given wins, and is not merged with an earlier one of the same kind (as in etcd's decoder). */
function readOperation(reader: WireReader, depth: number): RequestOp {
  let operation: RequestOp = { kind: "empty" };
  const end = reader.end;
  while (reader.at < end) {
    switch (reader.tag()) {
      case 0x0a:
        narrow(reader);
        operation = readRange(reader);
        break;
      case 0x12:
        narrow(reader);
        operation = readPut(reader);
        break;
      case 0x1a:
        narrow(reader);
        operation = readDeleteRange(reader);
        break;
      case 0x22:
        narrow(reader);
        operation = readTxn(reader, depth + 1);
        break;
      default:
        reader.other("RequestOp", operationFields);
    }
    reader.end = end;
  }
  return operation;
}

const results: readonly CompareResult[] = ["equal", "greater", "less", "notEqual"];
/** By target number; each is also the number, less 4, of the union's member that carries its operand. */
const targets = ["version", "create", "mod", "value", "lease"] as const;
const VALUE = 3;

/** A union member of another target than the one asked for counts as not given: the operand is then zero, or empty. */
function readCompare(reader: WireReader): Compare {
  let result = 0;
  let target = 0;
  let key = "";
  let rangeEnd = "";
  let member = -1;
  let number = 0n;
  let value: Uint8Array = NO_BYTES;
  while (reader.at < reader.end) {
    const tag = reader.tag();
    switch (tag) {
      case 0x08:
        result = reader.enumeration();
        break;
      case 0x10:
        target = reader.enumeration();
        break;
      case 0x1a:
        key = reader.latin1();
        break;
      case 0x20:
      case 0x28:
      case 0x30:
      case 0x40:
        number = reader.int64();
        member = (tag >>> 3) - 4;
        break;
      case 0x3a:
        value = reader.view();
        member = VALUE;
        break;
      case 0x202:
        rangeEnd = reader.latin1();
        break;
      default:
        reader.other("Compare", compareFields);
    }
  }
  const outcome = results[result] ?? "unknown";
  const name = targets[target];
  // One literal per shape: spreading a common part costs more than all of the decoding.
  if (name === undefined) return { key, rangeEnd, result: outcome, target: "unknown" };
  if (name === "value") {
    return { key, rangeEnd, result: outcome, target: name, operand: member === VALUE ? value : NO_BYTES };
  }
  return { key, rangeEnd, result: outcome, target: name, operand: member === target ? number : 0n };
}
