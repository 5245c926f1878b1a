import { create, toBinary } from "@bufbuild/protobuf";
import * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes } from "../client.ts";
import type {
  CompareSpec,
  DeleteSpec,
  PutSpec,
  RangeSpec,
  RevisionChoice,
  TxnOperation,
  TxnSpec,
  WatchSpec,
} from "./operations.ts";

/** Operations as etcd's request messages, with distances from the head turned into revisions. */

export const revisionOf = (choice: RevisionChoice, head: number): bigint =>
  BigInt("absolute" in choice ? choice.absolute : head - choice.back);

export const rangeInit = (spec: RangeSpec, head: number) => ({
  key: bytes(spec.key),
  rangeEnd: bytes(spec.end),
  limit: BigInt(spec.limit),
  revision: revisionOf(spec.revision, head),
  sortOrder: spec.sortOrder,
  sortTarget: spec.sortTarget,
  serializable: spec.serializable,
  keysOnly: spec.keysOnly,
  countOnly: spec.countOnly,
  minModRevision: revisionOf(spec.minMod, head),
  maxModRevision: revisionOf(spec.maxMod, head),
  minCreateRevision: revisionOf(spec.minCreate, head),
  maxCreateRevision: revisionOf(spec.maxCreate, head),
});

export const putInit = (spec: PutSpec) => ({
  key: bytes(spec.key),
  value: bytes(spec.value),
  lease: BigInt(spec.lease),
  prevKv: spec.prevKv,
  ignoreValue: spec.ignoreValue,
  ignoreLease: spec.ignoreLease,
});

export const deleteInit = (spec: DeleteSpec) => ({
  key: bytes(spec.key),
  rangeEnd: bytes(spec.end),
  prevKv: spec.prevKv,
});

const members = ["version", "createRevision", "modRevision", "value", "lease"] as const;

function compareInit(spec: CompareSpec, head: number): object {
  const member = members[spec.target] ?? "version";
  const { operand } = spec;
  const value = typeof operand === "string" ? bytes(operand) : revisionOf(operand, head);
  return {
    key: bytes(spec.key),
    rangeEnd: bytes(spec.end),
    result: spec.result,
    target: spec.target,
    targetUnion: { case: member, value },
  };
}

export function txnInit(spec: TxnSpec, head: number): object {
  const inner = (operation: TxnOperation): object => ({ request: requestInit(operation, head) });
  return {
    compare: spec.compare.map((each) => compareInit(each, head)),
    success: spec.success.map(inner),
    failure: spec.failure.map(inner),
  };
}

function requestInit(operation: TxnOperation, head: number): object {
  switch (operation.kind) {
    case "range":
      return { case: "requestRange", value: rangeInit(operation, head) };
    case "put":
      return { case: "requestPut", value: putInit(operation) };
    case "delete":
      return { case: "requestDeleteRange", value: deleteInit(operation) };
    case "txn":
      return { case: "requestTxn", value: txnInit(operation, head) };
    case "empty":
      return { case: undefined };
  }
}

export function watchCreate(spec: WatchSpec, head: number): Uint8Array {
  const value = {
    key: bytes(spec.key),
    rangeEnd: bytes(spec.end),
    startRevision: revisionOf(spec.start, head),
    filters: [...spec.filters],
    prevKv: spec.prevKv,
    fragment: spec.fragment,
  };
  return watchRequest({ requestUnion: { case: "createRequest", value } });
}

export const watchProgress = (): Uint8Array => watchRequest({ requestUnion: { case: "progressRequest", value: {} } });

const watchRequest = (init: object): Uint8Array => toBinary(pb.WatchRequestSchema, create(pb.WatchRequestSchema, init));
