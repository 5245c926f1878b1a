import { allRows, coverage, withoutMeaning } from "./rows.ts";

// Every row beside the tests that are about it: t4-node test/compat/rows/main.ts

const tests = coverage();
for (const row of allRows) {
  const found = tests.get(row)!.map(({ file, title }) => `${file}: ${title}`);
  console.log(`${row}\t${found.length === 0 ? (withoutMeaning[row] ?? "NO TEST") : found.join("\n\t")}`);
}
