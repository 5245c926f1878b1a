import { defaultRetention, type RetentionPolicy, type RetentionTier } from "./checkpoint-retention.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const UNITS_MS: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: HOUR_MS, d: DAY_MS, w: 7 * DAY_MS };
const PERIODS_MS: Readonly<Record<string, number>> = {
  all: 0,
  minutely: 60_000,
  hourly: HOUR_MS,
  daily: DAY_MS,
  weekly: 7 * DAY_MS,
};
const TIERS_MAX = 16;
const AGE_MS_MAX = 10 * 366 * DAY_MS;

/** "24h", "30d", "1w", "90m", "0". Throws an Error that says what is expected. */
export function parseAge(text: string): number {
  if (text === "0") return 0;
  const match = /^(\d{1,9})([smhdw])$/.exec(text);
  const ageMs = match === null ? Number.NaN : Number(match[1]) * UNITS_MS[match[2]!]!;
  if (Number.isNaN(ageMs)) throw new Error(`expected an age such as "24h" or "30d", not "${text}"`);
  if (ageMs > AGE_MS_MAX) throw new Error(`"${text}" is over ${AGE_MS_MAX / DAY_MS} days`);
  return ageMs;
}

/**
 * "1h:all,24h:hourly,30d:daily": of the checkpoints up to an age, all, or the first of each period. "none": only what
 * the log needs. Throws an Error that says what is expected.
 */
export function parseTiers(text: string): RetentionTier[] {
  if (text === "none") return [];
  const parts = text.split(",");
  if (parts.length > TIERS_MAX) throw new Error(`more than ${TIERS_MAX} parts`);
  const tiers = parts.map(parseTier);
  tiers.forEach((tier, at) => {
    const before = tiers[at - 1];
    if (before === undefined) return;
    if (tier.ageMs <= before.ageMs)
      throw new Error(`"${parts[at]}" does not reach further back than "${parts[at - 1]}"`);
    if (tier.everyMs <= before.everyMs)
      throw new Error(`"${parts[at]}" keeps no fewer than "${parts[at - 1]}" before it`);
  });
  return tiers;
}

function parseTier(part: string): RetentionTier {
  const [age = "", period = "", ...more] = part.trim().split(":");
  const everyMs = Object.hasOwn(PERIODS_MS, period) ? PERIODS_MS[period]! : Number.NaN;
  if (more.length > 0 || Number.isNaN(everyMs)) {
    throw new Error(`expected AGE:${Object.keys(PERIODS_MS).join("|")} such as "24h:hourly", not "${part}"`);
  }
  const ageMs = parseAge(age);
  if (ageMs < everyMs) throw new Error(`"${part}": the age is below the period`);
  return { ageMs, everyMs };
}

/** What is wrong between the two settings; null when nothing is. */
export function wrongRelation({ logMs, tiers }: Pick<RetentionPolicy, "logMs" | "tiers">): string | null {
  const last = tiers.at(-1);
  if (last === undefined || last.ageMs >= logMs) return null;
  return "checkpoints are kept for a shorter time than the log behind them";
}

export const retentionPolicy = (logMs: number, tiers: readonly RetentionTier[]): RetentionPolicy => ({
  ...defaultRetention,
  logMs,
  tiers,
});

/** As `parseAge` reads it: in the largest unit that is exact. */
export function ageText(ageMs: number): string {
  if (ageMs === 0) return "0";
  const unit = ["d", "h", "m", "s"].find((each) => ageMs % UNITS_MS[each]! === 0);
  if (unit === undefined) throw new Error(`${ageMs} ms are no whole seconds`);
  return `${ageMs / UNITS_MS[unit]!}${unit}`;
}

/** As `parseTiers` reads it. */
export function tiersText(tiers: readonly RetentionTier[]): string {
  const names = Object.keys(PERIODS_MS);
  const period = (everyMs: number) => names.find((name) => PERIODS_MS[name] === everyMs) ?? `${everyMs} ms`;
  return tiers.length === 0 ? "none" : tiers.map((tier) => `${ageText(tier.ageMs)}:${period(tier.everyMs)}`).join(",");
}
