import type { MaybePromise } from "../base/maybe-promise.ts";
import { KEYS, type KeyRange, type Space, type Tree, type Version } from "../storage/storage.ts";

/**
 * Reads of one evaluation. An evaluation is plain synchronous code: where the tree has no answer at hand, the read
 * throws a Suspension, and the evaluation is run again from its start when the answer is there. Nothing has been
 * written or changed by then (an evaluation reads all that it needs before it changes anything), so that is safe at any
 * time.
 *
 * While the state cannot move (`replay` with the answers so far), each run gets at least one answer further than the
 * last:
 *
 *   run 1: get a ✓  get b → suspended            answers: a, b
 *   run 2: get a ✓  get b ✓  scan c → suspended   answers: a, b, c
 *   run 3: done
 */
export class Reads {
  readonly tree: Tree;
  /** Versions with a greater main are not seen. */
  at: number;
  #answers: unknown[] | null = null;
  #next = 0;
  /** How many reads of this run were answered at once. */
  #resolved = 0;
  #lastKey = "";
  #lastVersion: Version | null = null;

  constructor(tree: Tree, at: number) {
    this.tree = tree;
    this.at = at;
  }

  /** Begins a run. `answers`: those of earlier runs of the same evaluation on the same state; this run adds its own. */
  begin(answers: unknown[] | null): void {
    this.#answers = answers;
    this.#next = 0;
    this.#resolved = 0;
    this.#lastKey = "";
  }

  /** The read that this run waits for is its first one. */
  get isFirst(): boolean {
    return this.#resolved === 0;
  }

  /** The newest version of one of the user's keys. */
  get(key: string): Version | null {
    if (key === this.#lastKey) return this.#lastVersion;
    const version = this.#isAnswered()
      ? (this.#answered() as Version | null)
      : this.resolve(this.tree.get(KEYS, key, this.at));
    this.#lastKey = key;
    this.#lastVersion = version;
    return version;
  }

  /** The newest version in a space beside the user's keys. */
  getOther(space: Space, key: string): Version | null {
    if (this.#isAnswered()) return this.#answered() as Version | null;
    return this.resolve(this.tree.get(space, key, this.at));
  }

  /** Live versions of a range in key order, without a limit. */
  scan(space: Space, range: KeyRange): Version[] {
    if (this.#isAnswered()) return this.#answered() as Version[];
    return this.resolve(this.tree.scan(space, range, this.at, { limit: 0 }));
  }

  /** The newest versions of many keys; what is not in memory is read READS_AT_ONCE at a time. */
  getMany(keys: readonly string[]): (Version | null)[] {
    if (this.#isAnswered()) return this.#answered() as (Version | null)[];
    const versions: (Version | null)[] = [];
    for (const key of keys) {
      const answer = this.tree.get(KEYS, key, this.at);
      if (answer instanceof Promise) return this.resolve(this.#readRest(keys, versions, answer));
      versions.push(answer);
    }
    return this.resolve(versions);
  }

  /** The state may move between these reads: only an owner that holds it still uses the answer, others run again. */
  async #readRest(
    keys: readonly string[],
    versions: (Version | null)[],
    first: Promise<Version | null>,
  ): Promise<(Version | null)[]> {
    let chunk: MaybePromise<Version | null>[] = [first];
    while (versions.length < keys.length) {
      const from = versions.length + chunk.length;
      for (const key of keys.slice(from, from + READS_AT_ONCE)) chunk.push(this.tree.get(KEYS, key, this.at));
      versions.push(...(await Promise.all(chunk)));
      chunk = [];
    }
    return versions;
  }

  /** Any other read, which must follow from the evaluation's input and state alone. */
  resolve<T>(answer: MaybePromise<T>): T {
    if (answer instanceof Promise) {
      suspension.promise = answer;
      throw suspension;
    }
    this.#resolved++;
    if (this.#answers !== null) {
      this.#answers.push(answer);
      this.#next++;
    }
    return answer;
  }

  /** For reads that are not worth asking again: gives what an earlier run was answered, else asks. */
  once<T>(ask: () => MaybePromise<T>): T {
    return this.#isAnswered() ? (this.#answered() as T) : this.resolve(ask());
  }

  #isAnswered(): boolean {
    return this.#answers !== null && this.#next < this.#answers.length;
  }

  #answered(): unknown {
    return this.#answers![this.#next++];
  }
}

const READS_AT_ONCE = 256;

/** Thrown by a read that has to wait; caught at once by the owner of the evaluation, who takes the promise away. */
export class Suspension extends Error {
  override readonly name = "Suspension";
  promise: Promise<unknown> = NOTHING;

  constructor() {
    super("an evaluation waits for a read");
  }

  take(): Promise<unknown> {
    const { promise } = this;
    this.promise = NOTHING;
    return promise;
  }
}

const NOTHING: Promise<unknown> = Promise.resolve();

/** The only one: nothing runs between its throw and its catch. */
export const suspension = new Suspension();
