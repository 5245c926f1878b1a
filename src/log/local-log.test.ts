import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { test } from "node:test";
import { at, branch, number, start } from "../../test/log/samples.ts";
import type { SimMachine } from "../../test/sim/machine.ts";
import { createSimulation } from "../../test/sim/simulation.ts";
import type { Epoch, Revision } from "../base/ids.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { LocalLog, type LocalLogOptions } from "./local-log.ts";
import { FRAME_HEADER_BYTES } from "./local-log-codec.ts";
import { fileName, lastOfTail, readLocalLog } from "./local-log-reader.ts";
import { RecordBatch } from "./record-batch.ts";
import { markOfPosition, type RecordMark } from "./record-codec.ts";

const directory = "/data/log";
const settings = { firstFileBytes: 4096, fileBytesMax: 8192 };

function withDisk(story: (machine: SimMachine, runtime: Runtime) => Promise<void>): Promise<void> {
  const simulation = createSimulation(3);
  const machine = simulation.machine("a");
  return simulation.run(async () => {
    const { runtime } = machine.start();
    await runtime.disk.makeDirectory("/data");
    await story(machine, runtime);
  });
}

async function open(runtime: Runtime, options: Partial<LocalLogOptions> = {}) {
  const content = await readLocalLog({ disk: runtime.disk, directory, branch });
  const after = content.tail ? lastOfTail(content.tail) : markOfPosition(start);
  const epoch = (content.epoch + 1) as Epoch;
  const log = await LocalLog.start({
    runtime,
    directory,
    branch,
    epoch,
    content,
    after,
    uploaded: number(0),
    discard: false,
    settings,
    ...options,
  });
  return { content, log, writer: new Frames(log, options.after ?? after, options.epoch ?? epoch) };
}

/** Writes one frame after another. */
class Frames {
  readonly log: LocalLog;
  readonly #batch: RecordBatch;
  readonly #epoch: Epoch;

  constructor(log: LocalLog, before: RecordMark, epoch: Epoch) {
    this.log = log;
    this.#epoch = epoch;
    this.#batch = new RecordBatch({
      headerBytes: FRAME_HEADER_BYTES,
      trailerBytes: 0,
      before,
      bytes: Buffer.alloc(128),
    });
  }

  async write(bytes: number, count = 1): Promise<void> {
    for (let n = 0; n < count; n++) {
      const revision = (this.#batch.last.revision + 1) as Revision;
      this.#batch.append(Buffer.alloc(bytes, this.#batch.lastRecord), revision, this.#epoch, 0);
      await this.log.write(this.#batch);
      this.#batch.restart();
    }
  }
}

const files = async (runtime: Runtime) => (await runtime.disk.list(directory)).map((name) => name.replace(/-0+/, "-"));

test("an empty log starts with one small file; what is written comes back", () =>
  withDisk(async (_machine, runtime) => {
    const { content, log, writer } = await open(runtime);
    deepEqual(content, { tail: null, epoch: 0, files: [], notes: [] });
    await writer.write(100, 3);
    await log.close();
    const again = await readLocalLog({ disk: runtime.disk, directory, branch });
    deepEqual(again.tail?.before, markOfPosition(start));
    deepEqual(
      again.tail?.records.map((record) => [record.number, record.epoch, record.revision, record.payload.length]),
      [
        [1, 1, 2, 100],
        [2, 1, 3, 100],
        [3, 1, 4, 100],
      ],
    );
    deepEqual([again.epoch, again.notes], [1, []]);
  }));

test("each start goes on in a file of its own, and keeps what is not in the bucket", () =>
  withDisk(async (_machine, runtime) => {
    for (let n = 1; n <= 3; n++) {
      const { content, log, writer } = await open(runtime);
      equal(content.tail?.records.length ?? 0, (n - 1) * 2);
      await writer.write(50, 2);
      await log.close();
    }
    deepEqual(await files(runtime), ["log-1", "log-2", "log-3"]);
    const { content, log } = await open(runtime);
    deepEqual(
      content.tail?.records.map((record) => record.epoch),
      [1, 1, 2, 2, 3, 3],
    );
    await log.close();
  }));

test("a log that grows makes its next file ahead; what is in the bucket goes, oldest first, and is used again", () =>
  withDisk(async (machine, runtime) => {
    const { log, writer } = await open(runtime);
    for (let n = 0; n < 60; n++) {
      await writer.write(1000);
      await machine.simulation.sleep(20);
    }
    equal(log.trouble, null);
    const grown = await files(runtime);
    ok(grown.length >= 7, `${grown}`);
    log.uploaded(number(30));
    await machine.simulation.sleep(2000);
    ok((await files(runtime)).length < grown.length);
    ok(!(await files(runtime)).includes("log-1"));
    log.uploaded(number(60));
    for (let n = 0; n < 10; n++) {
      await writer.write(1000);
      await machine.simulation.sleep(20);
      log.uploaded(number(60 + n));
      await machine.simulation.sleep(200);
    }
    ok((await files(runtime)).length <= 3, `${await files(runtime)}`);
    await log.close();
    const { tail } = await readLocalLog({ disk: runtime.disk, directory, branch });
    equal(tail && lastOfTail(tail).number, 70);
    ok(tail && tail.records.length <= 3, "only what may be missing in the bucket is decoded");
  }));

test("while the next file is not ready the present one grows", () =>
  withDisk(async (machine, runtime) => {
    const { log, writer } = await open(runtime);
    await writer.write(10_000, 3);
    await writer.write(100, 50);
    await log.close();
    await machine.simulation.sleep(100);
    const { tail } = await readLocalLog({ disk: runtime.disk, directory, branch });
    equal(tail?.records.length, 53);
  }));

test("a torn end is cut off for good, and noted", () =>
  withDisk(async (_machine, runtime) => {
    const first = await open(runtime);
    await first.writer.write(100, 2);
    await first.log.close();
    const path = `${directory}/${fileName(1)}`;
    const end = 512 + FRAME_HEADER_BYTES + 2 * (FRAME_HEADER_BYTES + 108);
    const file = await runtime.disk.open(path, { create: false });
    await file!.write(Buffer.of(0xff), end - 50);
    await file!.close();
    const second = await open(runtime);
    equal(second.content.tail?.records.length, 1);
    deepEqual(second.content.notes, [
      `local log ${path}: a torn write at byte ${end - 188} was never confirmed: cut off`,
    ]);
    await second.writer.write(100);
    await second.log.close();
    const third = await readLocalLog({ disk: runtime.disk, directory, branch });
    deepEqual(third.notes, []);
    deepEqual(
      third.tail?.records.map((record) => record.epoch),
      [1, 2],
    );
  }));

test("a file that was removed and came back with a crash, alone, is passed over", () =>
  withDisk(async (machine, runtime) => {
    const { disk } = runtime;
    const path = `${directory}/${fileName(1)}`;
    let bytes: Buffer | null = null;
    for (let n = 0; n < 3; n++) {
      const { log, writer } = await open(runtime, n < 2 ? {} : { uploaded: number(2) });
      await writer.write(50);
      bytes ??= await disk.readFile(path, 10_000);
      await machine.simulation.sleep(100);
      await log.close();
    }
    deepEqual(await files(runtime), ["log-3"], "two records were in the bucket at the third start");
    await disk.writeFile(path, bytes!);
    const { tail, notes } = await readLocalLog({ disk, directory, branch });
    deepEqual(
      tail?.records.map((record) => record.number),
      [3],
    );
    equal(notes.length, 1);
    ok(/log-0+1: a file that was removed is there again/.test(notes[0]!));
    const { log, writer } = await open(runtime, { uploaded: number(2) });
    await writer.write(50);
    await machine.simulation.sleep(100);
    await log.close();
    deepEqual(await files(runtime), ["log-3", "log-4"]);
  }));

test("whichever of the files that were removed a crash brings back, the log is read", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const simulation = createSimulation(seed);
    const machine = simulation.machine("a");
    await simulation.run(async () => {
      let { runtime } = machine.start();
      await runtime.disk.makeDirectory("/data");
      await runtime.disk.syncDirectory("/");
      const { log, writer } = await open(runtime);
      for (let n = 0; n < 30; n++) {
        await writer.write(1000);
        await simulation.sleep(20);
      }
      if (seed % 2 === 0) {
        // Nothing is written any more that could tell the next start of it.
        log.uploaded(number(30));
        await simulation.sleep(2000);
      } else {
        await log.close();
        void open(runtime, { discard: true, uploaded: number(30) });
        await simulation.sleep(seed / 20);
      }
      machine.crash();
      runtime = machine.start().runtime;
      const { tail } = await readLocalLog({ disk: runtime.disk, directory, branch });
      // What is discarded may have gone, the oldest first.
      if (seed % 2 === 0 || tail !== null) equal(tail && lastOfTail(tail).number, 30);
    });
  }
});

test("a gap in what is not uploaded is corrupt", () =>
  withDisk(async (_machine, runtime) => {
    for (let n = 0; n < 3; n++) {
      const { log, writer } = await open(runtime);
      await writer.write(50);
      await log.close();
    }
    await runtime.disk.remove(`${directory}/${fileName(2)}`);
    await rejects(readLocalLog({ disk: runtime.disk, directory, branch }), {
      kind: "corrupt",
      message: /log-0+1: ends with record 1, expected 2/,
    });
  }));

test("a log of a later epoch is not written by an earlier one", () =>
  withDisk(async (_machine, runtime) => {
    const { log } = await open(runtime, { epoch: 5 as Epoch });
    await log.close();
    await rejects(open(runtime, { epoch: 4 as Epoch }), { kind: "leadershipLost", message: /written by epoch 5/ });
  }));

test("what a disk outside the set has is discarded by name, and the log goes on where the bucket ends", () =>
  withDisk(async (_machine, runtime) => {
    const { log, writer } = await open(runtime);
    await writer.write(50, 4);
    await log.close();
    const position = at({
      nextSlot: 90,
      highestEpoch: 7,
      lastRecord: 300,
      lastRecordEpoch: 6,
      revision: 200,
      wallMs: 9,
    });
    const again = await open(runtime, {
      discard: true,
      after: markOfPosition(position),
      uploaded: position.lastRecord,
      epoch: 8 as Epoch,
    });
    equal(again.log.notes.length, 1);
    ok(/log-0+1, up to record 4 of epochs before 8, was discarded/.test(again.log.notes[0]!));
    await again.writer.write(50);
    await again.log.close();
    const { tail } = await readLocalLog({ disk: runtime.disk, directory, branch });
    deepEqual([tail?.before.number, tail?.before.epoch, tail?.records.length], [300, 6, 1]);
  }));

test("a disk that refuses a write fails it, and nothing may follow", () =>
  withDisk(async (machine, runtime) => {
    const { log, writer } = await open(runtime);
    await writer.write(50);
    machine.diskFaults.writeError = 1;
    await rejects(writer.write(50), { kind: "diskFailed" });
    machine.diskFaults.writeError = 0;
    await rejects(writer.write(50), /one frame is written at a time/);
    await log.close();
  }));
