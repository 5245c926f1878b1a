import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { createSimulation } from "../../test/sim/simulation.ts";
import { openScratch } from "./scratch.ts";

const directory = "/data/scratch";
const diskBytesMax = 40 << 20;
const piece = Buffer.alloc(1 << 20, 7);

test("what is written is read; what a crash left behind goes when the directory is opened again", async () => {
  const simulation = createSimulation(1);
  const { runtime } = simulation.machine("a").start();
  await simulation.run(async () => {
    const scratch = await openScratch(runtime, directory);
    const [one, two] = [await scratch.create(), await scratch.create()];
    await one.write(piece, 0);
    const into = Buffer.alloc(piece.length);
    equal(await one.read(into, 0), piece.length);
    ok(into.equals(piece));
    await two.discard();
    equal((await runtime.disk.list(directory)).length, 1);
    await openScratch(runtime, directory);
    deepEqual(await runtime.disk.list(directory), []);
  });
});

test("a tenth of the disk is left to others, and what was discarded can be written again", async () => {
  const simulation = createSimulation(2);
  const { runtime } = simulation.machine("a", { diskBytesMax }).start();
  await simulation.run(async () => {
    const scratch = await openScratch(runtime, directory);
    const fill = async (): Promise<void> => {
      const file = await scratch.create();
      try {
        for (let at = 0; at < 2 * diskBytesMax; at += piece.length) await file.write(piece, at);
      } finally {
        const { freeBytes } = await runtime.disk.space(directory);
        ok(freeBytes >= diskBytesMax / 10 && freeBytes < diskBytesMax / 5, `${freeBytes} bytes are free`);
        await file.discard();
      }
    };
    await rejects(fill(), { kind: "diskFailed", code: "ENOSPC", message: /are left to others/ });
    await rejects(fill(), { kind: "diskFailed", code: "ENOSPC" });
  });
});
