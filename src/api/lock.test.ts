import { equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { openRig } from "../../test/engine/doubles.ts";
import { range } from "../../test/engine/requests.ts";
import { leaseId } from "../base/ids.ts";
import type { Call } from "../transport/transport.ts";
import { lockService } from "./lock.ts";

class FakeCall implements Call {
  readonly path = "/v3lockpb.Lock/Lock";
  readonly authority = "";
  readonly remoteAddress = "";
  readonly peer = null;
  cancel: () => void = () => {};
  metadata(): undefined {}
  timeLeftMs(): undefined {}
  onCancel(handler: () => void): void {
    this.cancel = handler;
  }
}

const lock = lockService["/v3lockpb.Lock/Lock"]!;
/** Name a, lease 1. */
const request = Buffer.from("0a01611001", "hex");

test("K1 a lock that is got by a call that has gone is given back, unless it was held before", async () => {
  const { database } = await openRig();
  await database.leaseGrant({ id: leaseId(1n), ttlSeconds: 100n });
  const keys = async () => (await database.range(range("a/", "a0"))).count;
  const gone = async () => {
    const call = new FakeCall();
    const answer = lock(database, request, call);
    call.cancel();
    return answer;
  };
  await rejects(gone, { code: 2, message: "etcdserver: request canceled" });
  equal(await keys(), 0);
  await lock(database, request, new FakeCall());
  await gone();
  equal(await keys(), 1);
});
