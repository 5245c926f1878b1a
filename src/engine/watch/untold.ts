import type { HubStream } from "./stream.ts";
import type { WatchEvent } from "./watch-event.ts";
import type { Watcher } from "./watcher.ts";

/**
 * Watchers that newly committed revisions have events for, in the order in which they are told: stream by stream, so
 * that what goes to one client goes together.
 */
export class Untold {
  readonly #streams: HubStream[] = [];
  #first = 0;

  get isEmpty(): boolean {
    return this.#first === this.#streams.length;
  }

  add(watcher: Watcher, event: WatchEvent): void {
    const { stream } = watcher;
    if (watcher.event === null) {
      watcher.event = event;
      if (stream.untold.length === 0) this.#streams.push(stream);
      stream.untold.push(watcher);
    } else if (watcher.moreEvents === null) watcher.moreEvents = [event];
    else watcher.moreEvents.push(event);
  }

  /** The next one to be told, or null. It may be closed by now. */
  next(): Watcher | null {
    while (this.#first < this.#streams.length) {
      const watcher = this.nextOf(this.#streams[this.#first]!);
      if (watcher !== null) return watcher;
      this.#first++;
    }
    this.#streams.length = 0;
    this.#first = 0;
    return null;
  }

  /** The same of one stream, whose turn may not have come. */
  nextOf(stream: HubStream): Watcher | null {
    const { untold } = stream;
    if (stream.toldCount < untold.length) return untold[stream.toldCount++]!;
    untold.length = 0;
    stream.toldCount = 0;
    return null;
  }
}
