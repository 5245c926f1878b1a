import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { Collector } from "../../src/collector/collector.ts";
import { BranchCut, cutAtNewestCheckpoint } from "../../src/engine/branches/cut-branch.ts";
import { defaultHostSettings } from "../../src/engine/host/default-settings.ts";
import type { Origin } from "../../src/leadership/origin.ts";
import { originKey, parseKey } from "../../src/objects/keys.ts";
import { MemoryStore } from "../../src/objects/memory.ts";
import { newBranch, openHost, runtime } from "../engine/open-host.ts";
import { everything, put, range } from "../engine/requests.ts";

const request = { timeoutMs: 5000 };
const STEPS = ["createOrigin", "isListed", "createName"] as const;

for (const at of STEPS) {
  const isCut = at === "createName";
  test(`a parent that is ended for ever before ${at}: ${isCut ? "the cut is whole" : "nothing is cut"}`, async (t) => {
    const defaults = defaultHostSettings(new MemoryStore(runtime)).branches;
    const { host, store, bucket } = await openHost(t, { branches: { ...defaults, graceMs: 0 } });
    const { branch: info } = await host.branches.create(newBranch("parent"));
    const parent = await host.serve("parent");
    await (await host.database("parent")).put(put("k", "v"));
    await parent.checkpoint();
    await host.leave("parent");
    const collector = new Collector({ store, runtime, requestTimeoutMs: 5000, graceMs: 0, deletesPerSecond: 0 });
    const end = async (): Promise<void> => {
      await host.branches.delete("parent");
      deepEqual((await host.branches.sweep()).purged, ["parent"]);
      await collector.collect();
    };
    class Cut extends BranchCut {
      override async createOrigin(origin: Origin): Promise<void> {
        if (at === "createOrigin") await end();
        await super.createOrigin(origin);
      }
      override async isListed(origin: Origin): Promise<boolean> {
        if (at === "isListed") await end();
        return super.isListed(origin);
      }
      override async createName(origin: Origin): Promise<boolean> {
        if (at === "createName") await end();
        return super.createName(origin);
      }
    }
    const cut = new Cut({ store, runtime, parent: info.id, name: "child", request, point: cutAtNewestCheckpoint });
    if (!isCut) {
      await rejects(cut.cut(), { kind: "notFound" });
      await rejects(async () => host.database("child"), { kind: "notFound" });
      equal([...bucket.entries.keys()].filter((key) => parseKey(key)?.kind === "origin").length, 1, "main's alone");
      return;
    }
    const made = await cut.cut();
    await collector.collect();
    const { rows } = await (await host.database("child")).range(range(...everything));
    equal(rows.length, 1);
    ok((await store.get(originKey(made.branch), request)) !== null);
  });
}
