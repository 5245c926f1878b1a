import { assert } from "../../src/base/assert.ts";
import { type FaultClient, type Outcome, texts, UNAVAILABLE } from "./client.ts";
import { Journal } from "./journal.ts";
import { readBack } from "./load.ts";

/** What a put's answer promises. */
export type Promised = "acknowledged" | "unknown" | "refused";

/**
 * Every put of a test, with what its answer promised, to be held against the server's whole history:
 *
 *   acknowledged: there, at its revision      unknown: there once, or not at all      refused: not there
 */
export class Ledger {
  readonly #journal = new Journal();
  readonly #refused: string[] = [];
  #puts = 0;
  acknowledged = 0;
  unknown = 0;

  /** Puts a value that no other put has; `filler` bytes are added to it. */
  async put(client: FaultClient, key: string, filler = 0): Promise<Outcome<unknown>> {
    const value = `${++this.#puts}:${"x".repeat(filler)}`;
    const outcome = await client.put(key, value);
    if (outcome.ok) {
      this.acknowledged++;
      this.#journal.acknowledge({ revision: Number(outcome.answer.header!.revision), key, value });
    } else if (promised(outcome) === "refused") this.#refused.push(value);
    else this.unknown++;
    return outcome;
  }

  /** Reads the whole history and holds it against what was promised. */
  async verify(endpoint: string): Promise<void> {
    const { head, history } = await readBack(endpoint, 2);
    this.#journal.verify(history, head, { whole: true });
    for (const value of this.#refused) {
      assert(!history.some((event) => event.value === value), `the put of ${value} was refused and is there`);
    }
  }
}

export function promised(outcome: Outcome<unknown>): Promised {
  if (outcome.ok) return "acknowledged";
  const { text } = outcome;
  const isRefusal =
    text === texts.noLeader || text === texts.tooManyRequests || text.startsWith("t4: the object store");
  if (isRefusal) return "refused";
  assert(outcome.code === UNAVAILABLE, `an outcome that is not known is Unavailable, not ${outcome.code} ${text}`);
  return "unknown";
}
