import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fuzzMethods } from "./method-fuzz.ts";

test("B1.16 changed messages: each method answers or refuses each, by a code that it may give", async () => {
  const { requests, byCode, withAuth } = await fuzzMethods({ requests: 3000, seed: 1 });
  equal(requests, 3000);
  // Both what is understood and what is not was tried.
  for (const code of [0, 3, 13, 16]) ok((byCode.get(code) ?? 0) > 30, `code ${code}: ${byCode.get(code)}`);
  ok(withAuth > 100, `${withAuth} while authentication was on`);
});
