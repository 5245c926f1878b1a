import { deepEqual, equal, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { openHost, runtime } from "../../../test/engine/open-host.ts";
import { put, range } from "../../../test/engine/requests.ts";
import { branchNameRegister } from "../../leadership/branch-name.ts";
import type { Database } from "../engine.ts";
import { cutBranch } from "./cut-branch.ts";
import { cutPointAt } from "./cut-point.ts";
import type { Moment } from "./moment.ts";

const request = { timeoutMs: 2000 };

/** A host, and what cuts branches of what it serves. */
async function openCutter(t: TestContext) {
  const { host, store, main } = await openHost(t);
  const cut = async (name: string, moment: Moment, from = "main") => {
    const { branch: parent } = (await branchNameRegister(store, from, runtime).read(request))!.body;
    const { window } = host.repository;
    const point = (references: Parameters<typeof cutPointAt>[1]) =>
      cutPointAt({ store, window, request, moment }, references);
    await cutBranch({ store, runtime, parent, name, point, request });
    return host.database(name);
  };
  return { host, main, cut };
}

/** Every live pair with its versions, and the revision. */
const stateOf = async (database: Database, revision = 0): Promise<unknown> => {
  const { rows, count } = await database.range(range("\0", "\0", { revision }));
  return { count, rows: rows.map(({ bytes, start, end }) => Buffer.from(bytes.subarray(start, end)).toString("hex")) };
};

test("a branch cut at any revision is its parent at that revision, over checkpoints and log", async (t) => {
  const { main, cut } = await openCutter(t);
  const { database } = main;
  for (let i = 0; i < 12; i++) {
    await database.put(put(`k${i % 5}`, `v${i}`));
    if (i % 5 === 3) await main.checkpoint();
  }
  for (let revision = 1; revision <= database.committed; revision++) {
    const child = await cut(`at-${revision}`, { kind: "revision", revision });
    equal(child.committed, revision);
    deepEqual(await stateOf(child), await stateOf(database, revision), `revision ${revision}`);
  }
});

test("a branch of a branch, cut before and behind the parent's own beginning", async (t) => {
  const { host, main, cut } = await openCutter(t);
  await main.database.put(put("a", "1"));
  const child = await cut("child", { kind: "newest" });
  await child.put(put("b", "2"));
  const grandchild = await cut("grandchild", { kind: "newest" }, "child");
  deepEqual(await stateOf(grandchild), await stateOf(child));
  await grandchild.put(put("c", "3"));
  await (await host.serve("grandchild")).checkpoint();
  const last = await cut("last", { kind: "revision", revision: 4 }, "grandchild");
  deepEqual(await stateOf(last), await stateOf(grandchild));
  equal(main.database.committed, 2);
  equal(child.committed, 3);
});

test("a moment that is not there yet, or no more, is refused, and nothing is left behind", async (t) => {
  const { main, cut } = await openCutter(t);
  await main.database.put(put("a", "1"));
  await rejects(cut("later", { kind: "revision", revision: 9 }), {
    kind: "notRetained",
    message: /revision 9 is not there yet: the newest in the store is 2/,
  });
  await rejects(cut("before", { kind: "time", wallMs: -1 }), { kind: "notRetained" });
  await rejects(cut("before", { kind: "time", wallMs: 1000 }), {
    kind: "notRetained",
    message: /^1970-01-01T00:00:01.000Z is before anything was written; the nearest: revision 1 \(the beginning\)$/,
  });
  await cut("taken", { kind: "newest" });
  await rejects(cut("taken", { kind: "newest" }), {
    kind: "invalidArgument",
    message: /there is a branch named taken/,
  });
});
