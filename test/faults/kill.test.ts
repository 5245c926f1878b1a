import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { noS3Server } from "../contract/s3-server.ts";
import { propertySeed } from "../properties.ts";
import { SeededRandom } from "../soak/random.ts";
import { killRounds } from "./rounds.ts";

async function rounds(
  durability: "local" | "object",
  options: { s3: boolean; loseDiskEvery: number },
  log: (line: string) => void,
) {
  const directory = mkdtempSync(join(tmpdir(), "t4-faults-"));
  try {
    log(`T4_PROPERTY_SEED=${propertySeed} chooses the same moments`);
    const chance = new SeededRandom(propertySeed);
    await killRounds({ directory, durability, rounds: 10, random: () => chance.next(), log, ...options });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

test("kill -9 under load, local: nothing acknowledged is lost, nothing seen is unseen", {
  timeout: 300_000,
}, async (t) => {
  await rounds("local", { s3: false, loseDiskEvery: 0 }, (line) => t.diagnostic(line));
});

test("kill -9 under load, local, disk lost: by force, with at most the upload delay lost", {
  timeout: 300_000,
}, async (t) => {
  await rounds("local", { s3: false, loseDiskEvery: 3 }, (line) => t.diagnostic(line));
});

test("kill -9 under load, object on S3, disk lost in between: nothing acknowledged is lost", {
  timeout: 600_000,
  skip: noS3Server,
}, async (t) => {
  await rounds("object", { s3: true, loseDiskEvery: 4 }, (line) => t.diagnostic(line));
});
