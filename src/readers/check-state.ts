import { DbError } from "../base/errors.ts";
import type { BranchId, ObjectKey } from "../base/ids.ts";
import type { Checkpoint } from "../storage/checkpoint.ts";
import { comparePositions, type Position } from "../storage/position.ts";
import type { TableRef } from "../storage/table.ts";
import type { TableBlock } from "../storage/table-block.ts";
import type { Findings } from "./faults.ts";
import { blocksOf, openTableFile, TableMissing, type TableSource } from "./table-file.ts";

/** Of each run. */
const WINDOW_BYTES = 512 << 10;

/** Goes through the entries of one run, block by block. */
class RunEntries {
  block: TableBlock | null = null;
  i = 0;
  space = 0;
  #position: Position | null = null;
  readonly #blocks: AsyncGenerator<{ block: TableBlock; space: number }>;

  constructor(source: TableSource, tables: readonly TableRef[]) {
    this.#blocks = blocksOfRun(source, tables);
  }

  async next(): Promise<void> {
    const { value, done } = await this.#blocks.next();
    this.block = done ? null : value.block;
    this.i = 0;
    this.#position = null;
    if (!done) this.space = value.space;
  }

  /** To the next entry. */
  advance(): Promise<void> | undefined {
    this.#position = null;
    return ++this.i === this.block!.count ? this.next() : undefined;
  }

  /** Of the entry at hand. */
  get position(): Position {
    const block = this.block!;
    const { i, space } = this;
    return (this.#position ??= { space, key: block.key(i), main: block.main(i), sub: block.sub(i) });
  }
}

async function* blocksOfRun(source: TableSource, tables: readonly TableRef[]) {
  for (const { key } of tables) {
    const file = await openTableFile(source, key);
    if (file === null) throw new TableMissing(key, "is missing");
    for await (const { block, handle } of blocksOf(source, file, { windowBytes: WINDOW_BYTES })) {
      if (block instanceof DbError) throw block;
      yield { block, space: handle.start.space };
    }
  }
}

/**
 * Merges all runs of a checkpoint, and holds the live keys of each space against the sum of all effects: what counts
 * are answered from. Of any key, the versions of a younger run must be newer than those of the older ones. In memory
 * are a window and a block of each run.
 */
export async function checkState(
  source: TableSource,
  state: { key: ObjectKey; branch: BranchId; runs: Checkpoint["runs"] },
  findings: Findings,
): Promise<{ liveKeys: number }> {
  const runs = state.runs.map((tables) => new RunEntries(source, tables));
  await Promise.all(runs.map((run) => run.next()));
  const live = new Map<number, number>();
  let lastSpace = -1;
  let lastKey = "";
  let lastRun = 0;
  for (;;) {
    const r = leastOf(runs);
    if (r === -1) break;
    const run = runs[r]!;
    const { key } = run.position;
    if (run.space !== lastSpace || key !== lastKey) {
      if (!run.block!.tombstone(run.i)) live.set(run.space, (live.get(run.space) ?? 0) + 1);
    } else if (r < lastRun) {
      const shown = JSON.stringify(key);
      findings.fault(state.key, `run ${r} has a version of key ${shown} that is older than one in run ${lastRun}`);
    }
    lastSpace = run.space;
    lastKey = key;
    lastRun = r;
    const moved = run.advance();
    if (moved !== undefined) await moved;
  }
  const effects = effectsOf(state.runs);
  for (const space of new Set([...live.keys(), ...effects.keys()])) {
    const [found, told] = [live.get(space) ?? 0, effects.get(space) ?? 0];
    if (found !== told) findings.fault(state.key, `space ${space}: ${found} live keys, its effects sum up to ${told}`);
  }
  return { liveKeys: live.get(0) ?? 0 };
}

/** The run with the least entry, the youngest of equals; −1 at the end. */
function leastOf(runs: readonly RunEntries[]): number {
  let least = -1;
  for (let r = 0; r < runs.length; r++) {
    if (runs[r]!.block === null) continue;
    if (least === -1 || comparePositions(runs[r]!.position, runs[least]!.position) < 0) least = r;
  }
  return least;
}

/** Live keys by the sums that the checkpoint lists. */
export function effectsOf(runs: Checkpoint["runs"]): Map<number, number> {
  const sums = new Map<number, number>();
  for (const table of runs.flat()) {
    for (const { space, effectSum } of table.spaces) sums.set(space, (sums.get(space) ?? 0) + effectSum);
  }
  return sums;
}
