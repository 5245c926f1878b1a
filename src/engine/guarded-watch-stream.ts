import type { Access } from "./access.ts";
import type { WatchCreate, WatchStream } from "./engine.ts";

/** A stream whose watchers are of one caller: each is asked for when it is created (A16). */
export class GuardedWatchStream implements WatchStream {
  readonly #stream: WatchStream;
  readonly #access: Access;

  constructor(stream: WatchStream, access: Access) {
    this.#stream = stream;
    this.#access = access;
  }

  create(request: WatchCreate): void {
    // One that begins before all revisions is refused as such, whoever asks (W5).
    if (request.startRevision >= 0) this.#access.watch(request);
    this.#stream.create(request);
  }

  cancel(id: bigint): void {
    this.#stream.cancel(id);
  }

  progress(): void {
    this.#stream.progress();
  }

  resume(): void {
    this.#stream.resume();
  }

  close(): void {
    this.#stream.close();
  }
}
