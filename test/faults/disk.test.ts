import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { describe, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FaultClient, show, UNAVAILABLE } from "./client.ts";
import { Ledger } from "./ledger.ts";
import { noMount, SmallDisk } from "./small-disk.ts";
import { eventually, httpGet, metric, World } from "./world.ts";

/** Trouble with directories: of the store, and of the node's own. Full disks of the node: start.test.ts. */

const limit = { timeout: 90_000 };
const pendingOf = (server: Parameters<typeof metric>[0]) => () => metric(server, "t4_log_upload_pending_bytes");

/** How a directory that is the store stops being one, and how it is mended. */
interface Trouble {
  readonly name: string;
  readonly skip?: string | false;
  /** What the log says of it. */
  readonly says: RegExp;
  begin(world: World): Promise<{ end: () => void; dispose: () => void }>;
}

const nothing = () => {};

const troubles: readonly Trouble[] = [
  {
    name: "is removed",
    says: /its folder \.t4 has gone: the directory was removed, or its file system is not mounted any more/,
    begin: async (world) => {
      renameSync(world.path("disk/store"), world.path("disk/away"));
      return { end: () => renameSync(world.path("disk/away"), world.path("disk/store")), dispose: nothing };
    },
  },
  {
    name: "is not mounted any more",
    says: /its folder \.t4 has gone/,
    begin: async (world) => {
      renameSync(world.path("disk/store"), world.path("disk/away"));
      mkdirSync(world.path("disk/store"));
      const end = () => {
        deepEqual(readdirSync(world.path("disk/store")), [], "nothing was written in its place");
        rmSync(world.path("disk/store"), { recursive: true });
        renameSync(world.path("disk/away"), world.path("disk/store"));
      };
      return { end, dispose: nothing };
    },
  },
];

const mounted: readonly {
  name: string;
  says: RegExp;
  begin: (disk: SmallDisk) => void;
  end: (disk: SmallDisk) => void;
}[] = [
  {
    name: "is full",
    says: /ENOSPC: no space left on device/,
    begin: (disk) => disk.fill("filler"),
    end: (disk) => disk.free("filler"),
  },
  {
    name: "is read-only",
    says: /EROFS: read-only file system/,
    begin: (disk) => disk.remountLazily("ro"),
    end: (disk) => disk.remount("rw"),
  },
];

/** `local`: writes go on, kept on the node's own disk; all is uploaded when the store is back. */
async function localGoesOn(
  t: TestContext,
  world: World,
  says: RegExp,
  begin: () => Promise<() => void>,
): Promise<void> {
  const store = `--store=file://${world.path("disk/store")}`;
  const server = await world.server("data", ["--durability=local", "--upload-age=100ms", store]);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 5; n++) ok((await ledger.put(client, "a")).ok);
  await eventually("all is uploaded", 10_000, pendingOf(server), (bytes) => bytes === 0);
  const end = await begin();
  for (let n = 0; n < 20; n++) {
    const put = await ledger.put(client, `b${n}`, 2000);
    ok(put.ok, show(put));
    await sleep(50);
  }
  ok((await client.get("a")).ok);
  equal((await httpGet(server, "/readyz")).status, 200);
  await server.untilLogged(/warn .*the store does not take the log: writes go on, kept on this disk/);
  const status = () => httpGet(server, "/t4/status");
  await eventually("the status says why", 10_000, status, ({ body }) => says.test(body));
  end();
  const back = await eventually("all is uploaded again", 20_000, pendingOf(server), (bytes) => bytes === 0);
  t.diagnostic(`uploaded ${back.ms.toFixed(0)} ms after the store was back`);
  await ledger.verify(server.endpoint);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
  // Another node needs nothing of the first one's disk.
  const other = await world.server("other", [store]);
  await other.start();
  await ledger.verify(other.endpoint);
}

/** `object`: writes wait, then are told that their outcome is not known; they go on when the store is back. */
async function objectWaits(
  t: TestContext,
  world: World,
  says: RegExp,
  begin: () => Promise<() => void>,
): Promise<void> {
  const store = `--store=file://${world.path("disk/store")}`;
  const server = await world.server("data", [
    "--durability=object",
    "--request-timeout=1s",
    "--session-term=3s",
    store,
  ]);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 5; n++) ok((await ledger.put(client, "a")).ok);
  const end = await begin();
  const put = await ledger.put(client, "b", 2000);
  ok(!put.ok && put.code === UNAVAILABLE, show(put));
  ok((await client.get("a", "serializable")).ok, "what is in memory is read");
  const ready = () => httpGet(server, "/readyz");
  await eventually("not ready once the term is over", 15_000, ready, (answer) => answer.status === 503);
  const told = () => server.lines.find((line) => says.test(line));
  await eventually("the log says why", 5000, told, (line) => line !== undefined);
  end();
  const writes = await eventually(
    "a write after it",
    20_000,
    () => ledger.put(client, "c"),
    (answer) => answer.ok,
  );
  t.diagnostic(`writes are back ${writes.ms.toFixed(0)} ms after the store was`);
  await server.untilHealthy(20_000);
  await ledger.verify(server.endpoint);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
}

describe("a directory as store", { concurrency: 2 }, () => {
  for (const { name, says, begin } of troubles) {
    for (const [durability, play] of [["local", localGoesOn] as const, ["object", objectWaits] as const]) {
      test(`that ${name}, ${durability}`, limit, async (t) => {
        await using world = await World.create("directory");
        mkdirSync(world.path("disk"));
        await play(t, world, says, async () => (await begin(world)).end);
      });
    }
  }
  for (const { name, says, begin, end } of mounted) {
    for (const [durability, play] of [["local", localGoesOn] as const, ["object", objectWaits] as const]) {
      test(`that ${name}, ${durability}`, { ...limit, skip: noMount }, async (t) => {
        await using world = await World.create("directory");
        using disk = new SmallDisk(world.path("disk"), 4 << 20);
        await play(t, world, says, async () => {
          begin(disk);
          return () => end(disk);
        });
      });
    }
  }

  test(
    "that is empty at a start, beside a data directory that belongs to it: nothing is founded anew",
    limit,
    async () => {
      await using world = await World.create("directory");
      const server = await world.server("data", ["--durability=local"]);
      await server.start();
      const client = new FaultClient(server.endpoint);
      const ledger = new Ledger();
      ok((await ledger.put(client, "a")).ok);
      await client.close();
      await server.stop("SIGKILL");
      renameSync(world.path("store"), world.path("away"));
      mkdirSync(world.path("store"));
      server.launch();
      const { code } = await server.untilEnded(20_000);
      equal(code, 1);
      match(
        server.errors,
        /error file:.*\/store is empty, and the data directory .* belongs to a repository \(it holds branch-/,
      );
      deepEqual(readdirSync(world.path("store")), []);
      rmSync(world.path("store"), { recursive: true });
      renameSync(world.path("away"), world.path("store"));
      await server.start();
      await ledger.verify(server.endpoint);
      equal(await server.stop("SIGTERM"), 0, server.errors);
    },
  );
});

test("a data directory that is removed takes no more writes; what was acknowledged is uploaded", limit, async (t) => {
  await using world = await World.create("directory");
  const server = await world.server("data", ["--durability=local", "--upload-age=100ms"]);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 20; n++) ok((await ledger.put(client, `a${n % 3}`)).ok);
  rmSync(world.path("data"), { recursive: true });
  const write = async () => {
    await sleep(50);
    return ledger.put(client, "b");
  };
  const refused = await eventually("a refusal", 10_000, write, (put) => !put.ok);
  t.diagnostic(`refused ${refused.ms.toFixed(0)} ms after it was removed: ${show(refused.answer)}`);
  ok(!refused.answer.ok && /the local log .* has been removed/.test(refused.answer.text), show(refused.answer));
  ok((await client.get("a0")).ok, "reads go on");
  await eventually("all that was acknowledged is uploaded", 10_000, pendingOf(server), (bytes) => bytes === 0);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
  // It gave the branch up: no other disk needs force.
  const other = await world.server("other");
  await other.start();
  await ledger.verify(other.endpoint);
  equal(await other.stop("SIGTERM"), 0, other.errors);
});
