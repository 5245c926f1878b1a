import { equal, ok } from "node:assert/strict";
import { assert } from "../../src/base/assert.ts";
import { isDbError } from "../../src/base/errors.ts";
import type { Disk } from "../../src/runtime/runtime.ts";
import { chaos } from "./chaos.ts";
import type { SimMachine } from "./machine.ts";
import type { SimNode } from "./node.ts";
import { createSimulation, type SimulationOptions } from "./simulation.ts";

const DIRECTORY = "/data";
const RECORD_BYTES = 700;

/** Ways to get it wrong, for the test that such a program is caught. */
export type JournalMutant = "records not synced" | "names not synced" | "replaced in place" | "found and not synced";

interface Promised {
  /** Records that were acknowledged as durable, and the newest one that was begun. */
  records: number;
  begun: number;
  /** The manifest that was acknowledged, and the newest one that was begun. */
  manifest: number;
  manifestBegun: number;
}

/**
 * The two ways in which a program makes something durable, under kills, power failures and errors of the disk: records
 * appended to a file that is written synchronously, and a small file replaced by writing another one and renaming it.
 * After each restart all that was acknowledged must be there, and a second process must not get the lock.
 */
export async function journalScenario(
  seed: number,
  options: SimulationOptions,
  mutant?: JournalMutant,
): Promise<string> {
  const simulation = createSimulation(seed, options);
  const machine = simulation.machine("a");
  const promised: Promised = { records: 0, begun: 0, manifest: 0, manifestBegun: 0 };
  let restarts = 0;

  const program = async (node: SimNode): Promise<void> => {
    const { disk } = node.runtime;
    await disk.makeDirectory(DIRECTORY);
    await disk.syncDirectory("/");
    const lock = await disk.lock(`${DIRECTORY}/lock`);
    assert(lock !== null, "the lock of a dead process is free");
    equal(await disk.lock(`${DIRECTORY}/lock`), null, "a lock has one holder");
    const file = await disk.open(`${DIRECTORY}/journal`, { create: true, sync: mutant !== "records not synced" });
    assert(file !== null, "the file was made");
    await disk.syncDirectory(DIRECTORY);
    // What a killed process wrote last may be seen and yet not be on the disk: nothing is built on it before it is.
    if (mutant !== "found and not synced") await file.sync();
    let count = await checkRecords(disk, promised);
    await checkManifest(disk, promised);
    restarts++;
    machine.diskFaults.writeError = 0.01;
    machine.diskFaults.syncError = 0.01;
    for (;;) {
      promised.begun = Math.max(promised.begun, count + 1);
      await file.write(record(count + 1), count * RECORD_BYTES);
      promised.records = ++count;
      if (count % 8 === 0) await replaceManifest(disk, promised, { n: count, mutant });
      await new Promise<void>((resolve) => node.runtime.timers.set(25, resolve));
    }
  };

  const start = (on: SimMachine): void => {
    on.diskFaults.writeError = 0;
    on.diskFaults.syncError = 0;
    const node = on.start();
    program(node).catch((error: unknown) => {
      // A program whose disk fails ends; so does this one, and somebody starts it again.
      if (!isDbError(error, "diskFailed")) throw error;
      node.kill();
      simulation.schedule(100, null, "restart", () => on.nodes.length === 0 && start(on));
    });
  };

  await simulation.run(async () => {
    start(machine);
    await chaos(simulation, { machines: [machine], durationMs: 60_000, everyMs: 1500, start });
    await simulation.sleep(2000);
  });
  ok(restarts > 1 && promised.records > 0, `${restarts} restarts, ${promised.records} records`);
  return simulation.trace.digest();
}

const record = (n: number): Buffer => Buffer.alloc(RECORD_BYTES, `record ${n};`);

/** A record is its name over and over, so each byte tells whether it is there. */
function isRecord(bytes: Buffer, n: number): boolean {
  const name = `record ${n};`;
  const half = bytes.subarray(0, bytes.length - name.length);
  if (bytes.length !== RECORD_BYTES || bytes.latin1Slice(0, name.length) !== name) return false;
  return half.equals(bytes.subarray(name.length));
}

/** The number of whole records from the start on. */
async function checkRecords(disk: Disk, promised: Promised): Promise<number> {
  const bytes = await disk.readFile(`${DIRECTORY}/journal`, 1 << 24);
  assert(bytes !== null, "the journal is there");
  let count = 0;
  while (isRecord(bytes.subarray(count * RECORD_BYTES, (count + 1) * RECORD_BYTES), count + 1)) count++;
  ok(count >= promised.records, `${promised.records} records were acknowledged, ${count} are there`);
  ok(count <= promised.begun, `${promised.begun} records were begun, ${count} are there`);
  return count;
}

async function checkManifest(disk: Disk, promised: Promised): Promise<void> {
  const bytes = await disk.readFile(`${DIRECTORY}/manifest`, 1000);
  const found = bytes === null ? 0 : Number(/^manifest (\d+) end$/.exec(bytes.toString())?.[1] ?? Number.NaN);
  ok(found >= promised.manifest, `manifest ${promised.manifest} was acknowledged, ${found} is there`);
  ok(found <= promised.manifestBegun, `manifest ${promised.manifestBegun} was begun, ${found} is there`);
}

async function replaceManifest(
  disk: Disk,
  promised: Promised,
  { n, mutant }: { n: number; mutant: JournalMutant | undefined },
): Promise<void> {
  promised.manifestBegun = Math.max(promised.manifestBegun, n);
  const path = `${DIRECTORY}/manifest`;
  const firstPath = mutant === "replaced in place" ? path : `${path}.new`;
  await disk.writeFile(firstPath, Buffer.from(`manifest ${n} end`));
  if (firstPath !== path) await disk.rename(firstPath, path);
  if (mutant !== "names not synced") await disk.syncDirectory(DIRECTORY);
  promised.manifest = n;
}
