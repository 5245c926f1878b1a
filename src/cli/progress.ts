/** A line on standard error that is written over again and again; nothing where that is no terminal. */
export class ProgressLine {
  readonly #out: NodeJS.WriteStream;
  #shownMs = Number.NEGATIVE_INFINITY;
  #shown = false;

  constructor(out: NodeJS.WriteStream = process.stderr) {
    this.#out = out;
  }

  show(progress: Progress): void {
    this.tell(() => progressText(progress));
  }

  tell(text: () => string): void {
    if (!this.#out.isTTY) return;
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < EVERY_MS) return;
    this.#shownMs = nowMs;
    this.#shown = true;
    const width = Math.max(20, (this.#out.columns ?? 80) - 1);
    this.#out.write(`\r${text().slice(0, width)}\x1b[K`);
  }

  /** Takes the line away, so that what is printed next stands alone. */
  clear(): void {
    if (this.#shown) this.#out.write("\r\x1b[K");
    this.#shown = false;
  }
}

const EVERY_MS = 100;
const BAR = 24;

export interface Progress {
  readonly phase: string;
  readonly done: number;
  /** 0: not known. */
  readonly total: number;
  /** Of `done` and `total`; by default bytes. */
  readonly text?: (count: number) => string;
}

const ELAPSED_MS = 1000;

/**
 * Waits for an answer of which nothing is known until it is there; from the first second on it tells for how long. A
 * line that is given is not cleared.
 */
export async function patiently<T>(what: string, answer: Promise<T>, given?: ProgressLine): Promise<T> {
  const line = given ?? new ProgressLine();
  const begunMs = performance.now();
  const seconds = (): number => Math.round((performance.now() - begunMs) / 1000);
  const timer = setInterval(() => line.tell(() => `${what}, ${seconds()} s`), ELAPSED_MS);
  try {
    return await answer;
  } finally {
    clearInterval(timer);
    if (given === undefined) line.clear();
  }
}

/** "tables  [=====>      ]  42 %  1.2 of 2.9 GiB" */
function progressText({ phase, done, total, text = bytesText }: Progress): string {
  if (total === 0) return done === 0 ? phase : `${phase}  ${text(done)}`;
  const part = Math.min(1, done / total);
  const full = Math.floor(part * BAR);
  const bar = `${"=".repeat(full)}${full < BAR ? ">" : ""}`.padEnd(BAR);
  const percent = String(Math.floor(part * 100)).padStart(3);
  return `${phase}  [${bar}] ${percent} %  ${text(done)} of ${text(total)}`;
}

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "1.5 MiB" */
export function bytesText(bytes: number): string {
  let unit = 0;
  let value = bytes;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`;
}
