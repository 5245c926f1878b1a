/** The part of the runtime's timers that taking turns needs. */
export interface Deferring {
  /** Calls `fire` once this turn of the event loop has handled the input at hand. */
  defer(fire: () => void): void;
}

/** Resolves when everybody else has had a turn of the event loop. */
export const nextTurn = (timers: Deferring): Promise<void> => new Promise((resolve) => timers.defer(resolve));

/** What work in the event loop may take of it before everybody else has a turn. */
const SLICE_MS = 3;

/** Long work in the event loop, cut into slices: after each small step its doer looks whether this one is over. */
export class TimeSlice {
  readonly #clock: { monotonicMs(): number };
  readonly #timers: Deferring;
  #beganMs: number;

  constructor({ clock, timers }: { clock: { monotonicMs(): number }; timers: Deferring }) {
    this.#clock = clock;
    this.#timers = timers;
    this.#beganMs = clock.monotonicMs();
  }

  get isOver(): boolean {
    return this.#clock.monotonicMs() - this.#beganMs >= SLICE_MS;
  }

  /** Everybody else has a turn, and another slice begins. What was open before may be closed after it. */
  async end(): Promise<void> {
    await nextTurn(this.#timers);
    this.#beganMs = this.#clock.monotonicMs();
  }
}
