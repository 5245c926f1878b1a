import { deepEqual, equal, notDeepEqual, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import { branchId, slot } from "../base/ids.ts";
import { canonicalJson } from "./canonical-json.ts";
import { decodeEnvelope, encodeEnvelope } from "./envelope.ts";
import { leaderKey, nameKey, segmentKey } from "./keys.ts";

const key = nameKey("main");
const body = { expiryMs: 0, branch: "00ff" };

/** docs/formats/envelope.md takes this object apart. */
const golden =
  "54344f42010002000000000007000000000000001e000000" +
  "7b226272616e6368223a2230306666222c226578706972794d73223a307deecaa88b";

/** The envelope with some bytes changed and, unless told otherwise, a right checksum again. */
function changed(change: (bytes: Buffer) => void, options = { checksum: true }): Buffer {
  const bytes = encodeEnvelope(key, { counter: 7, body });
  change(bytes);
  if (options.checksum)
    bytes.writeUInt32LE(crc32c(bytes, 0, bytes.length - 4, crc32c(Buffer.from(key))), bytes.length - 4);
  return bytes;
}

const failure = (kind: string, message: RegExp) => (error: unknown) =>
  error instanceof DbError && error.kind === kind && error.message.includes("name/main") && message.test(error.message);

test("an envelope has the bytes that docs/formats/envelope.md gives", () => {
  const bytes = Buffer.from(golden, "hex");
  deepEqual(encodeEnvelope(key, { counter: 7, body }), bytes);
  deepEqual(decodeEnvelope(key, bytes), { counter: 7, body });
});

test("what another version wrote is refused by name, not guessed", () => {
  const cases: [number, number, RegExp][] = [
    [4, 2, /format version 2/],
    [5, 1, /codec 1/],
    [7, 1, /reserved byte 1/],
    [8, 9, /encryption key 9/],
  ];
  for (const [at, value, message] of cases) {
    throws(
      () =>
        decodeEnvelope(
          key,
          changed((bytes) => void (bytes[at] = value)),
        ),
      failure("storeRefused", message),
    );
  }
});

test("a damaged, cut, foreign or misplaced envelope is corrupt", () => {
  const bytes = Buffer.from(golden, "hex");
  throws(() => decodeEnvelope(key, Buffer.alloc(0)), failure("corrupt", /too few/));
  throws(() => decodeEnvelope(key, Buffer.alloc(5 << 20)), failure("corrupt", /too many/));
  throws(() => decodeEnvelope(key, Buffer.from("{".padEnd(40))), failure("corrupt", /T4OB/));
  throws(
    () =>
      decodeEnvelope(
        key,
        changed((b) => void (b[6] = 5)),
      ),
    failure("corrupt", /kind 5, expected 2/),
  );
  throws(
    () =>
      decodeEnvelope(
        key,
        changed((b) => void b.writeUInt32LE(29, 20)),
      ),
    failure("corrupt", /body of 29/),
  );
  throws(
    () =>
      decodeEnvelope(
        key,
        changed((b) => void b.writeUInt32LE(2 ** 32 - 1, 20)),
      ),
    failure("corrupt", /body of/),
  );
  throws(
    () =>
      decodeEnvelope(
        key,
        changed((b) => void b.fill(0xff, 12, 20)),
      ),
    failure("corrupt", /2\^53/),
  );
  throws(
    () =>
      decodeEnvelope(
        key,
        changed((b) => void (b[24] = 0xff)),
      ),
    failure("corrupt", /encoded/),
  );
  throws(
    () =>
      decodeEnvelope(
        key,
        changed((b) => void (b[24] = 0x20)),
      ),
    failure("corrupt", /JSON/),
  );
  throws(() => decodeEnvelope(nameKey("other"), bytes), /name\/other: wrong checksum/);
  fc.assert(
    fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
      const flipped = Buffer.from(bytes);
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      throws(() => decodeEnvelope(key, flipped), DbError);
      throws(() => decodeEnvelope(key, bytes.subarray(0, bit >>> 3)), DbError);
    }),
  );
});

test("any JSON comes back, and equal values have equal bytes whatever the order of their keys", () => {
  fc.assert(
    fc.property(fc.jsonValue({ maxDepth: 4 }), fc.maxSafeNat(), (value, counter) => {
      const encoded = encodeEnvelope(key, { counter, body: value });
      const decoded = decodeEnvelope(key, encoded);
      equal(decoded.counter, counter);
      equal(canonicalJson(decoded.body), canonicalJson(value));
      ok(encodeEnvelope(key, decoded).equals(encoded));
    }),
  );
  equal(canonicalJson({ b: 1, a: [{ d: undefined, c: "\ud800" }] }), canonicalJson({ a: [{ c: "\ud800" }], b: 1 }));
  notDeepEqual(canonicalJson({ a: 1 }), canonicalJson({ a: "1" }));
});

test("a value that is no JSON, or an object with a format of its own, is a bug of the caller", () => {
  for (const value of [1n, Number.NaN, new Date(0), () => 0, new Map()]) {
    throws(() => encodeEnvelope(key, { counter: 1, body: value }), { name: "AssertionError" });
  }
  const id = branchId("0".repeat(32));
  throws(() => encodeEnvelope(segmentKey(id, slot(1)), { counter: 0, body }), /control object/);
  throws(() => encodeEnvelope(leaderKey(id), { counter: -1, body }), /counter/);
});
