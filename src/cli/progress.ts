/** A line on standard error that is written over again and again; nothing where that is no terminal. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  #shownMs = Number.NEGATIVE_INFINITY;
  #shown = false;

  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
  }

  show({ phase, done, total }: { phase: string; done: number; total: number }): void {
    if (!this.#out.isTTY) return;
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < EVERY_MS) return;
    this.#shownMs = nowMs;
    this.#shown = true;
    const width = Math.max(20, (this.#out.columns ?? 80) - 1);
    this.#out.write(`\r${progressText({ phase, done, total }).slice(0, width)}\x1b[K`);
  }

  /** Takes the line away, so that what is printed next stands alone. */
  clear(): void {
    if (this.#shown) this.#out.write("\r\x1b[K");
    this.#shown = false;
  }
}

const EVERY_MS = 100;
const BAR = 24;

/** "tables  [=====>      ]  42 %  1.2 of 2.9 GiB" */
export function progressText({ phase, done, total }: { phase: string; done: number; total: number }): string {
  if (total === 0) return done === 0 ? phase : `${phase}  ${bytesText(done)}`;
  const part = Math.min(1, done / total);
  const full = Math.floor(part * BAR);
  const bar = `${"=".repeat(full)}${full < BAR ? ">" : ""}`.padEnd(BAR);
  const percent = String(Math.floor(part * 100)).padStart(3);
  return `${phase}  [${bar}] ${percent} %  ${bytesText(done)} of ${bytesText(total)}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "1.5 MiB" */
export function bytesText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}
