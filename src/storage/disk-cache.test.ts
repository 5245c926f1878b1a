import { deepEqual, equal, ok } from "node:assert/strict";
import { hash } from "node:crypto";
import { test } from "node:test";
import type { SimMachine } from "../../test/sim/machine.ts";
import type { SimNode } from "../../test/sim/node.ts";
import { createSimulation, type Simulation } from "../../test/sim/simulation.ts";
import { DiskCache, type DiskCacheSettings } from "./disk-cache.ts";
import { shelfBytes } from "./disk-cache-format.ts";

const PIECE = 1024;
const small: DiskCacheSettings = {
  bytesMax: 3 * shelfBytes({ pieceBytes: PIECE, places: 8 }),
  pieceBytes: PIECE,
  piecesPerFile: 8,
};
const DIRECTORY = "/data/cache";

/** A table's first bytes of identity, and its content: another one for each number. */
const tableId = (n: number): Buffer => hash("sha256", `table ${n}`, "buffer").subarray(0, 16);
const content = (n: number, bytes: number): Buffer => {
  const body = Buffer.alloc(bytes);
  for (let i = 0; i < bytes; i++) body[i] = (n * 31 + i * 7 + (i >> 8)) & 0xff;
  return body;
};

interface Opened {
  cache: DiskCache;
  said: string[];
  node: SimNode;
}

function open(machine: SimMachine, settings = small): Opened {
  const node = machine.start();
  machine.volume.makeDirectory("/data");
  const said: string[] = [];
  const tell = (sentence: string): void => void said.push(sentence);
  const cache = DiskCache.open({
    runtime: node.runtime,
    directory: DIRECTORY,
    settings,
    notices: { warn: tell, info: tell },
  });
  ok(cache !== null);
  return { cache, said, node };
}

/** Piece `piece` of table `n`, or null. */
async function readPiece(cache: DiskCache, n: number, piece: number, bytes = PIECE): Promise<Buffer | null> {
  const into = Buffer.alloc(bytes);
  return (await cache.read({ table: tableId(n), piece }, 0, into)) < 0 ? null : into;
}

const keep = async (cache: DiskCache, n: number, bytes: number): Promise<void> => {
  cache.offer(tableId(n), bytes, 0, content(n, bytes));
  await cache.settled();
};

const story = (tell: (simulation: Simulation, machine: SimMachine) => Promise<void>, seeds = 3): Promise<void> =>
  (async () => {
    for (let seed = 1; seed <= seeds; seed++) {
      const simulation = createSimulation(seed);
      await simulation.run(() => tell(simulation, simulation.machine("a", { diskBytesMax: 1 << 20 })));
    }
  })();

test("what was kept is read back, in parts, with the table's size; the rest is missing", () =>
  story(async (_simulation, machine) => {
    const { cache } = open(machine);
    const body = content(1, 2500);
    cache.offer(tableId(1), 2500, 0, body);
    // At once, out of what waits to be written; and then from the disk.
    for (const settle of [false, true]) {
      if (settle) await cache.settled();
      deepEqual(await readPiece(cache, 1, 1), body.subarray(1024, 2048));
      const part = Buffer.alloc(100);
      equal(await cache.read({ table: tableId(1), piece: 2 }, 352, part), 2500);
      deepEqual(part, body.subarray(2400, 2500));
      equal(await cache.read({ table: tableId(1), piece: 2 }, 353, part), -1);
      equal(await readPiece(cache, 1, 3), null);
      equal(await readPiece(cache, 2, 0), null);
    }
    equal(cache.stats().written, 3);
    await cache.close();
  }));

test("it survives a restart, and a kill while it writes: what it then gives is what was offered", () =>
  story(async (simulation, machine) => {
    const first = open(machine);
    await keep(first.cache, 1, 4 * PIECE);
    first.cache.offer(tableId(2), 6 * PIECE, 0, content(2, 6 * PIECE));
    await simulation.sleep(simulation.random.between(0, 20));
    first.node.kill();
    const second = open(machine);
    for (let piece = 0; piece < 4; piece++) {
      deepEqual(
        await readPiece(second.cache, 1, piece),
        content(1, 4 * PIECE).subarray(piece * PIECE, (piece + 1) * PIECE),
      );
    }
    for (let piece = 0; piece < 6; piece++) {
      const found = await readPiece(second.cache, 2, piece);
      if (found !== null) deepEqual(found, content(2, 6 * PIECE).subarray(piece * PIECE, (piece + 1) * PIECE));
    }
    equal(second.cache.trouble, null);
    await second.cache.close();
  }, 20));

test("after a power failure it works on, whatever of its files was lost or torn", () =>
  story(async (_simulation, machine) => {
    const first = open(machine);
    for (let n = 0; n < 6; n++) await keep(first.cache, n, 4 * PIECE);
    machine.crash();
    const second = open(machine);
    for (let n = 0; n < 6; n++) await readPiece(second.cache, n, 0);
    await keep(second.cache, 9, PIECE);
    deepEqual(await readPiece(second.cache, 9, 0), content(9, PIECE));
    equal(second.cache.trouble, null);
    await second.cache.close();
  }, 20));

test("bytes and files stay within bounds, under random use and with other settings after a restart", () =>
  story(async (simulation, machine) => {
    const { random } = simulation;
    for (const places of [8, 3]) {
      const settings = { ...small, bytesMax: 2 * shelfBytes({ pieceBytes: PIECE, places }) + 5, piecesPerFile: places };
      const { cache } = open(machine, settings);
      await cache.settled();
      for (let n = 0; n < 120; n++) {
        const table = random.integer(0, 20);
        const bytes = (1 + (table % 5)) * 700;
        if (random.chance(0.5)) await keep(cache, table, bytes);
        else {
          const length = Math.min(PIECE, bytes);
          const found = await readPiece(cache, table, 0, length);
          if (found !== null) deepEqual(found, content(table, bytes).subarray(0, length));
        }
        const files = machine.volume.list(DIRECTORY);
        const taken = files.reduce((sum, name) => sum + machine.volume.find(`${DIRECTORY}/${name}`)!.bytes, 0);
        ok(files.length <= 2 && taken <= settings.bytesMax, `${taken} bytes in ${files}`);
        equal(cache.stats().bytes, taken);
      }
      ok(cache.stats().hits > 0);
      await cache.close();
    }
  }));

test("what is used stays; what comes by once makes way", () =>
  story(async (_simulation, machine) => {
    const { cache } = open(machine);
    await keep(cache, 1, 4 * PIECE);
    const useAll = async (): Promise<number> => {
      let there = 0;
      for (let piece = 0; piece < 4; piece++) if ((await readPiece(cache, 1, piece)) !== null) there++;
      return there;
    };
    for (let n = 0; n < 200; n++) await readPiece(cache, 1, n % 4);
    equal(await useAll(), 4);
    for (let n = 0; n < 200; n++) await readPiece(cache, 1, n % 4);
    for (let n = 100; n < 200; n++) await keep(cache, n, PIECE);
    equal(await useAll(), 4);
    await cache.close();
  }));

test("a piece that was wrong is forgotten for good, and kept anew", () =>
  story(async (_simulation, machine) => {
    const first = open(machine);
    await keep(first.cache, 1, PIECE);
    first.cache.forget({ table: tableId(1), piece: 0 });
    equal(await readPiece(first.cache, 1, 0), null);
    equal(first.cache.stats().bad, 1);
    await first.cache.close();
    const second = open(machine);
    equal(await readPiece(second.cache, 1, 0), null);
    await keep(second.cache, 1, PIECE);
    deepEqual(await readPiece(second.cache, 1, 0), content(1, PIECE));
    await second.cache.close();
  }));

test("its files may be removed or cut short while it runs", () =>
  story(async (simulation, machine) => {
    const { cache, said } = open(machine);
    for (let n = 0; n < 4; n++) await keep(cache, n, 3 * PIECE);
    for (const name of machine.volume.list(DIRECTORY)) machine.volume.remove(`${DIRECTORY}/${name}`);
    await simulation.sleep(6000);
    equal(cache.stats().bytes, 0);
    equal(await readPiece(cache, 1, 1), null);
    for (let n = 0; n < 4; n++) await keep(cache, n, 3 * PIECE);
    deepEqual(await readPiece(cache, 1, 1), content(1, 3 * PIECE).subarray(PIECE, 2 * PIECE));
    for (const name of machine.volume.list(DIRECTORY)) machine.volume.find(`${DIRECTORY}/${name}`)!.truncate(40);
    equal(await readPiece(cache, 1, 1), null);
    ok(cache.stats().bad > 0);
    deepEqual(said, []);
    await cache.close();
  }));

test("where the directory that it lies in is removed it is off, and brings nothing back", () =>
  story(async (simulation, machine) => {
    const node = machine.start();
    const notices = { warn() {}, info() {} };
    const cache = DiskCache.open({ runtime: node.runtime, directory: "/gone/cache", settings: small, notices })!;
    await cache.settled();
    ok(/\/gone is missing/.test(cache.trouble ?? ""));
    await simulation.sleep(5000);
    equal(machine.volume.find("/gone"), null);
    machine.volume.makeDirectory("/gone");
    await simulation.sleep(120_000);
    equal(cache.trouble, null);
    await keep(cache, 1, PIECE);
    deepEqual(await readPiece(cache, 1, 0), content(1, PIECE));
    await cache.close();
  }));

test("a file of anything else in its place is begun anew", () =>
  story(async (_simulation, machine) => {
    const first = open(machine);
    for (let n = 0; n < 4; n++) await keep(first.cache, n, 3 * PIECE);
    await first.cache.close();
    for (const name of machine.volume.list(DIRECTORY)) {
      machine.volume.find(`${DIRECTORY}/${name}`)!.write(Buffer.from("something else"), 0);
    }
    const { cache } = open(machine);
    for (let n = 0; n < 4; n++) equal(await readPiece(cache, n, 0), null);
    for (let n = 0; n < 4; n++) await keep(cache, n, 3 * PIECE);
    deepEqual(await readPiece(cache, 2, 0), content(2, 3 * PIECE).subarray(0, PIECE));
    await cache.close();
  }));

test("a failing disk turns it off, with a notice; once the disk works it is on again by itself", () =>
  story(async (simulation, machine) => {
    const { cache, said } = open(machine);
    await keep(cache, 1, PIECE);
    machine.diskFaults.readError = 1;
    equal(await readPiece(cache, 1, 0), null);
    ok(/cache is off.*EIO/.test(cache.trouble ?? ""), `${cache.trouble}`);
    equal(await readPiece(cache, 1, 0), null);
    machine.diskFaults.writeError = 1;
    await simulation.sleep(30_000);
    ok(cache.trouble !== null);
    Object.assign(machine.diskFaults, { readError: 0, writeError: 0 });
    await simulation.sleep(70_000);
    equal(cache.trouble, null);
    deepEqual(await readPiece(cache, 1, 0), content(1, PIECE));
    deepEqual(said, ["the disk cache is off, it will be tried again", "the disk cache works again"]);
    await cache.close();
  }));

test("a full disk gets room back, and the cache leaves a part of the disk to others", () =>
  story(async (simulation, machine) => {
    const { volume } = machine;
    const { cache, said } = open(machine);
    await cache.settled();
    for (let n = 0; n < 12; n++) await keep(cache, n, 2 * PIECE);
    const before = cache.stats().bytes;
    // Somebody else fills the disk: nothing is left, so files are given up, one after another.
    const other = volume.create("/other");
    other.write(Buffer.alloc(volume.room(1 << 20), 7), 0);
    equal(volume.room(1), 0);
    await simulation.sleep(6000);
    ok(volume.room(1 << 20) > 0 && cache.stats().bytes < before, "a file was given up");
    await simulation.sleep(20_000);
    ok(volume.room(1 << 20) >= (1 << 20) * 0.05 || cache.stats().bytes === 0);
    const little = cache.stats().bytes;
    for (let n = 20; n < 30; n++) await keep(cache, n, 2 * PIECE);
    equal(cache.stats().bytes, little, "it does not grow into what is left");
    deepEqual(said, []);
    volume.remove("/other");
    await simulation.sleep(6000);
    for (let n = 20; n < 30; n++) await keep(cache, n, 2 * PIECE);
    ok(cache.stats().bytes > little);
    await cache.close();
  }));

test("a write that the disk has no room for turns it off until there is room, and gives room back", () =>
  story(async (simulation, machine) => {
    const { volume } = machine;
    const { cache } = open(machine);
    for (let n = 0; n < 4; n++) await keep(cache, n, 2 * PIECE);
    volume.create("/other").write(Buffer.alloc(volume.room(1 << 20), 7), 0);
    for (let n = 10; n < 30 && cache.trouble === null; n++) await keep(cache, n, 2 * PIECE);
    ok(/ENOSPC/.test(cache.trouble ?? ""), `${cache.trouble}`);
    await simulation.sleep(500);
    ok(volume.room(1 << 20) > 0);
    volume.remove("/other");
    await simulation.sleep(10_000);
    equal(cache.trouble, null);
    await keep(cache, 40, PIECE);
    deepEqual(await readPiece(cache, 40, 0), content(40, PIECE));
    await cache.close();
  }));

test("a table that was just made is kept whole; a second one at the same time, or one that is too large, is not", () =>
  story(async (_simulation, machine) => {
    const { cache } = open(machine);
    cache.offerTable(tableId(1), content(1, 4 * PIECE + 10));
    cache.offerTable(tableId(2), content(2, PIECE));
    deepEqual(await readPiece(cache, 1, 4, 10), content(1, 4 * PIECE + 10).subarray(4 * PIECE));
    await cache.settled();
    equal(cache.stats().written, 5);
    equal(cache.stats().dropped, 1);
    equal(await readPiece(cache, 2, 0), null);
    deepEqual(await readPiece(cache, 1, 4, 10), content(1, 4 * PIECE + 10).subarray(4 * PIECE));
    cache.offerTable(tableId(3), content(3, small.bytesMax / 2));
    await cache.settled();
    equal(cache.stats().written, 5);
    await cache.close();
  }));

test("closing while it reads and writes ends in peace", () =>
  story(async (simulation, machine) => {
    const { cache } = open(machine);
    for (let n = 0; n < 8; n++) cache.offer(tableId(n), 4 * PIECE, 0, content(n, 4 * PIECE));
    const reads = Array.from({ length: 30 }, (_, i) => readPiece(cache, i % 8, i % 4));
    await simulation.sleep(simulation.random.between(0, 10));
    await cache.close();
    for (const [i, found] of (await Promise.all(reads)).entries()) {
      const start = (i % 4) * PIECE;
      if (found !== null) deepEqual(found, content(i % 8, 4 * PIECE).subarray(start, start + PIECE));
    }
    equal(await readPiece(cache, 1, 0), null);
    cache.offer(tableId(1), PIECE, 0, content(1, PIECE));
    await cache.close();
  }, 20));

test("where there is no room for a single piece there is no cache", async () => {
  const machine = createSimulation(1).machine("a");
  const options = { runtime: machine.start().runtime, directory: DIRECTORY, notices: { warn() {}, info() {} } };
  equal(DiskCache.open({ ...options, settings: { ...small, bytesMax: 5000 } }), null);
});

test("what was fetched is written before it closes", () =>
  story(async (_simulation, machine) => {
    const first = open(machine);
    first.cache.offer(tableId(1), 4 * PIECE, 0, content(1, 4 * PIECE));
    await first.cache.close();
    const second = open(machine);
    deepEqual(await readPiece(second.cache, 1, 3), content(1, 4 * PIECE).subarray(3 * PIECE));
    await second.cache.close();
  }));
