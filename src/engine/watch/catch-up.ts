import { isDbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.ts";
import type { Timers } from "../../runtime/runtime.ts";
import { KEYS, type KeyRange, type OrderedVersions, type Tree, type Version } from "../../storage/storage.ts";
import { encodeDeleted } from "./deleted-row.ts";
import type { RecentRevisions } from "./recent-revisions.ts";
import { WatchEvent } from "./watch-event.ts";
import type { Watcher } from "./watcher.ts";

/** What watching needs of the branch. */
export interface WatchSource {
  readonly tree: Pick<Tree, "get" | "versions">;
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
/** Of one that goes in fragments: each of them is bounded by itself, and clients take them for one, as of an etcd. */
const FRAGMENTED_BYTES = 16 << 20;
/** Where there is room for less, nothing is read of the tree yet. */
const ROOM_BYTES = 64 << 10;
/** Versions asked of the tree at once, and bytes of them. */
const READ_VERSIONS = 512;
const READ_BYTES = 1 << 20;
const RETRY_MS = 1000;

/** A watcher's way through history: it stands at `next`. */
interface Reading {
  readonly versions: OrderedVersions;
  readonly upTo: number;
  next: number;
}

/** What one message will say. */
interface Gathered {
  readonly events: Uint8Array[];
  bytes: number;
}

function mayGrow({ events, bytes }: Gathered, { fragment }: Watcher): boolean {
  return events.length < MESSAGE_EVENTS && bytes < (fragment ? FRAGMENTED_BYTES : MESSAGE_BYTES);
}

/**
 * Brings a watcher that is behind up to the newest revision: from the recent revisions in memory, else from the tree, a
 * bounded window at a time, at the pace at which its client takes messages.
 *
 * A watcher that has begun to read keeps its place, so that each block is read once, not once a page. At most
 * `readsMax` have one: who reads on goes before who would begin, and who waits for its client gives its place up to one
 * who would begin, and has to begin again.
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
  /** Watchers that would begin to read. */
  readonly #waiting: Watcher[] = [];
  /** Those that have, the one that read last at the end. */
  readonly #readings = new Map<Watcher, Reading>();

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
      if (watcher.next > this.#port.told) {
        this.#end(watcher);
        this.#port.goLive(watcher);
      } else if (watcher.next < compacted) watcher.stream.cancelCompacted(watcher, compacted);
      else if (this.#recent.covers(watcher.next)) this.#tellRecent(watcher);
      else if (watcher.stream.hasRoom(ROOM_BYTES)) this.#enqueue(watcher);
    }
  }

  #tellRecent(watcher: Watcher): void {
    const told = this.#port.told;
    const gathered: Gathered = { events: [], bytes: 0 };
    const { events } = gathered;
    let revision = watcher.next;
    while (revision <= told && mayGrow(gathered, watcher)) {
      for (const event of this.#recent.at(revision)) {
        if (!watcher.holds(event.key) || !watcher.wants(event)) continue;
        const shown = revision - 1 < this.#source.compactRevision ? event.withoutPrevious() : event;
        events.push(shown.encoded(watcher));
        gathered.bytes += event.bytes;
      }
      revision++;
    }
    if (events.length > 0 && !watcher.stream.hasRoom(gathered.bytes)) return;
    watcher.next = revision;
    if (events.length > 0) watcher.stream.sendEvents(watcher, events, told);
  }

  #enqueue(watcher: Watcher): void {
    watcher.reading = true;
    const reading = this.#readings.get(watcher);
    if (reading !== undefined && reading.next === watcher.next) this.#start(watcher, reading);
    else {
      this.#end(watcher);
      this.#waiting.push(watcher);
      this.#beginReadings();
    }
  }

  /** The watcher needs no history any more. */
  forget(watcher: Watcher): void {
    if (watcher.reading) return;
    this.#end(watcher);
    this.#beginReadings();
  }

  #beginReadings(): void {
    while (this.#waiting.length > 0 && this.#hasPlace()) {
      const watcher = this.#waiting.shift()!;
      if (watcher.state === "closed") continue;
      const { from, to, next } = watcher;
      const range: KeyRange = { from, to: to === undefined ? `${from}\0` : to };
      const upTo = this.#port.told;
      const versions = this.#source.tree.versions({ range, after: next - 1, upTo, compacted: null });
      this.#start(watcher, { versions, upTo, next });
    }
  }

  #hasPlace(): boolean {
    if (this.#readings.size < this.#readsMax) return true;
    for (const watcher of this.#readings.keys()) {
      if (watcher.reading) continue;
      this.#end(watcher);
      return true;
    }
    return false;
  }

  #start(watcher: Watcher, reading: Reading): void {
    this.#readings.delete(watcher);
    this.#readings.set(watcher, reading);
    this.#read(watcher, reading)
      .then(
        () => this.#readDone(watcher, reading),
        (error: unknown) => this.#readFailed(watcher, error),
      )
      .catch((error: unknown) => watcher.stream.fail(error));
  }

  /** Gives its place up. What holding it took is freed in the background: there is nothing to wait for. */
  #end(watcher: Watcher): void {
    const reading = this.#readings.get(watcher);
    if (reading === undefined) return;
    this.#readings.delete(watcher);
    void reading.versions.close();
  }

  #readDone(watcher: Watcher, reading: Reading): void {
    watcher.reading = false;
    const isOver = watcher.state !== "behind" || watcher.next !== reading.next || reading.next > reading.upTo;
    if (isOver) this.#end(watcher);
    this.run(watcher);
    this.#beginReadings();
  }

  /**
   * A store that is away comes back: tried again. So is what was compacted meanwhile: `run` then finds that. Anything
   * else ends this client's stream, by name.
   */
  #readFailed(watcher: Watcher, error: unknown): void {
    this.#end(watcher);
    if (isDbError(error, "storeUnavailable") || isDbError(error, "compacted")) {
      this.#timers.set(RETRY_MS, () => {
        watcher.reading = false;
        this.run(watcher);
      });
    } else watcher.stream.fail(error);
    this.#beginReadings();
  }

  async #read(watcher: Watcher, reading: Reading): Promise<void> {
    const first = reading.next;
    const gathered: Gathered = { events: [], bytes: 0 };
    do {
      const page = await reading.versions.next(READ_VERSIONS, READ_BYTES);
      await this.#gather(page.versions, watcher, gathered);
      reading.next = page.through + 1;
    } while (
      // Any other watcher is told of each page.
      watcher.fragment &&
      reading.next <= reading.upTo &&
      mayGrow(gathered, watcher) &&
      watcher.state === "behind"
    );
    const { events, bytes } = gathered;
    // What was read may lack versions that a compaction since has dropped: `run` then finds the watcher compacted.
    if (watcher.state !== "behind" || first < this.#source.compactRevision) return;
    // Read again when there is room: what is not sent is not kept.
    if (events.length > 0 && !watcher.stream.hasRoom(bytes)) return;
    watcher.next = reading.next;
    // As by etcd, the header's revision is the store's, not that of the page.
    if (events.length > 0) watcher.stream.sendEvents(watcher, events, this.#port.told);
  }

  async #gather(versions: readonly Version[], watcher: Watcher, into: Gathered): Promise<void> {
    for (const version of versions) {
      if (version.tombstone ? watcher.noDelete : watcher.noPut) continue;
      let prev: MaybePromise<Version | null> = watcher.prevKv && !isBirth(version) ? this.#previous(version) : null;
      if (isPromise(prev)) prev = await prev;
      const encoded = eventOf(version, prev).encoded(watcher);
      into.events.push(encoded);
      into.bytes += encoded.length;
    }
  }

  /** The pair before the revision of `version`; none once that is compacted (W10). */
  #previous(version: Version): MaybePromise<Version | null> {
    const before = version.main - 1;
    return before < this.#source.compactRevision ? null : this.#source.tree.get(KEYS, version.key, before);
  }
}

/**
 * A pair that is created has none before it, also where its transaction deleted one of that key first. Only versions
 * above the compact revision are asked about, whose effects no merge has changed.
 */
const isBirth = ({ tombstone, effect }: Version): boolean => !tombstone && effect > 0;

function eventOf(version: Version, prev: Version | null): WatchEvent {
  const { key, main: revision, tombstone: deleted } = version;
  return new WatchEvent({ key, revision, deleted, kv: deleted ? encodeDeleted(key, revision) : version, prev });
}
