import { ours } from "./setting.ts";
import { bytesKind, integerKind } from "./setting-kinds.ts";

/** What a flood of calls may take (B1.4): past each bound callers are told to come again, and memory stays as it is. */
export const limitSettings = {
  "connections-max": ours(
    integerKind({ min: 1, max: 1_000_000 }),
    "100000",
    "connections at once; more are closed as they come",
  ),
  "calls-max": ours(
    integerKind({ min: 1, max: 10_000_000 }),
    "10000",
    'a branch\'s writes that are not durable yet; more get "too many requests"',
  ),
  "calls-bytes-max": ours(
    bytesKind({ min: 1 << 20, max: 2 ** 36 }),
    "64MiB",
    "what those writes may take in memory; at least one that is as large as may be passes",
  ),
  "watchers-max": ours(
    integerKind({ min: 1, max: 100_000_000 }),
    "1000000",
    "watchers of a branch; each takes about a kilobyte",
  ),
} as const;
