import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { ObjectKey } from "../base/ids.ts";
import { type MergePlan, type MergePolicy, type MergeState, pickMerge } from "./merge-policy.ts";
import { startOf } from "./position.ts";
import type { TableRef } from "./table.ts";
import { bytesOf, groupTables, isMoved, type Weighed } from "./table-group.ts";
import { defaultTreeSettings } from "./tree.ts";

const MIB = 1 << 20;
const policy: MergePolicy = {
  runsMax: 4,
  mergeInputsMax: 10,
  levelBytes: 256 * MIB,
  levelRatio: 10,
  mergeBytesMax: 512 * MIB,
  tableBytes: 32 * MIB,
};
const calm: MergeState = { compactRevision: -1, everything: false, isSpoiled: () => false };

let made = 0;

/** Keys are numbers from 0 to 1 as texts that sort like them. */
const name = (at: number): string => at.toFixed(9);

interface Facts {
  entries: number;
  keys: number;
  tombstones: number;
  mains: [number, number];
  compactRevision: number;
  valueBytes: number;
}

function table(mib: number, from: number, to: number, facts: Partial<Facts> = {}): Weighed {
  const { entries = 1000, keys = 1000, tombstones = 0, mains = [1, 1000] } = facts;
  const { compactRevision = -1, valueBytes = 0 } = facts;
  const ref: TableRef = {
    key: `sst/${++made}` as ObjectKey,
    bytes: mib * MIB,
    first: startOf(0, name(from)),
    end: startOf(0, name(to)),
    spaces: [
      {
        space: 0,
        entries,
        keys,
        tombstones,
        valueBytes,
        mainMin: mains[0],
        mainMax: mains[1],
        effectSum: 0,
        effectMain: 0,
      },
    ],
    contentHash: "",
    compactRevision,
    indexStart: 1,
  };
  return { ref };
}

const runOf = (tables: Weighed[]): { bytes: number; tables: Weighed[] } => ({ bytes: bytesOf(tables), tables });

/** A run whose keys are spread over [from, to), in tables of about 32 MiB. */
function spread(mib: number, from = 0, to = 1): { bytes: number; tables: Weighed[] } {
  const count = Math.max(1, Math.round(mib / 32));
  const step = (to - from) / count;
  return runOf(Array.from({ length: count }, (_, i) => table(mib / count, from + i * step, from + (i + 1) * step)));
}

const shape = (plan: MergePlan | null): number[][] | null =>
  plan === null ? null : plan.slices.map(({ run, from, to }) => [run, from, to]);

test("few runs are left alone", () => {
  equal(pickMerge([spread(1), spread(1), spread(1), spread(1)], policy, calm), null);
  equal(pickMerge([], policy, calm), null);
});

test("young runs of like size are merged; a level is left while they are small against it", () => {
  const young = [spread(8), spread(8), spread(8), spread(8), spread(8)];
  deepEqual(
    shape(pickMerge([...young, spread(900)], policy, calm)),
    [0, 1, 2, 3, 4].map((run) => [run, 0, 1]),
  );
  const uneven = [spread(1), spread(50), spread(50), spread(60), spread(60), spread(900)];
  deepEqual(
    shape(pickMerge(uneven, policy, calm))?.map(([run]) => run),
    [1, 2, 3, 4],
  );
});

test("small runs count as equal, so that they do not pile up", () => {
  const runs = [0.01, 0.07, 0.01, 0.07, 0.01].map((mib) => spread(mib));
  deepEqual(
    shape(pickMerge([...runs, spread(900)], policy, calm))?.map(([run]) => run),
    [0, 1, 2, 3, 4],
  );
});

test("where none are alike the cheapest neighbours go", () => {
  const runs = [0.5, 3, 10, 32, 100].map((mib) => spread(mib));
  deepEqual(
    shape(pickMerge(runs, { ...policy, runsMax: 3 }, calm))?.map(([run]) => run),
    [0, 1],
  );
});

test("young runs take along what they overlap of a level of like size, and no more of it", () => {
  const young = [0.4, 0.4, 0.4, 0.4, 0.4].map((from) => spread(32, from, from + 0.1));
  deepEqual(shape(pickMerge([...young, spread(320)], policy, calm))?.at(-1), [5, 4, 5]);
});

test("a run that shares no key with the one below it joins that at once, and nothing is rewritten", () => {
  const runs = [spread(64, 0.5, 0.6), spread(64, 0.4, 0.5), spread(3200, 0, 0.1)];
  const plan = pickMerge(runs, policy, calm)!;
  deepEqual(shape(plan), [
    [0, 0, 2],
    [1, 2, 2],
  ]);
  const groups = groupTables(plan.slices.map(({ run, from, to }) => runs[run]!.tables.slice(from, to)));
  deepEqual(
    groups.map((group) => isMoved(group, plan.moved)),
    [true, true],
  );
  deepEqual(shape(pickMerge([spread(64, 0.5, 0.6), spread(3200, 0, 0.1)], policy, calm)), [
    [0, 0, 2],
    [1, 100, 100],
  ]);
});

test("a run that shares keys at its ends alone joins, and only those are rewritten", () => {
  const below = runOf([table(10, 0, 0.1), table(1, 0.1, 0.11)]);
  const run = runOf([table(1, 0.1, 0.11), table(10, 0.11, 0.2), table(1, 0.2, 0.21)]);
  const plan = pickMerge([run, below], policy, calm)!;
  deepEqual(shape(plan), [
    [0, 0, 3],
    [1, 1, 2],
  ]);
  const groups = groupTables(plan.slices.map(({ run: r, from, to }) => [run, below][r]!.tables.slice(from, to)));
  deepEqual(
    groups.map((group) => isMoved(group, plan.moved)),
    [false, true, true],
  );
  const wider = runOf([table(10, 0, 0.1), table(3, 0.1, 0.11)]);
  equal(pickMerge([run, wider], policy, calm), null, "a quarter of it and more would be rewritten");
  const spoiled = { ...calm, isSpoiled: (ref: TableRef) => ref === below.tables[1]!.ref };
  equal(pickMerge([run, below], policy, spoiled), null, "nothing is merged with what cannot be read");
  const small = runOf([table(1, 0.5, 0.6)]);
  equal(pickMerge([small, below], policy, calm), null, "small tables are not gathered");
});

test("a table is as large as what it holds: one that packs well is moved, but for who merges everything", () => {
  const young = (): { bytes: number; tables: Weighed[] }[] =>
    [0.5, 0.4].map((from) => runOf([table(0.5, from, from + 0.1, { valueBytes: 8 * MIB })]));
  const plan = pickMerge(young(), policy, calm)!;
  deepEqual(shape(plan), [
    [0, 0, 1],
    [1, 1, 1],
  ]);
  const few = { ...policy, runsMax: 1 };
  const alike = [0, 1, 2].map((n) => runOf([0.1, 0.5].map((at) => table(0.5, at, at + (n < 2 ? 0.2 : 0.01)))));
  const together = pickMerge(alike, few, calm)!;
  equal(together.slices.length, 3);
  equal(together.moved.unpackedMin, policy.tableBytes >> 2);
  equal(pickMerge(alike, few, { ...calm, everything: true })!.moved.unpackedMin, Number.POSITIVE_INFINITY);
});

test("a level beyond its bound gives the part away that overlaps the least of the next one", () => {
  const level = runOf([table(200, 0, 0.5), table(32, 0.5, 0.51), table(200, 0.51, 1)]);
  const plan = pickMerge([spread(3), level, spread(3200)], policy, calm);
  deepEqual(shape(plan), [
    [1, 1, 2],
    [2, 50, 51],
  ]);
  equal(pickMerge([spread(3), spread(300), spread(3200)], policy, calm), null, "a tenth of the next is its bound");
});

test("what a merge of levels reads is bounded", () => {
  const runs = [spread(12_000), spread(32_000)];
  for (let from = 0; from < 5; from++) {
    const plan = pickMerge(runs, policy, calm)!;
    const bytes = plan.slices.reduce((sum, slice) => sum + bytesOf(runs[slice.run]!.tables, slice), 0);
    equal(bytes <= policy.mergeBytesMax, true, `${bytes / MIB} MiB`);
    runs[0] = runOf(runs[0]!.tables.slice(plan.slices[0]!.to));
  }
});

test("a table that overlaps too much of the next level is cut into pieces first", () => {
  const plan = pickMerge([spread(40), spread(10_000)], policy, { ...calm, everything: true })!;
  deepEqual(shape(plan), [[0, 0, 1]]);
  equal(plan.tableBytes < 4 * MIB && plan.tableBytes >= MIB, true, `${plan.tableBytes}`);
});

test("nothing is merged with a spoiled table or across it", () => {
  const young = [spread(8), spread(8), spread(8), spread(8), spread(8), spread(8)];
  const bad = young[2]!.tables[0]!.ref;
  const plan = pickMerge(young, policy, { ...calm, isSpoiled: (ref) => ref === bad });
  deepEqual(
    shape(plan)?.map(([run]) => run),
    [3, 4, 5],
  );
  const level = spread(400);
  const stuck = level.tables[3]!.ref;
  const pushed = pickMerge([level, spread(400)], policy, { ...calm, isSpoiled: (ref) => ref === stuck })!;
  equal(pushed.slices[0]!.from > 3 || pushed.slices[0]!.to <= 3, true);
});

test("a table is rewritten when much of it could go since the compaction that it has seen", () => {
  const clean = table(32, 0, 0.3, { entries: 1000, keys: 1000 });
  const history = table(32, 0.3, 0.6, { entries: 1000, keys: 100 });
  const seen = table(32, 0.6, 0.9, { entries: 1000, keys: 100, compactRevision: 900 });
  const dead = table(32, 0.9, 1, { entries: 1000, keys: 600, tombstones: 500 });
  const state = { ...calm, compactRevision: 900 };
  deepEqual(shape(pickMerge([runOf([clean, history, seen])], policy, state)), [[0, 1, 2]]);
  deepEqual(shape(pickMerge([runOf([clean, seen, dead])], policy, state)), [[0, 2, 3]]);
  equal(pickMerge([runOf([clean, seen])], policy, state), null);
  equal(pickMerge([runOf([clean, history])], policy, calm), null, "nothing was compacted");
});

type Order = "anywhere" | "in order" | "almost in order";

/** What flush `i` of so many writes. */
function flushed(order: Order, i: number, flushes: number): { bytes: number; tables: Weighed[] } {
  if (order === "anywhere") return spread(48);
  const from = i / flushes;
  if (order === "in order") return spread(48, from, from + 1 / flushes);
  const [begin, body, tail, end] = [0, 0.05, 1, 1.05].map((at) => from + at / flushes) as [number, ...number[]];
  return runOf([table(2, begin, body!), table(44, body!, tail!), table(2, tail!, end!)]);
}

/** Plays a load, merged as the policy says. */
function play(flushes: number, order: Order): { rewrites: number; runsMost: number; readMost: number } {
  const settings = { ...defaultTreeSettings };
  let runs: { bytes: number; tables: Weighed[] }[] = [];
  let written = 0;
  let runsMost = 0;
  let readMost = 0;
  for (let i = 0; i < flushes; i++) {
    runs = [flushed(order, i, flushes), ...runs];
    for (let plan = pickMerge(runs, settings, calm); plan !== null; plan = pickMerge(runs, settings, calm)) {
      const { slices, moved } = plan;
      const last = slices.at(-1)!;
      const output: Weighed[] = [];
      let read = 0;
      for (const group of groupTables(slices.map(({ run, from, to }) => runs[run]!.tables.slice(from, to)))) {
        const tables = group.inputs.flat();
        if (isMoved(group, moved)) output.push(tables[0]!);
        else {
          read += group.bytes;
          const [from, to] = [Math.min(...tables.map(keyFrom)), Math.max(...tables.map(keyTo))];
          output.push(...spread(group.bytes / MIB, from, to).tables);
        }
      }
      written += read;
      readMost = Math.max(readMost, read);
      runs = runs
        .map((run, r) => {
          const slice = slices.find((each) => each.run === r);
          if (slice === undefined) return run;
          const middle = slice === last ? output : [];
          return runOf([...run.tables.slice(0, slice.from), ...middle, ...run.tables.slice(slice.to)]);
        })
        .filter(({ tables }) => tables.length > 0);
    }
    runsMost = Math.max(runsMost, runs.length);
  }
  return { rewrites: written / (flushes * 48 * MIB), runsMost, readMost };
}

const keyFrom = ({ ref }: Weighed): number => Number(ref.first.key);
const keyTo = ({ ref }: Weighed): number => Number(ref.end.key);

test("a long load of keys anywhere: runs stay few, merges bounded, each byte is rewritten some ten times", () => {
  const { rewrites, runsMost, readMost } = play(800, "anywhere");
  equal(runsMost <= defaultTreeSettings.runsMax + 4, true, `${runsMost} runs`);
  equal(readMost <= 2 * defaultTreeSettings.mergeBytesMax, true, `${readMost / MIB} MiB read by one merge`);
  equal(rewrites < 14, true, `each byte is rewritten ${rewrites.toFixed(1)} times`);
});

test("a long load of keys in order rewrites nothing", () => {
  const { rewrites, runsMost } = play(400, "in order");
  equal(rewrites, 0);
  equal(runsMost, 1);
});

test("a long load of keys almost in order rewrites what lies where two flushes meet, once", () => {
  const { rewrites, runsMost } = play(400, "almost in order");
  equal(rewrites < 0.1, true, `each byte is rewritten ${rewrites.toFixed(2)} times`);
  equal(runsMost, 1);
});
