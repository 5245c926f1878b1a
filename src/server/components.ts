import { defaultCheckpointerSettings } from "../engine/host/checkpointer.ts";
import type { HostOptions } from "../engine/host/host.ts";
import { defaultEngineSettings } from "../engine/settings.ts";
import { defaultWatchSettings } from "../engine/watch/hub.ts";
import { defaultLeadershipSettings, defaultSessionSettings } from "../leadership/settings.ts";
import { defaultLogSettings } from "../log/log.ts";
import type { MeteredStore } from "../objects/metered.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { defaultRetention } from "../storage/checkpoint-retention.ts";
import { defaultTreeSettings } from "../storage/tree.ts";
import type { TransportSettings } from "../transport/transport.ts";
import type { Log } from "./logger.ts";
import type { RunSettings } from "./settings.ts";

/** What a response may have around its payload; etcd adds as much to its own limit of requests. */
const GRPC_OVERHEAD_BYTES = 512 << 10;

/** The settings of a run as its parts take them. */
export function hostSettings(
  settings: RunSettings,
  { runtime, store, notices }: { runtime: Runtime; store: MeteredStore; notices: Log },
): HostOptions {
  const fragmentBytes = settings["max-request-bytes"] + GRPC_OVERHEAD_BYTES;
  return {
    runtime,
    store,
    notices,
    dataDirectory: settings["data-dir"],
    name: settings.name ?? null,
    window: defaultLogSettings.window,
    cacheBytes: settings["cache-memory-bytes"],
    session: defaultSessionSettings,
    branch: {
      requestTimeoutMs: defaultLogSettings.requestTimeoutMs,
      leadership: {
        ...defaultLeadershipSettings,
        durability: settings.durability ?? null,
        durabilityDefault: store.local ? "local" : "object",
        forceTakeover: settings["force-takeover"],
        readProof: settings["read-proof"],
        addresses: settings["advertise-client-urls"] ?? [],
      },
      log: {
        ...defaultLogSettings,
        putIntervalMinMs: settings["put-interval-min"],
        uploadAgeMs: settings["upload-age"],
        uploadBytes: settings["upload-bytes"],
        uploadBytesMax: settings["upload-bytes-max"],
      },
      tree: defaultTreeSettings,
      retention: defaultRetention,
      checkpointer: {
        ...defaultCheckpointerSettings,
        memtableBytes: settings["memtable-bytes"],
        intervalMs: settings["checkpoint-interval"],
      },
      engine: {
        ...defaultEngineSettings,
        txnOpsMax: settings["max-txn-ops"],
        requestTimeoutMs: settings["request-timeout"],
      },
      watch: {
        ...defaultWatchSettings,
        progressIntervalMs: settings["watch-progress-notify-interval"],
        fragmentBytes,
      },
    },
  };
}

export const transportSettings = (settings: RunSettings): TransportSettings => ({
  messageBytesMax: settings["max-request-bytes"] + GRPC_OVERHEAD_BYTES,
  concurrentStreamsMax: settings["max-concurrent-streams"],
  connectionsMax: 100_000,
  keepaliveMinMs: settings["grpc-keepalive-min-time"],
  keepaliveIntervalMs: settings["grpc-keepalive-interval"],
  keepaliveTimeoutMs: settings["grpc-keepalive-timeout"],
  streamQueueBytesMax: 1 << 20,
  connectionQueueBytesMax: 4 << 20,
});
