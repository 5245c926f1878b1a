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
import { type Mutant, mutantsMain, type RunMutant } from "./mutants.ts";
import { patch } from "./patch.ts";
import { branchesScenario } from "./scenario-branches.ts";

/**
 * Branches that are broken in one way each, from outside. The simulation must notice each of them.
 *
 *   t4-node test/sim/branches-mutants.ts [--from 1] [--seeds 40] [mutant …]
 */
export interface BranchesMutant extends Mutant {
  readonly changes?: BranchesChanges;
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
    // None of 65 seeds does; promote-branch.test.ts has the interleaving.
    seed: null,
    break: () => patch(Register.prototype, "swap", (swap) => swapsAnyway(swap)),
  },
  "opens a branch by both of its names": {
    seed: 3,
    break: () => patch(BranchClaims.prototype, "take", () => () => Promise.resolve()),
  },
  "cuts before what was acknowledged last": {
    seed: 16,
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

export const runBranchesMutant: RunMutant<BranchesMutant> = ({ changes }, seed) => branchesScenario(seed, {}, changes);

if (import.meta.main) await mutantsMain(branchesMutants, runBranchesMutant, { what: "a program", seeds: 40 });
