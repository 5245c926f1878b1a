import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { fc } from "../../../test/properties.ts";
import { keyOfBytes } from "../../base/latin1.ts";
import type { Compare, RequestOp } from "../../engine/engine.ts";
import * as pb from "../../gen/etcdserverpb/rpc_pb.ts";
import { decodeCompaction, decodeDeleteRange, decodePut, decodeRange, decodeTxn } from "./kv-requests.ts";
import { decodeLeaseGrant, decodeLeaseId, decodeLeaseTimeToLive, decodeWatch } from "./other-requests.ts";

/** The oracle is protobuf-es: what it encodes is decoded here. */

const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -3n, max: 300n }),
  fc.constantFrom(2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n) + 1n, -(2n ** 53n), 2n ** 32n, 2n ** 31n, -(2n ** 63n)),
);
const bytes = fc.uint8Array({ maxLength: 200 });
const key = fc.uint8Array({ maxLength: 20 });
const anyEnum = fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer());

const clamp = (value: bigint): number =>
  Number(value > 9007199254740991n ? 9007199254740991n : value < -9007199254740991n ? -9007199254740991n : value);

function binary<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}

const rangeInit = fc.record({
  key,
  rangeEnd: key,
  limit: int64,
  revision: int64,
  sortOrder: anyEnum,
  sortTarget: anyEnum,
  serializable: fc.boolean(),
  keysOnly: fc.boolean(),
  countOnly: fc.boolean(),
  minModRevision: int64,
  maxModRevision: int64,
  minCreateRevision: int64,
  maxCreateRevision: int64,
});
const putInit = fc.record({
  key,
  value: bytes,
  lease: int64,
  prevKv: fc.boolean(),
  ignoreValue: fc.boolean(),
  ignoreLease: fc.boolean(),
});
const deleteInit = fc.record({ key, rangeEnd: key, prevKv: fc.boolean() });

type RangeInit = typeof rangeInit extends fc.Arbitrary<infer T> ? T : never;
type PutInit = typeof putInit extends fc.Arbitrary<infer T> ? T : never;
type DeleteInit = typeof deleteInit extends fc.Arbitrary<infer T> ? T : never;

const expectedRange = (init: RangeInit) => ({
  kind: "range",
  key: keyOfBytes(init.key),
  rangeEnd: keyOfBytes(init.rangeEnd),
  limit: clamp(init.limit),
  revision: clamp(init.revision),
  sortOrder: init.sortOrder,
  sortTarget: init.sortTarget,
  serializable: init.serializable,
  keysOnly: init.keysOnly,
  countOnly: init.countOnly,
  minModRevision: clamp(init.minModRevision),
  maxModRevision: clamp(init.maxModRevision),
  minCreateRevision: clamp(init.minCreateRevision),
  maxCreateRevision: clamp(init.maxCreateRevision),
});
const expectedPut = (init: PutInit) => ({ kind: "put", ...init, key: keyOfBytes(init.key), value: plain(init.value) });
const expectedDelete = (init: DeleteInit) => ({
  kind: "deleteRange",
  key: keyOfBytes(init.key),
  rangeEnd: keyOfBytes(init.rangeEnd),
  prevKv: init.prevKv,
});

/** Values are views into the message: compared as plain arrays. */
const plain = (value: Uint8Array): number[] => [...value];
const plainPut = <P extends { value: Uint8Array }>(put: P) => ({ ...put, value: plain(put.value) });

test("Range, Put and DeleteRange requests are decoded as the oracle encoded them", () => {
  fc.assert(
    fc.property(rangeInit, (init) => {
      deepEqual(decodeRange(binary(pb.RangeRequestSchema, init as never)), expectedRange(init));
    }),
  );
  fc.assert(
    fc.property(putInit, (init) => {
      deepEqual(plainPut(decodePut(binary(pb.PutRequestSchema, init))), expectedPut(init));
    }),
  );
  fc.assert(
    fc.property(deleteInit, (init) => {
      deepEqual(decodeDeleteRange(binary(pb.DeleteRangeRequestSchema, init)), expectedDelete(init));
    }),
  );
});

const unionMember = fc.oneof(
  fc.record({ case: fc.constantFrom("version", "createRevision", "modRevision", "lease"), value: int64 }),
  fc.record({ case: fc.constant("value"), value: bytes }),
  fc.constant({ case: undefined }),
);
const compareInit = fc.record({
  key,
  rangeEnd: key,
  result: fc.integer({ min: 0, max: 5 }),
  target: fc.integer({ min: 0, max: 6 }),
  targetUnion: unionMember,
});
type CompareInit = typeof compareInit extends fc.Arbitrary<infer T> ? T : never;

const members = ["version", "createRevision", "modRevision", "value", "lease"];

function expectedCompare(init: CompareInit): unknown {
  const result = ["equal", "greater", "less", "notEqual"][init.result] ?? "unknown";
  const base = { key: keyOfBytes(init.key), rangeEnd: keyOfBytes(init.rangeEnd), result };
  const target = ["version", "create", "mod", "value", "lease"][init.target];
  if (target === undefined) return { ...base, target: "unknown" };
  const union = init.targetUnion as { case: string | undefined; value?: bigint | Uint8Array };
  const matches = union.case === members[init.target];
  if (target === "value") return { ...base, target, operand: matches ? plain(union.value as Uint8Array) : [] };
  return { ...base, target, operand: matches ? union.value : 0n };
}

const { operation } = fc.letrec<{ operation: OperationInit; txn: TxnInit }>((tie) => ({
  operation: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constant({ case: undefined }),
    fc.record({ case: fc.constant("requestRange"), value: rangeInit }),
    fc.record({ case: fc.constant("requestPut"), value: putInit }),
    fc.record({ case: fc.constant("requestDeleteRange"), value: deleteInit }),
    fc.record({ case: fc.constant("requestTxn"), value: tie("txn") }),
  ) as fc.Arbitrary<OperationInit>,
  txn: fc.record({
    compare: fc.array(compareInit, { maxLength: 3 }),
    success: fc.array(fc.record({ request: tie("operation") }), { maxLength: 3 }),
    failure: fc.array(fc.record({ request: tie("operation") }), { maxLength: 3 }),
  }) as fc.Arbitrary<TxnInit>,
}));
interface TxnInit {
  compare: CompareInit[];
  success: { request: OperationInit }[];
  failure: { request: OperationInit }[];
}
type OperationInit =
  | { case: undefined }
  | { case: "requestRange"; value: RangeInit }
  | { case: "requestPut"; value: PutInit }
  | { case: "requestDeleteRange"; value: DeleteInit }
  | { case: "requestTxn"; value: TxnInit };

function expectedOperation(init: OperationInit): unknown {
  switch (init.case) {
    case undefined:
      return { kind: "empty" };
    case "requestRange":
      return expectedRange(init.value);
    case "requestPut":
      return expectedPut(init.value);
    case "requestDeleteRange":
      return expectedDelete(init.value);
    case "requestTxn":
      return {
        kind: "txn",
        compare: init.value.compare.map(expectedCompare),
        success: init.value.success.map((op) => expectedOperation(op.request)),
        failure: init.value.failure.map((op) => expectedOperation(op.request)),
      };
  }
}

const plainCompare = (compare: Compare): unknown =>
  compare.target === "value" ? { ...compare, operand: plain(compare.operand) } : compare;

function plainOperation(op: RequestOp): unknown {
  if (op.kind === "put") return plainPut(op);
  if (op.kind !== "txn") return op;
  const { compare, success, failure } = op;
  return {
    kind: "txn",
    compare: compare.map(plainCompare),
    success: success.map(plainOperation),
    failure: failure.map(plainOperation),
  };
}

test("Txn requests, nested ones too, are decoded as the oracle encoded them", () => {
  fc.assert(
    fc.property(operation, (init) => {
      const message = binary(pb.TxnRequestSchema, { success: [{ request: init as never }] });
      deepEqual(plainOperation(decodeTxn(message)), {
        kind: "txn",
        compare: [],
        success: [expectedOperation(init)],
        failure: [],
      });
    }),
  );
});

test("the other requests are decoded as the oracle encoded them", () => {
  fc.assert(
    fc.property(int64, fc.boolean(), (value, flag) => {
      deepEqual(decodeCompaction(binary(pb.CompactionRequestSchema, { revision: value, physical: flag })), {
        revision: clamp(value),
        physical: flag,
      });
      deepEqual(decodeLeaseGrant(binary(pb.LeaseGrantRequestSchema, { ID: value, TTL: -value / 2n })), {
        id: value,
        ttlSeconds: -value / 2n,
      });
      equal(decodeLeaseId(binary(pb.LeaseRevokeRequestSchema, { ID: value }), "LeaseRevokeRequest"), value);
      deepEqual(decodeLeaseTimeToLive(binary(pb.LeaseTimeToLiveRequestSchema, { ID: value, keys: flag })), {
        id: value,
        keys: flag,
      });
      deepEqual(
        decodeWatch(
          binary(pb.WatchRequestSchema, { requestUnion: { case: "cancelRequest", value: { watchId: value } } }),
        ),
        { kind: "cancel", watchId: value },
      );
    }),
  );
  const createInit = fc.record({
    key,
    rangeEnd: key,
    startRevision: int64,
    progressNotify: fc.boolean(),
    filters: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 3 }),
    prevKv: fc.boolean(),
    watchId: int64,
    fragment: fc.boolean(),
  });
  fc.assert(
    fc.property(createInit, (init) => {
      const { filters, ...rest } = init;
      const message = binary(pb.WatchRequestSchema, { requestUnion: { case: "createRequest", value: init as never } });
      deepEqual(decodeWatch(message), {
        kind: "create",
        create: {
          ...rest,
          key: keyOfBytes(init.key),
          rangeEnd: keyOfBytes(init.rangeEnd),
          startRevision: clamp(init.startRevision),
          noPut: filters.includes(0),
          noDelete: filters.includes(1),
        },
      });
    }),
  );
  // Unpacked enums, as older encoders write them; a cancel with content unknown to us; the last member of the union
  // wins.
  const unpacked = decodeWatch(Buffer.from("0a0428012800", "hex"));
  equal(unpacked.kind === "create" && unpacked.create.noPut && unpacked.create.noDelete, true);
  equal(decodeWatch(Buffer.from("0a001a00", "hex")).kind, "progress");
  equal(decodeWatch(Buffer.alloc(0)).kind, "empty");
});

test("a range_end that is sent, and empty, is none: to an etcd it is all keys from there on, permitted or not", () => {
  const [plain, empty] = ["0a016b", "0a016b1200"].map((hex) => Buffer.from(hex, "hex"));
  deepEqual(decodeRange(empty!), decodeRange(plain!));
  deepEqual(decodeDeleteRange(empty!), decodeDeleteRange(plain!));
  const [create, withEmpty] = ["0a030a016b", "0a050a016b1200"].map((hex) => Buffer.from(hex, "hex"));
  deepEqual(decodeWatch(withEmpty!), decodeWatch(create!));
  // A transaction whose one compare is of key "k"; range_end is its field 64.
  const [compare, endless] = ["0a031a016b", "0a061a016b820400"].map((hex) => Buffer.from(hex, "hex"));
  deepEqual(decodeTxn(endless!), decodeTxn(compare!));
});
