import { equal } from "node:assert/strict";
import { test } from "node:test";
import { smallSeed } from "../properties.ts";
import { authContest } from "./differential/auth-contest.ts";
import { contest } from "./differential/run.ts";
import { watchContest } from "./differential/watch-contest.ts";
import { openEngine } from "./engine-runner.ts";
import { etcdIsMissing, startEtcd } from "./etcd-process.ts";
import { GatewayEndpoint } from "./gateway-endpoint.ts";
import { startServer } from "./server-runner.ts";
import { overSocket } from "./socket-endpoint.ts";

const OPERATIONS = 1500;
const seed = smallSeed;

test("Q1 Q2 random operations are answered by the engine as by a real etcd; ties in any order", {
  skip: etcdIsMissing(),
}, async (context) => {
  context.diagnostic(`seed ${seed}: test/compat/differential.ts --seed ${seed} --operations ${OPERATIONS} replays it`);
  const right = async () => overSocket(await startEtcd());
  const difference = await contest({ seed, operations: OPERATIONS, left: openEngine, right });
  equal(difference, null, `seed ${seed}: ${JSON.stringify(difference, null, 1)}`);
});

test("B1.15 random operations over the gateway, as over that of a real etcd", {
  skip: etcdIsMissing(),
  timeout: 120_000,
}, async (context) => {
  context.diagnostic(`--seed ${seed} --operations ${OPERATIONS} --left gateway --right etcd-gateway replays it`);
  const left = async () => new GatewayEndpoint(await startServer(["--store", "memory:"]));
  const right = async () => new GatewayEndpoint(await startEtcd());
  const difference = await contest({ seed, operations: OPERATIONS, left, right });
  equal(difference, null, `seed ${seed}: ${JSON.stringify(difference, null, 1)}`);
});

test("random operations of authentication, too", { skip: etcdIsMissing() }, async (context) => {
  context.diagnostic(`test/compat/differential.ts --auth --seed ${seed} --operations ${OPERATIONS} replays it`);
  const [left, right] = await Promise.all([openEngine(), startEtcd().then(overSocket)]);
  try {
    equal(await authContest({ seed, operations: OPERATIONS, left, right }), null, `seed ${seed}`);
  } finally {
    await Promise.all([left.close(), right.close()]);
  }
});

test("W2 W4 W8 W10 W15 W16 several watchers of one stream are told the same as by a real etcd", {
  skip: etcdIsMissing(),
  timeout: 120_000,
}, async (context) => {
  context.diagnostic(`seed ${seed}: watchContest replays it`);
  const [left, right] = await Promise.all([openEngine(), startEtcd().then(overSocket)]);
  try {
    equal(await watchContest({ seed, left, right, enough: (done) => done >= 50 }), null, `seed ${seed}`);
  } finally {
    await Promise.all([left.close(), right.close()]);
  }
});
