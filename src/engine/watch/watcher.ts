import type { WatchCreate } from "../engine.ts";
import type { HubStream } from "./stream.ts";
import type { WatchEvent } from "./watch-event.ts";

/**
 * live:   in the index; told of each commit as it happens
 * behind: not in the index; `next` is the first revision that it has not seen; reads its way up (catch-up.ts)
 * closed: cancelled by the client, by compaction or with its stream
 *
 *   create ─► behind ─► live ─► (its stream is congested) behind ─► live …
 */
export type WatcherState = "live" | "behind" | "closed";

export class Watcher {
  readonly stream: HubStream;
  readonly id: bigint;
  readonly from: string;
  /** undefined: the single key `from`; null: all from it on. */
  readonly to: string | null | undefined;
  readonly startRevision: number;
  readonly noPut: boolean;
  readonly noDelete: boolean;
  readonly prevKv: boolean;
  readonly fragment: boolean;
  readonly progressNotify: boolean;
  /** The filters and prev_kv in one: who has the same number and keys is told the same. */
  readonly wantsNumber: number;
  state: WatcherState = "behind";
  /**
   * The first revision not yet delivered (or passed over as of no interest). While live: none below it is delivered.
   */
  next: number;
  /** What it is to be told next: the first event and those behind it, if any (untold.ts). */
  event: WatchEvent | null = null;
  moreEvents: WatchEvent[] | null = null;
  /** No event was sent since the last progress tick. */
  quiet = true;
  /** A read of the tree is under way for it. */
  reading = false;

  constructor(stream: HubStream, id: bigint, request: WatchCreate, next: number) {
    this.stream = stream;
    this.id = id;
    this.from = request.key === "" ? "\0" : request.key;
    this.to = request.rangeEnd === "" ? undefined : request.rangeEnd === "\0" ? null : request.rangeEnd;
    this.startRevision = request.startRevision;
    this.noPut = request.noPut;
    this.noDelete = request.noDelete;
    this.prevKv = request.prevKv;
    this.fragment = request.fragment;
    this.progressNotify = request.progressNotify;
    this.wantsNumber = (this.noPut ? 1 : 0) | (this.noDelete ? 2 : 0) | (this.prevKv ? 4 : 0);
    this.next = next;
  }

  wants(event: WatchEvent): boolean {
    return !(event.deleted ? this.noDelete : this.noPut);
  }

  holds(key: string): boolean {
    if (this.to === undefined) return key === this.from;
    return key >= this.from && (this.to === null || key < this.to);
  }

  /** Everything up to the committed revision has been delivered, and its start is not in the future (W14, W15). */
  isSynced(committed: number): boolean {
    return this.state === "live" && this.event === null && committed >= this.startRevision;
  }
}
