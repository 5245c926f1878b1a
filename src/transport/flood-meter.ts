/**
 * Tells a flood of frames that cost the sender nothing from what working clients send. Each kind has a level that an
 * event raises by one; it falls with time, and with useful work done on the connection (requests taken, DATA moved).
 */
export const FloodKind = {
  /** Streams that the client resets, or makes us reset, before they are answered (CVE-2023-44487, CVE-2025-8671). */
  reset: 0,
  settings: 1,
  ping: 2,
  priority: 3,
  windowUpdate: 4,
  emptyData: 5,
  /** Frames of unknown types, or for streams that are gone. */
  ignored: 6,
} as const;

interface Bound {
  readonly reason: string;
  readonly burst: number;
  readonly perSecond: number;
  readonly perWork: number;
}

const bounds: readonly Bound[] = [
  { reason: "rapid_reset", burst: 5_000, perSecond: 1_000, perWork: 0 },
  { reason: "settings_flood", burst: 100, perSecond: 10, perWork: 0 },
  { reason: "ping_flood", burst: 1_000, perSecond: 100, perWork: 1 },
  { reason: "priority_flood", burst: 1_000, perSecond: 100, perWork: 1 },
  { reason: "window_update_flood", burst: 10_000, perSecond: 1_000, perWork: 4 },
  { reason: "empty_data_flood", burst: 1_000, perSecond: 100, perWork: 1 },
  { reason: "ignored_frames_flood", burst: 5_000, perSecond: 500, perWork: 1 },
];

export class FloodMeter {
  private readonly levels = new Float64Array(bounds.length);
  private readonly checkedMs = new Float64Array(bounds.length);
  private readonly checkedWork = new Float64Array(bounds.length);

  constructor(nowMs: number) {
    this.checkedMs.fill(nowMs);
  }

  /** The name of the flood, once it is one. `work` counts the useful events of the connection so far. */
  note(kind: number, nowMs: number, work: number): string | undefined {
    const bound = bounds[kind]!;
    if (++this.levels[kind]! <= bound.burst) return undefined;
    const seconds = Math.max(0, nowMs - this.checkedMs[kind]!) / 1000;
    const fallen = seconds * bound.perSecond + (work - this.checkedWork[kind]!) * bound.perWork;
    this.checkedMs[kind] = nowMs;
    this.checkedWork[kind] = work;
    this.levels[kind] = Math.max(0, this.levels[kind]! - fallen);
    return this.levels[kind]! > bound.burst ? bound.reason : undefined;
  }
}
