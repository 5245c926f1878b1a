import { BackgroundCollector } from "../collector/background.ts";
import { Collector, defaultCollectorSettings } from "../collector/collector.ts";
import type { Host } from "../engine/host/host.ts";
import type { ObjectStore } from "../objects/objects.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Log } from "./logger.ts";
import type { RunSettings } from "./settings.ts";

const REQUEST_TIMEOUT_MS = 30_000;

/** What --collect-interval and --collect-grace ask for; null: nothing by itself. */
export function backgroundCollector(
  settings: RunSettings,
  { runtime, store, host, log }: { runtime: Runtime; store: ObjectStore; host: Host; log: Log },
): BackgroundCollector | null {
  const intervalMs = settings["collect-interval"];
  if (intervalMs === 0) return null;
  const { deletesPerSecond } = defaultCollectorSettings;
  const graceMs = settings["collect-grace"];
  const collector = new Collector({ store, runtime, requestTimeoutMs: REQUEST_TIMEOUT_MS, graceMs, deletesPerSecond });
  const leads = () => host.open.some(({ failure }) => failure === null);
  const sweep = async (signal: AbortSignal): Promise<void> => {
    const { expired, purged, failed } = await host.branches.sweep(signal);
    if (expired.length > 0) log.info("deleted branches that have expired", { branches: expired.join() });
    if (purged.length > 0) log.info("ended deleted branches for ever", { branches: purged.join() });
    for (const { name, error } of failed) {
      log.warn("a branch could not be ended, it will be tried again", { branch: name, why: error.message });
    }
  };
  return new BackgroundCollector({ collector, runtime, intervalMs, leads, sweep, tell: log });
}
