import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { type Difference, type KeyValue, type MergeFound, open, type T4 } from "../../src/index.ts";

const textOf = (pair: KeyValue | null): string | null => (pair === null ? null : pair.value.toString());
const shown = ({ key, before, after }: Difference) => [key.toString(), textOf(before), textOf(after)];

async function differences(db: T4, ...args: Parameters<T4["branches"]["diff"]>) {
  const found: (string | null)[][] = [];
  const diff = db.branches.diff(...args);
  for (;;) {
    const { value, done } = await diff.next();
    if (done) return { found, summary: value };
    found.push(shown(value));
  }
}

test("states are compared, and read as they were, compacted or not", async () => {
  await using db = await open({ store: "memory:" });
  await db.put("a", "1");
  const { revision } = await db.put("b", "1");
  await db.branches.create("fix");
  {
    await using fix = await db.branches.open("fix");
    await fix.put("a", "2");
    await fix.delete("b");
    await fix.put("ab", "new");
  }
  const { found, summary } = await differences(db, "main", "fix");
  deepEqual(found, [
    ["a", "1", "2"],
    ["ab", null, "new"],
    ["b", "1", null],
  ]);
  deepEqual([summary.added, summary.removed, summary.changed, summary.fromRevision], [1, 1, 1, revision]);
  deepEqual((await differences(db, "fix", "main", { keys: { prefix: "b" } })).found, [["b", null, "1"]]);
  deepEqual((await differences(db, "main", { branch: "fix", at: { revision } })).found, []);
  // Whoever has seen enough leaves, and nothing stays open.
  for await (const first of db.branches.diff("main", "fix")) {
    equal(first.key.toString(), "a");
    break;
  }
  await db.put("a", "3");
  await db.compact(revision + 1);
  const past = await db.branches.getAt({ branch: "main", at: { revision } }, { prefix: "" });
  deepEqual(past.kvs.map(textOf), ["1", "1"]);
  equal((await db.branches.getAt("fix", "a", { countOnly: true })).count, 1);
  await rejects(differences(db, "main", { branch: "fix", at: { revision: 99 } }), {
    kind: "notRetained",
    message: /revision 99 is not there yet: the newest in the store is 6/,
  });
  await rejects(differences(db, "main", "fx"), { kind: "notFound", message: /no branch named fx/ });
  await rejects(db.branches.getAt({ branch: "main", at: { checkpoint: "nope" } }, "a"), { kind: "notFound" });
});

test("a merge takes what one side has changed, and nothing where both have, unless told", async () => {
  await using db = await open({ store: "memory:" });
  for (const key of ["a", "b", "c"]) await db.put(key, "base");
  await db.branches.create("fix");
  {
    await using fix = await db.branches.open("fix");
    await fix.put("a", "theirs");
    await fix.delete("b");
    await fix.put("d", "theirs");
  }
  await db.put("a", "ours");
  const dry = await db.branches.merge("fix", { dryRun: true });
  deepEqual(
    dry.taken.map(({ key, delete: gone }) => [key.toString(), gone]),
    [
      ["b", true],
      ["d", false],
    ],
  );
  const [conflict] = dry.conflictsFound;
  deepEqual(
    [conflict?.key.toString(), textOf(conflict!.base), textOf(conflict!.ours), textOf(conflict!.theirs)],
    ["a", "base", "ours", "theirs"],
  );
  const values = async (): Promise<string[]> => (await db.get({ prefix: "" })).kvs.map((kv) => `${kv.key}=${kv.value}`);
  const before = ["a=ours", "b=base", "c=base"];
  const pages: MergeFound[] = [];
  const { taken, conflictsFound, changes } = await db.branches.merge("fix", {
    dryRun: true,
    onPage: async (page) => void pages.push(page),
  });
  deepEqual([taken, conflictsFound, changes], [[], [], dry.changes], "told page by page, nothing is held");
  deepEqual(
    pages.flatMap((page) => page.taken),
    dry.taken,
  );
  deepEqual(
    pages.flatMap((page) => page.conflictsFound),
    dry.conflictsFound,
  );
  const stop = async () => Promise.reject(new Error("enough"));
  await rejects(db.branches.merge("fix", { onConflict: "theirs", onPage: stop }), /enough/);
  deepEqual([(await db.branches.merge("fix")).applied, await values()], [0, before], "conflicts: nothing is changed");
  equal((await db.branches.merge("fix", { keys: "d" })).applied, 1);
  const done = await db.branches.merge("fix", { onConflict: "theirs" });
  deepEqual([done.applied, done.transactions, await values()], [2, 1, ["a=theirs", "c=base", "d=theirs"]]);
  equal(done.revision, (await db.get("a")).revision);
  equal((await db.branches.merge("fix")).changes, 0);
  await rejects(db.branches.merge("nope"), { kind: "notFound" });
});

test("a merge that is more than one transaction is a series", async () => {
  await using db = await open({ store: "memory:" });
  await db.branches.create("bulk");
  {
    await using bulk = await db.branches.open("bulk");
    for (let batch = 0; batch < 3; batch++) {
      const success = Array.from({ length: 100 }, (_, n) => ({ put: `k${batch * 100 + n}`, value: "v" }));
      await bulk.txn({ success });
    }
  }
  const { changes, applied, transactions } = await db.branches.merge("bulk");
  deepEqual([changes, applied, transactions], [300, 300, 3]);
  equal((await db.get({ prefix: "k" }, { countOnly: true })).count, 300);
});

test("a branch is put back to a moment under its name; what it was stays", async () => {
  await using db = await open({ store: "memory:" });
  const { revision } = await db.put("k", "good");
  await db.put("k", "bad");
  const { restored, replaced, revision: now } = await db.branches.restore({ revision }, { keepAs: "broken" });
  deepEqual([restored.name, replaced?.name], ["main", "broken"]);
  ok(now > revision + 1);
  const put = await db.put("k", "better");
  ok(put.revision > now);
  await rejects(db.get("k", { revision }), { kind: "compacted" });
  equal(textOf((await db.branches.getAt("broken", "k")).kvs[0]!), "bad");
  await rejects(db.branches.restore({ revision: 999 }), { kind: "notRetained" });
});

test("usage and retention", async () => {
  await using db = await open({ store: "memory:" });
  await db.put("/a/x", "1");
  await db.put("/b/y", "22");
  await db.branches.create("child");
  const usage = await db.branches.usage({ prefixDepth: 1 });
  deepEqual(usage.branches.map(({ name }) => name).sort(), ["child", "main"]);
  const main = usage.branches.find(({ name }) => name === "main")!;
  deepEqual(
    main.prefixes.map(({ prefix, keys }) => [prefix, keys]),
    [
      ["/a/", 1],
      ["/b/", 1],
    ],
  );
  ok(usage.bytes > 0 && usage.objects > 0);
  deepEqual((await db.branches.usage({ branch: "child" })).branches.length, 1);
  await rejects(db.branches.usage({ branch: "nope" }), { kind: "notFound" });

  equal((await db.branches.retention()).own, false);
  const short = { log: "0", checkpoints: "none" };
  const preview = await db.branches.setRetention(short, { branch: "child", preview: true });
  deepEqual([preview.retention, preview.checkpointsDropped], [short, 0]);
  equal((await db.branches.retention("child")).own, false);
  await db.branches.setRetention(short, { branch: "child" });
  deepEqual(await db.branches.retention("child"), { retention: short, own: true });
  await db.branches.setRetention(null, { branch: "child" });
  equal((await db.branches.retention("child")).own, false);
  await rejects(db.branches.setRetention({ log: "x", checkpoints: "none" }), { kind: "invalidArgument" });
});
