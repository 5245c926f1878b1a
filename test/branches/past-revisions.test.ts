import { ok } from "node:assert/strict";
import { test } from "node:test";
import { comparePast } from "./past-revisions.ts";

/** A thousand by `npm run nightly`. */
for (const seed of [1, 2]) {
  test(`a branch at a random revision is its parent as it was then, version by version (seed ${seed})`, async () => {
    const { equal, notRetained } = await comparePast(seed, 10);
    ok(equal + notRetained === 10 && equal > 0, `${equal} equal, ${notRetained} not retained`);
  });
}
