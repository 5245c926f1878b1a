import type { Version } from "./storage.ts";
import { StoredVersion } from "./stored-version.ts";

/** Versions gathered beyond the limit before the newest of them are let go. */
const SLACK = 1024;

/**
 * The oldest versions of a window of revisions, gathered in any order. When there are too many, the newest go, and
 * the window ends before them: memory is bounded by the limits and the size of one transaction.
 */
export class HistoryWindow {
  readonly after: number;
  /** The newest revision still asked for. */
  through: number;
  readonly #limit: number;
  readonly #bytesMax: number;
  #versions: Version[] = [];
  #bytes = 0;
  /** Past either, the newest go. */
  #cutAtCount: number;
  #cutAtBytes: number;

  constructor(after: number, upTo: number, most: { versions: number; bytes: number }) {
    this.after = after;
    this.through = upTo;
    this.#limit = Math.max(1, most.versions);
    this.#bytesMax = most.bytes;
    this.#cutAtCount = 2 * this.#limit + SLACK;
    this.#cutAtBytes = 2 * this.#bytesMax;
  }

  /** Keeps a copy of what is wanted of `version`, so that it alone is held and not the block that it lies in. */
  addCopy(version: Version): void {
    const { key, main, sub, tombstone, effect, bytes, start, end } = version;
    if (main <= this.after || main > this.through) return;
    const copy = Buffer.from(bytes.subarray(start, end));
    this.#versions.push(new StoredVersion(key, main, sub, tombstone, effect, copy, 0, copy.length));
    this.#bytes += copy.length;
    if (this.#versions.length > this.#cutAtCount || this.#bytes > this.#cutAtBytes) this.#cut();
  }

  /** In order; complete up to `through`. */
  take(): Version[] {
    this.#cut();
    return this.#versions;
  }

  #cut(): void {
    const versions = this.#versions.sort((a, b) => a.main - b.main || a.sub - b.sub);
    let end = 0;
    let bytes = 0;
    const isFull = () => end >= this.#limit || bytes >= this.#bytesMax;
    while (end < versions.length && (!isFull() || versions[end]!.main === versions[end - 1]!.main))
      bytes += sizeOf(versions[end++]!);
    if (end < versions.length) {
      this.#versions = versions.slice(0, end);
      this.#bytes = bytes;
      this.through = versions[end - 1]!.main;
    }
    // A transaction that is larger than the limits stays whole; it is not sorted again for each version of it.
    this.#cutAtCount = 2 * Math.max(this.#limit, this.#versions.length) + SLACK;
    this.#cutAtBytes = 2 * Math.max(this.#bytesMax, this.#bytes);
  }
}

const sizeOf = (version: Version): number => version.end - version.start;
