import type { DbError } from "../../src/base/errors.ts";
import type { Epoch, RecordNumber, Revision } from "../../src/base/ids.ts";
import { LocalLog } from "../../src/log/local-log.ts";
import { readLocalLog } from "../../src/log/local-log-reader.ts";
import {
  defaultLogSettings,
  type LogPosition,
  type LogRecord,
  type LogSettings,
  type LogWriter,
} from "../../src/log/log.ts";
import { readLog } from "../../src/log/reader.ts";
import { markOfPosition } from "../../src/log/record-codec.ts";
import { createLogWriter, type LogWriterOptions } from "../../src/log/writer.ts";
import type { ObjectStore } from "../../src/objects/objects.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { MachineOptions, SimMachine } from "../sim/machine.ts";
import { createSimulation, type Simulation } from "../sim/simulation.ts";
import { branch, nonce, slotAt, start } from "./samples.ts";
import { ScriptedStore } from "./scripted-store.ts";

/** Runs `story` in a simulated world, in which the store does what the test says. */
export function withWriter(
  options: { settings?: Partial<LogSettings>; seed?: number } & Partial<Omit<LogWriterOptions, "settings">>,
  story: (world: World) => Promise<void>,
): Promise<void> {
  const simulation = createSimulation(options.seed ?? 1);
  return simulation.run(() => story(new World(simulation, options)));
}

/** Like withWriter, with a local log in /data/log. `disk` changes what the writer sees of it. */
export function withLocalWriter(
  options: {
    settings?: Partial<LogSettings>;
    seed?: number;
    disk?: (runtime: Runtime) => Runtime;
    machine?: MachineOptions;
  } & Partial<Omit<LogWriterOptions, "settings">>,
  story: (world: World, machine: SimMachine) => Promise<void>,
): Promise<void> {
  const simulation = createSimulation(options.seed ?? 1);
  const machine = simulation.machine("a", options.machine);
  return simulation.run(async () => {
    const { runtime: seen } = machine.start();
    const runtime = options.disk?.(seen) ?? seen;
    await runtime.disk.makeDirectory("/data");
    const content = await readLocalLog({ disk: runtime.disk, directory: "/data/log", branch });
    const position = options.position ?? start;
    const log = await LocalLog.start({
      runtime,
      directory: "/data/log",
      branch,
      epoch: options.epoch ?? (1 as Epoch),
      content,
      after: markOfPosition(position),
      uploaded: position.lastRecord,
      discard: false,
    });
    await story(new World(simulation, { ...options, runtime, log }), machine);
  });
}

/** What a writer has said, in order. */
export class Heard {
  readonly durable: RecordNumber[] = [];
  readonly failures: DbError[] = [];

  constructor(writer: LogWriter) {
    writer.onDurable = (durable) => this.durable.push(durable);
    writer.onFailed = (error) => this.failures.push(error);
  }
}

export class World {
  readonly simulation: Simulation;
  readonly runtime: Runtime;
  readonly store = new ScriptedStore();
  readonly writer: LogWriter;
  readonly heard: Heard;
  #revision: number;

  constructor(
    simulation: Simulation,
    options: { settings?: Partial<LogSettings>; log?: LocalLog } & Partial<Omit<LogWriterOptions, "settings">>,
  ) {
    this.simulation = simulation;
    this.runtime = options.runtime ?? simulation.machine("a").start().runtime;
    const position = options.position ?? start;
    this.#revision = options.reappend?.at(-1)?.revision ?? position.revision;
    this.writer = createLogWriter({
      store: this.store,
      branch,
      epoch: 1 as Epoch,
      nonce,
      ...options,
      runtime: this.runtime,
      position,
      settings: { ...defaultLogSettings, requestTimeoutMs: 1000, ...options.settings },
    });
    this.heard = new Heard(this.writer);
  }

  /** Methods are bound: a test takes those that it needs. */
  readonly append = (text: string | Uint8Array = "x"): RecordNumber => {
    const payload = typeof text === "string" ? Buffer.from(text) : text;
    return this.writer.append({ payload, revision: ++this.#revision as Revision });
  };

  /** Lets everything happen that needs no more than so much time. */
  readonly pass = (ms = 0): Promise<void> => this.simulation.sleep(ms);

  readonly read = (from: LogPosition = start): Promise<{ records: LogRecord[]; position: LogPosition }> =>
    readAll(this.store, from);
}

export async function readAll(
  store: ObjectStore,
  from: LogPosition = start,
): Promise<{ records: LogRecord[]; position: LogPosition }> {
  const records: LogRecord[] = [];
  const result = await readLog({
    store,
    branch,
    from,
    requestTimeoutMs: 1000,
    newestCheckpointSlot: async () => slotAt(1),
    onSegment: (segment) => void records.push(...segment.records),
  });
  if (result.kind === "broken") throw result.error;
  return { records, position: result.position };
}

export const textOf = (record: LogRecord): string => Buffer.from(record.payload).toString();
