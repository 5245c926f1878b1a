import { deepEqual, ok } from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { test } from "node:test";

test("every module that is loaded by its file's name is a file of the bundle", () => {
  const bundled: string[] = readFileSync("tools/bundle.mjs", "utf8").match(/src\/[a-z/-]+\.ts/g) ?? [];
  const loaded = globSync("src/**/*.ts").flatMap((file) =>
    [...readFileSync(file, "utf8").matchAll(/`\.\/([a-z-]+)\$\{import\.meta\.url/g)].map(([, name]) =>
      join(dirname(file), `${name}.ts`),
    ),
  );
  ok(loaded.length >= 4, "threads are loaded by their files' names");
  deepEqual(
    loaded.filter((file) => !bundled.includes(file)),
    [],
  );
});
