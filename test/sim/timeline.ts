import { type Call, callOfValue, type History, type Moment, type TrueRecord } from "./history.ts";

/**
 * Where the calls of a history lie in the order of the branch's records. Position p is the state after p records.
 *
 *   what was seen before a call began ─► least ≤ position of the call ≤ what had begun when it ended
 */
export class Timeline {
  readonly records: readonly TrueRecord[];
  /** Of calls that say that they wrote something: the record that they name. */
  readonly written = new Map<Call, number>();
  /** The call that a record is of, as far as that is plain: by the answer that names it, or by what it wrote. */
  readonly writers: (Call | null)[];
  readonly problems: string[] = [];
  readonly #leastOf = new Map<Call, number>();
  /** For each revision the first position that has it. */
  readonly #positions = new Map<number, number>([[1, 0]]);
  /** By order: from that moment on it is known that a position was reached. */
  readonly #seen: { order: number; ms: number; position: number }[] = [];

  constructor({ records, calls, watches }: History) {
    this.records = records;
    this.writers = new Array<Call | null>(records.length + 1).fill(null);
    for (const [index, { revision }] of records.entries())
      if (!this.#positions.has(revision)) this.#positions.set(revision, index + 1);
    for (const call of calls) this.#place(call);
    this.#placeByTag(calls);
    for (const call of calls) this.#learn(call);
    for (const watch of watches) {
      for (const message of watch.messages) {
        if (message.kind !== "canceled") this.#note(message.at, this.positionOf(message.revision));
      }
    }
    this.#setLeast(calls);
  }

  /** The first position that has a revision; beyond the end where there is none. */
  positionOf(revision: number): number {
    return this.#positions.get(revision) ?? (revision <= 0 ? 0 : this.records.length + 1);
  }

  /** What had been seen when the call began. */
  least(call: Call): number {
    return this.#leastOf.get(call) ?? 0;
  }

  /** When it was first seen, by anyone, that a position had been reached; infinite if it never was. */
  seenMs(position: number): number {
    let ms = Number.POSITIVE_INFINITY;
    for (const seen of this.#seen) if (seen.position >= position) ms = Math.min(ms, seen.ms);
    return ms;
  }

  #place(call: Call): void {
    const { outcome, request } = call;
    if (outcome.kind !== "answered" || !outcome.changed) return;
    const position = this.#recordOf(call, outcome.revision);
    if (position > this.records.length) {
      this.problems.push(
        `call ${call.id} (${request.kind}) was acknowledged at revision ${outcome.revision}, and is lost`,
      );
      return;
    }
    const other = this.writers[position];
    if (other !== null && other !== undefined) {
      this.problems.push(`calls ${other.id} and ${call.id} were both acknowledged at record ${position}`);
    }
    this.writers[position] = call;
    this.written.set(call, position);
  }

  #recordOf({ request }: Call, revision: number): number {
    if (request.kind === "grant") return this.#find((record) => record.granted.some(({ id }) => id === request.id));
    if (request.kind === "revoke") return this.#find((record) => record.ended.includes(request.id));
    if (request.kind === "compact") return this.#find((record) => record.compacted === request.revision);
    const position = this.positionOf(revision);
    return (this.records[position - 1]?.changes.length ?? 0) > 0 ? position : this.records.length + 1;
  }

  /** The position of the record that it holds for; beyond the end where there is none. */
  #find(holds: (record: TrueRecord) => boolean): number {
    const index = this.records.findIndex(holds);
    return index < 0 ? this.records.length + 1 : index + 1;
  }

  #placeByTag(calls: readonly Call[]): void {
    const byId = new Map(calls.map((call) => [call.id, call]));
    const placed = new Set(this.writers);
    for (const [index, record] of this.records.entries()) {
      if (this.writers[index + 1] !== null) continue;
      for (const { pair } of record.changes) {
        // A put that keeps the value carries an older call's tag, whose record is another one.
        const call = pair === null ? undefined : byId.get(callOfValue(pair.value) ?? -1);
        if (call === undefined || placed.has(call) || call.outcome.kind !== "unknown") continue;
        this.writers[index + 1] = call;
        placed.add(call);
        break;
      }
    }
  }

  #learn(call: Call): void {
    const { outcome, ended } = call;
    if (outcome.kind !== "answered" || ended === null) return;
    this.#note(ended, this.written.get(call) ?? this.positionOf(outcome.revision));
  }

  #note(at: Moment, position: number): void {
    if (position <= this.records.length) this.#seen.push({ order: at.order, ms: at.ms, position });
  }

  #setLeast(calls: readonly Call[]): void {
    this.#seen.sort((a, b) => a.order - b.order);
    const begins = [...calls].sort((a, b) => a.begun.order - b.begun.order);
    let next = 0;
    let reached = 0;
    for (const call of begins) {
      for (; next < this.#seen.length && this.#seen[next]!.order < call.begun.order; next++)
        reached = Math.max(reached, this.#seen[next]!.position);
      this.#leastOf.set(call, reached);
    }
  }
}
