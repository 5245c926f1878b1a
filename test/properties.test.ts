import { deepEqual, equal, match, notEqual, throws } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { seedFrom } from "./properties.ts";

test("the seed of properties is one number, unless the environment says another, or random", () => {
  equal(seedFrom(undefined), seedFrom(undefined));
  deepEqual(["0", "-7", "2147483647", "-2147483648"].map(seedFrom), [0, -7, 2_147_483_647, -2_147_483_648]);
  notEqual(seedFrom("random"), seedFrom("random"));
  for (const bad of ["", "Random", "1.5", "1e3", " 1", "0x1", "2147483648", "-2147483649", "99999999999"]) {
    throws(
      () => seedFrom(bad),
      /T4_PROPERTY_SEED is ".*": it must be "random" or a whole number from -2147483648/,
      bad,
    );
  }
});

/** What a process of its own draws, and how a property that does not hold is told of. */
function drawn(seed: string | undefined): string {
  const properties = fileURLToPath(new URL("properties.ts", import.meta.url));
  const script = `
    import { fc, seededBytes } from ${JSON.stringify(properties)};
    console.log(JSON.stringify(fc.sample(fc.integer(), 5)));
    for (const count of [8, 8]) console.log(seededBytes(count).toString("hex"));
    try { fc.assert(fc.property(fc.nat(), (n) => n < 10)); } catch (error) { console.log(error.message); }
  `;
  const env = { ...process.env };
  delete env["T4_PROPERTY_SEED"];
  if (seed !== undefined) env["T4_PROPERTY_SEED"] = seed;
  const args = [...process.execArgv.filter((each) => !each.startsWith("--test")), "--input-type=module", "-e", script];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { env, encoding: "utf8" });
  equal(status, 0, stderr);
  return stdout;
}

test("every process draws the same; with a seed another; by chance it tells its seed, which plays it again", () => {
  const fixed = drawn(undefined);
  equal(drawn(undefined), fixed);
  match(fixed, new RegExp(`seed: ${seedFrom(undefined)}, path: "`));
  notEqual(drawn("5"), fixed);
  const chosen = drawn("random");
  const seed = /^T4_PROPERTY_SEED=(\d+) plays this again\n/.exec(chosen)?.[1];
  match(chosen, new RegExp(`seed: ${seed}, path: "`));
  equal(drawn(seed), chosen.slice(chosen.indexOf("\n") + 1));
});
