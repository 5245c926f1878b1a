import { KEYS } from "./storage.ts";
import type { TableRef } from "./table.ts";
import {
  bytesOf,
  groupTables,
  highOf,
  isGlued,
  isMoved,
  lowOf,
  type MoveSizes,
  overlapOf,
  type Slice,
  type Weighed,
} from "./table-group.ts";

/**
 * Which tables are merged next (docs/ARCHITECTURE.md, "Levels").
 *
 *   runs, the youngest first:   45  45  60 | 700      6,000        bytes in MB, levelBytes 256, levelRatio 10
 *                               young runs | levels ─► bottom
 *
 * 1. The leading runs below `levelBytes` are young: a flush makes one. Over `runsMax` of them, those of like size are
 *    merged, with what they overlap of the first level where that is of like size, too.
 * 2. Every other run is a level. One that is larger than `levelBytes` and than a `levelRatio`th of the next gives a
 *    part of its tables to the next one: those that overlap the least of it for their size.
 * 3. Tables that hold much that compaction has made superfluous are rewritten where they are.
 * 4. A run of which hardly anything has to be rewritten for it joins the run below it at once: keys that come in order,
 *    or almost (table-cuts.ts), are found in one run, and written once.
 * 5. Nothing is kept of all this but the runs themselves: the levels are what their sizes say, so that any checkpoint
 *    can be taken on, and a level that has shrunk is a young run again.
 *
 * What a merge reads is bounded by about `mergeBytesMax`, but that a key whose versions fill several tables goes whole.
 */
export interface MergePolicy {
  readonly runsMax: number;
  /** At most so many runs are merged at once: each is read through a window of its own. */
  readonly mergeInputsMax: number;
  readonly levelBytes: number;
  readonly levelRatio: number;
  readonly mergeBytesMax: number;
  /** A table is ended when it has this many bytes. */
  readonly tableBytes: number;
}

export interface MergeState {
  readonly compactRevision: number;
  /** Merge all that can be merged, as long as there is anything. */
  readonly everything: boolean;
  /** A table that cannot be read: nothing is merged with it or across it. */
  isSpoiled(ref: TableRef): boolean;
}

export interface MergePlan {
  /** Adjacent runs, the youngest first. The last one takes the output in the place of its slice. */
  readonly slices: readonly RunSlice[];
  readonly moved: MoveSizes;
  readonly tableBytes: number;
}

export interface RunSlice extends Slice {
  readonly run: number;
}

/** A run as it is weighed. */
export interface WeighedRun {
  readonly bytes: number;
  readonly tables: readonly Weighed[];
}

/** Runs below this size count as this large: so small they cost requests, not bytes. */
const SMALL_BYTES = 1 << 20;
/** What is older joins what is younger while rewriting it costs no more than this many times the younger ones. */
const RATIO = 1.5;
/** A run joins the one below it where what has to be rewritten is no more than this share of it. */
const JOIN_SHARE = 0.25;
/** A table is rewritten where it is when this share of its entries could go. */
const GARBAGE_SHARE = 0.25;
/** A table is split into pieces no smaller than this. */
const PIECE_BYTES_MIN = 1 << 20;

/** The next merge; null when all is as it should be. */
export function pickMerge(runs: readonly WeighedRun[], policy: MergePolicy, state: MergeState): MergePlan | null {
  const usable = { runs, policy, state };
  const young = youngRuns(runs, policy);
  const joined = young > 0 ? join(usable) : null;
  if (joined !== null) return joined;
  const youngMax = state.everything ? 1 : policy.runsMax;
  const level = fullestLevel(usable, young);
  // What is most beyond its bound goes first.
  if (young > youngMax && young / youngMax >= (level?.fullness ?? 0)) {
    const plan = mergeYoung(usable, young);
    if (plan !== null) return plan;
  }
  if (level !== null) {
    const plan = pushDown(usable, level.run);
    if (plan !== null) return plan;
  }
  return (young > youngMax ? mergeYoung(usable, young) : null) ?? rewriteGarbage(usable);
}

/** How many of the leading runs are not yet a level. */
function youngRuns(runs: readonly WeighedRun[], policy: Pick<MergePolicy, "levelBytes">): number {
  const level = runs.findIndex((run) => run.bytes >= policy.levelBytes);
  return level < 0 ? runs.length : level;
}

interface Usable {
  readonly runs: readonly WeighedRun[];
  readonly policy: MergePolicy;
  readonly state: MergeState;
}

/** What is rewritten of slices, and whether any of it is spoiled. */
function weigh(
  { runs, policy, state }: Usable,
  slices: readonly RunSlice[],
  moved = movedSizes(policy, state),
): { bytes: number; spoiled: boolean } {
  const inputs = slices.map(({ run, from, to }) => runs[run]!.tables.slice(from, to));
  if (inputs.some((tables) => tables.some(({ ref }) => state.isSpoiled(ref)))) return { bytes: 0, spoiled: true };
  let bytes = 0;
  for (const group of groupTables(inputs)) {
    if (!isMoved(group, moved)) bytes += group.bytes;
  }
  return { bytes, spoiled: false };
}

const whole = (runs: readonly WeighedRun[], run: number): RunSlice => ({ run, from: 0, to: runs[run]!.tables.length });

/** To merge everything is also to pack small tables together, however long that takes. */
const movedSizes = ({ tableBytes }: MergePolicy, { everything }: MergeState): MoveSizes => ({
  bytesMin: tableBytes >> 2,
  unpackedMin: everything ? Number.POSITIVE_INFINITY : tableBytes >> 2,
});

const EVERY_SIZE: MoveSizes = { bytesMin: 0, unpackedMin: 0 };
const NO_SIZE: MoveSizes = { bytesMin: Number.POSITIVE_INFINITY, unpackedMin: Number.POSITIVE_INFINITY };

const planOf = (usable: Usable, slices: readonly RunSlice[]): MergePlan => ({
  slices: slices.filter(({ from, to }, i) => to > from || i === slices.length - 1),
  moved: movedSizes(usable.policy, usable.state),
  tableBytes: usable.policy.tableBytes,
});

// --- young runs ---

/** The youngest run into the one below it, where its tables are moved but for what they share at their ends. */
function join(usable: Usable): MergePlan | null {
  const { runs, policy, state } = usable;
  const [youngest, below] = runs;
  if (youngest === undefined || below === undefined) return null;
  // Tables of any size are moved: a run of small ones alone would leave as many.
  const moved = movedSizes(policy, state);
  if (!groupTables([youngest.tables]).some((group) => isMoved(group, moved))) return null;
  const slices = [whole(runs, 0), overlapWith(runs, [whole(runs, 0)], 1)];
  const { bytes, spoiled } = weigh(usable, slices, EVERY_SIZE);
  if (spoiled || bytes > youngest.bytes * JOIN_SHARE) return null;
  return { slices, moved: EVERY_SIZE, tableBytes: policy.tableBytes };
}

function mergeYoung(usable: Usable, young: number): MergePlan | null {
  let best: RunSlice[] | null = null;
  for (let first = 0; first < young; first++) {
    const slices = alikeFrom(usable, first, young);
    if (slices.length >= 2 && slices.length > (best?.length ?? 0)) best = slices;
  }
  best ??= cheapestPair(usable, young);
  return best === null ? null : planOf(usable, best);
}

/** Runs from `first` on of like size, and of the level behind them what they overlap. */
function alikeFrom(usable: Usable, first: number, young: number): RunSlice[] {
  const { runs, policy } = usable;
  const slices = [whole(runs, first)];
  if (weigh(usable, slices).spoiled) return [];
  let sum = Math.max(runs[first]!.bytes, SMALL_BYTES);
  let cost = 0;
  for (let next = first + 1; next < runs.length && slices.length < policy.mergeInputsMax; next++) {
    const slice = next < young ? whole(runs, next) : overlapWith(runs, slices, next);
    const weight = weigh(usable, [...slices, slice]);
    const size = Math.max(bytesOf(runs[next]!.tables, slice), SMALL_BYTES);
    const isAlike = weight.bytes - cost <= sum * RATIO || size <= sum * RATIO;
    if (weight.spoiled || !isAlike || (weight.bytes > policy.mergeBytesMax && slices.length >= 2)) break;
    slices.push(slice);
    sum += size;
    cost = weight.bytes;
    if (next >= young) break;
  }
  return slices;
}

/** Of run `next`, what shares keys with the slices above it. */
function overlapWith(runs: readonly WeighedRun[], slices: readonly RunSlice[], next: number): RunSlice {
  const tables = slices.flatMap(({ run, from, to }) => runs[run]!.tables.slice(from, to));
  const groups = groupTables([tables]);
  const low = lowOf(groups[0]!.inputs[0]![0]!.ref);
  const high = tables.map(({ ref }) => highOf(ref)).reduce((a, b) => (isAfter(a, b) ? a : b));
  return { run: next, ...overlapOf(runs[next]!.tables, low, high) };
}

const isAfter = (a: ReturnType<typeof highOf>, b: ReturnType<typeof highOf>): boolean =>
  a.space !== b.space ? a.space > b.space : a.key > b.key;

function cheapestPair(usable: Usable, young: number): RunSlice[] | null {
  const { runs } = usable;
  let best: RunSlice[] | null = null;
  let bestBytes = Number.POSITIVE_INFINITY;
  for (let first = 0; first + 1 < young; first++) {
    const pair = [whole(runs, first), whole(runs, first + 1)];
    const { bytes, spoiled } = weigh(usable, pair);
    if (!spoiled && bytes < bestBytes) {
      best = pair;
      bestBytes = bytes;
    }
  }
  return best;
}

// --- levels ---

/** The level that is most beyond its bound. */
function fullestLevel({ runs, policy, state }: Usable, young: number): { run: number; fullness: number } | null {
  let best: { run: number; fullness: number } | null = null;
  // To merge everything a single young run is given to the next one, too.
  for (let run = state.everything && young <= 1 ? 0 : young; run + 1 < runs.length; run++) {
    const bytesMax = Math.max(policy.levelBytes, runs[run + 1]!.bytes / policy.levelRatio);
    const fullness = state.everything ? runs.length : runs[run]!.bytes / bytesMax;
    if (fullness > 1 && fullness > (best?.fullness ?? 0)) best = { run, fullness };
  }
  return best;
}

/** Parts that were looked at in vain, for a spoiled table, before the level is left as it is. */
const TRIES_MAX = 16;
/** A merge takes at most so many tables of a level, though it rewrite none of them. */
const PART_TABLES_MAX = 256;

/** The part of run `run` that costs the least to merge into the next, for what it takes away. */
function pushDown(usable: Usable, run: number): MergePlan | null {
  const { runs, policy } = usable;
  const { tables } = runs[run]!;
  for (const from of cheapestFirst(runs, run).slice(0, TRIES_MAX)) {
    const slices = partFrom(usable, run, from);
    const { bytes, spoiled } = weigh(usable, slices);
    if (spoiled) continue;
    const upper = slices[0]!;
    const canSplit = upper.to - upper.from === 1 && bytesOf(tables, upper) > PIECE_BYTES_MIN;
    if (bytes > 2 * policy.mergeBytesMax && canSplit) return split(usable, upper, bytes);
    return planOf(usable, slices);
  }
  return null;
}

/** Where a part may begin, by what its first table overlaps in the next run for its size. */
function cheapestFirst(runs: readonly WeighedRun[], run: number): number[] {
  const { tables } = runs[run]!;
  const next = runs[run + 1]!.tables;
  const starts: { from: number; ratio: number }[] = [];
  for (let from = 0; from < tables.length; from++) {
    if (isGlued(tables, from)) continue;
    const { ref } = tables[from]!;
    starts.push({ from, ratio: bytesOf(next, overlapOf(next, lowOf(ref), highOf(ref))) / ref.bytes });
  }
  return starts.sort((a, b) => a.ratio - b.ratio || a.from - b.from).map(({ from }) => from);
}

/** Tables from `from` on, as many as one merge takes, and what they overlap of the next run. */
function partFrom(usable: Usable, run: number, from: number): RunSlice[] {
  const { runs, policy } = usable;
  const { tables } = runs[run]!;
  let slices: RunSlice[] = [];
  for (let to = from + 1; to <= tables.length; to++) {
    if (to < tables.length && isGlued(tables, to)) continue;
    if (slices.length > 0 && to - from > PART_TABLES_MAX) break;
    const upper = { run, from, to };
    const longer = [upper, overlapWith(runs, [upper], run + 1)];
    const { bytes, spoiled } = weigh(usable, longer);
    if (slices.length > 0 && (spoiled || bytes > policy.mergeBytesMax)) break;
    slices = longer;
    if (spoiled) break;
  }
  return slices;
}

/** A table that overlaps too much is first cut into pieces that overlap less. */
function split(usable: Usable, slice: RunSlice, overlapBytes: number): MergePlan {
  const { runs, policy } = usable;
  const bytes = bytesOf(runs[slice.run]!.tables, slice);
  const pieceBytes = Math.floor((bytes * policy.mergeBytesMax) / overlapBytes);
  const tableBytes = Math.max(PIECE_BYTES_MIN, Math.min(pieceBytes, bytes >> 1));
  return { slices: [slice], moved: NO_SIZE, tableBytes };
}

// --- garbage ---

/** The tables of a run, neighbours by a key at most, of which the greatest share could go. */
function rewriteGarbage(usable: Usable): MergePlan | null {
  const { runs, policy, state } = usable;
  let best: { slice: RunSlice; share: number } | null = null;
  for (let run = 0; run < runs.length; run++) {
    const { tables } = runs[run]!;
    for (let from = 0, to = 1; from < tables.length; from = to, to++) {
      while (to < tables.length && isGlued(tables, to)) to++;
      const part = tables.slice(from, to).map(({ ref }) => ref);
      if (part.some((ref) => state.isSpoiled(ref))) continue;
      const share = garbageShare(part, state.compactRevision, run === runs.length - 1);
      const shareMin = state.everything ? 0 : GARBAGE_SHARE;
      if (share > shareMin && share > (best?.share ?? 0)) best = { slice: { run, from, to }, share };
    }
  }
  if (best === null) return null;
  return { slices: [best.slice], moved: NO_SIZE, tableBytes: policy.tableBytes };
}

/**
 * The share of entries that go when tables are rewritten at a compact revision, about: older versions of a key, and at
 * the bottom tombstones, as far as they are from between the compaction that they have seen and this one.
 *
 * What was moved to the bottom instead of rewritten has tombstones from further up, though it has seen the compaction.
 * Beside the keys these can all go, and of keys where all are older; so no table is taken for garbage again and again.
 */
function garbageShare(refs: readonly TableRef[], compactRevision: number, bottom: boolean): number {
  let entries = 0;
  let garbage = 0;
  for (const ref of refs) {
    for (const sums of ref.spaces) {
      entries += sums.entries;
      if (sums.space === KEYS) garbage += keyGarbage(sums, { seen: ref.compactRevision, compactRevision, bottom });
      else if (bottom) garbage += sums.tombstones;
    }
  }
  return garbage / entries;
}

function keyGarbage(
  keys: TableRef["spaces"][number],
  { seen, compactRevision, bottom }: { seen: number; compactRevision: number; bottom: boolean },
): number {
  if (bottom && keys.mainMax < compactRevision) return keys.entries - keys.keys + keys.tombstones;
  if (seen >= compactRevision || keys.mainMin > compactRevision) return 0;
  const from = Math.max(keys.mainMin, seen);
  const compacted = keys.mainMax <= compactRevision ? 1 : (compactRevision - from) / (keys.mainMax - from);
  return (keys.entries - keys.keys + (bottom ? keys.tombstones : 0)) * Math.min(1, Math.max(0, compacted));
}
