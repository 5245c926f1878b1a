import { equal } from "node:assert/strict";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { Permission_Type } from "../../src/gen/authpb/auth_pb.ts";
import { Auth, Lease, Maintenance } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { bytes, EtcdClient } from "./client.ts";
import { etcdIsMissing } from "./etcd-process.ts";
import { run } from "./etcdctl/command-line.ts";
import { outcome } from "./random-history.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { Transcript } from "./transcript.ts";

/** What tests of states that move between an etcd and t4 share. */
const bin = join(process.env["PEERS"] ?? "/opt/peers", "bin");
export const tool = (name: string): string => join(bin, name);
const toolMissing = ["etcdctl", "etcdutl"].find((name) => !existsSync(tool(name)));
export const toolsAreMissing = (): string | false =>
  etcdIsMissing() || (toolMissing === undefined ? false : `no ${toolMissing} in ${bin}`);

export const PASSWORD = "secret";
/** `endpoint` or `address`: as its runner names it. */
export const clientOf = (server: { address: string } | { endpoint: string }): EtcdClient =>
  new EtcdClient(new SocketEndpoint("address" in server ? server.address : server.endpoint), new Transcript());

export async function succeeds(
  path: string,
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<string> {
  const { code, stdout, stderr } = await run({ path, env }, args);
  equal(code, 0, `${args.join(" ")}: ${stdout}${stderr}`);
  return stdout.toString();
}

export async function addUsers(client: EtcdClient): Promise<void> {
  const { method } = Auth;
  await client.call(method.userAdd, { name: "root", password: PASSWORD });
  await client.call(method.userAdd, { name: "reader", options: { noPassword: true } });
  await client.call(method.roleAdd, { name: "root" });
  await client.call(method.roleAdd, { name: "keys" });
  const perm = { permType: Permission_Type.READWRITE, key: bytes("k"), rangeEnd: bytes("l") };
  await client.call(method.roleGrantPermission, { name: "keys", perm });
  await client.call(method.userGrantRole, { user: "root", role: "root" });
  await client.call(method.userGrantRole, { user: "reader", role: "keys" });
  await client.call(method.authEnable, {});
}

export async function loggedIn(client: EtcdClient): Promise<Record<string, string>> {
  const { token } = await client.call(Auth.method.authenticate, { name: "root", password: PASSWORD });
  return { token };
}

/** What a store says of all that a snapshot holds. */
export async function contents(client: EtcdClient, revisions: { from: number; to: number }): Promise<string[]> {
  const metadata = await loggedIn(client);
  const said: string[] = [];
  const say = async (call: Promise<unknown>) => void said.push(await outcome(call));
  for (let revision = revisions.from; revision <= revisions.to; revision++) {
    const hash = client.call(Maintenance.method.hashKV, { revision: BigInt(revision) }, metadata);
    await say(hash.then(({ hash, compactRevision, hashRevision }) => ({ hash, compactRevision, hashRevision })));
  }
  const { leases } = await client.call(Lease.method.leaseLeases, {}, metadata);
  for (const ID of leases.map((lease) => lease.ID).sort()) {
    const lease = client.call(Lease.method.leaseTimeToLive, { ID, keys: true }, metadata);
    const keysOf = (keys: Uint8Array[]) => keys.map((key) => Buffer.from(key).toString()).sort();
    await say(lease.then(({ grantedTTL, keys }) => ({ ID, grantedTTL, keys: keysOf(keys) })));
  }
  const { method } = Auth;
  await say(client.call(method.userList, {}, metadata).then(({ users }) => users));
  await say(client.call(method.roleList, {}, metadata).then(({ roles }) => roles));
  await say(client.call(method.userGet, { name: "reader" }, metadata).then(({ roles }) => roles));
  await say(client.call(method.roleGet, { role: "keys" }, metadata).then(({ perm }) => perm));
  const status = client.call(method.authStatus, {}, metadata);
  await say(status.then(({ enabled, authRevision }) => ({ enabled, authRevision })));
  return said;
}
