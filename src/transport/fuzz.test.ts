import { ok } from "node:assert/strict";
import { test } from "node:test";
import { HpackDecoder, HpackError } from "./hpack-decoder.ts";
import { Dice, fuzzRound } from "./transport.fuzz.ts";

test("random and mutated connections: nothing thrown, nothing left over", async () => {
  let calls = 0;
  const ends = new Set<string>();
  for (let seed = 1; seed <= 300; seed++) {
    const round = await fuzzRound(seed).catch((error: unknown) => {
      throw new Error(`seed ${seed}`, { cause: error });
    });
    calls += round.calls;
    for (const reason of round.refused) ends.add(reason);
  }
  // The rounds reach what they are to test.
  ok(calls > 400, `${calls} calls`);
  for (const reason of ["protocol_error", "compression_error", "http1_bad_request"]) ok(ends.has(reason), reason);
});

test("random header blocks decode or are refused, within their bounds", () => {
  for (let seed = 1; seed <= 3000; seed++) {
    const dice = new Dice(seed);
    const decoder = new HpackDecoder();
    try {
      for (let n = 0; n < 5; n++) {
        const block = dice.bytes(dice.below(100));
        const fields = decoder.decode(block, 0, block.length, 2000);
        ok(fields.reduce((sum, { bytes }) => sum + bytes, 0) <= 2000);
      }
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
    }
  }
});
