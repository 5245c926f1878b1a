import { DbError } from "../base/errors.ts";
import type { Database, WatchMessage, WatchSink, WatchStream } from "../engine/engine.ts";

/** The keys of a range from a revision on; `deletesOnly`: puts are not told of. */
export interface WatchedRange {
  readonly key: string;
  readonly rangeEnd: string;
  readonly startRevision: number;
  readonly deletesOnly: boolean;
}

/**
 * Watches of a service of ours on the engine, taken message by message. Holds one message at most beyond those that
 * were sent all the same; ends with `signal`, and with its database.
 */
export class WatchedKeys {
  readonly #stream: WatchStream;
  readonly #signal: AbortSignal;
  #messages: WatchMessage[] = [];
  #failure: unknown = null;
  #wake: () => void = () => {};

  constructor(database: Database, signal: AbortSignal) {
    this.#signal = signal;
    const sink: WatchSink = {
      send: (message) => {
        this.#messages.push(message);
        this.#wake();
        return false;
      },
      fail: (error) => {
        this.#failure = error;
        this.#wake();
      },
    };
    this.#stream = database.watch(sink);
    signal.addEventListener("abort", this.#aborted, { once: true });
  }

  readonly #aborted = (): void => this.#wake();

  /** Throws what the caller may not watch. */
  add({ key, rangeEnd, startRevision, deletesOnly }: WatchedRange): void {
    this.#stream.create({
      ...{ key, rangeEnd, startRevision, watchId: 0n },
      ...{ progressNotify: false, prevKv: false, fragment: false },
      ...{ noPut: deletesOnly, noDelete: false },
    });
  }

  /**
   * The next events, each an encoded mvccpb.Event; null where what was asked for is compacted by now. Rejects when the
   * signal fires (which is its bound) or the database ends.
   */
  async next(): Promise<readonly Uint8Array[] | null> {
    for (;;) {
      if (this.#signal.aborted) throw new DbError("canceled");
      const message = this.#messages.shift();
      if (message?.kind === "events") return message.events;
      if (message?.kind === "canceled") return null;
      if (message !== undefined) continue;
      if (this.#failure !== null) throw this.#failure;
      const told = new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#stream.resume();
      await told;
    }
  }

  close(): void {
    this.#signal.removeEventListener("abort", this.#aborted);
    this.#stream.close();
    this.#messages = [];
  }
}
