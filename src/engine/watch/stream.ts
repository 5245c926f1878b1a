import type { Revision } from "../../base/ids.ts";
import type { Timer } from "../../runtime/runtime.ts";
import type { WatchCreate, WatchMessage, WatchSink, WatchStream } from "../engine.ts";
import type { WatchHub } from "./hub.ts";
import { Watcher } from "./watcher.ts";

/** etcd's texts (W2, W3, W5). */
const DUPLICATE_ID = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE = "mvcc: watcher range is empty";
const COMPACTED = "etcdserver: mvcc: required revision has been compacted";
const TOO_MANY = "etcdserver: too many requests";
const NO_ID = -1n;
/** More ids than that are forgotten, but for that there were such. */
const COMPACTED_MAX = 1000;

/** One client's watchers, and what is sent to it. Messages leave in the order in which they are given to the sink. */
export class HubStream implements WatchStream {
  readonly #hub: WatchHub;
  readonly #sink: WatchSink;
  readonly watchers = new Map<bigint, Watcher>();
  /** Owned by the hub: those of a commit's watchers that are here, and how many of them have been told (untold.ts). */
  readonly untold: Watcher[] = [];
  toldCount = 0;
  #nextId = 0n;
  #congested = false;
  #closed = false;
  /**
   * Ids of watchers that a compaction has cancelled. To etcd they are watchers that are never synced, until the client
   * cancels them, too: their ids are taken, and while there are any no progress request is answered.
   */
  readonly #compacted = new Set<bigint>();
  #compactedForgotten = false;
  #progressTimer: Timer | null = null;

  constructor(hub: WatchHub, sink: WatchSink) {
    this.#hub = hub;
    this.#sink = sink;
  }

  get congested(): boolean {
    return this.#congested;
  }

  /** False: the stream is congested until there is. */
  hasRoom(bytes: number): boolean {
    if (this.#sink.hasRoom === undefined || this.#sink.hasRoom(bytes)) return true;
    this.#congested = true;
    return false;
  }

  create(request: WatchCreate): void {
    if (this.#closed) return;
    const committed = this.#hub.told;
    const refusal = this.#refusal(request);
    if (refusal !== null) {
      this.#send({
        kind: "canceled",
        id: NO_ID,
        revision: committed,
        created: true,
        compactRevision: 0,
        reason: refusal,
      });
      return;
    }
    const id = request.watchId === 0n ? this.#takeId() : request.watchId;
    const watcher = new Watcher(this, id, request, request.startRevision === 0 ? committed + 1 : request.startRevision);
    this.watchers.set(id, watcher);
    this.#hub.add(watcher);
    this.#send({ kind: "created", id, revision: committed });
    if (request.progressNotify) this.#startProgress();
    this.#hub.catchUp(watcher);
  }

  #refusal(request: WatchCreate): string | null {
    const from = request.key === "" ? "\0" : request.key;
    if (request.startRevision < 0) return COMPACTED;
    if (request.rangeEnd !== "" && request.rangeEnd !== "\0" && from >= request.rangeEnd) return EMPTY_RANGE;
    if (request.watchId !== 0n && this.#isTaken(request.watchId)) return DUPLICATE_ID;
    return this.#hub.isFull ? TOO_MANY : null;
  }

  #takeId(): bigint {
    while (this.#isTaken(this.#nextId)) this.#nextId++;
    return this.#nextId++;
  }

  #isTaken(id: bigint): boolean {
    return this.watchers.has(id) || this.#compacted.has(id);
  }

  cancel(id: bigint): void {
    const watcher = this.watchers.get(id);
    if (watcher !== undefined) this.#drop(watcher);
    else if (!this.#compacted.delete(id)) return;
    const revision = this.#hub.told;
    this.#send({ kind: "canceled", id, revision, created: false, compactRevision: 0, reason: "" });
  }

  #drop(watcher: Watcher): void {
    this.watchers.delete(watcher.id);
    this.#hub.remove(watcher);
  }

  /** The watcher needs what is gone (W8). */
  cancelCompacted(watcher: Watcher, compactRevision: number): void {
    this.#drop(watcher);
    this.#compacted.add(watcher.id);
    if (this.#compacted.size > COMPACTED_MAX) {
      this.#compactedForgotten = true;
      for (const oldest of this.#compacted) {
        this.#compacted.delete(oldest);
        break;
      }
    }
    this.#send({ kind: "canceled", id: watcher.id, revision: 0, created: false, compactRevision, reason: "" });
  }

  /** Answered only when every watcher is synced; else dropped, as etcd does (W15). */
  progress(): void {
    this.#hub.tellAll(this);
    if (this.#closed || this.#congested || this.watchers.size === 0) return;
    if (this.#compacted.size > 0 || this.#compactedForgotten) return;
    const committed = this.#hub.told;
    for (const watcher of this.watchers.values()) if (!watcher.isSynced(committed)) return;
    this.#send({ kind: "progress", id: NO_ID, revision: committed });
  }

  #startProgress(): void {
    if (this.#progressTimer !== null) return;
    this.#progressTimer = this.#hub.startProgressTimer(() => {
      this.#progressTimer = null;
      if (this.#closed) return;
      this.#hub.tellAll(this);
      const committed = this.#hub.told;
      let wanted = false;
      for (const watcher of this.watchers.values()) {
        if (!watcher.progressNotify) continue;
        wanted = true;
        const due = watcher.quiet && watcher.isSynced(committed) && !this.#congested;
        watcher.quiet = true;
        if (due) this.#send({ kind: "progress", id: watcher.id, revision: committed });
      }
      if (wanted) this.#startProgress();
    });
  }

  /** All of one or more whole revisions; in fragments if the client asked for that and they are large (W12). */
  sendEvents(watcher: Watcher, events: readonly Uint8Array[], revision: Revision): void {
    watcher.quiet = false;
    const id = watcher.id;
    if (!watcher.fragment || events.length === 1) {
      this.#send({ kind: "events", id, revision, events, more: false });
      return;
    }
    let first = 0;
    while (first < events.length) {
      const end = this.#fragmentEnd(events, first);
      this.#send({ kind: "events", id, revision, events: events.slice(first, end), more: end < events.length });
      first = end;
    }
  }

  /** At least one event; as many as stay below the bound. */
  #fragmentEnd(events: readonly Uint8Array[], first: number): number {
    let bytes = 0;
    let end = first;
    while (end < events.length) {
      bytes += events[end]!.length + EVENT_OVERHEAD_BYTES;
      if (end > first && bytes >= this.#hub.fragmentBytes) break;
      end++;
    }
    return end;
  }

  resume(): void {
    if (this.#closed || !this.#congested) return;
    this.#congested = false;
    for (const watcher of this.watchers.values()) {
      if (watcher.state === "behind") this.#hub.catchUp(watcher);
    }
  }

  #send(message: WatchMessage): void {
    if (this.#closed) return;
    if (!this.#sink.send(message)) this.#congested = true;
  }

  /** Also with what is no DbError: a bug in telling this client ends its stream, and no other one. */
  fail(error: unknown): void {
    if (this.#closed) return;
    this.close();
    this.#sink.fail(error);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#progressTimer?.cancel();
    for (const watcher of this.watchers.values()) this.#hub.remove(watcher);
    this.watchers.clear();
    this.#hub.removeStream(this);
  }
}

/** Tag and length around an event in a response. */
const EVENT_OVERHEAD_BYTES = 5;
