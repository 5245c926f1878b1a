import type { Log } from "./logger.ts";

const names = ["SIGTERM", "SIGINT"] as const;

/** How an operator stops the process: SIGTERM or SIGINT, heard from the start on. A second one ends it at once. */
export class StopSignals {
  readonly #controller = new AbortController();
  /** Resolves with the first one. */
  readonly first: Promise<NodeJS.Signals>;

  constructor(log: Log) {
    this.first = new Promise((resolve) => {
      const heard = (signal: NodeJS.Signals): void => {
        if (this.asked) {
          log.warn("stopped at once, by a second signal");
          process.exit(1);
        }
        log.info("stopping", { signal });
        this.#controller.abort();
        resolve(signal);
      };
      for (const name of names) process.on(name, heard);
    });
  }

  /** Fires with the first one. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get asked(): boolean {
    return this.signal.aborted;
  }
}
