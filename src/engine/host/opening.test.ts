import { equal, ok } from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { hostOn } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { changed } from "../../../test/log/changed.ts";
import { type Fault, FaultyStore } from "../../objects/faulty.ts";
import { MemoryBucket, MemoryStore } from "../../objects/memory.ts";
import { MeteredStore } from "../../objects/metered.ts";
import { DiskError } from "../../runtime/disk-error.ts";
import { createNodeRuntime } from "../../runtime/node.ts";
import { defaultHostSettings } from "./default-settings.ts";
import { Host } from "./host.ts";
import { noNotices as notices } from "./notices.ts";

const runtime = createNodeRuntime();

/** A bucket somewhere else. */
class RemoteStore extends MeteredStore {
  override readonly local = false;
}

async function openNode(bucket: MemoryBucket, directory: string) {
  const store = new RemoteStore(new MemoryStore(runtime, bucket), runtime.clock);
  const settings = defaultHostSettings(store);
  // Many small tables, and none merged in the background while requests are counted.
  const tree = { ...settings.branch.tree, tableBytes: 20_000, runsMax: 6 };
  const branch = { ...settings.branch, tree };
  const host = await Host.open({ ...settings, branch, runtime, store, name: "a", dataDirectory: directory, notices });
  const served = await host.serve("main");
  await served.opened();
  return { branch: served, store, close: () => host.close(AbortSignal.timeout(10_000)) };
}

type Node = Awaited<ReturnType<typeof openNode>>;
const key = (i: number): string => `key/${String(i).padStart(7, "0")}`;

async function fill({ branch }: Node, from: number, count: number): Promise<void> {
  // Not to be packed.
  const value = (): string => runtime.random.bytes(100).toString("hex");
  for (let i = from; i < from + count; i += 500) {
    const puts = Array.from({ length: 500 }, (_, n) => branch.database.put(put(key(((i + n) * 7919) % 1e7), value())));
    await Promise.all(puts);
  }
}

test("of hundreds of tables none is opened unread: 20 requests to the first answer, whatever is cached", async () => {
  const bucket = new MemoryBucket();
  const place = mkdtempSync(join(tmpdir(), "t4-opening-"));
  try {
    const writer = await openNode(bucket, join(place, "writer"));
    for (let n = 0; n < 4; n++) {
      await fill(writer, n * 9000, 9000);
      await writer.branch.checkpoint();
    }
    const { tables } = writer.branch.database.status();
    ok(tables > 100, `${tables} tables`);
    await writer.close();

    for (const disk of ["empty", "warm"]) {
      const reader = await openNode(bucket, join(place, "reader"));
      equal((await reader.branch.database.range(range(key(7919)))).count, 1);
      const asked = [...reader.store.series()];
      const count = (kind: string) =>
        asked.reduce((sum, each) => sum + (kind === each.object || kind === "all" ? each.count : 0), 0);
      const what = asked.map((each) => `${each.count} ${each.operation} ${each.object}`).join(", ");
      ok(count("all") <= 20, `${disk} disk: ${what}`);
      equal(count("table"), disk === "empty" ? 4 : 0, what);
      await reader.close();
    }
  } finally {
    rmSync(place, { recursive: true });
  }
});

test("a disk that fails where sorting would have room keeps no branch from opening, and is told of", async () => {
  const place = mkdtempSync(join(tmpdir(), "t4-opening-"));
  const warnings: string[] = [];
  const store = new MemoryStore(runtime, new MemoryBucket());
  const settings = defaultHostSettings(store);
  const disk = changed(runtime.disk, {
    list: async (path: string) => {
      if (path.includes("/scratch/")) throw new DiskError(`cannot list the directory ${path}: broken`, "EIO");
      return runtime.disk.list(path);
    },
  });
  const tell = {
    ...notices,
    warn: (sentence: string, facts?: unknown) => warnings.push(sentence + JSON.stringify(facts)),
  };
  const options = { ...settings, runtime: { ...runtime, disk }, store, name: "a", dataDirectory: place, notices: tell };
  const host = await Host.open(options);
  try {
    const main = await host.serve("main");
    await main.opened();
    await main.database.put(put("k"));
    const found: unknown[] = [];
    const versions = main.database.versionsInOrder({ after: 0, upTo: 2, compacted: null });
    for await (const batch of versions) found.push(...batch);
    equal(found.length, 1);
    ok(
      warnings.some((each) => /there is no room for sorting on the disk.*broken/.test(each)),
      warnings.join("; "),
    );
  } finally {
    await host.close(AbortSignal.timeout(5000));
    rmSync(place, { recursive: true });
  }
});

test("a start asks once more for each object that comes damaged or cut short when it is first read", async (t) => {
  const bucket = new MemoryBucket();
  const faults: (Fault | null)[] = [null, { kind: "flip", bit: 301 }, { kind: "truncate", bytes: 20 }];
  for (const [run, fault] of faults.entries()) {
    const read = new Set<string>();
    const store = new FaultyStore(new MemoryStore(runtime, bucket), runtime, ({ operation, key }) => {
      if (operation !== "get" || read.has(key)) return null;
      read.add(key);
      return fault;
    });
    const host = await hostOn(bucket, { store });
    t.after(() => host.close(AbortSignal.timeout(1000)));
    const main = await host.serve("main");
    await main.opened();
    for (let n = 0; n < 3; n++) await main.database.put(put(key(run), `${n}`));
    if (run === 0) await main.checkpoint();
    await main.database.put(put(key(run), "last"));
    equal((await main.database.range(range(key(0)))).count, 1);
    await host.close(AbortSignal.timeout(10_000));
    if (fault === null) continue;
    const kinds = new Set([...read].map((name) => name.split("/")[0]));
    const seen = [...read].filter((name) => /leader|log|checkpoint/.test(name)).map((name) => name.split("/")[2]);
    ok(
      ["repository.json", "name", "session"].every((kind) => kinds.has(kind)),
      [...read].join(" "),
    );
    ok(
      ["leader", "log", "checkpoint"].every((kind) => seen.includes(kind)),
      [...read].join(" "),
    );
  }
});
