import type { AuthSettings } from "../engine/auth/auth-settings.ts";
import { defaultHostSettings, diskCacheOf } from "../engine/host/default-settings.ts";
import type { HostOptions } from "../engine/host/host.ts";
import type { Notices } from "../engine/host/notices.ts";
import type { SessionSettings } from "../leadership/settings.ts";
import type { MeteredStore } from "../objects/metered.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { CheckpointSigner } from "../storage/checkpoint-signature.ts";
import { retentionPolicy } from "../storage/retention-text.ts";
import type { TransportSettings } from "../transport/transport.ts";
import type { RunSettings } from "./settings.ts";

/** What a response may have around its payload; etcd adds as much to its own limit of requests. */
const GRPC_OVERHEAD_BYTES = 512 << 10;

/** The settings of a run as its parts take them. */
export function hostSettings(
  settings: RunSettings,
  parts: {
    runtime: Runtime;
    store: MeteredStore;
    notices: Notices;
    auth: AuthSettings;
    signer: CheckpointSigner | null;
  },
): HostOptions {
  const { runtime, store, notices, auth, signer } = parts;
  const defaults = defaultHostSettings(store);
  const { branch } = defaults;
  return {
    ...defaults,
    runtime,
    store,
    notices,
    dataDirectory: settings["data-dir"],
    name: settings.name ?? null,
    cacheBytes: settings["cache-memory-bytes"],
    diskCache: diskCacheOf(settings["cache-disk-bytes"], defaults.diskCache),
    branches: {
      ...defaults.branches,
      idleMs: settings["branch-idle"],
      openMax: settings["branches-open"],
      graceMs: settings["collect-grace"],
      // One branch alone may have three memtables' worth.
      memtableBytes: Math.max(defaults.branches.memtableBytes, 4 * settings["memtable-bytes"]),
    },
    session: sessionSettings(settings["session-term"], defaults.session),
    branch: {
      ...branch,
      leadership: {
        ...branch.leadership,
        durability: settings.durability ?? null,
        changeDurability: settings["change-durability"],
        forceTakeover: settings["force-takeover"],
        readProof: settings["read-proof"],
        proofTimeoutMs: settings["request-timeout"],
        addresses: settings["advertise-client-urls"] ?? [],
      },
      log: {
        ...branch.log,
        putIntervalMinMs: settings["put-interval-min"],
        uploadAgeMs: settings["upload-age"],
        uploadBytes: settings["upload-bytes"],
        uploadBytesMax: settings["upload-bytes-max"],
      },
      signer,
      retention: retentionPolicy(settings["retain-log"], settings["retain-checkpoints"]),
      checkpointer: {
        ...branch.checkpointer,
        memtableBytes: settings["memtable-bytes"],
        intervalMs: settings["checkpoint-interval"],
      },
      engine: {
        ...branch.engine,
        auth,
        txnOpsMax: settings["max-txn-ops"],
        quotaBytes: settings["quota-backend-bytes"],
        requestTimeoutMs: settings["request-timeout"],
        callsMax: settings["calls-max"],
        bytesMax: settings["calls-bytes-max"],
      },
      watch: {
        ...branch.watch,
        progressIntervalMs: settings["watch-progress-notify-interval"],
        fragmentBytes: settings["max-request-bytes"] + GRPC_OVERHEAD_BYTES,
        watchersMax: settings["watchers-max"],
      },
    },
  };
}

/**
 * A renewal takes a third of the term, so that two may fail; a term below the one with challengers is kept with them
 * too.
 */
function sessionSettings(termMs: number, defaults: SessionSettings): SessionSettings {
  const alone = { termMs, renewalMs: Math.floor(termMs / 3) };
  return { ...defaults, alone, challenged: termMs < defaults.challenged.termMs ? alone : defaults.challenged };
}

export const transportSettings = (settings: RunSettings): TransportSettings => ({
  messageBytesMax: settings["max-request-bytes"] + GRPC_OVERHEAD_BYTES,
  // A message as JSON: its bytes are a third longer as base64.
  httpBodyBytesMax: 2 * (settings["max-request-bytes"] + GRPC_OVERHEAD_BYTES),
  concurrentStreamsMax: settings["max-concurrent-streams"],
  connectionsMax: settings["connections-max"],
  keepaliveMinMs: settings["grpc-keepalive-min-time"],
  keepaliveIntervalMs: settings["grpc-keepalive-interval"],
  keepaliveTimeoutMs: settings["grpc-keepalive-timeout"],
  streamQueueBytesMax: 1 << 20,
  connectionQueueBytesMax: 4 << 20,
});
