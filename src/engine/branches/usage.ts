import type { BranchId } from "../../base/ids.ts";
import type { BranchReferences } from "../../collector/branch-references.ts";
import { tableBytesOf } from "../../storage/checkpoint.ts";
import { AT_HEAD } from "../../storage/storage.ts";
import type { Footprint } from "./footprint.ts";
import type { BranchUsage, PrefixUsage } from "./history.ts";
import { openPast, type PastOptions } from "./past-state.ts";

const DAY_MS = 86_400_000;
const PAGE_ROWS = 4096;
const PAGE_BYTES = 1 << 20;
/** More are told as one. */
const PREFIXES_MAX = 10_000;
const SLASH = "/";

export function branchUsage(
  footprint: Footprint,
  references: BranchReferences,
): Omit<BranchUsage, "name" | "prefixes"> {
  const id = references.branch;
  const own = footprint.own(id);
  return {
    id,
    ownBytes: own.bytes,
    sharedBytes: footprint.shared(id).bytes,
    historyBytes: footprint.history(id).bytes,
    logBytes: footprint.log(id).bytes,
    objects: own.objects,
    growthBytes: growthOf(footprint, references),
  };
}

/** From the oldest retained checkpoint to the newest. */
function growthOf(footprint: Footprint, { newest, branch }: BranchReferences): number | null {
  const oldest = newest?.retained.find((each) => each.branch === branch);
  if (newest === null || oldest === undefined) return null;
  const ageMs = newest.point.wallMs - oldest.wallMs;
  const before = footprint.tableBytesAt(oldest);
  if (ageMs <= 0 || before === null) return null;
  return Math.round(((tableBytesOf(newest.runs) - before) / ageMs) * DAY_MS);
}

/** Live pairs by how their keys begin, up to the n-th slash behind the first character, in the order of keys. */
export async function prefixUsage(bucket: PastOptions, branch: BranchId, depth: number): Promise<PrefixUsage[]> {
  const state = await openPast(bucket, branch, { kind: "newest" });
  const found = new Map<string, { prefix: string; keys: number; bytes: number }>();
  try {
    const walk = state.tree.walk({ from: "", to: null }, AT_HEAD, false);
    for (;;) {
      const page = await walk.next(PAGE_ROWS, PAGE_BYTES);
      if (page.length === 0) return [...found.values()];
      for (const { key, start, end } of page) {
        let prefix = prefixOf(key, depth);
        if (found.size >= PREFIXES_MAX && !found.has(prefix)) prefix = "";
        const sum = found.get(prefix) ?? { prefix, keys: 0, bytes: 0 };
        sum.keys++;
        sum.bytes += end - start;
        found.set(prefix, sum);
      }
    }
  } finally {
    await state.close();
  }
}

/** "/registry/pods/default/a" of depth 2: "/registry/pods/". */
export function prefixOf(key: string, depth: number): string {
  let at = 0;
  for (let n = 0; n < depth; n++) {
    const next = key.indexOf(SLASH, at === 0 && key.startsWith(SLASH) ? 1 : at);
    if (next < 0) break;
    at = next + 1;
  }
  return key.slice(0, at);
}
