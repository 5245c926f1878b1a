import { shownPair } from "../engine/naive-store.ts";
import type { History, Moment, SeenEvent, WatchRun } from "./history.ts";
import type { Model } from "./model.ts";
import type { Timeline } from "./timeline.ts";

/** What a revision did, as watchers should see it. */
interface TrueEvent {
  readonly key: string;
  readonly pair: string | null;
  readonly revision: number;
  readonly prev: string | null;
}

/**
 * What watchers were told: ordered, unique and complete from their start on, whole revisions only, with the pair
 * before, nothing that had not begun to happen, and cancelled by compaction only where that is so.
 */
export class WatchCheck {
  readonly problems: string[] = [];
  readonly #history: History;
  readonly #timeline: Timeline;
  readonly #events: TrueEvent[] = [];
  readonly #compactions: number[] = [];

  constructor(history: History, timeline: Timeline) {
    this.#history = history;
    this.#timeline = timeline;
  }

  /** Called while the records are replayed: the model is as of this position. */
  at(position: number, model: Model): void {
    const record = this.#history.records[position - 1];
    if (record === undefined) return;
    if (record.compacted !== null) this.#compactions.push(record.compacted);
    const { revision } = record;
    for (const { key, pair } of record.changes) {
      const prev = model.pair(key, revision - 1);
      this.#events.push({
        key,
        pair: pair === null ? null : shownPair(pair),
        revision,
        prev: prev ? shownPair(prev) : null,
      });
    }
  }

  run(): void {
    const begun = this.#begunAt();
    for (const watch of this.#history.watches) this.#check(watch, begun);
  }

  #check(watch: WatchRun, begun: readonly number[]): void {
    const fail = (problem: string) => this.problems.push(`watch ${watch.name} from ${watch.start}: ${problem}`);
    let start = watch.start;
    let expected: TrueEvent[] | null = null;
    let next = 0;
    let through = 0;
    let open = false;
    for (const message of watch.messages) {
      if (message.kind === "canceled") {
        const { compactRevision } = message;
        const needed = Math.max(start, through + 1);
        if (!this.#compactions.includes(compactRevision))
          fail(`canceled by a compaction to ${compactRevision}, which never was`);
        if (compactRevision <= needed) fail(`canceled by compaction ${compactRevision}, and needs ${needed} on`);
        return;
      }
      if (message.revision > 0 && !this.#mayBeSeen(message.revision, message.at, begun))
        fail(`revision ${message.revision} was told before it can have been`);
      if (message.kind === "created") {
        if (start === 0) start = message.revision + 1;
        expected = this.#expected(watch, start);
        continue;
      }
      if (expected === null) return void fail("events before it was created");
      if (message.kind === "events") {
        for (const event of message.events) {
          const wanted = expected[next];
          if (wanted === undefined || !isSame(event, wanted)) {
            return void fail(`got ${show(event)} where ${wanted === undefined ? "nothing" : showTrue(wanted)} follows`);
          }
          const problem = this.#prevProblem(watch, event, wanted);
          if (problem !== null) fail(problem);
          next++;
        }
        open = message.more;
        if (open) continue;
      } else if (open) fail("progress amid the fragments of a response");
      const missing = expected[next];
      // A message of history names the newest revision there is, as an etcd's does, and is as far as its last event.
      const at = message.kind === "events" && next > 0 ? expected[next - 1]!.revision : message.revision;
      if (missing !== undefined && missing.revision <= at)
        return void fail(`told to be at ${at} (${message.kind}) without ${showTrue(missing)}`);
      if (next > 0 && expected[next - 1]!.revision > message.revision)
        fail(`an event above the response's revision ${message.revision}`);
      if (missing !== undefined && next > 0 && expected[next - 1]!.revision === missing.revision)
        fail(`revision ${missing.revision} came in pieces`);
      through = Math.max(through, at);
    }
  }

  #expected(watch: WatchRun, start: number): TrueEvent[] {
    const from = watch.key === "" ? "\0" : watch.key;
    const holds = (key: string): boolean =>
      watch.rangeEnd === "" ? key === from : key >= from && (watch.rangeEnd === "\0" || key < watch.rangeEnd);
    return this.#events.filter(
      ({ key, pair, revision }) => revision >= start && holds(key) && !(pair === null ? watch.noDelete : watch.noPut),
    );
  }

  #prevProblem(watch: WatchRun, event: SeenEvent, wanted: TrueEvent): string | null {
    if (event.prev === (watch.prevKv ? wanted.prev : null)) return null;
    // It may be compacted by the time at which it is looked for.
    if (event.prev === null && this.#compactions.some((compacted) => compacted > wanted.revision - 1)) return null;
    return `${show(event)} came with ${event.prev} before it, it was ${wanted.prev}`;
  }

  /** For each position, the order at which the writers of all records up to it had begun. */
  #begunAt(): number[] {
    const begun = [0];
    for (const position of this.#history.records.keys())
      begun.push(Math.max(begun[position]!, this.#timeline.writers[position + 1]?.begun.order ?? 0));
    return begun;
  }

  #mayBeSeen(revision: number, at: Moment, begun: readonly number[]): boolean {
    const order = begun[this.#timeline.positionOf(revision)];
    return order !== undefined && order < at.order;
  }
}

function isSame(event: SeenEvent, wanted: TrueEvent): boolean {
  return event.key === wanted.key && event.pair === wanted.pair && event.mod === wanted.revision;
}

const showTrue = (event: TrueEvent): string => show({ ...event, mod: event.revision });

const show = ({ key, pair, mod }: { key: string; pair: string | null; mod: number }): string =>
  (pair ?? `${key} deleted@${mod}`).slice(0, 200);
