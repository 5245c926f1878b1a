import { Lessor } from "../../src/engine/lease/lessor.ts";
import { Alarms } from "../../src/engine/maintenance/alarms.ts";
import { Members } from "../../src/engine/maintenance/members.ts";
import { WatchHub } from "../../src/engine/watch/hub.ts";
import { BranchDisk } from "../../src/leadership/disk-identity.ts";
import { HeldLeadership } from "../../src/leadership/held-leadership.ts";
import { NodeSession } from "../../src/leadership/session.ts";
import { FencingLog } from "../../src/log/fence.ts";
import { parseKey } from "../../src/objects/keys.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { BranchTree } from "../../src/storage/tree.ts";
import { changed } from "../log/changed.ts";
import type { Changes } from "./database-node.ts";
import { type Mutant, mutantsMain, type RunMutant } from "./mutants.ts";
import { all, patch, patchGetter } from "./patch.ts";
import { databaseScenario, type Story } from "./scenario-database.ts";

/**
 * Databases that are broken in one way each, from outside: by what they are given, or by a method of theirs that does
 * something else for the time of a run. The simulation must notice each of them. (That a fence is P slots wide is for
 * scenario-fencing.ts alone: here no seed was found that needs it.)
 *
 *   t4-node test/sim/database-mutants.ts [--seeds 30] [mutant …]
 */
export interface DatabaseMutant extends Mutant {
  readonly story: Story;
  readonly seed: number;
  readonly changes?: Changes;
  /** Users, roles, alarms and members are changed, too. */
  readonly settings?: true;
}

export const mutants: Readonly<Record<string, DatabaseMutant>> = {
  "acknowledges before the segment is written": { story: "object", seed: 1, changes: { store: eager } },
  "takes an unknown outcome for a success": { story: "object", seed: 1, changes: { store: believing } },
  "does not sync its local log": { story: "local", seed: 3, changes: { runtime: unsynced } },
  "forgets what only its disk has": {
    story: "local",
    seed: 1,
    break: () =>
      patchGetter(BranchDisk.prototype, "state", (state) => (state === null ? null : { ...state, established: false })),
  },
  "forgets who was announced as a member": {
    story: "takeover",
    settings: true,
    seed: 1,
    break: () =>
      patch(Members, "read", (read) => (_tree, identity) => read.call(Members, { scan: () => [] } as never, identity)),
  },
  "forgets which alarms are raised": {
    story: "takeover",
    settings: true,
    seed: 1,
    break: () => patch(Alarms, "read", (read) => () => read.call(Alarms, { scan: () => [] } as never)),
  },
  "does not fence": {
    story: "takeover",
    seed: 1,
    break: () =>
      all(
        patch(FencingLog.prototype, "fence", () => () => Promise.resolve("fenced")),
        patch(FencingLog.prototype, "widen", () => () => Promise.resolve()),
      ),
  },
  "reads without a proof of leading": {
    story: "takeover",
    seed: 12,
    break: () => patch(HeldLeadership.prototype, "proof", () => () => null),
  },
  "does not wait for the other's term": {
    story: "takeover",
    seed: 1,
    break: () => patch(NodeSession.prototype, "outlive", () => () => Promise.resolve("dead")),
  },
  "lets go of what it did not freeze": {
    story: "object",
    seed: 1,
    break: () => patch(BranchTree.prototype, "freeze", () => () => {}),
  },
  "merges by a compact revision that is not": {
    story: "object",
    seed: 1,
    break: () =>
      patch(
        BranchTree.prototype,
        "persist",
        (persist) =>
          function (this: BranchTree, point) {
            const { revision } = point.position;
            return persist.call(this, { ...point, compactRevision: revision });
          },
      ),
  },
  "skips what a slow watcher has missed": {
    story: "object",
    seed: 2,
    break: () =>
      patch(
        WatchHub.prototype,
        "catchUp",
        (catchUp) =>
          function (this: WatchHub, watcher) {
            if (watcher.next > watcher.startRevision && watcher.state === "behind") watcher.next = this.told + 1;
            catchUp.call(this, watcher);
          },
      ),
  },
  "does not give leases their time back": {
    story: "object",
    seed: 12,
    break: () =>
      patch(
        Lessor.prototype,
        "restore",
        (restore) =>
          function (this: Lessor, id, times, nowMs) {
            restore.call(this, id, { ...times, remainingSeconds: 0 }, nowMs);
          },
      ),
  },
};

/** Says a segment is written as soon as it is sent. */
function eager(store: ObjectStore): ObjectStore {
  return changed(store, {
    put: (key, body, options) => {
      if (parseKey(key)?.kind !== "segment") return store.put(key, body, options);
      void store.put(key, Buffer.from(body), { ...options, signal: AbortSignal.any([]) });
      return Promise.resolve({ kind: "written", etag: '"eager"' });
    },
  });
}

function believing(store: ObjectStore): ObjectStore {
  return changed(store, {
    put: async (key, body, options) => {
      const outcome = await store.put(key, body, options);
      return outcome.kind === "unknown" ? { kind: "written", etag: '"believed"' } : outcome;
    },
  });
}

function unsynced(runtime: Runtime): Runtime {
  const { disk } = runtime;
  return {
    ...runtime,
    disk: changed(disk, { open: (path, options) => disk.open(path, { ...options, sync: false }) }),
  };
}

/** Mended before the bucket that it leaves is built from. */
export const runDatabaseMutant: RunMutant<DatabaseMutant> = ({ story, changes, settings = false }, seed, mend) =>
  databaseScenario(story, seed, {}, { changes: { ...changes, mend }, settings });

if (import.meta.main) await mutantsMain(mutants, runDatabaseMutant, { what: "a database", seeds: 30 });
