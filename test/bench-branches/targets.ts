import type { Targets } from "../bench-storage/table.ts";

/** What branches are built to reach. */
export const targets: Targets = {
  createRequests: { text: "≤ 10", reached: (value) => value <= 10, in: /create/ },
  createMs: { text: "≤ 200", reached: (value) => value <= 200, in: /create|written/ },
  p99Ratio: { text: "≤ 1.1", reached: (value) => value <= 1.1, in: /written/ },
  warmMs: { text: "≤ 100", reached: (value) => value <= 100, in: /first use/ },
  emptyDiskMs: { text: "≤ 1,000", reached: (value) => value <= 1000, in: /first use/ },
  peakMiB: { text: "≤ 512", reached: (value) => value <= 512, in: /known/ },
};
