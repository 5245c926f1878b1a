import { readFileSync } from "node:fs";
import { fileTrouble } from "../base/errors.ts";
import { UsageError } from "./errors.ts";

/** List prices of a store, in US dollars. */
export interface Prices {
  readonly name: string;
  /** Of which time. */
  readonly date: string;
  readonly gibMonth: number;
  /** Of a thousand requests each. */
  readonly puts: number;
  readonly gets: number;
  readonly lists: number;
  readonly deletes: number;
}

/** Examples: public list prices as they were then; give your own by --prices. */
const examplePrices: Readonly<Record<string, Prices>> = {
  s3: {
    name: "Amazon S3 Standard, us-east-1, first 50 TB",
    date: "2025-06",
    ...{ gibMonth: 0.023, puts: 0.005, gets: 0.0004, lists: 0.005, deletes: 0 },
  },
  gcs: {
    name: "Google Cloud Storage Standard, us-central1",
    date: "2025-06",
    ...{ gibMonth: 0.02, puts: 0.005, gets: 0.0004, lists: 0.005, deletes: 0 },
  },
  r2: {
    name: "Cloudflare R2 Standard",
    date: "2025-06",
    ...{ gibMonth: 0.015, puts: 0.0045, gets: 0.00036, lists: 0.0045, deletes: 0 },
  },
};

/** By the name of an example, or from a file of JSON with the same fields. */
export function pricesOf(text: string): Prices {
  const example = Object.hasOwn(examplePrices, text) ? examplePrices[text] : undefined;
  if (example !== undefined) return example;
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(text, "utf8"));
  } catch (error) {
    const names = Object.keys(examplePrices).join(", ");
    throw new UsageError(`--prices: ${text} is none of ${names}, and no file of JSON: ${fileTrouble(error)}`);
  }
  const fields = ["gibMonth", "puts", "gets", "lists", "deletes"] as const;
  const found = typeof json === "object" && json !== null ? (json as Record<string, unknown>) : {};
  for (const field of fields) {
    const value = found[field];
    if (typeof value !== "number" || !(value >= 0)) throw new UsageError(`--prices: ${text}: ${field} is no price`);
  }
  return { name: String(found["name"] ?? text), date: String(found["date"] ?? "unknown"), ...found } as Prices;
}

const GIB = 2 ** 30;
const MONTH_MS = 30.44 * 86_400_000;

export interface Requests {
  readonly operation: string;
  readonly count: number;
}

/** Dollars a month: of what is stored, and of requests as they went since `sinceMs`. */
export function monthly(
  prices: Prices,
  usage: { readonly bytes: number; readonly requests: readonly Requests[]; readonly sinceMs: number },
  nowMs: number,
): { storage: number; requests: number | null } {
  const storage = (usage.bytes / GIB) * prices.gibMonth;
  const spanMs = nowMs - usage.sinceMs;
  if (usage.sinceMs === 0 || spanMs <= 0) return { storage, requests: null };
  const each: Readonly<Record<string, number>> = {
    put: prices.puts,
    get: prices.gets,
    list: prices.lists,
    delete: prices.deletes,
  };
  const spent = usage.requests.reduce((sum, { operation, count }) => sum + (count / 1000) * (each[operation] ?? 0), 0);
  return { storage, requests: (spent / spanMs) * MONTH_MS };
}
