import type { TestContext } from "node:test";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import { Host, type HostOptions } from "../../src/engine/host/host.ts";
import { noNotices } from "../../src/engine/host/notices.ts";
import { MemoryBucket, MemoryStore } from "../../src/objects/memory.ts";
import { MeteredStore } from "../../src/objects/metered.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";

export const runtime = createNodeRuntime();

/** A host on a bucket in memory, with its requests counted. */
export async function openHost(t: TestContext, { bucket = new MemoryBucket(), ...options }: OpenHostOptions = {}) {
  const store = new MeteredStore(new MemoryStore(runtime, bucket), runtime.clock);
  const host = await hostOn(bucket, { store, ...options });
  let closed = false;
  const close = async (): Promise<void> => {
    if (closed) return;
    closed = true;
    await host.close(AbortSignal.timeout(5000));
  };
  t.after(close);
  const main = await host.serve("main");
  await main.opened();
  return { host, store, bucket, main, close };
}

/** One that serves nothing yet. */
export function hostOn(bucket: MemoryBucket, options: Partial<HostOptions> = {}): Promise<Host> {
  const store = new MemoryStore(runtime, bucket);
  const defaults = defaultHostSettings(store);
  const { branch } = defaults;
  return Host.open({
    ...defaults,
    runtime,
    store,
    name: "one",
    dataDirectory: null,
    branch: { ...branch, leadership: { ...branch.leadership, durability: "object" } },
    notices: noNotices,
    ...options,
  });
}

export interface OpenHostOptions extends Partial<HostOptions> {
  bucket?: MemoryBucket;
}

/** Requests so far. */
export function requestsOf(store: MeteredStore): number {
  let sum = 0;
  for (const { count, object } of store.series()) if (object !== "session") sum += count;
  return sum;
}

export const newBranch = (name: string, more: Record<string, unknown> = {}) => ({
  name,
  from: "main",
  moment: { kind: "newest" } as const,
  expiresInMs: null,
  stripAuth: false,
  stripLeases: false,
  ...more,
});
