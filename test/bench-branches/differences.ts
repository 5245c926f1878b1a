import { KV } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { Repository } from "../../src/gen/t4/v1/repository_pb.ts";
import type { Figures } from "../bench-storage/library-cases.ts";
import { type Database, keyOf, keysIn, type Served } from "./place.ts";

const AT_ONCE = 20;

/** A branch with so many keys changed all over the parent's, against the parent. */
export async function differences(database: Database, served: Served, changed: number): Promise<Figures> {
  const name = `changed-${changed}`;
  const client = served.client(name);
  await client.repository(["main"], Repository.method.branchCreate, { name });
  const step = Math.max(1, Math.floor(keysIn(database.bytes) / Math.max(1, changed)));
  for (let n = 0; n < changed; n += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, changed - n) }, (_, i) => keyOf((n + i) * step));
    await Promise.all(
      some.map((key) => client.unary(KV.method.put, { key: Buffer.from(key), value: Buffer.from("changed") })),
    );
  }
  // To ask who calls, both branches are opened: that is no part of it.
  await compared(client, name);
  const before = await served.requests();
  const begun = performance.now();
  const sums = await compared(client, name);
  const ms = performance.now() - begun;
  if (sums.differences !== changed) throw new Error(`${sums.differences} differences instead of ${changed}`);
  return { ms, diffRequests: (await served.requests()) - before, ...sums };
}

async function compared(client: ReturnType<Served["client"]>, name: string) {
  const sums = { differences: 0, blocksRead: 0, bytesRead: 0 };
  const asked = { from: { branch: "main" }, to: { branch: name }, keysOnly: true };
  for await (const { differences, summary } of client.repositoryStream(["main", name], Repository.method.diff, asked)) {
    sums.differences += differences.length;
    sums.blocksRead += Number(summary?.blocksRead ?? 0n);
    sums.bytesRead += Number(summary?.bytesRead ?? 0n);
  }
  return sums;
}
