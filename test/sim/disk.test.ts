import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { assert } from "../../src/base/assert.ts";
import { isDbError } from "../../src/base/errors.ts";
import { DiskError } from "../../src/runtime/disk-error.ts";
import type { Disk, DiskFile } from "../../src/runtime/runtime.ts";
import { SECTOR_BYTES } from "./inode.ts";
import type { SimMachine } from "./machine.ts";
import { createSimulation } from "./simulation.ts";

/** Tells one story for many seeds; the set of what came of it. */
async function outcomes(story: (machine: SimMachine, disk: Disk) => Promise<string>, seeds = 60): Promise<Set<string>> {
  const all = new Set<string>();
  for (let seed = 0; seed < seeds; seed++) {
    const simulation = createSimulation(seed);
    const machine = simulation.machine("a");
    all.add(await simulation.run(() => story(machine, machine.start().runtime.disk)));
  }
  return all;
}

function includesAll(outcomes: Set<string>, wanted: string[]): void {
  deepEqual(
    wanted.filter((one) => !outcomes.has(one)),
    [],
    `all that happened: ${[...outcomes].join("; ")}`,
  );
}

async function opened(disk: Disk, path: string, sync = false): Promise<DiskFile> {
  const file = await disk.open(path, { create: true, sync });
  assert(file !== null, "the file was made");
  return file;
}

/** The file after the power came back, each run of one byte as one letter: "missing", "", "ab", "a0b" … */
async function after(machine: SimMachine, path: string): Promise<string> {
  const bytes = await machine.start().runtime.disk.readFile(path, 1 << 20);
  if (bytes === null) return "missing";
  return [...bytes.toString("latin1").replaceAll("\0", "0")].filter((letter, n, all) => letter !== all[n - 1]).join("");
}

test("what was not synced is kept, lost or torn when the power fails, and kept when a process is killed", async () => {
  const write = async (disk: Disk): Promise<void> => {
    const file = await opened(disk, "/file");
    await file.write(Buffer.alloc(3 * SECTOR_BYTES, "a"), 0);
    await file.sync();
    await disk.syncDirectory("/");
    await file.write(Buffer.alloc(3 * SECTOR_BYTES, "b"), 0);
  };
  const crashed = await outcomes(async (machine, disk) => {
    await write(disk);
    machine.crash();
    return after(machine, "/file");
  });
  includesAll(crashed, ["a", "b", "ab", "ba", "aba", "bab"]);
  const killed = await outcomes(async (machine, disk) => {
    await write(disk);
    for (const node of machine.nodes) node.kill();
    return after(machine, "/file");
  }, 10);
  deepEqual([...killed], ["b"]);
});

test("a file that grew without sync may have its new size and zeros", async () => {
  const crashed = await outcomes(async (machine, disk) => {
    const file = await opened(disk, "/file");
    await file.sync();
    await disk.syncDirectory("/");
    await file.write(Buffer.alloc(2 * SECTOR_BYTES, "a"), 0);
    machine.crash();
    return after(machine, "/file");
  });
  includesAll(crashed, ["", "a", "0", "0a", "a0"]);
});

test("a synchronous write is durable when it has returned; one under way may be torn", async () => {
  const done = await outcomes(async (machine, disk) => {
    const file = await opened(disk, "/file", true);
    await disk.syncDirectory("/");
    await file.write(Buffer.alloc(1000, "a"), 100);
    await file.write(Buffer.alloc(1000, "b"), 1100);
    machine.crash();
    return after(machine, "/file");
  });
  deepEqual([...done], ["0ab"]);
  const underWay = await outcomes(async (machine, disk) => {
    const file = await opened(disk, "/file", true);
    await file.write(Buffer.alloc(2 * SECTOR_BYTES, "a"), 0);
    await disk.syncDirectory("/");
    void file.write(Buffer.alloc(2 * SECTOR_BYTES, "b"), 0);
    machine.crash();
    return after(machine, "/file");
  }, 400);
  includesAll(underWay, ["a", "b", "ab", "ba"]);
});

test("names are durable once their directory is synced, and before that as the seed has it", async () => {
  for (const synced of [false, true]) {
    const all = await outcomes(async (machine, disk) => {
      await disk.makeDirectory("/d");
      await disk.syncDirectory("/");
      await disk.writeFile("/d/old", Buffer.from("o"));
      await disk.syncDirectory("/d");
      await disk.writeFile("/d/new", Buffer.from("n"));
      await disk.rename("/d/new", "/d/old");
      equal(await disk.link("/d/old", "/d/second"), true);
      if (synced) await disk.syncDirectory("/d");
      machine.crash();
      const names = await machine.start().runtime.disk.list("/d");
      return `${await after(machine, "/d/old")} ${names.join()}`;
    });
    if (synced) deepEqual([...all], ["n old,second"]);
    else includesAll(all, ["o old", "n old,second", "n old", "o new,old"]);
  }
});

test("a directory that was not synced into its parent may vanish with all that it holds", async () => {
  const all = await outcomes(async (machine, disk) => {
    await disk.makeDirectory("/a/b");
    await disk.writeFile("/a/b/file", Buffer.from("x"));
    await disk.syncDirectory("/a/b");
    machine.crash();
    return after(machine, "/a/b/file");
  });
  deepEqual([...all].sort(), ["missing", "x"]);
});

test("after a failed sync, a later one that succeeds does not bring back what was dropped", async () => {
  const all = await outcomes(async (machine, disk) => {
    const file = await opened(disk, "/file");
    await disk.syncDirectory("/");
    await file.write(Buffer.from("a"), 0);
    machine.diskFaults.syncError = 1;
    await rejects(file.sync(), (error) => isDbError(error, "diskFailed"));
    machine.diskFaults.syncError = 0;
    await file.sync();
    machine.crash();
    return after(machine, "/file");
  }, 10);
  deepEqual([...all], ["0"]);
});

test("a full disk takes a part and says so; space comes back with a removed file", async () => {
  const simulation = createSimulation(1);
  const { disk } = simulation.machine("a", { diskBytesMax: 1000 }).start().runtime;
  await simulation.run(async () => {
    await disk.writeFile("/ballast", Buffer.alloc(600));
    const file = await opened(disk, "/file", true);
    const full = (error: unknown) => error instanceof DiskError && error.code === "ENOSPC";
    await rejects(async () => file.write(Buffer.alloc(500), 0), full);
    await disk.remove("/ballast");
    await file.write(Buffer.alloc(900), 0);
    await file.write(Buffer.alloc(900), 0);
    await rejects(file.truncate(1001), full);
  });
});

test("errors of the disk come as often as asked, thrown or rejected with", async () => {
  const all = await outcomes(async (machine, disk) => {
    const file = await opened(disk, "/file", true);
    machine.diskFaults.writeError = 0.5;
    let failed = 0;
    for (let n = 0; n < 40; n++) {
      try {
        await file.write(Buffer.from("x"), n);
      } catch (error) {
        assert(error instanceof DiskError && error.code === "EIO", "an injected error");
        failed++;
      }
    }
    return failed > 8 && failed < 32 ? "about half" : `${failed}`;
  }, 10);
  deepEqual([...all], ["about half"]);
});

test("a lock has one holder, is released by kill and crash, and belongs to the file, not to its name", async () => {
  const simulation = createSimulation(5);
  await simulation.run(async () => {
    const machine = simulation.machine("a");
    const [first, second] = [machine.start(), machine.start()];
    const lock = await first.runtime.disk.lock("/lock");
    assert(lock !== null, "free");
    equal(await first.runtime.disk.lock("/lock"), null);
    equal(await second.runtime.disk.lock("/lock"), null);
    first.kill();
    const again = await second.runtime.disk.lock("/lock");
    equal(again?.inode, lock.inode);
    await again?.release();
    ok((await second.runtime.disk.lock("/lock")) !== null);
    machine.crash();
    ok((await machine.start().runtime.disk.lock("/lock")) !== null);
  });
});
