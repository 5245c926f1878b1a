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
  /** The history up to here is only known by the state that it left. */
  #trimmedTo = 1;
  readonly #trimmed = new Map<string, string>();
  acknowledgedTotal = 0;
  observedTotal = 0;

  get verifiedTo(): number {
    return this.#verifiedTo;
  }

  /** 1 while nothing was trimmed. */
  get trimmedTo(): number {
    return this.#trimmedTo;
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
   * `events`: the server's history from `verifiedTo + 1` (or with `whole` from `trimmedTo + 1`) to `head`, in order.
   * Throws an assertion that says what is wrong.
   */
  verify(events: readonly Written[], head: number, options: { whole: boolean }): void {
    const byRevision = Map.groupBy(events, (event) => event.revision);
    const first = options.whole ? this.#trimmedTo + 1 : this.#verifiedTo + 1;
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
    const { revision, key, value } = written;
    // A read shows rows of any age: what it showed of a trimmed one was the newest of its key.
    if (revision <= this.#trimmedTo) {
      const left = this.#trimmed.get(key);
      assert(left === value, `lost: ${show([written])}; the history before has left ${left?.slice(0, 40)}`);
      return;
    }
    const there = this.#history.get(revision)?.some((event) => event.key === key && event.value === value);
    assert(there, `lost: ${show([written])}; revision ${revision} has ${show(this.#history.get(revision))}`);
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

  /** Forgets the verified history up to a revision, but for the state that it leaves. */
  trim(revision: number): void {
    assert(revision <= this.#verifiedTo, "what is not verified is not forgotten");
    for (; this.#trimmedTo < revision; this.#trimmedTo++) {
      apply(this.#trimmed, this.#history.get(this.#trimmedTo + 1)!);
      this.#history.delete(this.#trimmedTo + 1);
    }
  }

  /** The live keys that the verified history leaves, up to a revision that was not trimmed. */
  state(to = this.#verifiedTo): Map<string, string> {
    assert(to >= this.#trimmedTo && to <= this.#verifiedTo, "the history there is known");
    const state = new Map(this.#trimmed);
    for (let revision = this.#trimmedTo + 1; revision <= to; revision++) apply(state, this.#history.get(revision)!);
    return state;
  }
}

function apply(state: Map<string, string>, events: readonly Written[]): void {
  for (const { key, value } of events) {
    if (value === null) state.delete(key);
    else state.set(key, value);
  }
}

const show = (events: readonly Written[] | undefined): string =>
  events === undefined
    ? "nothing"
    : events.map(({ revision, key, value }) => `${key}=${value?.slice(0, 40)}@${revision}`).join(" ");

const sameEvents = (a: readonly Written[], b: readonly Written[]): boolean =>
  a.length === b.length && a.every((event, n) => event.key === b[n]!.key && event.value === b[n]!.value);
