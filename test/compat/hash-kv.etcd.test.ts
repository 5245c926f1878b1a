import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { Maintenance } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { EtcdClient } from "./client.ts";
import { EtcdDirectory } from "./etcd-directory.ts";
import { etcdIsMissing, type ServerProcess } from "./etcd-process.ts";
import { outcome, RandomHistory } from "./random-history.ts";
import { startServer } from "./server-runner.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { Transcript } from "./transcript.ts";

const STEPS = 300;
const ASKED_EACH_STEP = 2;

const clientOf = (server: ServerProcess) => new EtcdClient(new SocketEndpoint(server.address), new Transcript());

async function hashAt(client: EtcdClient, revision: number): Promise<string> {
  const ask = async () => {
    const { hash, compactRevision, hashRevision, header } = await client.call(Maintenance.method.hashKV, {
      revision: BigInt(revision),
    });
    return { hash, compactRevision, hashRevision, revision: header!.revision };
  };
  return outcome(ask());
}

/** Of what a real etcd and t4 answer after the same changes. Gives how many answers were held against each other. */
async function compareHistory(options: { seed: number; valueBytes: number; flags: string[] }): Promise<number> {
  const directory = await EtcdDirectory.create();
  let etcd = await directory.start();
  const t4 = await startServer(options.flags);
  let compared = 0;
  try {
    const clients = [clientOf(etcd), clientOf(t4)];
    const history = new RandomHistory(clients, options);
    const compare = async (revision: number): Promise<void> => {
      const [expected, got] = await Promise.all(clients.map((client) => hashAt(client, revision)));
      equal(got, expected, `seed ${options.seed}: HashKV(${revision}), compacted at ${history.compacted}`);
      compared++;
    };
    for (let n = 0; n < STEPS; n++) {
      await history.step(n);
      for (let asked = 0; asked < ASKED_EACH_STEP; asked++) await compare(history.someRevision());
    }
    ok(history.compacted > 0, "the history was compacted");
    // What it hashed in compactions an etcd has forgotten when it starts again, and answers as it says it does.
    await clients[0]!.endpoint.close();
    await etcd.stop();
    etcd = await directory.start();
    clients[0] = clientOf(etcd);
    for (let revision = -1; revision <= history.revision + 1; revision++) await compare(revision);
    return compared;
  } finally {
    await Promise.all([etcd.stop(), t4.stop()]);
    await directory.remove();
  }
}

const skip = etcdIsMissing();

for (const [seed, valueBytes, flags] of [
  [1, 10, []],
  // Most of it is in tables, some of them merged.
  [2, 20_000, ["--memtable-bytes", "1MiB"]],
] as const) {
  test(`M4 HashKV is etcd's, bit by bit, for random histories: seed ${seed}`, { skip, timeout: 120_000 }, async (t) => {
    const compared = await compareHistory({ seed, valueBytes, flags: [...flags] });
    ok(compared >= 700, `${compared} answers`);
    t.diagnostic(`${compared} answers compared`);
  });
}
