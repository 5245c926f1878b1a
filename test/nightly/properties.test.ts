import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { propertiesFail, propertyFiles, seedOf } from "./properties.ts";

test("every test file with properties is found, wherever it lies", () => {
  const files = propertyFiles();
  ok(files.length > 50, `${files.length} files`);
  for (const file of ["src/base/varint.test.ts", "src/engine/auth/tokens.test.ts"]) ok(files.includes(file), file);
  for (const file of ["test/properties.test.ts", "test/tidy.test.ts"]) ok(!files.includes(file), file);
});

test("slices have seeds of their own, of 32 bits", () => {
  const seeds = [1_000_000, 1_000_001].flatMap((slice) =>
    Array.from({ length: 200 }, (_, turn) => seedOf(slice, turn)),
  );
  equal(new Set(seeds).size, 400);
  deepEqual(
    seeds.filter((seed) => seed !== (seed | 0)),
    [],
  );
});

test("a property that does not hold by a seed is told of with its file, seed and path", async () => {
  const directory = mkdtempSync(join(tmpdir(), "t4-properties-"));
  try {
    const properties = JSON.stringify(fileURLToPath(new URL("../properties.ts", import.meta.url)));
    const file = join(directory, "odd.test.ts");
    const source = `import { test } from "node:test"; import { fc, propertySeed } from ${properties};
      test("odd", () => fc.assert(fc.property(fc.nat(), () => propertySeed % 2 !== 0)));`;
    writeFileSync(file, source);
    equal(await propertiesFail(file, 5), null);
    const what = await propertiesFail(file, -6);
    match(what ?? "", /^T4_PROPERTY_SEED=-6 t4-node --test .*odd\.test\.ts: it ended with 1\n/);
    match(what ?? "", /seed: -6, path: "0/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
