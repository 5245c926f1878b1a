import type { PastState } from "../engine/branches/past-state.ts";
import { AT_HEAD, KEYS, type KeyRange, type Version } from "../storage/storage.ts";

/** Versions read at once. */
const PAGE = 1000;
const PAGE_BYTES = 4 << 20;

interface Found {
  readonly versions: readonly Version[];
  /** There are more than were asked for. */
  readonly more: boolean;
}

/** Live keys of a range in order, at most `limit` (0: all). */
export async function liveIn({ tree }: PastState, range: KeyRange, limit: number): Promise<Found> {
  const found = await tree.scan(KEYS, range, AT_HEAD, { limit: limit === 0 ? 0 : limit + 1 });
  return limit > 0 && found.length > limit
    ? { versions: found.slice(0, limit), more: true }
    : { versions: found, more: false };
}

/** Every version and tombstone of a range that is kept, oldest first, at most `limit` (0: all). */
export async function versionsIn({ tree, revision }: PastState, range: KeyRange, limit: number): Promise<Found> {
  const reading = tree.versions({ range, after: 0, upTo: revision, compacted: null });
  const versions: Version[] = [];
  try {
    for (;;) {
      const page = await reading.next(PAGE, PAGE_BYTES);
      versions.push(...page.versions);
      if (limit > 0 && versions.length > limit) return { versions: versions.slice(0, limit), more: true };
      if (page.through >= revision) return { versions, more: false };
    }
  } finally {
    await reading.close();
  }
}
