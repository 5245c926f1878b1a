import { equal } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../../test/properties.ts";
import { crc32c } from "../../base/crc32c.ts";
import { Sum } from "./sum.ts";

test("pieces of any size give the sum of what they are together", () => {
  const piece = fc.oneof(fc.nat(100), fc.nat(200_000)).map((length) => Buffer.alloc(length, length));
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
      const sum = new Sum();
      for (const each of pieces) sum.add(each);
      equal(sum.value, crc32c(Buffer.concat(pieces)));
    }),
    { numRuns: 50 },
  );
});
