import { isDbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.ts";
import type { Timers } from "../../runtime/runtime.ts";
import { KEYS, type KeyRange, type Tree, type Version } from "../../storage/storage.ts";
import { encodeDeleted } from "./deleted-row.ts";
import type { RecentRevisions } from "./recent-revisions.ts";
import { WatchEvent } from "./watch-event.ts";
import type { Watcher } from "./watcher.ts";

/** What watching needs of the branch. */
export interface WatchSource {
  readonly tree: Pick<Tree, "get" | "history">;
  /** −1 before any compaction. */
  readonly compactRevision: number;
}

export interface CatchUpPort {
  /** The newest revision told to watchers. */
  readonly told: Revision;
  /** `watcher.next` is above `told`: from now on it is told of each commit. */
  goLive(watcher: Watcher): void;
}

/** Bounds of one message while catching up, and of one of several revisions at all; always whole revisions. */
const MESSAGE_EVENTS = 1000;
export const MESSAGE_BYTES = 1 << 20;
/** Versions asked of the tree at once. */
const READ_VERSIONS = 512;
const RETRY_MS = 1000;

/**
 * Brings a watcher that is behind up to the newest revision: from the recent revisions in memory, else from the tree, a
 * bounded window at a time, at the pace at which its client takes messages.
 *
 * A read of the tree is awaited outside any lock; what may have happened meanwhile (closed, compacted, congested) is
 * looked at again after each. A process that dies in between loses nothing: the client asks again from the revision
 * that it has seen.
 */
export class CatchUp {
  readonly #source: WatchSource;
  readonly #recent: RecentRevisions;
  readonly #timers: Timers;
  readonly #port: CatchUpPort;
  readonly #readsMax: number;
  readonly #waiting: Watcher[] = [];
  #reads = 0;

  constructor(options: {
    source: WatchSource;
    recent: RecentRevisions;
    timers: Timers;
    port: CatchUpPort;
    readsMax: number;
  }) {
    this.#source = options.source;
    this.#recent = options.recent;
    this.#timers = options.timers;
    this.#port = options.port;
    this.#readsMax = options.readsMax;
  }

  run(watcher: Watcher): void {
    while (watcher.state === "behind" && !watcher.stream.congested && !watcher.reading) {
      const compacted = this.#source.compactRevision;
      if (watcher.next > this.#port.told) this.#port.goLive(watcher);
      else if (watcher.next < compacted) watcher.stream.cancelCompacted(watcher, compacted);
      else if (this.#recent.covers(watcher.next)) this.#tellRecent(watcher);
      else this.#enqueue(watcher);
    }
  }

  #tellRecent(watcher: Watcher): void {
    const told = this.#port.told;
    const events: WatchEvent[] = [];
    let bytes = 0;
    let revision = watcher.next;
    while (revision <= told && events.length < MESSAGE_EVENTS && bytes < MESSAGE_BYTES) {
      for (const event of this.#recent.at(revision)) {
        if (!watcher.holds(event.key) || !watcher.wants(event)) continue;
        events.push(revision - 1 < this.#source.compactRevision ? event.withoutPrevious() : event);
        bytes += event.bytes;
      }
      revision++;
    }
    watcher.next = revision;
    if (events.length > 0) watcher.stream.sendEvents(watcher, events, (revision - 1) as Revision);
  }

  #enqueue(watcher: Watcher): void {
    watcher.reading = true;
    this.#waiting.push(watcher);
    this.#startReads();
  }

  #startReads(): void {
    while (this.#reads < this.#readsMax && this.#waiting.length > 0) {
      const watcher = this.#waiting.shift()!;
      if (watcher.state === "closed") continue;
      this.#reads++;
      this.#read(watcher).then(
        () => this.#readDone(watcher),
        (error: unknown) => this.#readFailed(watcher, error),
      );
    }
  }

  #readDone(watcher: Watcher): void {
    this.#reads--;
    watcher.reading = false;
    this.run(watcher);
    this.#startReads();
  }

  /** A store that is away comes back: tried again. Anything else ends this client's stream, by name. */
  #readFailed(watcher: Watcher, error: unknown): void {
    this.#reads--;
    if (isDbError(error, "storeUnavailable")) {
      this.#timers.set(RETRY_MS, () => {
        watcher.reading = false;
        this.run(watcher);
      });
    } else watcher.stream.failWith(error);
    this.#startReads();
  }

  async #read(watcher: Watcher): Promise<void> {
    const range: KeyRange = {
      from: watcher.from,
      to: watcher.to === undefined ? watcher.from + "\0" : watcher.to,
    };
    const first = watcher.next;
    const window = await this.#source.tree.history(range, first - 1, this.#port.told, READ_VERSIONS);
    const events: WatchEvent[] = [];
    for (const version of window.versions) {
      if (version.tombstone ? watcher.noDelete : watcher.noPut) continue;
      let prev: MaybePromise<Version | null> = watcher.prevKv ? this.#previous(version) : null;
      if (isPromise(prev)) prev = await prev;
      events.push(eventOf(version, prev));
    }
    // What was read may lack versions that a compaction since has dropped: `run` then finds the watcher compacted.
    if (watcher.state !== "behind" || first < this.#source.compactRevision) return;
    watcher.next = window.through + 1;
    if (events.length > 0) watcher.stream.sendEvents(watcher, events, window.through as Revision);
  }

  /** The pair before the revision of `version`; none once that is compacted (W10). */
  #previous(version: Version): MaybePromise<Version | null> {
    const before = version.main - 1;
    return before < this.#source.compactRevision ? null : this.#source.tree.get(KEYS, version.key, before);
  }
}

function eventOf(version: Version, prev: Version | null): WatchEvent {
  const { key, main: revision, tombstone: deleted } = version;
  return new WatchEvent({ key, revision, deleted, kv: deleted ? encodeDeleted(key, revision) : version, prev });
}
