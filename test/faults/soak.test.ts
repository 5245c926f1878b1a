import { deepEqual, ok } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { noS3Server } from "../contract/s3-server.ts";
import { smallSeed } from "../properties.ts";
import { soak } from "../soak/soak.ts";

/**
 * Half a minute of the soak (`npm run soak`): enough to see that it runs and what is lost at once; what leaks takes
 * longer.
 */
async function halfAMinute(t: TestContext, durability: "local" | "object"): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "t4-soak-"));
  try {
    const seed = smallSeed;
    t.diagnostic(`seed ${seed}`);
    const log = (line: string) => t.diagnostic(line);
    const result = await soak({ directory, durability, minutes: 0.5, seed, keys: 500, workers: 4, pauseMs: 15, log });
    deepEqual(result.faults, []);
    ok(result.rounds > 1 && result.acknowledged > 0 && result.observed > 0, "there was a load");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("half a minute of kills, merging, checkpoints and collection, local", { timeout: 300_000 }, (t) =>
  halfAMinute(t, "local"),
);

test(
  "half a minute of kills, merging, checkpoints and collection, object on S3",
  {
    timeout: 300_000,
    skip: noS3Server,
  },
  (t) => halfAMinute(t, "object"),
);
