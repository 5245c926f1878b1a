import { type Effect, type Entry, KEYS, type KeyRange, type Space, type Version } from "../../src/storage/storage.ts";

type Stored = {
  space: Space;
  key: string;
  main: number;
  sub: number;
  tombstone: boolean;
  value: string;
  effect: Effect;
};

/** The plainest tree there is: a list of all entries, searched from end to end. What every other one must equal. */
export class NaiveTree {
  readonly entries: Stored[] = [];

  /** Adds a version and returns the entry to give to the tree under test, or null for a delete of nothing. */
  write(space: Space, key: string, main: number, sub: number, value: string | null): Entry | null {
    const live = this.get(space, key, Number.MAX_SAFE_INTEGER) !== null;
    if (value === null && !live) return null;
    const effect: Effect = value === null ? -1 : live ? 0 : 1;
    this.entries.push({ space, key, main, sub, tombstone: value === null, value: value ?? "", effect });
    const bytes = Buffer.from(`..${value ?? ""}..`, "latin1");
    return { space, key, main, sub, tombstone: value === null, effect, bytes, start: 2, end: bytes.length - 2 };
  }

  get(space: Space, key: string, at: number): Stored | null {
    let best: Stored | null = null;
    for (const entry of this.entries) if (entry.space === space && entry.key === key && entry.main <= at) best = entry;
    return best === null || best.tombstone ? null : best;
  }

  scan(space: Space, range: KeyRange, at: number, limit: number, reverse: boolean): Stored[] {
    const keys = new Set<string>();
    for (const entry of this.entries) if (entry.space === space && inRange(entry.key, range)) keys.add(entry.key);
    const rows: Stored[] = [];
    for (const key of [...keys].sort(byCodeUnit)) {
      const found = this.get(space, key, at);
      if (found !== null) rows.push(found);
    }
    if (reverse) rows.reverse();
    return limit === 0 ? rows : rows.slice(0, limit);
  }

  history(range: KeyRange, after: number, upTo: number): Stored[] {
    return this.entries.filter((e) => e.space === KEYS && e.main > after && e.main <= upTo && inRange(e.key, range));
  }
}

export const inRange = (key: string, range: KeyRange): boolean =>
  key >= range.from && (range.to === null || key < range.to);

const byCodeUnit = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** A version of either kind as plain data, for comparison. */
export function shown(version: Version | Stored | null): string | null {
  if (version === null) return null;
  const value =
    "value" in version ? version.value : Buffer.from(version.bytes).toString("latin1", version.start, version.end);
  return `${version.key}@${version.main}.${version.sub}${version.tombstone ? " deleted" : `=${value}`}`;
}
