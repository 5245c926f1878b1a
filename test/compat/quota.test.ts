import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { AlarmRequest_AlarmAction as Action, AlarmType, Maintenance } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { seededBytes } from "../properties.ts";
import { EtcdClient } from "./client.ts";
import { RpcFailure } from "./endpoint.ts";
import { startServer } from "./server-runner.ts";
import { SocketEndpoint } from "./socket-endpoint.ts";
import { fails } from "./story.ts";
import { Transcript } from "./transcript.ts";

const QUOTA_BYTES = 1 << 20;
const NO_SPACE = [8, "etcdserver: mvcc: database space exceeded"] as const;

async function fill(client: EtcdClient): Promise<number> {
  for (let n = 0; n < 1000; n++) {
    try {
      await client.put(`k${n}`, seededBytes(10_000).toString("latin1"));
    } catch (error) {
      if (!(error instanceof RpcFailure)) throw error;
      deepEqual([error.code, error.text], NO_SPACE);
      return n;
    }
  }
  throw new Error("the quota was never met");
}

test("M3 a full quota raises NOSPACE; deleting is the way out, after which as much fits again", {
  timeout: 60_000,
}, async () => {
  const t4 = await startServer(["--quota-backend-bytes", String(QUOTA_BYTES), "--memtable-bytes", "1MiB"]);
  try {
    const client = new EtcdClient(new SocketEndpoint(t4.address), new Transcript());
    const { method } = Maintenance;
    for (let round = 0; round < 2; round++) {
      const fitted = await fill(client);
      // What live versions take is an estimate: deleted ones that are not merged away make it too low.
      ok(fitted > 50 && fitted < 220, `${fitted} values of 10,000 bytes fit`);
      const { alarms } = await client.call(method.alarm, {});
      const status = await client.call(method.status, {});
      deepEqual(
        alarms.map(({ alarm, memberID }) => [alarm, memberID]),
        [[AlarmType.NOSPACE, status.header!.memberId]],
      );
      equal(status.dbSizeQuota, BigInt(QUOTA_BYTES));
      await fails(client.grant(10), ...NO_SPACE);
      await client.del("k", "l");
      await client.compact(Number((await client.range("k")).header!.revision));
      await fails(client.put("small", ""), ...NO_SPACE);
      await client.call(method.alarm, {
        action: Action.DEACTIVATE,
        alarm: AlarmType.NOSPACE,
        memberID: alarms[0]!.memberID,
      });
    }
  } finally {
    await t4.stop();
  }
});
