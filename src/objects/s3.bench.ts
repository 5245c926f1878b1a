import { noS3Server, startS3Server } from "../../test/contract/s3-server.ts";
import { branchId, slot } from "../base/ids.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { segmentKey } from "./keys.ts";
import { openStore } from "./open-store.ts";
import { parseStoreUrl } from "./store-url.ts";

/**
 * CPU of this process and latency of small creates and reads against an S3 server on loopback: `t4-node
 * src/objects/s3.bench.ts`.
 */
const BODY_BYTES = 256;
const OPERATIONS = 2000;

if (noS3Server) throw new Error(noS3Server);
const runtime = createNodeRuntime();
const server = await startS3Server();
const store = await openStore(parseStoreUrl(`s3://${server.bucket}?endpoint=${server.endpoint}`), runtime, server);
const branch = branchId("b".repeat(32));
const body = Buffer.alloc(BODY_BYTES, 7);
let created = 0;

async function create(): Promise<void> {
  const outcome = await store.put(segmentKey(branch, slot(++created)), body, {
    timeoutMs: 10_000,
    condition: { kind: "absent" },
  });
  if (outcome.kind !== "written") throw new Error(JSON.stringify(outcome));
}

async function read(n: number): Promise<void> {
  const object = await store.get(segmentKey(branch, slot((n % created) + 1)), { timeoutMs: 10_000 });
  if (object?.bytes !== BODY_BYTES) throw new Error("wrong object");
}

async function measure(what: string, atOnce: number, run: (n: number) => Promise<void>): Promise<void> {
  const times: number[] = [];
  let next = 0;
  const cpu = process.cpuUsage();
  const startMs = runtime.clock.monotonicMs();
  const worker = async () => {
    while (next < OPERATIONS) {
      const beganMs = runtime.clock.monotonicMs();
      await run(next++);
      times.push(runtime.clock.monotonicMs() - beganMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  const seconds = (runtime.clock.monotonicMs() - startMs) / 1000;
  const used = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  const quantile = (q: number) => times[Math.floor(times.length * q)]!.toFixed(2);
  const cpuMicros = Math.round((used.user + used.system) / times.length);
  const latency = `p50 ${quantile(0.5)} ms, p99 ${quantile(0.99)} ms`;
  const rate = Math.round(times.length / seconds);
  console.log(`${what}, ${atOnce} at once: ${rate}/s, ${latency}, ${cpuMicros} µs CPU each`);
}

await measure("warm-up create", 8, create);
for (const atOnce of [1, 8]) {
  await measure(`create ${BODY_BYTES} B`, atOnce, create);
  await measure(`get ${BODY_BYTES} B`, atOnce, read);
}
await store.close();
await server.stop();
