import type { Clock, Timers } from "../runtime/runtime.ts";
import { TURN_COST_MAX } from "./limits.ts";

/** Work for connections in one turn of the event loop, all together; past it what comes in waits for the turn's end. */
const TURN_MS_MAX = 25;
/** The same while connections come in: the system's queue of them is taken from once a turn, one at a time. */
const TURN_MS_MAX_ACCEPTING = 1;
/** Until so much work is done nobody need hear of the turn's end: then it costs nothing where there is little to do. */
const TURN_MS_UNHEARD = 2;
/** What one connection may do at a time is cut down to this, in µs, as more of them wait. */
const COST_MIN = 300;
/** In µs. */
const COST_LITTLE = 100;
/** Of what a connection has used half is forgotten in so long. */
const HALF_LIFE_MS = 2_000;
/** Classes of use: each is twice the one before it, the first is a quarter of a millisecond. */
const CLASSES = 20;
const FIRST_CLASS_MS = 0.25;

/** A connection as one of many that want the event loop's time. */
export interface TurnTaker {
  readonly used: UsedTime;
  /** Does what was put off, until it is over or `FairTurns.costMax` is; then it may ask to wait again. */
  takeTurn(): void;
}

/** How much of the event loop's time somebody has used lately. */
export class UsedTime {
  #ms = 0;
  #sinceMs: number;

  constructor(nowMs: number) {
    this.#sinceMs = nowMs;
  }

  add(ms: number, nowMs: number): void {
    if (nowMs - this.#sinceMs >= HALF_LIFE_MS) this.#forget(nowMs);
    this.#ms += ms;
  }

  lately(nowMs: number): number {
    if (nowMs - this.#sinceMs >= HALF_LIFE_MS) this.#forget(nowMs);
    return this.#ms;
  }

  #forget(nowMs: number): void {
    const halves = Math.floor((nowMs - this.#sinceMs) / HALF_LIFE_MS);
    this.#ms *= 0.5 ** halves;
    this.#sinceMs += halves * HALF_LIFE_MS;
  }
}

/** Those of like use that wait, the first to come first. */
interface Line {
  takers: TurnTaker[];
  /** When each began to wait. */
  sinceMs: number[];
}

/**
 * Shares the event loop's time among connections. While there is enough, each is read when its bytes come. Once the
 * work of a turn of the loop has taken `TURN_MS_MAX`, further bytes wait until its end; then, and in each turn that
 * follows, those who wait go on, for `TURN_MS_MAX` in all. Invariants:
 *  1. Who has used little goes before who has used more: a new client is not kept waiting by those that fill the loop,
 *     however many they are, and however each stays within its own bounds.
 *  2. Turns are short while connections come in: of those that wait to be accepted each turn takes one.
 *  3. Nobody waits for ever: in each turn whoever waits longest goes on, too.
 *  4. Who waits is asked once; one that has gone meanwhile does nothing.
 */
export class FairTurns {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #lines: Line[] = Array.from({ length: CLASSES }, () => ({ takers: [], sinceMs: [] }));
  #waiting = 0;
  /** Since the loop's turn was last known to end. */
  #spentMs = 0;
  #endIsHeard = false;
  /** A connection came in during this turn of the loop; during the one before it. */
  #accepts = false;
  #accepted = false;

  constructor({ clock, timers }: { clock: Clock; timers: Timers }) {
    this.#clock = clock;
    this.#timers = timers;
  }

  /** What comes in now has to wait. */
  get isOver(): boolean {
    return this.#spentMs >= (this.#accepts || this.#accepted ? TURN_MS_MAX_ACCEPTING : TURN_MS_MAX);
  }

  /** A connection came in; more may be behind it. */
  accepted(): void {
    this.#accepts = true;
    this.#hearOfEnd();
  }

  /** What one connection may do before others have their turn, in µs. */
  get costMax(): number {
    const waiting = this.#waiting;
    if (waiting * TURN_COST_MAX <= TURN_MS_MAX * 1000) return TURN_COST_MAX;
    return Math.max(COST_MIN, (TURN_MS_MAX * 1000) / waiting);
  }

  /** Work for somebody began at `startedMs` and is done now; it is thought to have cost so many µs. */
  spent(used: UsedTime, startedMs: number, cost = Number.POSITIVE_INFINITY): void {
    // A look at the clock costs a tenth of a small call: what is thought to be little is taken for that.
    const ms = cost < COST_LITTLE ? cost / 1000 : this.#clock.monotonicMs() - startedMs;
    used.add(ms, startedMs);
    this.#spentMs += ms;
    if (this.#spentMs >= TURN_MS_UNHEARD) this.#hearOfEnd();
  }

  /** Its turn comes when others had theirs. */
  wait(taker: TurnTaker): void {
    const nowMs = this.#clock.monotonicMs();
    const line = this.#lines[classOf(taker.used.lately(nowMs))]!;
    line.takers.push(taker);
    line.sinceMs.push(nowMs);
    this.#waiting++;
    this.#hearOfEnd();
  }

  #hearOfEnd(): void {
    if (this.#endIsHeard) return;
    this.#endIsHeard = true;
    this.#timers.defer(this.#turnEnded);
  }

  readonly #turnEnded = (): void => {
    this.#endIsHeard = false;
    this.#spentMs = 0;
    this.#accepted = this.#accepts;
    this.#accepts = false;
    if (this.#waiting === 0) return;
    const first = this.#longestWaits();
    // Who asks again in its turn waits for the next one.
    const counts = this.#lines.map((line) => line.takers.length);
    first?.takeTurn();
    for (const [at, line] of this.#lines.entries()) this.#serve(line, counts[at]!);
    // The next ones come in as ever: this turn's work is done.
    this.#spentMs = 0;
    if (this.#waiting > 0) this.#hearOfEnd();
  };

  #serve(line: Line, count: number): void {
    if (count === 0) return;
    let served = 0;
    while (served < count && !this.isOver) {
      this.#waiting--;
      line.takers[served++]!.takeTurn();
    }
    line.takers.splice(0, served);
    line.sinceMs.splice(0, served);
  }

  /** Takes out whoever waits longest. */
  #longestWaits(): TurnTaker | undefined {
    let oldest: Line | null = null;
    for (const line of this.#lines) {
      if (line.takers.length > 0 && (oldest === null || line.sinceMs[0]! < oldest.sinceMs[0]!)) oldest = line;
    }
    oldest?.sinceMs.shift();
    this.#waiting--;
    return oldest?.takers.shift();
  }
}

function classOf(usedMs: number): number {
  const doubled = Math.ceil(Math.log2(usedMs / FIRST_CLASS_MS));
  return Math.max(0, Math.min(doubled, CLASSES - 1));
}
