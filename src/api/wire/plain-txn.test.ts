import { deepEqual, equal, notEqual } from "node:assert/strict";
import { test } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { fc } from "../../../test/properties.ts";
import { revision } from "../../base/ids.ts";
import type { RequestOp, TxnResult } from "../../engine/engine.ts";
import * as pb from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Header, innerHeader } from "./headers.ts";
import { decodeTxn } from "./kv-requests.ts";
import { TxnResponse } from "./kv-responses.ts";
import { decodePlainTxn, PlainTxnResponse } from "./plain-txn.ts";

/** The oracle is the decoder, and the encoder, of all transactions. */

const key = fc.uint8Array({ maxLength: 20 });
const value = fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.uint8Array({ minLength: 100, maxLength: 300 }));
const plainPut = fc.record({ key: fc.uint8Array({ minLength: 1, maxLength: 150 }), value });
const anyPut = fc.record({ key, value, lease: fc.bigInt({ min: 0n, max: 2n }), prevKv: fc.boolean() });
const putOperation = (put: fc.Arbitrary<object>) =>
  put.map((init) => ({ request: { case: "requestPut" as const, value: init } }));
const rangeOperation = key.map((one) => ({ request: { case: "requestRange" as const, value: { key: one } } }));
const operation = fc.oneof(
  { weight: 20, arbitrary: putOperation(plainPut) },
  { weight: 1, arbitrary: putOperation(anyPut) },
  { weight: 1, arbitrary: rangeOperation },
);
const message = fc
  .record({
    compare: fc.oneof(
      { weight: 8, arbitrary: fc.constant([]) },
      fc.array(
        key.map((one) => ({ key: one })),
        { maxLength: 1 },
      ),
    ),
    success: fc.array(operation, { maxLength: 8 }),
    failure: fc.oneof({ weight: 8, arbitrary: fc.constant([]) }, fc.array(operation, { maxLength: 1 })),
  })
  .map((init) => Buffer.from(toBinary(pb.TxnRequestSchema, create(pb.TxnRequestSchema, init as never))));

const isPlainPut = (op: RequestOp): boolean => op.kind === "put" && op.key !== "" && op.lease === 0n && !op.prevKv;

/** Views are compared as bytes. */
const shown = (ops: readonly RequestOp[]) =>
  ops.map((op) => (op.kind === "put" ? { ...op, value: Buffer.from(op.value).toString("hex") } : op));

test("what is nothing but plain puts is read as the decoder of all transactions reads it, and nothing else is", () => {
  fc.assert(
    fc.property(message, (bytes) => {
      const expected = decodeTxn(bytes);
      const plain = decodePlainTxn(bytes);
      const { compare, success, failure } = expected;
      const isPlain = compare.length + failure.length === 0 && success.length > 0 && success.every(isPlainPut);
      equal(plain !== null, isPlain);
      if (plain === null) return;
      deepEqual(shown(plain.success), shown(success));
      equal(plain.compare.length + plain.failure.length, 0);
      const { keys, pairBytes } = plain.plain;
      equal(keys.length, success.length);
      equal(
        pairBytes,
        success.reduce((sum, op) => sum + (op.kind === "put" ? op.key.length + op.value.length : 0), 0),
      );
    }),
    { numRuns: 500 },
  );
});

test("bytes that are damaged are read as the decoder of all transactions reads them, or left to it", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 3 });
  let plainOnes = 0;
  fc.assert(
    fc.property(message, damage, fc.nat({ max: 12 }), (bytes, changes, cut) => {
      const damaged = Buffer.from(bytes.subarray(0, bytes.length - (cut > 8 ? cut - 8 : 0)));
      for (const [at, byte] of changes) if (damaged.length > 0) damaged[at % damaged.length] = byte;
      const plain = decodePlainTxn(damaged);
      if (plain === null) return;
      plainOnes++;
      deepEqual(shown(plain.success), shown(decodeTxn(damaged).success));
    }),
    { numRuns: 2000 },
  );
  notEqual(plainOnes, 0);
});

test("lengths in more bytes than needed, and lengths that lead out of what they are in", () => {
  const keysOf = (hex: string) => decodePlainTxn(Buffer.from(hex, "hex"))?.plain.keys ?? null;
  deepEqual(keysOf("1205" + "1203" + "0a0161"), ["a"]);
  deepEqual(keysOf("128500" + "1203" + "0a0161"), ["a"]);
  deepEqual(keysOf("1206" + "128300" + "0a0161"), ["a"]);
  deepEqual(keysOf("1206" + "1204" + "0a810061"), ["a"]);
  equal(keysOf("1285808080" + "00" + "1203" + "0a0161"), null);
  equal(keysOf("1205" + "1203" + "0a0261" + "1205" + "1203" + "0a0161"), null);
  equal(keysOf("1205" + "1204" + "0a016100"), null);
  equal(keysOf("1206" + "1203" + "0a0161"), null);
  equal(keysOf("1206" + "1204" + "0a016112"), null);
  equal(keysOf("12ffffffff07" + "1203" + "0a0161"), null);
  equal(keysOf(""), null);
});

test("the answer is that of any transaction", () => {
  const header: Header = { size: (at) => innerHeader.size(at), write: (to, at, r) => innerHeader.write(to, at, r) };
  for (const at of [1, 2, 127, 128, 16_384, 2 ** 31, 2 ** 40, Number.MAX_SAFE_INTEGER]) {
    for (const puts of [1, 2, 3, 100, 1000]) {
      const success = Array.from({ length: puts }, () => ({ kind: "put" }) as RequestOp);
      const response = { kind: "put", revision: revision(at), prev: null } as const;
      const responses = new Array(puts).fill(response);
      const result: TxnResult = { kind: "txn", revision: revision(at), succeeded: true, responses };
      const request = { kind: "txn", compare: [], success, failure: [] } as const;
      const expected = new TxnResponse(header, { ...request, compare: [], failure: [] }, result);
      const answer = new PlainTxnResponse(header, at, puts);
      const [one, other] = [expected, answer].map((each) => {
        const bytes = Buffer.alloc(each.byteLength() + 3, 0xee);
        equal(each.encodeInto(bytes, 3), bytes.length);
        return bytes.toString("hex");
      });
      equal(other, one);
    }
  }
});
