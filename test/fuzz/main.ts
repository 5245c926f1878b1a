import { parseArgs } from "node:util";
import { fuzzMethods } from "./method-fuzz.ts";

// Changed messages for each method: t4-node test/fuzz/main.ts --requests 1000000 --seed 1 [--service etcdserverpb.KV]

const { values } = parseArgs({
  options: { requests: { type: "string" }, seed: { type: "string" }, service: { type: "string" } },
});
const requests = Number(values.requests ?? 100_000);
const seed = Number(values.seed ?? 1);
console.log(`seed ${seed}, ${requests} requests${values.service === undefined ? "" : ` of ${values.service}`}`);
const startedMs = performance.now();
let residentBytesMax = 0;
const sampler = setInterval(() => {
  residentBytesMax = Math.max(residentBytesMax, process.memoryUsage.rss());
}, 500);
const { byCode, byService, withAuth } = await fuzzMethods({ requests, seed, service: values.service });
clearInterval(sampler);
const listed = (counts: Map<string | number, number>): string =>
  [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `${name}: ${count}`)
    .join(", ");
console.log(`${Math.round((performance.now() - startedMs) / 1000)} s, at most ${residentBytesMax >> 20} MiB`);
console.log(`by code ${listed(byCode)}`);
console.log(`by service ${listed(byService)}; ${withAuth} while authentication was on`);
