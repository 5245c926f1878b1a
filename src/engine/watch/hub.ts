import { assert } from "../../base/assert.ts";
import type { DbError } from "../../base/errors.ts";
import type { Revision } from "../../base/ids.ts";
import type { Random, Timer, Timers } from "../../runtime/runtime.ts";
import type { Change, CommitListener, CommittedRevision } from "../changes.ts";
import type { WatchSink, WatchStream } from "../engine.ts";
import { CatchUp, MESSAGE_BYTES, type WatchSource } from "./catch-up.ts";
import { IntervalIndex } from "./interval-index.ts";
import { type RecentBounds, RecentRevisions } from "./recent-revisions.ts";
import { HubStream } from "./stream.ts";
import { Untold } from "./untold.ts";
import { WatchEvent } from "./watch-event.ts";
import type { Watcher } from "./watcher.ts";

export interface WatchSettings {
  /** Every so often a quiet watcher that asked for it is told how far it is (W14); up to a tenth is added at random. */
  readonly progressIntervalMs: number;
  /** A response is cut into fragments at about this size where the client allows it. */
  readonly fragmentBytes: number;
  readonly watchersMax: number;
  readonly recent: RecentBounds;
  /** Reads of history under way at once. */
  readonly readsMax: number;
  /**
   * Watchers told in the turn of a commit, and in each turn after it until all are: the commit's own answers need not
   * wait for ten thousand of them, nor does anybody else.
   */
  readonly toldPerTurn: number;
}

export const defaultWatchSettings: WatchSettings = {
  progressIntervalMs: 600_000,
  fragmentBytes: (3 << 19) + (512 << 10),
  watchersMax: 1_000_000,
  recent: { revisionsMax: 8192, bytesMax: 8 << 20 },
  readsMax: 4,
  toldPerTurn: 1024,
};

/**
 * All watchers of a branch. Invariants:
 *   - a watcher gets each committed change that it wants from its start on, once, in (revision, sub) order (W13);
 *   - all of a revision comes in one message, or in fragments of one (W12);
 *   - nothing above the committed revision is told;
 *   - a slow client holds no memory here but its watchers: what it misses is read again when it takes messages (W19);
 *   - all watchers have been told of a commit before the next one is looked at.
 * A watcher that has reached `told` goes live in that turn, and no commit falls in between. A live one has seen all up
 * to `told` but for the events that it holds: they leave within the next turns.
 */
export class WatchHub implements CommitListener {
  readonly #runtime: { timers: Timers; random: Random };
  readonly #settings: WatchSettings;
  readonly #index = new IntervalIndex<Watcher>();
  readonly #recent: RecentRevisions;
  readonly #catchUp: CatchUp;
  readonly #streams = new Set<HubStream>();
  readonly #untold = new Untold();
  #tellsLater = false;
  #changes = 0;
  #deletes = 0;
  #watchers = 0;
  #told: Revision;
  #failed: DbError | null = null;

  /** `told`: the committed revision at this moment; `committed` will be called for each one after it. */
  constructor(
    source: WatchSource & { readonly told: Revision },
    runtime: { timers: Timers; random: Random },
    settings: WatchSettings = defaultWatchSettings,
  ) {
    this.#runtime = runtime;
    this.#settings = settings;
    this.#told = source.told;
    this.#recent = new RecentRevisions(source.told + 1, settings.recent);
    const { timers } = runtime;
    this.#catchUp = new CatchUp({ source, recent: this.#recent, timers, port: this, readsMax: settings.readsMax });
  }

  /** The newest revision that watchers have been told of. */
  get told(): Revision {
    return this.#told;
  }

  get fragmentBytes(): number {
    return this.#settings.fragmentBytes;
  }

  get isFull(): boolean {
    return this.#watchers >= this.#settings.watchersMax;
  }

  get stats(): { streams: number; watchers: number } {
    return { streams: this.#streams.size, watchers: this.#watchers };
  }

  /** Keys written and deleted since this leadership began. */
  get changed(): { puts: number; deletes: number } {
    return { puts: this.#changes - this.#deletes, deletes: this.#deletes };
  }

  open(sink: WatchSink): WatchStream {
    const stream = new HubStream(this, sink);
    this.#streams.add(stream);
    if (this.#failed !== null) stream.fail(this.#failed);
    return stream;
  }

  committed(revisions: readonly CommittedRevision[]): void {
    this.#tell(Number.POSITIVE_INFINITY);
    for (const { revision, changes } of revisions) {
      for (const { deleted } of changes) if (deleted) this.#deletes++;
      this.#changes += changes.length;
      this.#gather(revision, changes);
    }
    this.#tell(this.#settings.toldPerTurn);
  }

  #gather(revision: Revision, changes: readonly Change[]): void {
    if (this.#streams.size === 0) {
      // Nobody is told, and who comes later reads the tree: nothing is made or kept.
      this.#recent.skip(revision);
      this.#told = revision;
      return;
    }
    const events: WatchEvent[] = [];
    for (const { key, deleted, kv, prev } of changes) {
      const event = new WatchEvent({ key, revision, deleted, kv, prev });
      events.push(event);
      this.#index.stab(key, (watcher) => {
        if (revision >= watcher.next && watcher.wants(event)) this.#untold.add(watcher, event);
      });
    }
    this.#recent.push(revision, events);
    this.#told = revision;
  }

  #tell(max: number): void {
    for (let told = 0; told < max; told++) {
      const watcher = this.#untold.next();
      if (watcher === null) return;
      this.#deliverTo(watcher);
    }
    if (this.#tellsLater || this.#untold.isEmpty) return;
    this.#tellsLater = true;
    this.#runtime.timers.defer(() => {
      this.#tellsLater = false;
      this.#tell(this.#settings.toldPerTurn);
    });
  }

  /** Before anything is said of how far a stream's watchers are. */
  tellAll(stream: HubStream): void {
    for (let next = this.#untold.nextOf(stream); next !== null; next = this.#untold.nextOf(stream))
      this.#deliverTo(next);
  }

  /** What encoding an event for one client fails of ends that client's stream, not the commit that it is told of. */
  #deliverTo(watcher: Watcher): void {
    try {
      this.#deliver(watcher);
    } catch (error) {
      watcher.stream.fail(error);
    }
  }

  #deliver(watcher: Watcher): void {
    const event = watcher.event!;
    const more = watcher.moreEvents;
    watcher.event = null;
    watcher.moreEvents = null;
    if (watcher.state !== "live") return;
    if (!watcher.stream.congested && mayBeTold(watcher, event, more)) {
      watcher.stream.sendEvents(watcher, event.encodedWith(more, watcher), this.#told);
      return;
    }
    this.#index.remove(watcher.from, watcher.to, watcher);
    watcher.state = "behind";
    watcher.next = event.revision;
    // At the pace at which its client takes them.
    if (!watcher.stream.congested) this.catchUp(watcher);
  }

  /**
   * Watchers that are behind and need what is gone are told when they next read on; those that wait for a client to
   * take messages are told then.
   */
  compacted(_revision: Revision): void {
    for (const stream of this.#streams) {
      if (stream.congested) continue;
      for (const watcher of stream.watchers.values()) this.catchUp(watcher);
    }
  }

  add(watcher: Watcher): void {
    assert(watcher.state === "behind", "a watcher begins behind");
    this.#watchers++;
  }

  remove(watcher: Watcher): void {
    if (watcher.state === "live") this.#index.remove(watcher.from, watcher.to, watcher);
    assert(watcher.state !== "closed", "a watcher is removed once");
    watcher.state = "closed";
    this.#watchers--;
    this.#catchUp.forget(watcher);
  }

  removeStream(stream: HubStream): void {
    this.#streams.delete(stream);
  }

  catchUp(watcher: Watcher): void {
    this.#catchUp.run(watcher);
  }

  goLive(watcher: Watcher): void {
    watcher.state = "live";
    this.#index.add(watcher.from, watcher.to, watcher);
  }

  startProgressTimer(fire: () => void): Timer {
    const interval = this.#settings.progressIntervalMs;
    return this.#runtime.timers.set(interval * (1 + this.#runtime.random.float() / 10), fire, { background: true });
  }

  /** The branch closes: every stream ends with `error`, and so does each one opened later. */
  fail(error: DbError): void {
    this.#failed = error;
    for (const stream of [...this.#streams]) stream.fail(error);
  }
}

/**
 * A disk or a store that was slow makes many revisions durable at once: they go out a part at a time, else each stream
 * would hold them all. And a client that takes nothing has nothing put by for it where others do so, too.
 */
function mayBeTold(watcher: Watcher, first: WatchEvent, more: readonly WatchEvent[] | null): boolean {
  let bytes = first.bytes;
  if (more !== null) {
    for (const event of more) bytes += event.bytes;
    if (bytes > MESSAGE_BYTES && first.revision !== more[more.length - 1]!.revision) return false;
  }
  return watcher.stream.hasRoom(bytes);
}
