import { type DescMessage, fromBinary, type MessageShape, toJson } from "@bufbuild/protobuf";
import type * as pb from "../../../src/gen/etcdserverpb/rpc_pb.ts";
import type { KeyValue } from "../../../src/gen/mvccpb/kv_pb.ts";
import { text } from "../client.ts";
import type { RangeSpec, TxnOperation, TxnSpec } from "./operations.ts";

/** A call's answer as bytes, or its error. */
export type Answer = { readonly bytes: Uint8Array } | { readonly code: number; readonly text: string };

/** Fields of ResponseHeader that differ from store to store. */
const CLUSTER_ID = 1;
const MEMBER_ID = 2;
const RAFT_TERM = 4;

/** The response without the ids and the term of its header, which is its first field. */
export function withoutIdentity(response: Uint8Array): Buffer {
  const bytes = Buffer.from(response);
  if (bytes.length < 2 || bytes[0] !== 0x0a) return bytes;
  const end = 2 + bytes[1]!;
  const kept: number[] = [];
  for (let at = 2; at < end; ) {
    const start = at;
    const field = bytes[at++]! >>> 3;
    while (bytes[at++]! >= 0x80);
    if (field !== CLUSTER_ID && field !== MEMBER_ID && field !== RAFT_TERM) kept.push(...bytes.subarray(start, at));
  }
  return Buffer.concat([Buffer.from(kept), bytes.subarray(end)]);
}

/** Null if the two answers are the same; byte for byte, but for identities and what etcd leaves open. */
export function differenceOf<D extends DescMessage>(
  schema: D,
  left: Answer,
  right: Answer,
  sameMeaning: (left: MessageShape<D>, right: MessageShape<D>) => boolean = () => false,
): string | null {
  if ("code" in left || "code" in right) {
    if ("code" in left && "code" in right && left.code === right.code && left.text === right.text) return null;
    return `${show(schema, left)}\n  but ${show(schema, right)}`;
  }
  if (withoutIdentity(left.bytes).equals(withoutIdentity(right.bytes))) return null;
  if (sameMeaning(fromBinary(schema, left.bytes), fromBinary(schema, right.bytes))) return null;
  return `${show(schema, left)}\n  but ${show(schema, right)}`;
}

function show<D extends DescMessage>(schema: D, answer: Answer): string {
  if ("code" in answer) return `[${answer.code}] ${answer.text}`;
  return JSON.stringify(toJson(schema, fromBinary(schema, answer.bytes), { useProtoFieldName: true }));
}

const KEY_TARGET = 0;

/** Rows that tie in the sort target keep no promised order (Q2); a limit may then cut any of them off. */
export function sameRange(spec: RangeSpec, left: pb.RangeResponse, right: pb.RangeResponse): boolean {
  if (spec.sortTarget === KEY_TARGET) return sameMessage(left, right);
  if (left.header?.revision !== right.header?.revision) return false;
  if (left.count !== right.count || left.more !== right.more || left.kvs.length !== right.kvs.length) return false;
  const groupsLeft = groupsOf(spec, left.kvs);
  const groupsRight = groupsOf(spec, right.kvs);
  if (groupsLeft.length !== groupsRight.length) return false;
  return groupsLeft.every((group, i) => {
    const other = groupsRight[i]!;
    if (group.target !== other.target || group.rows.length !== other.rows.length) return false;
    const isCut = left.more && i === groupsLeft.length - 1;
    return isCut || group.rows.sort().join() === other.rows.sort().join();
  });
}

function groupsOf(spec: RangeSpec, kvs: readonly KeyValue[]): { target: string; rows: string[] }[] {
  const groups: { target: string; rows: string[] }[] = [];
  for (const kv of kvs) {
    // Where only keys are asked for, the values that were sorted by are not told: then all rows are one group.
    const values = spec.keysOnly && spec.sortTarget === 4 ? "" : text(kv.value);
    const target = String([text(kv.key), kv.version, kv.createRevision, kv.modRevision, values][spec.sortTarget]);
    const last = groups.at(-1);
    const row = rowText(kv);
    if (last?.target === target) last.rows.push(row);
    else groups.push({ target, rows: [row] });
  }
  return groups;
}

const rowText = (kv: KeyValue): string =>
  JSON.stringify([
    text(kv.key),
    text(kv.value),
    ...[kv.createRevision, kv.modRevision, kv.version, kv.lease].map(String),
  ]);

export function sameTxn(spec: TxnSpec, left: pb.TxnResponse, right: pb.TxnResponse): boolean {
  if (left.succeeded !== right.succeeded || left.responses.length !== right.responses.length) return false;
  if (left.header?.revision !== right.header?.revision) return false;
  const taken = left.succeeded ? spec.success : spec.failure;
  return taken.every((operation, i) => sameOperation(operation, left.responses[i]!, right.responses[i]!));
}

function sameOperation(operation: TxnOperation, left: pb.ResponseOp, right: pb.ResponseOp): boolean {
  const [one, other] = [left.response, right.response];
  if (operation.kind === "range" && one.case === "responseRange" && other.case === "responseRange") {
    return sameRange(operation, one.value, other.value);
  }
  if (operation.kind === "txn" && one.case === "responseTxn" && other.case === "responseTxn") {
    return sameTxn(operation, one.value, other.value);
  }
  return sameMessage(left, right);
}

const sameMessage = (left: object, right: object): boolean => plain(left) === plain(right);

function plain(message: object): string {
  return JSON.stringify(message, (name, value) => {
    if (name === "header") return { revision: String(value?.revision) };
    return typeof value === "bigint" ? String(value) : value;
  });
}

/** Remaining seconds depend on the moment, the order of keys on chance. */
export const sameTimeToLive = (left: pb.LeaseTimeToLiveResponse, right: pb.LeaseTimeToLiveResponse): boolean =>
  left.header?.revision === right.header?.revision &&
  left.ID === right.ID &&
  left.grantedTTL === right.grantedTTL &&
  Math.abs(Number(left.TTL - right.TTL)) <= 30 &&
  left.keys.map(text).sort().join() === right.keys.map(text).sort().join();

export const sameLeases = (left: pb.LeaseLeasesResponse, right: pb.LeaseLeasesResponse): boolean =>
  left.header?.revision === right.header?.revision && idsOf(left) === idsOf(right);

const idsOf = (response: pb.LeaseLeasesResponse): string =>
  response.leases
    .map((lease) => String(lease.ID))
    .sort()
    .join();
