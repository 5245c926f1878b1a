import { deepEqual, equal, ok } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Auth } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { EtcdDirectory } from "./etcd-directory.ts";
import { addUsers, clientOf, contents, loggedIn, PASSWORD, succeeds, tool, toolsAreMissing } from "./moved-state.ts";
import { outcome, RandomHistory } from "./random-history.ts";
import { startServer } from "./server-runner.ts";

const skip = toolsAreMissing();

const STEPS = 150;

test("M5 a snapshot, restored, is served by a real etcd: keys of each revision, leases, users", {
  skip,
  timeout: 120_000,
}, async () => {
  const etcdDirectory = await EtcdDirectory.create();
  const t4 = await startServer(["--memtable-bytes", "1MiB"]);
  const servers = [t4];
  try {
    const client = clientOf(t4);
    const history = new RandomHistory([client], { seed: 5, valueBytes: 20_000 });
    for (let n = 0; n < STEPS; n++) await history.step(n);
    ok(history.compacted > 0);
    await client.put("big", "x".repeat(1_000_000));
    await addUsers(client);
    const revision = history.revision + 1;

    const file = join(etcdDirectory.path, "snapshot.db");
    const user = { ETCDCTL_ENDPOINTS: t4.address, ETCDCTL_USER: `root:${PASSWORD}` };
    await succeeds(tool("etcdctl"), ["snapshot", "save", file], user);
    equal((await readFile(file)).length % 512, 32, "the digest is behind the file");

    const status = JSON.parse(await succeeds(tool("etcdutl"), ["snapshot", "status", file, "-w", "json"]));
    deepEqual([status.revision, status.version], [revision, "3.6.0"]);
    const restore = ["snapshot", "restore", file, "--data-dir", etcdDirectory.dataDirectory];
    await succeeds(tool("etcdutl"), [...restore, ...etcdDirectory.clusterFlags]);
    const etcd = await etcdDirectory.start();
    servers.push(etcd);

    const revisions = { from: history.compacted - 1, to: revision + 1 };
    const [expected, restored] = await Promise.all([contents(client, revisions), contents(clientOf(etcd), revisions)]);
    deepEqual(restored, expected);
    const tokenOnEtcd = await loggedIn(clientOf(etcd));
    const written = await clientOf(etcd).call(Auth.method.userAdd, { name: "new", password: "p" }, tokenOnEtcd);
    equal(written.header!.revision, BigInt(revision));
  } finally {
    await Promise.all(servers.map((server) => server.stop()));
    await etcdDirectory.remove();
  }
});

test("M5 a snapshot while others write is of one revision", { skip, timeout: 120_000 }, async () => {
  const etcdDirectory = await EtcdDirectory.create();
  const t4 = await startServer();
  try {
    const client = clientOf(t4);
    for (let n = 0; n < 300; n++) await client.put(`k${n}`, "v".repeat(3000));
    let writing = true;
    const writer = (async () => {
      for (let n = 0; writing; n++) {
        await client.put(`k${n % 300}`, `${n}`);
        if (n % 50 === 49) await client.compact(300 + n - 40, true);
      }
    })();
    const file = join(etcdDirectory.path, "snapshot.db");
    await succeeds(tool("etcdctl"), ["snapshot", "save", file], { ETCDCTL_ENDPOINTS: t4.address });
    writing = false;
    await writer;
    const { revision } = JSON.parse(await succeeds(tool("etcdutl"), ["snapshot", "status", file, "-w", "json"]));
    const restore = ["snapshot", "restore", file, "--data-dir", etcdDirectory.dataDirectory];
    await succeeds(tool("etcdutl"), [...restore, ...etcdDirectory.clusterFlags]);
    const etcd = await etcdDirectory.start();
    try {
      const all = await clientOf(etcd).range("\0", { end: "\0", countOnly: true });
      equal(all.count, 300n);
      // The same at that revision, unless it is compacted by now.
      for (const key of ["k0", "k7", "k299"]) {
        const at = { revision: BigInt(revision) };
        const there = await outcome(client.range(key, at).then(({ kvs }) => kvs));
        if (!there.includes("compacted"))
          equal(
            await outcome(
              clientOf(etcd)
                .range(key, at)
                .then(({ kvs }) => kvs),
            ),
            there,
          );
      }
    } finally {
      await etcd.stop();
    }
  } finally {
    await t4.stop();
    await etcdDirectory.remove();
  }
});
