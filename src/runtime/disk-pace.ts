/**
 * Chooses how a file is written or read: in the event loop (one system call, no thread in between) while that is short
 * enough not to hold anything up, in the thread pool otherwise. It learns from the times themselves (of writes, here):
 *
 *   pooled ── a run of writes, each < limit ──► blocking ── average of writes ≥ limit ──► pooled
 *   pooled ── nothing learnt for an interval ──► one blocking write as a probe, as a pooled write's time holds the wait
 *             for the pool and the loop, and can look slow on a quick disk; the interval doubles while probes are slow
 *
 * Measured (4 KiB, O_DSYNC): with a sync of 80 µs blocking 78 µs and 28 µs of CPU, pooled 111 and 58; with one of
 * 0.3 ms on a busy machine, puts one at a time: 1,230 to 1,890 a second blocking, 890 to 1,570 pooled. Reads of 16 KiB
 * that the kernel has in memory: 4 µs of CPU blocking, 8 µs pooled on a quiet machine, 80 on a busy one.
 */
const BLOCKING_MS_MAX = 1;
/**
 * Reads come in numbers, and what waits for one write of the log would wait for many of them: they leave the loop on
 * anything slower than a quick disk of this machine.
 */
export const BLOCKING_READ_MS_MAX = 0.25;
/** A larger write says nothing about the sync, and would hold up the loop. */
export const BLOCKING_BYTES_MAX = 256 * 1024;
/** So many quick writes in a row: on a disk that stalls every now and then, most stalls then find the pool. */
const QUICK_RUN = 8;
const PROBE_INTERVAL_MS_MIN = 1000;
/**
 * Of reads: a moment in which the machine did something else looks like a slow disk, and reads that waited in the pool
 * behind others never look quick. A disk that is slow is probed a few times more for it.
 */
export const READ_PROBE_INTERVAL_MS_MIN = 50;
const PROBE_INTERVAL_MS_MAX = 64_000;
/** Weight of the newest write: one of 4 ms among quick ones is enough to leave the loop. */
const NEWEST_WEIGHT = 1 / 8;

export class DiskPace {
  private blocking = false;
  private averageMs = 0;
  private quickRun = 0;
  private probeIntervalMs: number;
  private probeAtMs: number;
  private readonly blockingMsMax: number;
  private readonly probeIntervalMsMin: number;

  constructor(nowMs: number, blockingMsMax = BLOCKING_MS_MAX, probeIntervalMsMin = PROBE_INTERVAL_MS_MIN) {
    this.blockingMsMax = blockingMsMax;
    this.probeIntervalMsMin = probeIntervalMsMin;
    this.probeIntervalMs = probeIntervalMsMin;
    this.probeAtMs = nowMs + probeIntervalMsMin;
  }

  /** Whether a write of `bytes` that begins now should hold the event loop. */
  shouldBlock(bytes: number, nowMs: number): boolean {
    if (bytes > BLOCKING_BYTES_MAX) return false;
    return this.blocking || nowMs >= this.probeAtMs;
  }

  /** A write that blocked is done. */
  blocked(startMs: number, endMs: number): void {
    const elapsedMs = endMs - startMs;
    if (this.blocking) {
      this.averageMs += (elapsedMs - this.averageMs) * NEWEST_WEIGHT;
      if (this.averageMs >= this.blockingMsMax) this.leaveLoop(endMs);
      return;
    }
    if (elapsedMs < this.blockingMsMax) {
      this.enterLoop(elapsedMs);
    } else {
      this.probeIntervalMs = Math.min(this.probeIntervalMs * 2, PROBE_INTERVAL_MS_MAX);
      this.probeAtMs = endMs + this.probeIntervalMs;
    }
  }

  /** A write in the pool is done. */
  pooled(bytes: number, startMs: number, endMs: number): void {
    if (this.blocking || bytes > BLOCKING_BYTES_MAX) return;
    const elapsedMs = endMs - startMs;
    this.quickRun = elapsedMs < this.blockingMsMax ? this.quickRun + 1 : 0;
    if (this.quickRun >= QUICK_RUN) this.enterLoop(elapsedMs);
  }

  private enterLoop(elapsedMs: number): void {
    this.blocking = true;
    this.averageMs = elapsedMs;
    this.probeIntervalMs = this.probeIntervalMsMin;
  }

  private leaveLoop(nowMs: number): void {
    this.blocking = false;
    this.quickRun = 0;
    this.probeAtMs = nowMs + this.probeIntervalMs;
  }
}
