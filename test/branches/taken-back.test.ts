import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { BranchCut, cutAtNewestCheckpoint } from "../../src/engine/branches/cut-branch.ts";
import { leaderRegister } from "../../src/leadership/acquire.ts";
import { branchNameRegister } from "../../src/leadership/branch-name.ts";
import type { Origin } from "../../src/leadership/origin.ts";
import { originKey } from "../../src/objects/keys.ts";
import { newBranch, openHost, runtime } from "../engine/open-host.ts";
import { put } from "../engine/requests.ts";

const request = { timeoutMs: 5000 };

for (const isLed of [false, true]) {
  const when = isLed ? "was led meanwhile" : "nobody has led";
  test(`a cut is taken back where its parent was deleted, and ended by the next sweep: one that ${when}`, async (t) => {
    const { host, store } = await openHost(t);
    const { branch: parent } = await host.branches.create(newBranch("parent"));
    await (await host.database("parent")).put(put("k"));
    await host.leave("parent");
    let cut: Origin | null = null;
    class Cut extends BranchCut {
      override async createName(origin: Origin): Promise<void> {
        await super.createName(origin);
        cut = origin;
        if (isLed) await (await host.database("child")).put(put("of-the-child"));
        // As far as others can see it is deleted.
        const register = leaderRegister(store, parent.id, runtime);
        const state = await register.read(request);
        equal((await register.swap(state, { ...state!.body, tombstone: true }, request)).kind, "swapped");
      }
    }
    const options = { store, runtime, parent: parent.id, name: "child", request, point: cutAtNewestCheckpoint };
    await rejects(new Cut(options).cut(), { kind: "notFound", message: /deleted meanwhile/ });
    await host.leave("child");
    const { branch } = cut!;
    const { purged, failed } = await host.branches.sweep();
    deepEqual([purged, failed], [["child"], []]);
    ok((await leaderRegister(store, branch, runtime).read(request))?.body.tombstone);
    equal(await store.get(originKey(branch), request), null);
    equal((await branchNameRegister(store, "child", runtime).read(request))?.body.purgeMs, undefined);
    await host.branches.create(newBranch("child"));
  });
}
