import { Collector } from "../../src/collector/collector.ts";
import { OldSegments } from "../../src/collector/old-segments.ts";
import { References } from "../../src/collector/references.ts";
import { BranchCut } from "../../src/engine/branches/cut-branch.ts";
import { decodeEnvelope, encodeEnvelope } from "../../src/objects/envelope.ts";
import { parseKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import { newestCheckpoint } from "../../src/storage/checkpoint-store.ts";
import { changed } from "../log/changed.ts";
import { type Mutant, mutantsMain, type RunMutant } from "./mutants.ts";
import { all, patch } from "./patch.ts";
import { type CollectionChanges, collectionScenario } from "./scenario-collection.ts";

/**
 * Collectors and cuts that leave out one step each. The simulation must notice each of them.
 *
 *   t4-node test/sim/collection-mutants.ts [--seeds 60] [mutant …]
 *
 * Those without a seed were not noticed by 40: the interleaving that needs the step is in
 * test/collector/handshake.test.ts, for the announcement, for the collections, and for whoever leads.
 */
export interface CollectionMutant extends Mutant {
  readonly changes?: CollectionChanges;
}

/** Two nets hold what is cut: the parent, read again, and the collections. These are caught where one is missing. */
const unlisted = (more: () => () => void): (() => () => void) => {
  return () => all(skip("isListed", true)(), more());
};

const skip = (name: "isCollected" | "isListed" | "exists", value: boolean): (() => () => void) => {
  return () => patch(BranchCut.prototype, name, () => () => Promise.resolve(value));
};

export const collectionMutants: Readonly<Record<string, CollectionMutant>> = {
  "announces nothing": {
    seed: null,
    break: unlisted(() => patch(Collector.prototype, "announce", () => async (n) => ({ n, sha256: "00".repeat(32) }))),
  },
  "does not read the references anew": {
    seed: 1,
    break: () =>
      patch(
        Collector.prototype,
        "referencesAnew",
        () => () => Promise.resolve(new References(new Map(), new Set(), new Set())),
      ),
  },
  "is done before its deletes": {
    seed: 22,
    break: () =>
      patch(
        Collector.prototype,
        "deleteAll",
        (deleteAll) =>
          async function (this: Collector, candidates, report, run) {
            void deleteAll.call(this, candidates, report, run).catch(() => {});
            return true;
          },
      ),
  },
  "does not mind whether a delete is confirmed": {
    seed: null,
    break: unlisted(() => () => {}),
    changes: {
      collectorStore: (store) =>
        changed(store, { delete: (key, options) => store.delete(key, { ...options, timeoutMs: 50 }).catch(() => {}) }),
    },
  },
  "takes tables of the present leadership for orphans": {
    seed: 2,
    break: () => patch(References.prototype, "isOrphan", () => () => true),
  },
  "deletes fences and void segments": {
    seed: 1,
    break: () => patch(OldSegments.prototype, "mayGo", () => () => true),
  },
  "trusts the newest checkpoint, whoever leads": {
    seed: null,
    changes: { collectorStore: (store) => withTimidLeaders(store) },
  },
  "cuts without an origin, until the name": {
    seed: 2,
    break: () => {
      const createOrigin = BranchCut.prototype.createOrigin;
      return all(
        patch(BranchCut.prototype, "createOrigin", () => () => Promise.resolve()),
        patch(
          BranchCut.prototype,
          "createName",
          (createName) =>
            async function (this: BranchCut, origin) {
              await createOrigin.call(this, origin);
              return createName.call(this, origin);
            },
        ),
      );
    },
  },
  "cuts without looking at collections": { seed: null, break: unlisted(skip("isCollected", false)) },
  "cuts without looking whether all exists": {
    seed: null,
    break: unlisted(skip("exists", true)),
  },
};

/** Every leader record seems to be of the epoch that the newest checkpoint has. */
function withTimidLeaders(store: ObjectStore): ObjectStore {
  return changed(store, {
    get: async (key, options) => {
      const object = await store.get(key, options);
      const name = parseKey(key);
      if (object === null || name?.kind !== "leader") return object;
      const newest = await newestCheckpoint(store, name.branch, options);
      const { counter, body } = decodeEnvelope(key, object.body);
      if (newest === null) return object;
      const bytes = encodeEnvelope(key, { counter, body: { ...(body as object), epoch: newest.epoch } });
      return { ...object, body: bytes };
    },
  });
}

export const runCollectionMutant: RunMutant<CollectionMutant> = ({ changes }, seed) =>
  collectionScenario(seed, {}, changes);

if (import.meta.main) await mutantsMain(collectionMutants, runCollectionMutant, { what: "a program", seeds: 60 });
