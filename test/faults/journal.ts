import { assert } from "../../src/base/assert.ts";

export interface Written {
  revision: number;
  key: string;
  /** null: deleted. */
  value: string | null;
}

/**
 * What clients saw, against what the server says its history is. Every value written is unique.
 *
 *   acknowledged: must be in the history at its revision, whatever was killed since
 *   observed:     the same: once seen, by a watch or a read, it stays
 *   unknown:      may be there once, or not at all
 */
export class Journal {
  /** The verified history, by revision. */
  readonly #history = new Map<number, Written[]>();
  readonly #acknowledged: (Written & { atMs: number })[] = [];
  readonly #observed: Written[] = [];
  #verifiedTo = 1;
  acknowledgedTotal = 0;
  observedTotal = 0;

  get verifiedTo(): number {
    return this.#verifiedTo;
  }

  acknowledge(written: Written): void {
    this.#acknowledged.push({ ...written, atMs: performance.now() });
    this.acknowledgedTotal++;
  }

  observe(written: Written): void {
    this.#observed.push(written);
    this.observedTotal++;
  }

  /** Newest acknowledged revision of a key so far. */
  newestAcknowledged(key: string): number {
    return this.#acknowledged.findLast((written) => written.key === key)?.revision ?? 0;
  }

  /**
   * `events`: the server's history from `verifiedTo + 1` (or from 2 with `whole`) to `head`, in order. Throws an
   * assertion that says what is wrong.
   */
  verify(events: readonly Written[], head: number, options: { whole: boolean }): void {
    const byRevision = Map.groupBy(events, (event) => event.revision);
    const first = options.whole ? 2 : this.#verifiedTo + 1;
    for (let revision = first; revision <= head; revision++) {
      const now = byRevision.get(revision);
      assert(now !== undefined, `revision ${revision} of ${head} is missing from the history`);
      const before = this.#history.get(revision);
      assert(
        before === undefined || sameEvents(before, now),
        `revision ${revision} has changed: ${show(before)} is now ${show(now)}`,
      );
      this.#history.set(revision, now);
    }
    assert(head >= this.#verifiedTo, `the head went back from ${this.#verifiedTo} to ${head}`);
    for (const written of [...this.#acknowledged, ...this.#observed]) this.#mustHave(written);
    this.#verifiedTo = head;
    this.#acknowledged.length = 0;
    this.#observed.length = 0;
    if (options.whole) this.#checkUnique();
  }

  #mustHave(written: Written): void {
    const there = this.#history
      .get(written.revision)
      ?.some((event) => event.key === written.key && event.value === written.value);
    assert(
      there,
      `lost: ${show([written])}; revision ${written.revision} has ${show(this.#history.get(written.revision))}`,
    );
  }

  #checkUnique(): void {
    const seen = new Set<string>();
    for (const { value, revision } of [...this.#history.values()].flat()) {
      if (value === null) continue;
      assert(!seen.has(value), `the write of ${value} was applied twice, again at revision ${revision}`);
      seen.add(value);
    }
  }

  /** After a forced takeover: everything acknowledged before `lossFromMs` must be there; what is newer may be gone. */
  forget(head: number, lossFromMs: number): void {
    for (const revision of this.#history.keys()) if (revision > head) this.#history.delete(revision);
    const kept = this.#acknowledged.filter(({ atMs, revision }) => atMs < lossFromMs || revision <= head);
    this.#acknowledged.length = 0;
    this.#acknowledged.push(...kept);
    this.#observed.length = 0;
    this.#verifiedTo = Math.min(this.#verifiedTo, head);
  }

  /** The live keys that the verified history leaves. */
  state(): Map<string, string> {
    const state = new Map<string, string>();
    for (let revision = 2; revision <= this.#verifiedTo; revision++) {
      for (const { key, value } of this.#history.get(revision)!) {
        if (value === null) state.delete(key);
        else state.set(key, value);
      }
    }
    return state;
  }
}

const show = (events: readonly Written[] | undefined): string =>
  events === undefined ? "nothing" : events.map(({ revision, key, value }) => `${key}=${value}@${revision}`).join(" ");

const sameEvents = (a: readonly Written[], b: readonly Written[]): boolean =>
  a.length === b.length && a.every((event, n) => event.key === b[n]!.key && event.value === b[n]!.value);
