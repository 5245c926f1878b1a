import { etcdRoutes } from "../../src/api/api.ts";
import { defaultAuthSettings } from "../../src/engine/auth/auth-settings.ts";
import type { Database } from "../../src/engine/engine.ts";
import { defaultBranchSetSettings } from "../../src/engine/host/branch-set.ts";
import { defaultCheckpointerSettings } from "../../src/engine/host/checkpointer.ts";
import { Host } from "../../src/engine/host/host.ts";
import { noNotices } from "../../src/engine/host/notices.ts";
import { defaultEngineSettings } from "../../src/engine/settings.ts";
import { defaultWatchSettings } from "../../src/engine/watch/hub.ts";
import { defaultLeadershipSettings, defaultSessionSettings } from "../../src/leadership/settings.ts";
import { defaultLogSettings } from "../../src/log/log.ts";
import { MemoryStore } from "../../src/objects/memory.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";
import { defaultRetention } from "../../src/storage/checkpoint-retention.ts";
import { defaultTreeSettings } from "../../src/storage/tree.ts";
import { RoutesEndpoint } from "./routes-endpoint.ts";
import { PROGRESS_INTERVAL_MS } from "./story.ts";

/** With the database itself, for what a program may do that no caller may. */
export type EngineEndpoint = RoutesEndpoint & { readonly database: Database };

const CLOSE_TIMEOUT_MS = 10_000;
const REQUEST_BYTES_MAX = 1_572_864;

/** The engine in this process, on a new empty store in memory, behind the services without a transport. */
export async function openEngine(): Promise<EngineEndpoint> {
  const runtime = createNodeRuntime();
  const host = await Host.open({
    runtime,
    store: new MemoryStore(runtime),
    notices: noNotices,
    dataDirectory: null,
    name: "compat",
    window: defaultLogSettings.window,
    cacheBytes: 16 << 20,
    diskCache: null,
    session: defaultSessionSettings,
    branches: defaultBranchSetSettings,
    branch: {
      requestTimeoutMs: defaultLogSettings.requestTimeoutMs,
      leadership: { ...defaultLeadershipSettings, durabilityDefault: "object" },
      log: defaultLogSettings,
      tree: defaultTreeSettings,
      retention: defaultRetention,
      checkpointer: defaultCheckpointerSettings,
      engine: { ...defaultEngineSettings, auth: { ...defaultAuthSettings, bcryptCost: 4 } },
      watch: { ...defaultWatchSettings, progressIntervalMs: PROGRESS_INTERVAL_MS },
    },
  });
  const branch = await host.serve("main");
  await branch.opened();
  const routes = etcdRoutes(() => branch.database, {
    requestBytesMax: REQUEST_BYTES_MAX,
    clientUrls: () => ["http://127.0.0.1:2379"],
    peerUrls: () => ["http://127.0.0.1:2380"],
    timers: runtime.timers,
    onBug: (error) => {
      throw error;
    },
  });
  const endpoint = new RoutesEndpoint(routes, () => host.close(AbortSignal.timeout(CLOSE_TIMEOUT_MS)));
  return Object.assign(endpoint, { database: branch.database });
}
