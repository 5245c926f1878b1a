import { assert } from "../base/assert.ts";
import { comparePositions, type Position } from "./position.ts";
import type { Run } from "./run.ts";
import type { Table, TableRef } from "./table.ts";
import {
  groupTables,
  highOf,
  isMoved,
  lowOf,
  type MoveSizes,
  overlapOf,
  type Slice,
  type TableGroup,
} from "./table-group.ts";
import { mergeTables, type WriteContext } from "./tree-write.ts";

/** Part of a run that is merged. */
export interface RunPart extends Slice {
  readonly run: Run;
}

export interface RunMerge {
  /** Parts of adjacent runs, the youngest first. */
  readonly parts: readonly RunPart[];
  /** All older runs. */
  readonly below: readonly Run[];
  readonly moved: MoveSizes;
  readonly gate: () => Promise<void>;
}

/** In order: tables that are kept, and new ones. They take the place of the last part in its run. */
export type MergedTables = readonly (Table | TableRef)[];

export const isTable = (table: Table | TableRef): table is Table => "ref" in table;

/**
 * Merges parts of adjacent runs into one sequence of tables.
 *
 *   young   [a────d] [f──g]         [s─t]
 *   old  [0─b] [c──e]        [k─m] [r───u] [w─z]        the part of the old run: 0 to u
 *        └──── new ─────┘    kept  └─new─┘
 *
 * 1. Tables that share keys go into one merge, with all their versions: so what is newer, key by key, stays above what
 *    is older, and nothing of a key that is merged is left behind in a part.
 * 2. A tombstone may go when no older run has a table with such a key.
 */
export async function mergeParts(context: WriteContext, merge: RunMerge): Promise<MergedTables> {
  assertParts(merge.parts);
  const groups = groupTables(merge.parts.map(({ run, from, to }) => run.tables.slice(from, to)));
  const { run, from, to } = merge.parts.at(-1)!;
  const end = run.tables[to]?.ref.first ?? null;
  const merged: (Table | TableRef)[] = [];
  let after: Position | null = run.tables[from - 1]?.ref.end ?? null;
  for (let g = 0; g < groups.length; ) {
    const kept = keptOf(groups[g]!, merge.moved);
    if (kept !== null) {
      merged.push(kept);
      after = kept.ref.end;
      g++;
      continue;
    }
    let next = g + 1;
    while (next < groups.length && keptOf(groups[next]!, merge.moved) === null) next++;
    const behind = groups[next];
    const before = behind === undefined ? end : keptOf(behind, merge.moved)!.ref.first;
    const written = await rewrite(context, merge, groups.slice(g, next), { after, before });
    merged.push(...written);
    after = written.at(-1)?.end ?? after;
    g = next;
  }
  return merged;
}

/** The group's only table, if it is kept as it is. */
const keptOf = (group: TableGroup<Table>, sizes: MoveSizes): Table | null =>
  isMoved(group, sizes) ? group.inputs.flat()[0]! : null;

async function rewrite(
  context: WriteContext,
  merge: RunMerge,
  groups: readonly TableGroup<Table>[],
  bounds: { after: Position | null; before: Position | null },
): Promise<TableRef[]> {
  const inputs = merge.parts.map((_, part) => groups.flatMap((group) => group.inputs[part]!.map(({ ref }) => ref)));
  const refs = inputs.flat();
  const low = refs.map(lowOf).reduce((a, b) => (comparePositions(a, b) <= 0 ? a : b));
  const high = refs.map(highOf).reduce((a, b) => (comparePositions(a, b) >= 0 ? a : b));
  const bottom = merge.below.every(({ tables }) => {
    const overlap = overlapOf(tables, low, high);
    return overlap.from === overlap.to;
  });
  return mergeTables(context, { ...bounds, inputs, bottom, gate: merge.gate });
}

/** What goes down from a part must not pass by an older version of its key in a part below it. */
function assertParts(parts: readonly RunPart[]): void {
  parts.forEach(({ run, from, to }, i) => {
    if (from === to) return;
    const low = lowOf(run.tables[from]!.ref);
    const high = highOf(run.tables[to - 1]!.ref);
    for (const deeper of parts.slice(i)) {
      const overlap = overlapOf(deeper.run.tables, low, high);
      const isInside = overlap.from === overlap.to || (overlap.from >= deeper.from && overlap.to <= deeper.to);
      assert(isInside, "a merge has of each part all tables that share keys with those above");
    }
  });
}
