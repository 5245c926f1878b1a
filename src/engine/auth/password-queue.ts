import { assert } from "../../base/assert.ts";
import { DbError } from "../../base/errors.ts";

export interface PasswordQueueSettings {
  /** Passwords being checked at one time. */
  readonly atOnce: number;
  /** Waiting in all. */
  readonly waitingMax: number;
}

/**
 * Who waits for a password to be checked or hashed, which takes some 60 ms of a core. Served in turn by address, so
 * that one that tries passwords as fast as it can holds up itself:
 *
 *   10.0.0.1: a b c d e f …      next: a, x, y, b, c, …
 *   10.0.0.2: x
 *   10.0.0.3: y
 *
 * When as many wait as may, the last one of the address that has most makes room for one of another: a right password
 * is not refused for the wrong ones of others. Nothing is counted by name, so nobody can lock another out.
 */
export class PasswordQueue {
  readonly #settings: PasswordQueueSettings;
  /** Addresses in the order of their turns. */
  readonly #lines = new Map<string, Waiting[]>();
  #waiting = 0;
  #running = 0;

  constructor(settings: PasswordQueueSettings) {
    assert(settings.atOnce > 0 && settings.waitingMax > 0, "passwords can be checked");
    this.#settings = settings;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /** Runs `work` in its turn. Rejects with `tooManyRequests` when there is no room, `canceled` when `signal` fires. */
  run<T>(address: string, signal: AbortSignal | null, work: () => Promise<T>): Promise<T> {
    if (signal?.aborted) return Promise.reject(new DbError("canceled"));
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiting: Waiting = { address, resolve, reject };
    if (!this.#makeRoom(address)) return Promise.reject(new DbError("tooManyRequests"));
    this.#add(waiting);
    signal?.addEventListener("abort", () => this.#giveUp(waiting, new DbError("canceled")), { once: true });
    this.#next();
    return promise.then(() => this.#work(work));
  }

  async #work<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      this.#running--;
      this.#next();
    }
  }

  #next(): void {
    while (this.#running < this.#settings.atOnce && this.#waiting > 0) {
      const [address, line] = this.#lines.entries().next().value!;
      const waiting = line.shift()!;
      // To the end of the turn, if more of this address wait.
      this.#lines.delete(address);
      if (line.length > 0) this.#lines.set(address, line);
      this.#waiting--;
      this.#running++;
      waiting.resolve();
    }
  }

  #add(waiting: Waiting): void {
    const line = this.#lines.get(waiting.address);
    if (line === undefined) this.#lines.set(waiting.address, [waiting]);
    else line.push(waiting);
    this.#waiting++;
  }

  /** False: all others have no more waiting than this address would. */
  #makeRoom(address: string): boolean {
    if (this.#waiting < this.#settings.waitingMax) return true;
    let longest: Waiting[] = [];
    for (const line of this.#lines.values()) if (line.length > longest.length) longest = line;
    if (longest.length <= (this.#lines.get(address)?.length ?? 0) + 1) return false;
    this.#giveUp(longest[longest.length - 1]!, new DbError("tooManyRequests"));
    return true;
  }

  #giveUp(waiting: Waiting, error: DbError): void {
    const line = this.#lines.get(waiting.address);
    const at = line?.indexOf(waiting) ?? -1;
    if (line === undefined || at === -1) return;
    line.splice(at, 1);
    if (line.length === 0) this.#lines.delete(waiting.address);
    this.#waiting--;
    waiting.reject(error);
  }
}

interface Waiting {
  readonly address: string;
  readonly resolve: () => void;
  readonly reject: (error: DbError) => void;
}
