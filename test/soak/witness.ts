import { assert } from "../../src/base/assert.ts";
import { CommandError } from "../../src/cli/errors.ts";
import { Journal, type Written } from "../faults/journal.ts";
import { Counts } from "./counts.ts";

/** Of one text, the first times are told as they come. */
const TOLD_MAX = 5;

/** What the workers of a soak share: what was seen so far, counted and held against what came before. */
export class Witness {
  readonly journal = new Journal();
  /** Newest acknowledged revision of each key. */
  readonly #newest = new Map<string, number>();
  readonly done = new Counts();
  /** Answers that were errors while nothing had been broken on purpose, by their text. */
  readonly refused = new Counts();
  /** And while something was. */
  readonly broken = new Counts();
  /** Whether something is, or was in this round, broken on purpose. */
  trouble = false;
  /** At or below it, history may be compacted. */
  compactedTo = 1;
  readonly #tell: (line: string) => void;

  constructor(tell: (line: string) => void) {
    this.#tell = tell;
  }

  acknowledge(written: Written): void {
    this.journal.acknowledge(written);
    this.#newest.set(written.key, Math.max(this.newest(written.key), written.revision));
  }

  newest(key: string): number {
    return this.#newest.get(key) ?? 0;
  }

  #refuse(text: string): void {
    this.refused.add(text);
    if (this.refused.get(text) <= TOLD_MAX) this.#tell(`while nothing was wrong: ${text}`);
  }

  /** Runs one thing that a client does. An error is an outcome that is not known: the history tells it later. */
  async attempt(what: string, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      this.done.add(what);
      return true;
    } catch (error) {
      // Errors of the soak's own are never swallowed.
      if (!(error instanceof CommandError)) throw error;
      assert(
        !/corrupt|checksum|internal|assert/i.test(error.message),
        `${what} was answered by an error that is never right: ${error.message}`,
      );
      if (this.trouble) this.broken.add(briefly(error.message));
      else this.#refuse(`${what}: ${briefly(error.message)}`);
      return false;
    }
  }
}

/** Errors of a connection have an address and much else in them. */
const briefly = (text: string): string => {
  const code = /ECONNREFUSED|ECONNRESET|cannot reach|No connection established/.exec(text);
  return code === null ? text.replaceAll(/\d+/g, "N").slice(0, 200) : code[0];
};
