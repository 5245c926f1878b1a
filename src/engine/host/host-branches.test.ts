import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { newBranch, openHost, requestsOf } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { type LeaseId, leaseId } from "../../base/ids.ts";
import type { Database } from "../engine.ts";

const keysOf = async (database: Database): Promise<number> =>
  (await database.range(range("\0", "\0", { countOnly: true }))).count;

test("a branch is made with few requests, the same with much data and little, and is its parent", async (t) => {
  const { host, store, main } = await openHost(t);
  const { database } = main;
  for (const keys of [1, 300]) {
    for (let i = 0; i < keys; i++) await database.put(put(`k${keys}-${i}`, "v".repeat(100)));
    if (keys > 1) await main.checkpoint();
    await database.put(put("last"));
    const before = requestsOf(store);
    const { branch, revision } = await host.branches.create(newBranch(`with-${keys}`));
    const requests = requestsOf(store) - before;
    ok(requests <= 10, `${requests} requests`);
    equal(revision, database.committed);
    equal(branch.parentName, "main");
    const child = await host.database(`with-${keys}`);
    equal(child.committed, revision);
    equal(await keysOf(child), await keysOf(database));
    await child.put(put("own"));
    equal(await keysOf(child), (await keysOf(database)) + 1);
  }
});

test("a branch at a checkpoint or revision of its parent, and of a branch that has none of its own", async (t) => {
  const { host, main } = await openHost(t);
  for (let i = 0; i < 5; i++) await main.database.put(put(`k${i}`));
  await main.checkpoint();
  for (let i = 5; i < 8; i++) await main.database.put(put(`k${i}`));
  await host.branches.create(newBranch("at-4", { moment: { kind: "revision", revision: 4 } }));
  equal(await keysOf(await host.database("at-4")), 3);
  await host.branches.create(newBranch("of-4", { from: "at-4" }));
  const child = await host.database("of-4");
  equal(child.committed, 4);
  deepEqual(
    (await host.branches.show("of-4")).ancestry.map(({ name }) => name),
    ["of-4", "at-4", "main"],
  );
  const nearest = { kind: "notRetained" };
  await rejects(host.branches.create(newBranch("x", { moment: { kind: "revision", revision: 99 } })), nearest);
  await rejects(host.branches.create(newBranch("at-4")), { message: "there is a branch named at-4 already" });
  await rejects(host.branches.create(newBranch("No.Name")), { kind: "invalidArgument", message: /a DNS label/ });
  await rejects(host.branches.create(newBranch("y", { from: "mian" })), { message: /did you mean main/ });
});

test("leases and users come along, or are left out: also in a branch cut off before the first opening", async (t) => {
  const { host, main } = await openHost(t);
  const { database } = main;
  const { id } = await database.leaseGrant({ id: leaseId(77n), ttlSeconds: 1000n });
  await database.put(put("held", "v", { lease: id }));
  await database.put(put("free"));
  await database.auth.userAdd({ name: "root", password: Buffer.from("x"), noPassword: false, address: "" });
  await database.auth.roleAdd("root");
  await database.auth.userGrantRole({ user: "root", role: "root" });
  await database.auth.enable();

  await host.branches.create(newBranch("whole"));
  await host.branches.create(newBranch("bare", { stripAuth: true, stripLeases: true }));
  await host.branches.create(newBranch("of-bare", { from: "bare" }));
  const whole = await host.database("whole");
  equal((await whole.auth.status()).enabled, true);
  equal((await whole.leaseTimeToLive({ id, keys: true })).keys.length, 1);
  for (const name of ["of-bare", "bare"]) {
    const bare = await host.database(name);
    equal(bare.committed, database.committed, "no revision is taken");
    equal((await bare.auth.status()).enabled, false);
    deepEqual((await bare.auth.userList()).users, []);
    deepEqual((await bare.leaseLeases()).ids, []);
    equal(await keysOf(bare), 2);
  }
});

test("in a branch without its leases keys hang on what they are put on again, and on nothing else", async (t) => {
  const { host, main } = await openHost(t);
  const { database } = main;
  const { id } = await database.leaseGrant({ id: leaseId(77n), ttlSeconds: 1000n });
  for (const key of ["a", "b", "c", "d"]) await database.put(put(key, "v", { lease: id }));
  await host.branches.create(newBranch("bare", { stripLeases: true }));
  const bare = await host.database("bare");
  await bare.put(put("a", "2"));
  await bare.put(put("b", "2", { ignoreLease: true }));
  await bare.leaseGrant({ id: leaseId(77n), ttlSeconds: 1000n });
  const attached = async (lease: LeaseId) => (await bare.leaseTimeToLive({ id: lease, keys: true })).keys;
  deepEqual(await attached(id), []);
  await bare.put(put("c", "2", { lease: id }));
  deepEqual(await attached(id), ["c"]);
  await bare.deleteRange({ kind: "deleteRange", key: "d", rangeEnd: "", prevKv: false });
  await bare.leaseRevoke(id);
  equal(await keysOf(bare), 2);
  // The counts of what hangs on leases agree with what there is.
  const served = await host.serve("bare");
  await served.checkpoint();
  equal((await database.leaseTimeToLive({ id, keys: true })).keys.length, 4);
});
