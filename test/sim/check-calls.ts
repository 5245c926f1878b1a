import type { Call, History, TrueRecord } from "./history.ts";
import { changesOf, doesWhat, type Model } from "./model.ts";
import type { Timeline } from "./timeline.ts";

/**
 * Replays the branch's records, and finds for each call what it says of itself:
 *
 *   1. every record that changes keys is of exactly one call that was not said to have failed, or the end of a lease;
 *   2. what a call was answered is what the model answers just before its record;
 *   3. a call that wrote nothing, or was refused, is answered as the model does at some position between what was seen
 *      before it began and what had begun when it ended: so it is linearizable (a serializable read may look back);
 *   4. a record is not before what was seen when its call began.
 */
export class CallReplay {
  readonly problems: string[] = [];
  readonly #model: Model;
  readonly #timeline: Timeline;
  readonly #history: History;
  /** Calls not yet justified, by the first position at which they may be. */
  readonly #waiting: Call[];
  #open: Call[] = [];
  /** Per record without a plain writer: calls of unknown outcome that would have done just that. */
  readonly #candidates = new Map<number, Call[]>();
  readonly #untagged: Call[];
  /** What the model said where a call was looked at last. */
  readonly #nearest = new Map<Call, string>();
  /** The order at which all writers of the records so far had begun. */
  #begun = 0;

  constructor(history: History, timeline: Timeline, model: Model) {
    this.#history = history;
    this.#timeline = timeline;
    this.#model = model;
    const writers = new Set(timeline.writers);
    const unknown = history.calls.filter(({ outcome }) => outcome.kind === "unknown");
    this.#untagged = unknown.filter((call) => !writers.has(call));
    const readers = history.calls.filter(isJustifiedByState);
    this.#waiting = readers.sort((a, b) => this.#least(b) - this.#least(a));
  }

  run(visit: (position: number) => void): void {
    this.#justify(0);
    visit(0);
    for (const [index, record] of this.#history.records.entries()) {
      const position = index + 1;
      this.#explain(position, record);
      for (const problem of this.#model.apply(record)) this.#fail(`record ${position}: ${problem}`);
      this.#justify(position);
      visit(position);
    }
    for (const call of [...this.#open, ...this.#waiting]) this.#unjustified(call);
    this.#match();
  }

  #least(call: Call): number {
    return maySeeThePast(call.request) ? 0 : this.#timeline.least(call);
  }

  #explain(position: number, record: TrueRecord): void {
    const writer = this.#timeline.writers[position] ?? null;
    if (writer !== null) {
      if (record.changes.length > 0 && record.ended.length === 0) this.#sameEffect(position, record, writer);
      const least = this.#timeline.least(writer);
      if (position < least + 1)
        this.#fail(`record ${position} of call ${writer.id} is before record ${least}, seen when it began`);
      this.#begun = Math.max(this.#begun, writer.begun.order);
      if (writer.ended !== null && writer.outcome.kind === "answered" && writer.ended.order < this.#begun)
        this.#fail(`call ${writer.id} was answered at record ${position}, behind one that had not begun`);
      return;
    }
    if (record.changes.length === 0 || record.ended.length > 0) return;
    const able = this.#untagged.filter(
      (call) => this.#timeline.least(call) < position && doesWhat(record, this.#model.evaluate(call.request)),
    );
    if (able.length === 0)
      this.#fail(
        `record ${position} [${changesOf(record)}] (epoch ${record.epoch}) is of no call that may have done it`,
      );
    this.#candidates.set(position, able);
  }

  #sameEffect(position: number, record: TrueRecord, writer: Call): void {
    const evaluation = this.#model.evaluate(writer.request);
    const which = `record ${position} (revision ${record.revision}) of call ${writer.id}`;
    if (!doesWhat(record, evaluation))
      this.#fail(`${which} did [${changesOf(record)}], the model [${evaluation.changes}] or other pairs`);
    const { outcome } = writer;
    if (outcome.kind === "answered" && outcome.answer !== evaluation.answer)
      this.#fail(`${which} was answered ${outcome.answer}, the model ${evaluation.answer}`);
  }

  /** Calls that may be at this position are looked at there; those that end before its writers began no more. */
  #justify(position: number): void {
    const { revision } = this.#model;
    for (
      let call = this.#waiting.at(-1);
      call !== undefined && this.#least(call) <= position;
      call = this.#waiting.at(-1)
    ) {
      this.#open.push(call);
      this.#waiting.pop();
    }
    this.#open = this.#open.filter((call) => {
      if (call.ended !== null && call.ended.order < this.#begun) {
        this.#unjustified(call);
        return false;
      }
      const { outcome } = call;
      if (outcome.kind === "answered" && outcome.revision !== revision) return true;
      const { answer } = this.#model.evaluate(call.request);
      this.#nearest.set(call, short(answer));
      return (
        answer !== (outcome.kind === "answered" ? outcome.answer : outcome.kind === "refused" ? outcome.error : "")
      );
    });
  }

  /** Says what the model would have answered at the revision told, if the replay is there. */
  #unjustified(call: Call): void {
    const { outcome, request, ended } = call;
    const told = outcome.kind === "answered" ? outcome.answer : outcome.kind === "refused" ? outcome.error : "";
    const { revision } = this.#history.records[this.#least(call) - 1] ?? { revision: 1 };
    this.#fail(
      `call ${call.id} ${text(request)} was answered ${short(told)}: so it was at no moment from revision ` +
        `${revision}, seen when it began, to what had begun when it ended at ${ended?.ms.toFixed(3)} ms; ` +
        `the model says ${this.#nearest.get(call) ?? "nothing at that revision"}`,
    );
  }

  /** Each record without a plain writer needs a call of its own. */
  #match(): void {
    const recordOf = new Map<Call, number>();
    const assign = (position: number, tried: Set<Call>): boolean => {
      for (const call of this.#candidates.get(position)!) {
        if (tried.has(call)) continue;
        tried.add(call);
        const taken = recordOf.get(call);
        if (taken !== undefined && !assign(taken, tried)) continue;
        recordOf.set(call, position);
        return true;
      }
      return false;
    };
    for (const [position, able] of this.#candidates) {
      if (able.length > 0 && !assign(position, new Set()))
        this.#fail(`record ${position} is of no call of its own: one was carried out twice`);
    }
  }

  #fail(problem: string): void {
    this.problems.push(problem);
  }
}

/** What is not the default. */
const text = (request: Call["request"]): string =>
  JSON.stringify(request, (_, value: unknown) =>
    typeof value === "bigint" ? `${value}` : value === false || value === 0 ? undefined : value,
  ).slice(0, 400);

/** Values are long, and say the same over and over. */
const short = (answer: string): string => answer.replaceAll(/x{4,}/g, "x…").slice(0, 1500);

/** A serializable read, or a transaction of nothing else whatever it compares. */
function maySeeThePast(request: Call["request"]): boolean {
  if (request.kind === "range") return request.serializable;
  if (request.kind !== "txn") return false;
  return [...request.success, ...request.failure].every((op) => op.kind === "range" && op.serializable);
}

function isJustifiedByState({ outcome }: Call): boolean {
  return outcome.kind === "refused" || (outcome.kind === "answered" && !outcome.changed);
}
