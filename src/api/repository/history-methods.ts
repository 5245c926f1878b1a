import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { DbError } from "../../base/errors.ts";
import {
  type BranchUsage,
  type History,
  type KeyDifference,
  type MergeConflict,
  type OnConflict,
  rangeOf,
  type StateName,
} from "../../engine/branches/history.ts";
import type { RangeRequest, RangeResult, Row } from "../../engine/engine.ts";
import {
  type RangeRequest as RangeMessage,
  type RangeResponse,
  RangeResponseSchema,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import { type KeyValue, KeyValueSchema } from "../../gen/mvccpb/kv_pb.ts";
import {
  type DiffResponseSchema,
  MergeRequest_OnConflict,
  type MergeResponseSchema,
  Repository,
  type State,
} from "../../gen/t4/v1/repository_pb.ts";
import { momentOf } from "./branch-methods.ts";
import { type StreamMethod, streamMethod, type UnaryMethod, unaryMethod } from "./method.ts";

const { method } = Repository;

/** The methods that read the past of branches. */
export const historyMethods = (history: () => History, requests: () => StoreRequests): UnaryMethod[] => [
  unaryMethod({
    method: method.rangeAt,
    names: ({ state }) => [branchOf(state)],
    run: async ({ state, range }) => {
      const request = rangeRequestOf(range);
      const { wallMs, ...result } = await history().rangeAt(stateOf(state), request);
      return { range: rangeMessage(result, request), timeMs: BigInt(wallMs) };
    },
  }),
  unaryMethod({
    method: method.usage,
    names: ({ branch }) => (branch === "" ? [] : [branch]),
    run: async ({ branch, prefixDepth }, { signal }) => {
      if (prefixDepth < 0 || prefixDepth > PREFIX_DEPTH_MAX) {
        throw new DbError("invalidArgument", `prefix_depth: expected 0 to ${PREFIX_DEPTH_MAX}, not ${prefixDepth}`);
      }
      const usage = await history().usage({ branch: branch === "" ? null : branch, prefixDepth, signal });
      const { branches, ...sums } = usage;
      return { ...bigints(sums), branches: branches.map(usageMessage), ...requestsOf(requests()) };
    },
  }),
  unaryMethod({
    method: method.retentionGet,
    names: ({ branch }) => [branch],
    run: async ({ branch }) => history().retention(branch),
  }),
  unaryMethod({
    method: method.retentionSet,
    names: ({ branch }) => [branch],
    run: async ({ branch, retention = null, preview }) => {
      const { own: _own, retention: set, ...effect } = await history().setRetention({ branch, retention, preview });
      return { retention: set, ...bigints(effect) };
    },
  }),
];

const PREFIX_DEPTH_MAX = 32;

/** What this process has asked of its store. */
export interface StoreRequests {
  readonly sinceMs: number;
  readonly series: Iterable<{ operation: string; object: string; count: number; bytes: number }>;
}

function requestsOf({ sinceMs, series }: StoreRequests) {
  const sums = new Map<string, { operation: string; object: string; count: number; bytes: number }>();
  for (const { operation, object, count, bytes } of series) {
    const sum = sums.get(`${operation} ${object}`) ?? { operation, object, count: 0, bytes: 0 };
    sums.set(`${operation} ${object}`, { ...sum, count: sum.count + count, bytes: sum.bytes + bytes });
  }
  const requests = [...sums.values()].map((sum) => ({ ...sum, count: BigInt(sum.count), bytes: BigInt(sum.bytes) }));
  return { sinceMs: BigInt(Math.round(sinceMs)), requests };
}

const usageMessage = ({ name, id, prefixes, growthBytes, ...sums }: BranchUsage) => ({
  ...{ name, id, ...bigints(sums) },
  ...(growthBytes !== null && { growthBytes: BigInt(growthBytes) }),
  prefixes: prefixes.map(({ prefix, keys, bytes }) => {
    return { prefix: bytesOf(prefix), keys: BigInt(keys), bytes: BigInt(bytes) };
  }),
});

/** Those whose answer is a stream. */
export const historyStreams = (history: () => History): StreamMethod[] => [
  streamMethod({
    method: method.diff,
    names: ({ from, to }) => [branchOf(from), branchOf(to)],
    run: async function* ({ from, to, key, rangeEnd, keysOnly, statOnly }, { signal }) {
      const range = rangeOf(latin1(key), latin1(rangeEnd));
      const diff = history().diff({ from: stateOf(from), to: stateOf(to), range, signal });
      for (;;) {
        const { value, done } = await diff.next();
        if (done) return yield { summary: bigints(value) };
        if (!statOnly) yield { differences: value.map((each) => differenceMessage(each, keysOnly)) };
      }
    },
  }),
  streamMethod({
    method: method.merge,
    names: ({ source, into }) => [source, into],
    run: async function* ({ source, into, key, rangeEnd, apply, exact, ...asked }, { signal }) {
      const range = rangeOf(latin1(key), latin1(rangeEnd));
      const onConflict = policyOf(asked.onConflict);
      const merge = history().merge({ source, into, range, onConflict, apply, exact, signal });
      for (;;) {
        const { value, done } = await merge.next();
        if (done) return yield { summary: bigints(value) } satisfies MessageInitShape<typeof MergeResponseSchema>;
        const changes = value.changes.map((each) => ({ key: bytesOf(each.key), delete: each.delete }));
        const soFar = value.soFar === undefined ? {} : { summary: bigints(value.soFar) };
        yield { changes, conflicts: value.conflicts.map(conflictMessage), ...soFar };
      }
    },
  }),
  streamMethod({
    method: method.log,
    names: ({ branch }) => [branch],
    run: async function* ({ branch, limit }) {
      if (limit < 0n) throw new DbError("invalidArgument", `limit: expected 0 or more, not ${limit}`);
      const { entries, firstLogSlot } = await history().log(branch);
      const most = limit > 0n && limit < BigInt(entries.length) ? Number(limit) : entries.length;
      for (const entry of entries.slice(entries.length - most).reverse()) {
        yield {
          id: entry.id,
          branchId: entry.branch,
          nextSlot: BigInt(entry.nextSlot),
          n: BigInt(entry.n),
          revision: BigInt(entry.revision),
          timeMs: BigInt(entry.wallMs),
          bytesAdded: BigInt(entry.bytesAdded),
          bytes: BigInt(entry.bytes),
          parentId: entry.parent ?? "",
          retained: true,
          place: BigInt(entry.leaf),
          tables: BigInt(entry.tables),
          epoch: BigInt(entry.epoch),
          firstLogSlot: BigInt(firstLogSlot),
        };
      }
    },
  }),
];

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).latin1Slice();
const bytesOf = (key: string): Buffer => Buffer.from(key, "latin1");

function branchOf(state: State | undefined): string {
  if (state === undefined || state.branch === "") throw new DbError("invalidArgument", "state: expected a branch");
  return state.branch;
}

const stateOf = (state: State | undefined): StateName => ({
  branch: branchOf(state),
  moment: momentOf(state?.moment),
});

/** Sums are the same names as numbers. */
const bigints = <T extends { readonly [name in keyof T]: number }>(sums: T): { [name in keyof T]: bigint } =>
  Object.fromEntries(Object.entries<number>(sums).map(([name, value]) => [name, BigInt(value)])) as {
    [name in keyof T]: bigint;
  };

function pairMessage({ bytes, start, end }: Row, keysOnly = false): KeyValue {
  const pair = fromBinary(KeyValueSchema, bytes.subarray(start, end));
  if (keysOnly) pair.value = new Uint8Array();
  return pair;
}

type DifferenceMessage = NonNullable<MessageInitShape<typeof DiffResponseSchema>["differences"]>[number];

const differenceMessage = ({ key, before, after }: KeyDifference, keysOnly: boolean): DifferenceMessage => ({
  key: bytesOf(key),
  ...(before !== null && { before: pairMessage(before, keysOnly) }),
  ...(after !== null && { after: pairMessage(after, keysOnly) }),
});

const conflictMessage = ({ key, base, ours, theirs }: MergeConflict) => ({
  key: bytesOf(key),
  ...(base !== null && { base: pairMessage(base) }),
  ...(ours !== null && { ours: pairMessage(ours) }),
  ...(theirs !== null && { theirs: pairMessage(theirs) }),
});

function policyOf(onConflict: MergeRequest_OnConflict): OnConflict {
  switch (onConflict) {
    case MergeRequest_OnConflict.FAIL:
      return "fail";
    case MergeRequest_OnConflict.OURS:
      return "ours";
    case MergeRequest_OnConflict.THEIRS:
      return "theirs";
    default:
      throw new DbError("invalidArgument", `on_conflict: expected 0 to 2, not ${onConflict}`);
  }
}

const clamped = (value: bigint): number => Number(BigInt.asIntN(53, value) === value ? value : 0n);

function rangeRequestOf(range: RangeMessage | undefined): RangeRequest {
  if (range === undefined) throw new DbError("invalidArgument", "range: expected a request");
  const { sortOrder, sortTarget, serializable, keysOnly, countOnly } = range;
  return {
    kind: "range",
    key: latin1(range.key),
    rangeEnd: latin1(range.rangeEnd),
    limit: clamped(range.limit),
    revision: 0,
    ...{ sortOrder, sortTarget, serializable, keysOnly, countOnly },
    minModRevision: clamped(range.minModRevision),
    maxModRevision: clamped(range.maxModRevision),
    minCreateRevision: clamped(range.minCreateRevision),
    maxCreateRevision: clamped(range.maxCreateRevision),
  };
}

const rangeMessage = ({ revision, rows, more, count }: RangeResult, { keysOnly }: RangeRequest): RangeResponse =>
  create(RangeResponseSchema, {
    header: { revision: BigInt(revision) },
    kvs: rows.map((row) => pairMessage(row, keysOnly)),
    more,
    count: BigInt(count),
  });
