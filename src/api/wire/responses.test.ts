import { equal } from "node:assert/strict";
import { test } from "node:test";
import { create, type DescMessage, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { fc } from "../../../test/properties.ts";
import { epoch, revision } from "../../base/ids.ts";
import { bytesOfKey, keyOfBytes } from "../../base/latin1.ts";
import type { Database, RequestOp, ResponseOp, Row, TxnRequest, TxnResult } from "../../engine/engine.ts";
import * as pb from "../../gen/etcdserverpb/rpc_pb.ts";
import { EventSchema, type KeyValue, KeyValueSchema } from "../../gen/mvccpb/kv_pb.ts";
import type { Encodable } from "../../transport/transport.ts";
import { headerOf } from "./headers.ts";
import { decodePut, decodeRange } from "./kv-requests.ts";
import { CompactionResponse, DeleteRangeResponse, PutResponse, RangeResponse, TxnResponse } from "./kv-responses.ts";
import { LeaseResponse } from "./lease-responses.ts";
import { Message } from "./message.ts";
import { WatchResponse, WatchResponses } from "./watch-responses.ts";

/** The oracle is protobuf-es: what is encoded here is, byte for byte, what it encodes. */

const database = { identity: { clusterId: 0xcdf818194e3a8c32n, memberId: 0x8e9e05c52164694dn }, epoch: epoch(7) };
const header = headerOf(database as unknown as Database);
const pbHeader = (at: number) => ({
  clusterId: database.identity.clusterId,
  memberId: database.identity.memberId,
  revision: BigInt(at),
  raftTerm: 7n,
});

const int64 = fc.oneof(
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  fc.bigInt({ min: -3n, max: 300n }),
  fc.constantFrom(2n ** 53n - 1n, 2n ** 53n, -(2n ** 53n) + 1n, -(2n ** 53n), 2n ** 32n, 2n ** 31n, -(2n ** 63n)),
);
const bytes = fc.uint8Array({ maxLength: 200 });
function binary<D extends DescMessage>(schema: D, init: MessageInitShape<D>): Buffer {
  return Buffer.from(toBinary(schema, create(schema, init)));
}

function bytesOf(encodable: Encodable): Buffer {
  const length = encodable.byteLength();
  const buffer = Buffer.alloc(length + 8, 0xee);
  equal(encodable.encodeInto(buffer, 4), 4 + length, "writes as much as it foretold");
  equal(buffer.readUInt32LE(0), 0xeeeeeeee);
  equal(buffer.readUInt32LE(4 + length), 0xeeeeeeee);
  return buffer.subarray(4, 4 + length);
}

const same = (encodable: Encodable, expected: Buffer): void =>
  equal(bytesOf(encodable).toString("hex"), expected.toString("hex"));

const storedKv = fc.record({
  key: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  createRevision: fc.bigInt({ min: 1n, max: 2n ** 40n }),
  modRevision: fc.bigInt({ min: 1n, max: 2n ** 40n }),
  version: fc.bigInt({ min: 1n, max: 2n ** 20n }),
  value: bytes,
  lease: int64,
});
type Kv = typeof storedKv extends fc.Arbitrary<infer T> ? T : never;

function rowOf(kv: Kv): Row {
  const encoded = binary(KeyValueSchema, kv);
  const padded = Buffer.concat([Buffer.from("before"), encoded, Buffer.from("after")]);
  return { bytes: padded, start: 6, end: 6 + encoded.length };
}
const withoutValue = (kv: Kv): Kv => ({ ...kv, value: new Uint8Array(0) });
const aRevision = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER });
const aCount = fc.oneof(fc.nat(300), fc.maxSafeNat());

const rangeAnswer = fc.record({
  at: aRevision,
  kvs: fc.array(storedKv, { maxLength: 5 }),
  more: fc.boolean(),
  count: aCount,
  keysOnly: fc.boolean(),
});
type RangeAnswer = typeof rangeAnswer extends fc.Arbitrary<infer T> ? T : never;
const noRequest = decodeRange(Buffer.alloc(0));

const rangeResult = ({ at, kvs, more, count }: RangeAnswer) => ({
  kind: "range" as const,
  revision: revision(at),
  rows: kvs.map(rowOf),
  more,
  count,
});
const pbRange = (head: object, { kvs, more, count, keysOnly }: RangeAnswer) => ({
  header: head,
  kvs: keysOnly ? kvs.map(withoutValue) : kvs,
  more,
  count: BigInt(count),
});

test("responses are, byte for byte, what the oracle encodes", () => {
  fc.assert(
    fc.property(rangeAnswer, (answer) => {
      same(
        new RangeResponse(header, { ...noRequest, keysOnly: answer.keysOnly }, rangeResult(answer)),
        binary(pb.RangeResponseSchema, pbRange(pbHeader(answer.at), answer)),
      );
    }),
  );
  fc.assert(
    fc.property(
      aRevision,
      fc.option(storedKv),
      aCount,
      fc.array(storedKv, { maxLength: 3 }),
      (at, kv, deleted, kvs) => {
        const prev = kv === null ? null : rowOf(kv);
        same(
          new PutResponse(header, { kind: "put", revision: revision(at), prev }),
          binary(pb.PutResponseSchema, { header: pbHeader(at), ...(kv === null ? {} : { prevKv: kv }) }),
        );
        const result = { kind: "deleteRange" as const, revision: revision(at), deleted, prevs: kvs.map(rowOf) };
        same(
          new DeleteRangeResponse(header, result),
          binary(pb.DeleteRangeResponseSchema, { header: pbHeader(at), deleted: BigInt(deleted), prevKvs: kvs }),
        );
        same(new CompactionResponse(header, at), binary(pb.CompactionResponseSchema, { header: pbHeader(at) }));
      },
    ),
  );
});

const { answer: operationAnswer } = fc.letrec<{ answer: OperationAnswer; txn: TxnAnswer }>((tie) => ({
  answer: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({ kind: fc.constant("range"), range: rangeAnswer }),
    fc.record({ kind: fc.constant("put"), at: aRevision, kv: fc.option(storedKv) }),
    fc.record({ kind: fc.constant("txn"), txn: tie("txn") }),
  ) as fc.Arbitrary<OperationAnswer>,
  txn: fc.record({
    at: aRevision,
    succeeded: fc.boolean(),
    answers: fc.array(tie("answer"), { maxLength: 3 }),
  }) as fc.Arbitrary<TxnAnswer>,
}));
type OperationAnswer =
  | { kind: "range"; range: RangeAnswer }
  | { kind: "put"; at: number; kv: Kv | null }
  | { kind: "txn"; txn: TxnAnswer };
interface TxnAnswer {
  at: number;
  succeeded: boolean;
  answers: OperationAnswer[];
}

function engineSide(answer: OperationAnswer): { op: RequestOp; response: ResponseOp } {
  if (answer.kind === "range") {
    return { op: { ...noRequest, keysOnly: answer.range.keysOnly }, response: rangeResult(answer.range) };
  }
  if (answer.kind === "put") {
    const prev = answer.kv === null ? null : rowOf(answer.kv);
    return { op: decodePut(Buffer.alloc(0)), response: { kind: "put", revision: revision(answer.at), prev } };
  }
  const { request, result } = engineTxn(answer.txn);
  return { op: request, response: result };
}

function engineTxn({ at, succeeded, answers }: TxnAnswer): { request: TxnRequest; result: TxnResult } {
  const sides = answers.map(engineSide);
  const taken = sides.map((side) => side.op);
  return {
    request: { kind: "txn", compare: [], success: succeeded ? taken : [], failure: succeeded ? [] : taken },
    result: { kind: "txn", revision: revision(at), succeeded, responses: sides.map((side) => side.response) },
  };
}

function pbOperation(answer: OperationAnswer): object {
  const inner = (at: number) => ({ revision: BigInt(at) });
  if (answer.kind === "range") {
    const value = pbRange(inner(answer.range.at), answer.range);
    return { response: { case: "responseRange", value } };
  }
  if (answer.kind === "put") {
    const value = { header: inner(answer.at), ...(answer.kv === null ? {} : { prevKv: answer.kv }) };
    return { response: { case: "responsePut", value } };
  }
  const value = { header: {}, succeeded: answer.txn.succeeded, responses: answer.txn.answers.map(pbOperation) };
  return { response: { case: "responseTxn", value } };
}

test("a Txn response, nested ones too, is what the oracle encodes", () => {
  fc.assert(
    fc.property(operationAnswer, aRevision, (answer, at) => {
      const { request, result } = engineTxn({ at, succeeded: true, answers: [answer] });
      const expected = { header: pbHeader(at), succeeded: true, responses: [pbOperation(answer)] };
      same(new TxnResponse(header, request, result), binary(pb.TxnResponseSchema, expected as never));
    }),
  );
});

test("Watch responses are what the oracle encodes", () => {
  const event = fc.record({ type: fc.constantFrom(0, 1), kv: storedKv, prevKv: storedKv });
  fc.assert(
    fc.property(
      int64,
      aRevision,
      fc.array(event, { maxLength: 3 }),
      fc.boolean(),
      fc.string(),
      (id, at, events, flag, text) => {
        const encoded = events.map((one) => binary(EventSchema, one));
        const whole = (init: MessageInitShape<typeof pb.WatchResponseSchema>) => binary(pb.WatchResponseSchema, init);
        const watchId = id;
        same(
          new WatchResponse(header, { kind: "events", id, revision: revision(at), events: encoded, more: flag }),
          whole({ header: pbHeader(at), watchId, fragment: flag, events }),
        );
        same(
          new WatchResponse(header, { kind: "created", id, revision: revision(at) }),
          whole({ header: pbHeader(at), watchId, created: true }),
        );
        same(
          new WatchResponse(header, { kind: "progress", id, revision: revision(at) }),
          whole({ header: pbHeader(at), watchId }),
        );
        const canceled = {
          kind: "canceled" as const,
          id,
          revision: 0,
          created: flag,
          compactRevision: at,
          reason: text,
        };
        same(
          new WatchResponse(header, canceled),
          whole({
            header: pbHeader(0),
            watchId,
            created: flag,
            canceled: true,
            compactRevision: BigInt(at),
            cancelReason: text,
          }),
        );
      },
    ),
  );
});

test("a message put together field by field is what the oracle encodes", () => {
  fc.assert(
    fc.property(aRevision, int64, fc.array(fc.string()), aCount, fc.boolean(), (at, id, texts, number, flag) => {
      const unsigned = BigInt.asUintN(64, id);
      const message = new Message()
        .header(header, at)
        .text(2, texts[0] ?? "")
        .number(3, number)
        .big(4, unsigned)
        .texts(8, texts)
        .bool(10, flag)
        .alwaysMessage(13, new Message());
      same(
        message,
        binary(pb.StatusResponseSchema, {
          header: pbHeader(at),
          version: texts[0] ?? "",
          dbSize: BigInt(number),
          leader: unsigned,
          errors: texts,
          isLearner: flag,
          downgradeInfo: {},
        }),
      );
    }),
  );
});

test("what the oracle decodes of a response is what was meant, keys of any bytes included", () => {
  const kv: Kv = { ...withoutValue(sample), key: new Uint8Array(bytesOfKey("\0\xff\x80é")) };
  const answer = { at: 5, kvs: [kv], more: true, count: 9, keysOnly: true };
  const read = fromBinary(
    pb.RangeResponseSchema,
    bytesOf(new RangeResponse(header, { ...noRequest, keysOnly: true }, rangeResult(answer))),
  );
  const [first] = read.kvs as [KeyValue];
  equal(keyOfBytes(first.key), "\0\xff\x80é");
  equal(read.count, 9n);
});

const sample: Kv = {
  key: Buffer.from("k"),
  createRevision: 2n,
  modRevision: 3n,
  version: 2n,
  value: Buffer.from("v"),
  lease: 0n,
};

test("Watch responses that differ in the id alone are what the oracle encodes, too", () => {
  const told = fc.record({
    events: fc.array(fc.record({ kv: storedKv }), { maxLength: 2 }),
    at: aRevision,
    ids: fc.array(int64, { minLength: 1, maxLength: 4 }),
    more: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(told, { maxLength: 4 }), (commits) => {
      const responses = new WatchResponses();
      for (const { events, at, ids, more } of commits) {
        const encoded = events.map((one) => binary(EventSchema, one));
        for (const id of ids) {
          same(
            responses.of(header, { kind: "events", id, revision: revision(at), events: encoded, more }),
            binary(pb.WatchResponseSchema, { header: pbHeader(at), watchId: id, fragment: more, events }),
          );
        }
      }
    }),
  );
});

test("Responses about a lease are what the oracle encodes", () => {
  fc.assert(
    fc.property(aRevision, int64, fc.integer({ min: -1, max: 9_000_000_000 }), (at, id, ttlSeconds) => {
      const response = new LeaseResponse(header, { revision: at, id, ttlSeconds });
      const fields = { header: pbHeader(at), ID: id, TTL: BigInt(ttlSeconds) };
      same(response, binary(pb.LeaseGrantResponseSchema, fields));
      same(response, binary(pb.LeaseKeepAliveResponseSchema, fields));
    }),
  );
});
