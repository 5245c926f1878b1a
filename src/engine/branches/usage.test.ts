import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { newest, request, runtime, smallTables, TestRepository, write } from "../../../test/branches/repository.ts";
import { Collector } from "../../collector/collector.ts";
import { leaderRegister } from "../../leadership/acquire.ts";
import { parseKey } from "../../objects/keys.ts";
import { defaultRetention } from "../../storage/checkpoint-retention.ts";
import { defaultTreeSettings } from "../../storage/tree.ts";
import { BucketHistory } from "./bucket-history.ts";
import { prefixOf } from "./usage.ts";

const historyOf = (repository: TestRepository): BucketHistory =>
  new BucketHistory({
    store: repository.store,
    runtime,
    request,
    settle: async () => {},
    writer: {
      databaseOf: (name) => repository.database(name),
      limits: { opsMax: 128, bytesMax: 1 << 20 },
      setRetention: async (name, retention) => (await repository.serve(name)).leading.setRetention(retention),
    },
    retention: defaultRetention,
  });

const collect = ({ store }: TestRepository) =>
  new Collector({ store, runtime, requestTimeoutMs: 5000, graceMs: 0, deletesPerSecond: 0 }).collect();

/** Tables, checkpoints and segments with records. */
const bytesOf = ({ bucket }: TestRepository): number =>
  [...bucket.entries].reduce((sum, [key, { body }]) => {
    const kind = parseKey(key)?.kind;
    return kind === "table" || kind === "checkpoint" || kind === "segment" ? sum + body.length : sum;
  }, 0);

const settings = { tree: smallTables(defaultTreeSettings) };

async function fill(repository: TestRepository, name: string, rounds: number): Promise<void> {
  const served = await repository.serve(name);
  for (let round = 0; round < rounds; round++) {
    for (let n = 0; n < 40; n++) await write(served.database, `/${name}/${n % 25}`, `${round} ${"x".repeat(n * 7)}`);
    await served.checkpoint();
  }
}

test("what deleting a branch frees is what usage says", async () => {
  const repository = await TestRepository.open(settings);
  await fill(repository, "main", 3);
  await repository.cut("child");
  await repository.cut("other", "main", newest);
  await fill(repository, "child", 3);
  await fill(repository, "main", 2);
  await repository.host.close(AbortSignal.timeout(5000));
  await collect(repository);
  const history = historyOf(repository);
  const usage = await history.usage({ branch: null, prefixDepth: 1 });
  equal(usage.garbageBytes, 0);
  equal(usage.branches.length, 3);
  const child = usage.branches.find(({ name }) => name === "child")!;
  ok(child.ownBytes > 0 && child.sharedBytes > 0 && child.historyBytes > 0 && child.logBytes > 0);
  deepEqual(
    child.prefixes.map(({ prefix, keys }) => [prefix, keys]),
    [
      ["/child/", 25],
      ["/main/", 25],
    ],
  );
  const before = bytesOf(repository);
  const register = leaderRegister(repository.store, await repository.idOf("child"), runtime);
  const record = (await register.read(request))!;
  equal((await register.swap(record, { ...record.body, tombstone: true }, request)).kind, "swapped");
  const after = await history.usage({ branch: null, prefixDepth: 0 });
  equal(after.garbageBytes, child.ownBytes);
  await collect(repository);
  equal(before - bytesOf(repository), child.ownBytes);
});

test("what a shorter retention frees is what its preview says, and it holds for who leads next", async () => {
  const bucket = await (async () => {
    await using repository = await TestRepository.open(settings);
    await fill(repository, "main", 6);
    await repository.cut("child");
    const history = historyOf(repository);
    deepEqual(await history.retention("main"), {
      retention: { log: "1d", checkpoints: "1h:all,1d:hourly,30d:daily" },
      own: false,
    });
    await rejects(
      history.setRetention({ branch: "main", retention: { log: "2x", checkpoints: "none" }, preview: true }),
      /retention: expected an age such as "24h"/,
    );
    const retention = { log: "0", checkpoints: "none" };
    const preview = await history.setRetention({ branch: "main", retention, preview: true });
    equal((await history.retention("main")).own, false, "a preview changes nothing");
    ok(preview.checkpointsDropped >= 4 && preview.bytesFreed > 0 && preview.firstRevision > 100);
    const set = await history.setRetention({ branch: "main", retention, preview: false });
    deepEqual([set.checkpointsDropped, set.bytesFreed], [preview.checkpointsDropped, preview.bytesFreed]);
    const before = bytesOf(repository);
    const served = await repository.serve("main");
    await served.checkpoint();
    const made = bytesOf(repository) - before;
    await collect(repository);
    await collect(repository);
    const freed = before + made - bytesOf(repository);
    // The checkpoint that carried it out has taken the place of the one before it.
    ok(Math.abs(freed - preview.bytesFreed) <= 6000, `${freed} freed, ${preview.bytesFreed} foretold`);
    return repository.bucket;
  })();
  await using again = await TestRepository.open(settings, bucket);
  deepEqual(await historyOf(again).retention("main"), { retention: { log: "0", checkpoints: "none" }, own: true });
  const served = await again.serve("main");
  await write(served.database, "k", "v");
  await served.checkpoint();
  await served.checkpoint();
  ok((await historyOf(again).log("main")).entries.length <= 2);
  equal((await historyOf(again).retention("child")).own, false);
});

test("prefixes go up to a slash", () => {
  deepEqual(
    [prefixOf("/a/b/c", 1), prefixOf("/a/b/c", 2), prefixOf("a/b", 1), prefixOf("a", 3), prefixOf("/a", 1)],
    ["/a/", "/a/b/", "a/", "", ""],
  );
});
