import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { EtcdClient } from "./client.ts";
import { RpcFailure } from "./endpoint.ts";
import { openEngine } from "./engine-runner.ts";
import type { RoutesEndpoint } from "./routes-endpoint.ts";
import { withUsers } from "./stories/auth-setup.ts";
import { Transcript } from "./transcript.ts";

/**
 * With authentication on, each method of each service refuses who has not logged in, and who has and may do nothing.
 * A method that is new and forgets to ask fails here.
 */

/** A request that passes every other check; empty where none is named. */
const requests: Readonly<Record<string, string>> = {
  "/etcdserverpb.KV/Range": "0a0161",
  "/etcdserverpb.KV/RangeStream": "0a0161",
  "/etcdserverpb.KV/Put": "0a0161",
  "/etcdserverpb.KV/DeleteRange": "0a0161",
  "/etcdserverpb.KV/Txn": "1205" + "0a030a0161",
  "/etcdserverpb.Lease/LeaseGrant": "0864",
  "/etcdserverpb.Lease/LeaseKeepAlive": "0801",
  "/etcdserverpb.Watch/Watch": "0a03" + "0a0161",
  "/etcdserverpb.Cluster/MemberAdd": "0a12" + Buffer.from("http://127.0.0.1:1").toString("hex"),
  "/etcdserverpb.Maintenance/MoveLeader": "0801",
  "/etcdserverpb.Auth/UserGet": "0a04" + Buffer.from("root").toString("hex"),
  "/etcdserverpb.Auth/RoleGet": "0a04" + Buffer.from("root").toString("hex"),
  "/v3lockpb.Lock/Lock": "0a0161",
  "/v3lockpb.Lock/Unlock": "0a0161",
  "/v3electionpb.Election/Campaign": "0a0161",
  "/v3electionpb.Election/Proclaim": "0a06" + "0a0161" + "120161",
  "/v3electionpb.Election/Leader": "0a0161",
  "/v3electionpb.Election/Observe": "0a0161",
  "/v3electionpb.Election/Resign": "0a06" + "0a0161" + "120161",
};

/** For everyone. */
const open = new Set(["/etcdserverpb.Auth/Authenticate"]);
const isOpen = (path: string): boolean => open.has(path) || path.startsWith("/grpc.health.v1.Health/");

/** For whoever has logged in: they show nothing of what is stored. */
const forUsers = new Set([
  "/etcdserverpb.Maintenance/Status",
  "/etcdserverpb.Maintenance/Alarm",
  "/etcdserverpb.Cluster/MemberList",
  "/etcdserverpb.Lease/LeaseGrant",
  // Of a lease that does not exist, or has no keys.
  "/etcdserverpb.Lease/LeaseRevoke",
  "/etcdserverpb.Lease/LeaseTimeToLive",
  "/etcdserverpb.Lease/LeaseLeases",
  "/etcdserverpb.Lease/LeaseKeepAlive",
]);

const USER_EMPTY = "etcdserver: user name is empty";
const DENIED = "etcdserver: permission denied";

test("no method of any service is for who has not logged in, or may do nothing", { timeout: 60_000 }, async () => {
  const endpoint = await openEngine();
  try {
    const client = new EtcdClient(endpoint, new Transcript());
    const { nobody } = await withUsers(client, { nobody: [] });
    const { unary, streams } = endpoint.paths;
    ok(unary.length >= 40 && streams.length >= 5, "all services are here");
    for (const path of [...unary, ...streams].filter((each) => !isOpen(each))) {
      equal(await outcomeOf(endpoint, path, {}), USER_EMPTY, `${path} without a token`);
      const outcome = await outcomeOf(endpoint, path, nobody.metadata);
      if (!forUsers.has(path)) equal(outcome, DENIED, `${path} as a user without a permission`);
    }
    const unknown = Object.keys(requests).filter((path) => !unary.includes(path) && !streams.includes(path));
    deepEqual(unknown, [], "requests are of methods that there are");
  } finally {
    await endpoint.close();
  }
});

/** The error's text; of a watcher's refusal, the text in its message. */
async function outcomeOf(endpoint: RoutesEndpoint, path: string, metadata: Record<string, string>): Promise<string> {
  const message = Buffer.from(requests[path] ?? "", "hex");
  try {
    if (endpoint.paths.unary.includes(path)) {
      await endpoint.unary(path, message, metadata);
      return "answered";
    }
    const stream = endpoint.stream(path, metadata);
    stream.send(message);
    stream.halfClose();
    const answer = await stream.next();
    stream.cancel();
    const refusal = /rpc error: code = \w+ desc = (.*)$/.exec(Buffer.from(answer ?? []).toString("latin1"));
    return refusal?.[1] ?? "answered";
  } catch (error) {
    if (error instanceof RpcFailure) return error.text;
    throw error;
  }
}
