import { deepEqual, equal, match, notEqual, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import type { SimNode } from "../../test/sim/node.ts";
import { createSimulation } from "../../test/sim/simulation.ts";
import { branchId } from "../base/ids.ts";
import { openDataDirectory } from "./data-directory.ts";
import { BranchDisk } from "./disk-identity.ts";

const DATA = "/var/t4";
const branch = branchId("ab".repeat(16));

/** On a simulated machine, whose disk keeps after a crash what was synced and no more. */
function onMachine(
  story: (start: () => SimNode, crash: () => void) => Promise<void>,
  fileSystem = "ext",
): Promise<void> {
  const simulation = createSimulation(7);
  const machine = simulation.machine("a", { fileSystem });
  return simulation.run(() =>
    story(
      () => machine.start(),
      () => machine.crash(),
    ),
  );
}

test("a directory keeps its identity and its node's name, through a crash right after its making", async () => {
  await onMachine(async (start, crash) => {
    const first = await openDataDirectory(start().runtime, DATA);
    match(first.nodeName, /^node-[0-9a-f]{16}$/);
    equal(first.localRefusal, null);
    crash();
    const second = await openDataDirectory(start().runtime, DATA);
    equal(second.nodeName, first.nodeName);
    equal(second.identity?.id, first.identity?.id);
    notEqual(second.identity?.boot, first.identity?.boot);
  });
});

test("an etcd's directory is refused, and left as it was; one that was t4's before is not", async () => {
  await onMachine(async (start) => {
    const { disk } = start().runtime;
    const putDatabase = async (): Promise<void> => {
      await disk.makeDirectory(`${DATA}/member/snap`);
      await (await disk.open(`${DATA}/member/snap/db`, { create: true, sync: true }))!.close();
    };
    await putDatabase();
    await rejects(openDataDirectory(start().runtime, DATA), /\/var\/t4 holds an etcd's data .*name another directory/);
    deepEqual(await disk.list(DATA), ["member"]);
    await disk.remove(`${DATA}/member/snap/db`);
    const opened = await openDataDirectory(start().runtime, DATA);
    await opened.release();
    await putDatabase();
    await (await openDataDirectory(start().runtime, DATA)).release();
  });
});

test("a second process is told that the directory is in use, until the first one is gone", async () => {
  await onMachine(async (start) => {
    const node = start();
    const first = await openDataDirectory(node.runtime, DATA);
    await rejects(openDataDirectory(start().runtime, DATA), /data directory \/var\/t4 is in use by another process/);
    node.kill();
    const second = await openDataDirectory(start().runtime, DATA);
    deepEqual(second.identity, first.identity, "same lock file, same boot: it has outlived the first");
    await second.release();
    const third = await openDataDirectory(start().runtime, DATA);
    await third.release();
  });
});

test("local is refused on a shared file system; a lock proves nothing there, nor on an unknown one", async () => {
  for (const [kind, refused] of [
    ["nfs", true],
    ["9p", true],
    ["fuse", true],
    ["unknown", false],
  ] as const) {
    await onMachine(async (start) => {
      const directory = await openDataDirectory(start().runtime, DATA);
      equal(directory.identity, null);
      equal(directory.localRefusal !== null, refused);
      if (refused) match(directory.localRefusal ?? "", new RegExp(`/var/t4 is on a ${kind} file system`));
    }, kind);
  }
});

test("a damaged identity is named, not replaced", async () => {
  await onMachine(async (start) => {
    const { disk } = start().runtime;
    await disk.makeDirectory(DATA);
    for (const text of ["", "{}", '{"format":2,"id":"","name":"n"}', '{"format":1,"id":"x","name":"n"}', "[1"]) {
      await disk.writeFile(`${DATA}/identity`, Buffer.from(text));
      await rejects(openDataDirectory(start().runtime, DATA), /file \/var\/t4\/identity: /);
    }
  });
});

test("a member's generations go present, next, present; each is durable before it is told", async () => {
  await onMachine(async (start, crash) => {
    const open = (): Promise<BranchDisk> => BranchDisk.open({ directory: DATA, branch, runtime: start().runtime });
    let disk = await open();
    equal(disk.state, null);
    const joined = await disk.join();
    crash();
    disk = await open();
    deepEqual(disk.state, joined);
    deepEqual(await disk.join(), joined, "an opening that may have been swapped in is kept as it is");
    const finished = await disk.finish();
    deepEqual(finished, { disk: joined.disk, present: joined.next, next: null, established: false });
    crash();
    disk = await open();
    deepEqual(disk.state, finished);
    const again = await disk.join();
    equal(again.disk, joined.disk, "not established: the same identity, opened anew");
    notEqual(again.next, null);
    await disk.finish();
    await disk.establish();
    crash();
    disk = await open();
    const begun = await disk.begin();
    deepEqual({ ...begun, next: null }, { ...disk.state, next: null });
    await rejects(disk.begin(), /unfinished opening/);
    await disk.finish();
    const other = await disk.join();
    notEqual(other.disk, joined.disk, "established: whoever joins anew is somebody else");
    equal(other.established, false);
  });
});

test("what an established identity has acknowledged is not removed; what others left is", async () => {
  await onMachine(async (start) => {
    const { runtime } = start();
    const disk = await BranchDisk.open({ directory: DATA, branch, runtime });
    await disk.join();
    await disk.emptyLog();
    await runtime.disk.writeFile(`${disk.logPath}/1`, Buffer.from("x"));
    await disk.finish();
    await disk.establish();
    await rejects(disk.emptyLog(), /never removed/);
    deepEqual(await runtime.disk.list(disk.logPath), ["1"]);
    await disk.join();
    await disk.emptyLog();
    deepEqual(await runtime.disk.list(disk.logPath), []);
    ok((await runtime.disk.stat(disk.logPath))?.directory);
  });
});

test("the disk's file of another branch, or a damaged one, is refused by name", async () => {
  await onMachine(async (start) => {
    const { runtime } = start();
    const disk = await BranchDisk.open({ directory: DATA, branch, runtime });
    await disk.join();
    const good = (await runtime.disk.readFile(`${disk.path}/disk`, 1000))!.toString();
    for (const text of [
      "",
      good.replace("ab", "cd"),
      good.replace('"format":1', '"format":9'),
      good.replace("true", "1"),
      good.replace("false", '"no"'),
    ]) {
      await runtime.disk.writeFile(`${disk.path}/disk`, Buffer.from(text));
      if (text === good) continue;
      await rejects(BranchDisk.open({ directory: DATA, branch, runtime }), /file \/var\/t4\/branch-.*\/disk: /);
    }
  });
});
