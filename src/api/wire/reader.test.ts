import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { decodeCompaction, decodeDeleteRange, decodePut, decodeRange, decodeTxn } from "./kv-requests.ts";
import { decodeWatch } from "./other-requests.ts";
import { WireError, WireReader } from "./reader.ts";

const noRequest = decodeRange(Buffer.alloc(0));

test("fields that are not known are passed over, groups among them; the last value of a field wins", () => {
  const request = decodeRange(
    Buffer.from(
      "0a0161" + "78ffffffffffffffffff01" + "7b08017b7c7c" + "7d00000000" + "790000000000000000" + "0a0162",
      "hex",
    ),
  );
  equal(request.key, "b");
  // An operation's member is replaced by the next one, not merged with it.
  const txn = decodeTxn(Buffer.from("120d" + "0a060a016112017a" + "0a030a0162", "hex"));
  deepEqual(txn.success, [{ ...noRequest, key: "b" }]);
});

/** Texts read off etcd 3.6.16, without gRPC's prefix. */
const malformed: [hex: string, text: string][] = [
  ["0a", "unexpected EOF"],
  ["0a0501", "unexpected EOF"],
  ["0805", "proto: wrong wireType = 0 for field Key"],
  ["80", "unexpected EOF"],
  ["04", "proto: RangeRequest: wiretype end group for non-group"],
  ["0c", "proto: RangeRequest: wiretype end group for non-group"],
  ["0001", "proto: RangeRequest: illegal tag 0 (wire type 0)"],
  ["03", "proto: RangeRequest: illegal tag 0 (wire type 3)"],
  ["18ffffffffffffffffffff01", "proto: integer overflow"],
  ["0affffffffffffffffff01", "proto: negative length found during unmarshaling"],
  ["7e", "proto: illegal wireType 6"],
  ["fa0105", "unexpected EOF"],
  ["78", "unexpected EOF"],
  ["7901", "unexpected EOF"],
  ["7d01", "unexpected EOF"],
  ["f8ffffffff7f01", "proto: RangeRequest: illegal tag -1 (wire type 4398046511096)"],
  ["f8ffffffffffffffff0101", "proto: RangeRequest: illegal tag -1 (wire type 18446744073709551608)"],
  ["7b7b", "unexpected EOF"],
];

test("a malformed message gets etcd's text", () => {
  for (const [hex, text] of malformed) {
    throws(() => decodeRange(Buffer.from(hex, "hex")), { name: "WireError", message: text }, hex);
  }
  const inTxn = (hex: string) => () => decodeTxn(Buffer.from(hex, "hex"));
  throws(inTxn("12020a05"), { message: "unexpected EOF" });
  throws(inTxn("12030a0108"), { message: "proto: wrong wireType = 0 for field Key" });
  throws(inTxn("0a020a00"), { message: "proto: wrong wireType = 2 for field Result" });
  throws(inTxn("0a023800"), { message: "proto: wrong wireType = 0 for field Value" });
  throws(inTxn("12020801"), { message: "proto: wrong wireType = 0 for field RequestRange" });
});

test("any bytes are decoded or refused, never read past their end", () => {
  const decoders = [decodeRange, decodePut, decodeDeleteRange, decodeTxn, decodeWatch, decodeCompaction];
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), fc.nat(decoders.length - 1), (message, which) => {
      const padded = Buffer.concat([Buffer.from(message), Buffer.alloc(20, 0x61)]);
      try {
        decoders[which]!(padded.subarray(0, message.length));
      } catch (error) {
        if (!(error instanceof WireError)) throw error;
      }
    }),
    { numRuns: 2000 },
  );
});

test("transactions nested deeper than any legal one are refused without deep recursion", () => {
  let message: Buffer = Buffer.alloc(0);
  const nest = (): void => {
    const length = lengthPrefixed(0x22, message);
    message = lengthPrefixed(0x12, length);
  };
  for (let depth = 0; depth < 128; depth++) nest();
  equal(decodeTxn(message).success.length, 1);
  nest();
  throws(() => decodeTxn(message), { kind: "tooManyOps" });
  for (let depth = 0; depth < 3000; depth++) nest();
  throws(() => decodeTxn(message), { kind: "tooManyOps" });
});

function lengthPrefixed(tag: number, content: Buffer): Buffer {
  const prefix: number[] = [tag];
  let rest = content.length;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) prefix.push((rest % 0x80) | 0x80);
  prefix.push(rest);
  return Buffer.concat([Buffer.from(prefix), content]);
}

test("a reader that is at its end says so", () => {
  throws(() => new WireReader(Buffer.alloc(0)).tag(), WireError);
});
