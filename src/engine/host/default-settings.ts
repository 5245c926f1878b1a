import { defaultLeadershipSettings, defaultSessionSettings } from "../../leadership/settings.ts";
import { defaultLogSettings } from "../../log/log.ts";
import type { ObjectStore } from "../../objects/objects.ts";
import { defaultRetention } from "../../storage/checkpoint-retention.ts";
import { type DiskCacheSettings, defaultDiskCacheSettings } from "../../storage/disk-cache.ts";
import { defaultTreeSettings } from "../../storage/tree.ts";
import { defaultEngineSettings } from "../settings.ts";
import { defaultWatchSettings } from "../watch/hub.ts";
import { defaultBranchSetSettings } from "./branch-set.ts";
import { defaultCheckpointerSettings } from "./checkpointer.ts";
import type { HostOptions } from "./host.ts";

/** Of the memory that blocks of tables may take, all branches together. */
const CACHE_BYTES = 128 << 20;

/** What a host is given where nobody says otherwise. */
export const defaultHostSettings = (
  store: ObjectStore,
): Pick<HostOptions, "window" | "cacheBytes" | "diskCache" | "session" | "branch" | "branches"> => ({
  window: defaultLogSettings.window,
  cacheBytes: CACHE_BYTES,
  // Beside a store that is a directory it would hold what lies on a disk already.
  diskCache: store.local ? null : defaultDiskCacheSettings,
  session: defaultSessionSettings,
  branches: defaultBranchSetSettings,
  branch: {
    requestTimeoutMs: defaultLogSettings.requestTimeoutMs,
    leadership: { ...defaultLeadershipSettings, durabilityDefault: store.local ? "local" : "object" },
    log: defaultLogSettings,
    tree: defaultTreeSettings,
    retention: defaultRetention,
    checkpointer: defaultCheckpointerSettings,
    engine: defaultEngineSettings,
    watch: defaultWatchSettings,
  },
});

/** The disk cache that somebody asked for, by its size: undefined is what is right by default, 0 none. */
export function diskCacheOf(
  bytesMax: number | undefined,
  byDefault: DiskCacheSettings | null,
): DiskCacheSettings | null {
  if (bytesMax === undefined) return byDefault;
  return bytesMax === 0 ? null : { ...defaultDiskCacheSettings, bytesMax };
}
