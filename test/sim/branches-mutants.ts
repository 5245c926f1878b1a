import { parseArgs } from "node:util";
import { BranchCut } from "../../src/engine/branches/cut-branch.ts";
import { BranchClaims } from "../../src/engine/host/branch-claims.ts";
import { OpenBranch } from "../../src/engine/host/open-branch-handle.ts";
import { Promotion } from "../../src/engine/host/promote-branch.ts";
import type { LogPosition } from "../../src/log/log.ts";
import { parseKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { Register } from "../../src/objects/register.ts";
import { changed } from "../log/changed.ts";
import type { BranchesChanges } from "./branches-world.ts";
import { patch } from "./patch.ts";
import { branchesScenario } from "./scenario-branches.ts";

/**
 * Branches that are broken in one way each, from outside. The simulation must notice each of them.
 *
 *   t4-node test/sim/branches-mutants.ts [--from 1] [--seeds 40] [mutant …]
 */
export interface BranchesMutant {
  /** Of the first seeds one that notices it; null: none of 65 does, promote-branch.test.ts has the interleaving. */
  readonly seed: number | null;
  readonly changes?: BranchesChanges;
  /** Breaks it; returns what makes it whole again. */
  readonly break?: () => () => void;
}

export const branchesMutants: Readonly<Record<string, BranchesMutant>> = {
  "promotes without a higher revision": {
    seed: 1,
    break: () => patch(Promotion.prototype, "raise", () => () => Promise.resolve()),
  },
  "promotes without a second name for the old one": {
    seed: 1,
    break: () => patch(Promotion.prototype, "keep", () => () => Promise.resolve()),
  },
  "changes names whatever they have become since": {
    seed: null,
    break: () => patch(Register.prototype, "swap", (swap) => swapsAnyway(swap)),
  },
  "opens a branch by both of its names": {
    seed: 3,
    break: () => patch(BranchClaims.prototype, "take", () => () => Promise.resolve()),
  },
  "cuts before what was acknowledged last": {
    seed: 9,
    break: () => {
      const first = new WeakMap<OpenBranch, LogPosition>();
      return patch(
        OpenBranch.prototype,
        "flush",
        (flush) =>
          async function (this: OpenBranch, signal) {
            const end = await flush.call(this, signal);
            const before = first.get(this) ?? end;
            first.set(this, before);
            return before;
          },
      );
    },
  },
  "cuts without the log behind the checkpoint": {
    seed: 1,
    break: () =>
      patch(
        BranchCut.prototype,
        "createOrigin",
        (createOrigin) =>
          function (this: BranchCut, origin) {
            return createOrigin.call(this, Object.assign(origin, { runs: [] }));
          },
      ),
  },
  "collects what only origins need": { seed: 5, changes: { collectorStore: (store) => withoutOrigins(store) } },
};

/** A name that another one has changed meanwhile is overwritten. */
function swapsAnyway(swap: Register<unknown>["swap"]): Register<unknown>["swap"] {
  return async function (this: Register<unknown>, expected, body, options) {
    const outcome = await swap.call(this, expected, body, options);
    const isName = parseKey(this.key)?.kind === "name";
    if (!isName || outcome.kind !== "conflict" || expected === null || outcome.found === null) return outcome;
    return swap.call(this, outcome.found, body, options);
  };
}

function withoutOrigins(store: ObjectStore): ObjectStore {
  return changed(store, {
    get: (key, options) => (parseKey(key)?.kind === "origin" ? Promise.resolve(null) : store.get(key, options)),
  });
}

/** Resolves with how it was noticed, or null. */
export async function branchesNoticed(mutant: BranchesMutant, seed: number): Promise<string | null> {
  const mend = mutant.break?.() ?? (() => {});
  try {
    await branchesScenario(seed, {}, mutant.changes);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    mend();
  }
}

async function main(): Promise<void> {
  const options = { seeds: { type: "string" }, from: { type: "string" } } as const;
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  for (const [name, mutant] of Object.entries(branchesMutants)) {
    if (positionals.length > 0 && !positionals.includes(name)) continue;
    let how: string | null = null;
    const first = Number(values.from ?? mutant.seed ?? 1);
    let seed = first;
    for (; how === null && seed < first + Number(values.seeds ?? "40"); seed++) {
      how = await branchesNoticed(mutant, seed);
    }
    if (how === null) process.exitCode = 1;
    console.log(`${how === null ? "NOT NOTICED" : `noticed by seed ${seed - 1}`}: a program that ${name}`);
    if (how !== null) console.log(`    ${how.split("\n")[0]!.slice(0, 200)}`);
  }
}

if (import.meta.main) await main();
