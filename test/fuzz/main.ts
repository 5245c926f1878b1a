import { parseArgs } from "node:util";
import { fuzzMethods } from "./method-fuzz.ts";

// Changed messages for each method: t4-node test/fuzz/main.ts --requests 1000000 --seed 1

const { values } = parseArgs({ options: { requests: { type: "string" }, seed: { type: "string" } } });
const requests = Number(values.requests ?? 100_000);
const seed = Number(values.seed ?? 1);
console.log(`seed ${seed}, ${requests} requests`);
const startedMs = performance.now();
const { byCode } = await fuzzMethods({ requests, seed });
const codes = [...byCode].sort(([a], [b]) => a - b).map(([code, count]) => `${code}: ${count}`);
const { rss } = process.memoryUsage();
console.log(
  `${Math.round(performance.now() - startedMs)} ms, ${Math.round(rss / 2 ** 20)} MiB; by code ${codes.join(", ")}`,
);
