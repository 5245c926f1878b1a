import type { DbError } from "../../base/errors.ts";
import type { Leadership } from "../../leadership/leadership.ts";
import type { LogWriter } from "../../log/log.ts";
import type { Runtime, Timer } from "../../runtime/runtime.ts";
import type { Notices } from "./notices.ts";

export interface OutageOptions {
  readonly branch: string;
  readonly log: Pick<LogWriter, "trouble" | "stats">;
  readonly leadership: Pick<Leadership, "durability" | "unprovenBecause">;
  readonly runtime: Pick<Runtime, "clock" | "timers">;
  readonly notices: Notices;
}

const LOOK_MS = 500;
/** What is over sooner is not worth a line. */
const TELL_AFTER_MS = 1000;

/** Tells an operator, one line each, when the store goes away and comes back, and what that means for clients. */
export class OutageNotices {
  readonly #options: OutageOptions;
  readonly #upload: Trouble;
  readonly #proof: Trouble;
  #timer: Timer | null = null;

  constructor(options: OutageOptions) {
    this.#options = options;
    const { branch, leadership, notices } = options;
    const consequence =
      leadership.durability === "local"
        ? "writes go on, kept on this disk, up to --upload-bytes-max"
        : "writes wait, and past --request-timeout are answered Unavailable";
    this.#upload = new Trouble({
      began: (why) => {
        const { pendingBytes } = options.log.stats();
        notices.warn(`the store does not take the log: ${consequence}`, { branch, why, pendingBytes });
      },
      ended: (seconds) => notices.info("the store takes the log again", { branch, seconds }),
    });
    this.#proof = new Trouble({
      began: (why) =>
        notices.warn("leadership is not proven: linearizable reads are answered Unavailable", { branch, why }),
      ended: (seconds) => notices.info("leadership is proven again", { branch, seconds }),
    });
    this.#look();
  }

  close(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #look(): void {
    const { log, leadership, runtime } = this.#options;
    const nowMs = runtime.clock.monotonicMs();
    this.#upload.see(log.trouble, nowMs);
    this.#proof.see(leadership.unprovenBecause(), nowMs);
    this.#timer = runtime.timers.set(LOOK_MS, () => this.#look(), { background: true });
  }
}

/** One kind of trouble, from its beginning to its end. */
class Trouble {
  readonly #tell: { began: (why: string) => void; ended: (seconds: number) => void };
  #sinceMs: number | null = null;
  #told = false;

  constructor(tell: { began: (why: string) => void; ended: (seconds: number) => void }) {
    this.#tell = tell;
  }

  see(trouble: DbError | null, nowMs: number): void {
    if (trouble === null) {
      if (this.#told) this.#tell.ended(Math.round((nowMs - this.#sinceMs!) / 1000));
      this.#sinceMs = null;
      this.#told = false;
      return;
    }
    this.#sinceMs ??= nowMs;
    if (this.#told || nowMs - this.#sinceMs < TELL_AFTER_MS) return;
    this.#told = true;
    this.#tell.began(trouble.message);
  }
}
