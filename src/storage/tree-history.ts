import { startOf } from "./position.ts";
import type { Run } from "./run.ts";
import { HISTORY_BYTES, KEYS, type KeyRange, type Version } from "./storage.ts";
import type { OpenTable, Table } from "./table.ts";
import type { TableBlock } from "./table-block.ts";
import type { IndexBlock, Sums } from "./table-index.ts";

const AHEAD = { bytes: 256 << 10, reverse: false };
/** Versions gathered beyond the limit before the newest of them are let go. */
const SLACK = 1024;

/**
 * The oldest versions of a window of revisions, gathered in any order. When there are too many, the newest go, and
 * the window ends before them: memory is bounded by the limits and the size of one transaction.
 */
export class HistoryWindow {
  readonly after: number;
  readonly limit: number;
  /** The newest revision still asked for. */
  through: number;
  #versions: Version[] = [];
  #bytes = 0;
  /** Past either, the newest go. */
  #cutAtCount: number;
  #cutAtBytes = 2 * HISTORY_BYTES;

  constructor(after: number, upTo: number, limit: number) {
    this.after = after;
    this.through = upTo;
    this.limit = Math.max(1, limit);
    this.#cutAtCount = 2 * this.limit + SLACK;
  }

  /** Whether a part with these sums can hold anything of the window. */
  wants(sums: Sums): boolean {
    return sums.entries > 0 && sums.mainMax > this.after && sums.mainMin <= this.through;
  }

  add(version: Version): void {
    if (version.main <= this.after || version.main > this.through) return;
    this.#versions.push(version);
    this.#bytes += sizeOf(version);
    if (this.#versions.length > this.#cutAtCount || this.#bytes > this.#cutAtBytes) this.#cut();
  }

  /** In order; complete up to `through`. */
  take(): Version[] {
    this.#cut();
    return this.#versions;
  }

  #cut(): void {
    const versions = this.#versions.sort((a, b) => a.main - b.main || a.sub - b.sub);
    let end = 0;
    let bytes = 0;
    const isFull = () => end >= this.limit || bytes >= HISTORY_BYTES;
    while (end < versions.length && (!isFull() || versions[end]!.main === versions[end - 1]!.main))
      bytes += sizeOf(versions[end++]!);
    if (end < versions.length) {
      this.#versions = versions.slice(0, end);
      this.#bytes = bytes;
      this.through = versions[end - 1]!.main;
    }
    // A transaction that is larger than the limits stays whole; it is not sorted again for each version of it.
    this.#cutAtCount = 2 * Math.max(this.limit, this.#versions.length) + SLACK;
    this.#cutAtBytes = 2 * Math.max(HISTORY_BYTES, this.#bytes);
  }
}

const sizeOf = (version: Version): number => version.end - version.start;

/** Gathers what a run has of the window, block by block, passing over blocks that have nothing of it. */
export async function historyOfRun(run: Run, range: KeyRange, window: HistoryWindow): Promise<void> {
  if (!window.wants(run.sums(KEYS))) return;
  const low = startOf(KEYS, range.from);
  for (let t = run.search(low); t < run.tables.length; t++) {
    const table = run.tables[t]!;
    if (isBeyond(table.ref.first.key, table.ref.first.space, range)) return;
    const sums = table.ref.spaces.find((each) => each.space === KEYS);
    if (sums === undefined || !window.wants(sums)) continue;
    const open = await table.open();
    const { handles } = open.top;
    for (let p = open.top.search(low); p < handles.length; p++) {
      const { start } = handles[p]!;
      if (isBeyond(start.key, start.space, range)) return;
      if (!window.wants(handles[p]!.sums)) continue;
      await historyOfPartition(table, open, await table.partition(open, p), range, window);
    }
  }
}

async function historyOfPartition(
  table: Table,
  open: OpenTable,
  partition: IndexBlock,
  range: KeyRange,
  window: HistoryWindow,
): Promise<void> {
  const { handles } = partition;
  for (let b = partition.search(startOf(KEYS, range.from)); b < handles.length; b++) {
    const { start, sums } = handles[b]!;
    if (isBeyond(start.key, start.space, range)) return;
    if (window.wants(sums)) addBlock(await table.block(open, partition, b, AHEAD), range, window);
  }
}

function addBlock(block: TableBlock, range: KeyRange, window: HistoryWindow): void {
  for (let i = 0; i < block.count; i++) {
    const main = block.main(i);
    if (main <= window.after || main > window.through) continue;
    const key = block.keys[i]!;
    if (key >= range.from && (range.to === null || key < range.to)) window.add(block.version(i));
  }
}

const isBeyond = (key: string, space: number, range: KeyRange): boolean =>
  space !== KEYS || (range.to !== null && key >= range.to);
