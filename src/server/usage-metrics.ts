import { Gauge, type Registry } from "prom-client";
import type { BranchUsage } from "../engine/branches/history.ts";
import type { UsageSeen } from "./usage-look.ts";

/** So many branches are named, those that deleting frees most of; the rest is told as one: series are bounded. */
const NAMED_MAX = 200;
/** No branch's: names are letters, digits and hyphens. */
const OTHERS = "(others)";

type Sums = Pick<BranchUsage, "ownBytes" | "sharedBytes" | "historyBytes" | "logBytes" | "objects" | "growthBytes">;

/** What branches take of the store, as it was last seen; nothing before that. Null: nobody looks. */
export function addUsage(source: (() => UsageSeen | null) | undefined, add: { registers: Registry[] }): () => void {
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ ...add, name, help, labelNames });
  const bytes = gauge(
    "t4_branch_usage_bytes",
    "Of the store: own (freed by deleting it alone), shared; of both, history (tables of older moments alone) and log",
    ["branch", "kind"],
  );
  const objects = gauge("t4_branch_usage_objects", "Objects that deleting it alone frees", ["branch"]);
  const growth = gauge("t4_branch_growth_bytes_per_day", "Of tables, since its oldest retained checkpoint", ["branch"]);
  const all = gauge("t4_usage_bytes", "All tables, and all that branches have in the store");
  const allObjects = gauge("t4_usage_objects", "The same, objects");
  const garbage = gauge("t4_usage_garbage_bytes", "Of them what nobody needs: the next collections delete it");
  const branches = gauge("t4_usage_branches", "Branches that there are");
  const at = gauge("t4_usage_last_timestamp_seconds", "When it was last seen (--usage-interval)");
  const failed = gauge("t4_usage_failed", "1 if it could not be seen since");
  return () => {
    for (const one of [bytes, objects, growth]) one.reset();
    const seen = source?.() ?? null;
    const usage = seen?.usage ?? null;
    at.set(seen?.atMs == null ? Number.NaN : seen.atMs / 1000);
    failed.set(seen?.failed ? 1 : 0);
    all.set(usage?.bytes ?? Number.NaN);
    allObjects.set(usage?.objects ?? Number.NaN);
    garbage.set(usage?.garbageBytes ?? Number.NaN);
    branches.set(usage?.branches.length ?? Number.NaN);
    for (const [branch, sums] of named(usage?.branches ?? [])) {
      bytes.set({ branch, kind: "own" }, sums.ownBytes);
      bytes.set({ branch, kind: "shared" }, sums.sharedBytes);
      bytes.set({ branch, kind: "history" }, sums.historyBytes);
      bytes.set({ branch, kind: "log" }, sums.logBytes);
      objects.set({ branch }, sums.objects);
      if (sums.growthBytes !== null) growth.set({ branch }, sums.growthBytes);
    }
  };
}

function named(branches: readonly BranchUsage[]): [string, Sums][] {
  const sorted = [...branches].sort((a, b) => b.ownBytes - a.ownBytes);
  const shown: [string, Sums][] = sorted.slice(0, NAMED_MAX).map((each) => [each.name, each]);
  const rest = sorted.slice(NAMED_MAX);
  if (rest.length > 0) shown.push([OTHERS, rest.map((each): Sums => each).reduce(together)]);
  return shown;
}

/** What several of them share is counted for each. */
const together = (a: Sums, b: Sums): Sums => ({
  ownBytes: a.ownBytes + b.ownBytes,
  sharedBytes: a.sharedBytes + b.sharedBytes,
  historyBytes: a.historyBytes + b.historyBytes,
  logBytes: a.logBytes + b.logBytes,
  objects: a.objects + b.objects,
  growthBytes: a.growthBytes === null ? b.growthBytes : a.growthBytes + (b.growthBytes ?? 0),
});
