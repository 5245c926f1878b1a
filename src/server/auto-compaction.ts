import { isDbError, messageOf } from "../base/errors.ts";
import type { Database } from "../engine/engine.ts";
import type { Clock, Timer, Timers } from "../runtime/runtime.ts";
import type { Log } from "./logger.ts";
import { durationKind } from "./setting-kinds.ts";

/** What --auto-compaction-mode and --auto-compaction-retention ask for (C7). */
export type Retention =
  | { readonly kind: "off" }
  | { readonly kind: "periodic"; readonly periodMs: number }
  | { readonly kind: "revision"; readonly revisions: number };

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;
/** How often the newest revisions are counted off. */
const REVISION_INTERVAL_MS = 5 * MINUTE_MS;
/** Of a period, or of an hour of it: how often the revision is noted, and a compaction that is due is tried. */
const TRIES = 10;
/** Each is a revision kept in memory for each branch. */
const PERIOD_MS_MAX = 1000 * 24 * HOUR_MS;

const duration = durationKind({ min: 0, max: PERIOD_MS_MAX });

/** As etcd reads them: a bare number is hours, or revisions. Throws an Error that says what is expected. */
export function readRetention(mode: "periodic" | "revision", text: string): Retention {
  if (/^0*$/.test(text)) return { kind: "off" };
  if (mode === "revision") {
    const revisions = /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
    if (Number.isNaN(revisions)) throw new Error(`expected a number of revisions, not "${text}"`);
    return { kind: "revision", revisions };
  }
  const periodMs = /^\d{1,6}$/.test(text) ? Number(text) * HOUR_MS : duration.parse(text);
  if (periodMs > PERIOD_MS_MAX) throw new Error(`"${text}" is over ${PERIOD_MS_MAX / HOUR_MS} h`);
  return periodMs === 0 ? { kind: "off" } : { kind: "periodic", periodMs };
}

/** What is remembered of one branch. */
interface Remembered {
  /** Of the last period, oldest first. */
  revisions: number[];
  compacted: number;
  succeededMs: number;
  /** The first compaction comes when a whole period has been seen. */
  waitMs: number;
}

export interface AutoCompactionParts {
  readonly clock: Clock;
  readonly timers: Timers;
  /** Of the branches that are open and led by this node. */
  readonly databases: () => Iterable<Database>;
  readonly log: Log;
}

/**
 * Compacts by itself, as etcd does. Periodic: what was the newest revision a period ago becomes the oldest, once a
 * period, or once an hour where that is longer. By revisions: the newest so many stay, looked at every 5 minutes.
 * A branch's history is counted from when it was first seen open; one that is closed and opened again starts anew.
 */
export class AutoCompaction {
  readonly #parts: AutoCompactionParts;
  readonly #retention: Exclude<Retention, { kind: "off" }>;
  readonly #intervalMs: number;
  #branches = new Map<bigint, Remembered>();
  #timer: Timer | null = null;

  constructor(retention: Exclude<Retention, { kind: "off" }>, parts: AutoCompactionParts) {
    this.#parts = parts;
    this.#retention = retention;
    this.#intervalMs =
      retention.kind === "revision" ? REVISION_INTERVAL_MS : Math.min(retention.periodMs, HOUR_MS) / TRIES;
    this.#tick();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }

  #tick(): void {
    this.#timer = this.#parts.timers.set(this.#intervalMs, () => this.#tick(), { background: true });
    const before = this.#branches;
    const now = new Map<bigint, Remembered>();
    for (const database of this.#parts.databases()) {
      const { clusterId } = database.identity;
      const known = before.get(clusterId);
      now.set(clusterId, known ?? this.#newly(database));
      // A compaction under way is not waited for: the next tick finds it done, or tries again.
      if (known !== undefined) void this.#look(database, known);
    }
    this.#branches = now;
  }

  #newly(database: Database): Remembered {
    const succeededMs = this.#parts.clock.monotonicMs();
    const waitMs = this.#retention.kind === "periodic" ? this.#retention.periodMs : 0;
    return { revisions: [database.committed], compacted: 0, succeededMs, waitMs };
  }

  async #look(database: Database, known: Remembered): Promise<void> {
    const target = this.#targetOf(database, known);
    if (this.#retention.kind === "periodic") this.#note(database, known, this.#retention.periodMs);
    if (target === null || target === known.compacted || database.unprovenBecause() !== null) return;
    try {
      await database.compact({ revision: target, physical: false });
      this.#parts.log.info("compacted automatically", { revision: target, keeps: this.#text() });
    } catch (error) {
      if (!isDbError(error, "compacted")) {
        this.#parts.log.warn("an automatic compaction failed, it is tried again", { why: messageOf(error) });
        return;
      }
    }
    known.compacted = target;
    known.succeededMs = this.#parts.clock.monotonicMs();
  }

  /** Null: nothing is due. */
  #targetOf(database: Database, known: Remembered): number | null {
    if (this.#retention.kind === "revision") {
      const target = database.committed - this.#retention.revisions;
      return target > 0 ? target : null;
    }
    if (this.#parts.clock.monotonicMs() - known.succeededMs < known.waitMs) return null;
    known.waitMs = Math.min(this.#retention.periodMs, HOUR_MS);
    return known.revisions[0] ?? null;
  }

  #note(database: Database, known: Remembered, periodMs: number): void {
    known.revisions.push(database.committed);
    if (known.revisions.length > Math.floor(periodMs / this.#intervalMs) + 1) known.revisions.shift();
  }

  #text(): string {
    const retention = this.#retention;
    return retention.kind === "revision" ? `${retention.revisions} revisions` : `${retention.periodMs / MINUTE_MS} min`;
  }
}
