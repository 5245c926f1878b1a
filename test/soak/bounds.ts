import type { Bound } from "./flat.ts";

const MiB = 2 ** 20;
/** Fences of a takeover: as many as a repository has slots in flight. They are kept for ever. */
const FENCES_A_START = 8;
const LONG_MINUTES = 10;

/** What must not grow, and how far it may sway: whether it grows, a long run tells. */
export function boundsOf({ minutes, starts }: { minutes: number; starts: number }): Bound[] {
  const isLong = minutes >= LONG_MINUTES;
  const bound =
    (within: Bound["within"]) =>
    (name: string, factor: number, slack: number, most = Number.POSITIVE_INFINITY): Bound => ({
      name,
      within,
      growth: isLong ? { factor, slack } : null,
      most,
    });
  const inLife = bound("life");
  const inRun = bound("run");
  return [
    inLife("process.rssMiB", 1.1, 16, 512),
    inLife("process.heapUsedMiB", 1.2, 12, 256),
    inLife("process.externalMiB", 1.2, 12, 256),
    inLife("process.descriptors", 1.1, 8, 256),
    inLife("process.threads", 1, 2, 64),
    inLife("process.resources", 1.2, 12, 512),
    inRun("data.files", 1.1, 4, 100),
    inRun("data.MiB", 1.15, 8, 512),
    inRun("bucket.objects", 1.25, 40),
    inRun("bucket.bytes", 1.25, 8 * MiB),
    inRun("objects.table", 1.25, 20),
    inRun("objects.segment", 1.25, 40),
    inRun("objects.checkpoint", 1.25, 10),
    inRun("objects.session", 1, 4),
    inRun("objects.collection", 1, 4),
    inRun("objects.collectionDone", 1, 4),
    // A kill leaves the file that was being written to a directory as store: it goes an hour later. Locks are 16.
    inRun("objects.foreign", 1, 4, starts + 20),
    inRun("objects.fence", 2, FENCES_A_START * starts, FENCES_A_START * (2 * starts + 1)),
  ];
}
