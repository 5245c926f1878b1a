import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { ServerProcess } from "../compat/etcd-process.ts";
import { startServer } from "../compat/server-runner.ts";
import { SocketEndpoint } from "../compat/socket-endpoint.ts";
import { residentBytes } from "./flood.ts";

/** A server of our own while somebody does harm to it: what that takes of its memory, and what others notice. */
export interface Besieged {
  readonly growthMiB: number;
  /** Of a bystander's puts and gets. */
  readonly calls: number;
  readonly failures: readonly string[];
  readonly medianMs: number;
  readonly worstMs: number;
}

const SAMPLE_MS = 50;
/** Before the harm is done, for code and caches to be warm. */
const WARM_MS = 500;

export async function besieged(
  name: string,
  options: { flags?: readonly string[]; prepare?: (endpoint: SocketEndpoint) => Promise<void> },
  harm: (server: ServerProcess) => Promise<void>,
): Promise<Besieged> {
  const server = await startServer(options.flags ?? []);
  const endpoint = new SocketEndpoint(server.address);
  let most = 0;
  const sampler = setInterval(async () => {
    most = Math.max(most, await residentBytes(server.pid).catch(() => 0));
  }, SAMPLE_MS);
  try {
    await options.prepare?.(endpoint);
    const bystander = new Worker(new URL("bystander.ts", import.meta.url), {
      workerData: { url: `http://${server.address}` },
    });
    await once(bystander, "message");
    await new Promise((resolve) => setTimeout(resolve, WARM_MS));
    const before = await residentBytes(server.pid);
    most = before;
    await harm(server);
    most = Math.max(most, await residentBytes(server.pid));
    const told = new Promise<{ millis: number[]; failures: string[] }>((resolve, reject) => {
      bystander.once("message", resolve);
      bystander.once("error", reject);
    });
    bystander.postMessage("stop");
    const { millis, failures } = await told;
    await bystander.terminate();
    millis.sort((a, b) => a - b);
    const result: Besieged = {
      ...{ growthMiB: Math.round((most - before) / (1 << 20)), calls: millis.length, failures },
      ...{ medianMs: millis[millis.length >> 1] ?? Number.NaN, worstMs: millis.at(-1) ?? Number.NaN },
    };
    const { growthMiB, calls, medianMs, worstMs } = result;
    const beside = `${calls} calls beside, median ${medianMs.toFixed(1)}, worst ${worstMs.toFixed(0)} ms`;
    console.log(`${name}: ${growthMiB} MiB more; ${beside}${failures.length > 0 ? `, failed: ${failures[0]}` : ""}`);
    return result;
  } finally {
    clearInterval(sampler);
    await endpoint.close();
    await server.stop();
  }
}
