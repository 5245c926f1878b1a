import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { branchId, type Epoch, type ObjectKey, type RecordNumber, type Revision } from "../base/ids.ts";
import { MemoryStore } from "../objects/memory.ts";
import { createNodeRuntime } from "../runtime/node.ts";
import { firstPosition } from "./chain.ts";
import { LocalLog } from "./local-log.ts";
import { readLocalLog } from "./local-log-reader.ts";
import { defaultLogSettings, type LogWriter } from "./log.ts";
import { RecordBatch } from "./record-batch.ts";
import { markOfPosition } from "./record-codec.ts";
import { decodeSegment, SEGMENT_HEADER_BYTES, SEGMENT_TRAILER_BYTES, sealSegment } from "./segment-codec.ts";
import { createLogWriter } from "./writer.ts";

/**
 * t4-node src/log/log.bench.ts [payload bytes]: cost of an append, acknowledged appends and syncs a second, and of
 * reading back.
 */
const payload = Buffer.alloc(Number(process.argv[2] ?? 200), "v");
const runtime = createNodeRuntime();
const branch = branchId("0".repeat(32));
const nonce = "0".repeat(16);
const MEASURED_MS = 2000;

function encoding(): void {
  const count = 5000;
  const batch = new RecordBatch({
    headerBytes: SEGMENT_HEADER_BYTES,
    trailerBytes: SEGMENT_TRAILER_BYTES,
    before: markOfPosition(firstPosition),
    bytes: Buffer.alloc(1024),
  });
  const rounds = 100;
  const cpuMs = () => process.cpuUsage().user / 1000;
  const startMs = cpuMs();
  for (let round = 0; round < rounds; round++) {
    batch.follow(markOfPosition(firstPosition));
    for (let n = 0; n < count; n++) batch.append(payload, (n + 2) as Revision, 1 as Epoch, runtime.clock.wallMs());
  }
  const appendMs = cpuMs() - startMs;
  const place = {
    branch,
    nonce,
    epoch: 1 as Epoch,
    slot: firstPosition.nextSlot,
    previousHash: firstPosition.lastHash,
  };
  const bytes = sealSegment(batch, place);
  const decodeStartMs = cpuMs();
  for (let round = 0; round < rounds; round++) decodeSegment("bench" as ObjectKey, bytes);
  const decodeMs = cpuMs() - decodeStartMs;
  const perRecord = (ms: number) => ((ms / rounds / count) * 1e6).toFixed(0);
  console.log(
    `CPU a record: encode ${perRecord(appendMs)} ns, decode with both checksums and hash ${perRecord(decodeMs)} ns`,
  );
}

/** So many clients, each with one append under way. */
async function closedLoop(name: string, writer: LogWriter, clients: number): Promise<void> {
  let revision: number = firstPosition.revision;
  let appended = 0;
  let done = 0;
  let appendMs = 0;
  const started: number[] = [];
  const latencies: number[] = [];
  const first = writer.head;
  const append = (): void => {
    started.push(runtime.clock.monotonicMs());
    writer.append({ payload, revision: ++revision as Revision });
    appended++;
  };
  await new Promise<void>((resolve, reject) => {
    const endMs = runtime.clock.monotonicMs() + MEASURED_MS;
    writer.onFailed = reject;
    writer.onDurable = (durable: RecordNumber) => {
      const nowMs = runtime.clock.monotonicMs();
      const count = durable - first - done;
      for (let n = 0; n < count; n++) latencies.push(nowMs - started[done + n]!);
      done += count;
      if (nowMs >= endMs) {
        if (done === appended) resolve();
        return;
      }
      for (let n = 0; n < count; n++) append();
      appendMs += runtime.clock.monotonicMs() - nowMs;
    };
    for (let n = 0; n < clients; n++) append();
  });
  latencies.sort((a, b) => a - b);
  const { localSyncs, localSyncMs, segmentsWritten } = writer.stats();
  const at = (part: number) => latencies[Math.floor(latencies.length * part)]!.toFixed(3);
  const rate = (count: number) => Math.round((count / MEASURED_MS) * 1000);
  const synced = localSyncs > 0 ? `, ${rate(localSyncs)} syncs/s of ${localSyncMs.toFixed(3)} ms` : "";
  console.log(
    `${name}, ${clients} clients: ${rate(done)} appends/s${synced}, ${rate(segmentsWritten)} segments/s, ` +
      `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, ${((appendMs / done) * 1000).toFixed(2)} µs in append`,
  );
  await writer.close();
}

async function local(clients: number): Promise<void> {
  const data = await mkdtemp(join(tmpdir(), "t4-log-"));
  const directory = join(data, "log");
  try {
    const startMs = runtime.clock.monotonicMs();
    const content = await readLocalLog({ disk: runtime.disk, directory, branch });
    const after = markOfPosition(firstPosition);
    const options = { runtime, directory, branch, epoch: 1 as Epoch, content, after, uploaded: after.number };
    const log = await LocalLog.start({ ...options, discard: false });
    const openMs = runtime.clock.monotonicMs() - startMs;
    const store = new MemoryStore(runtime);
    const settings = { ...defaultLogSettings, uploadBytesMax: 2 ** 31 };
    const writer = createLogWriter({
      runtime,
      store,
      branch,
      epoch: 1 as Epoch,
      nonce,
      position: firstPosition,
      settings,
      log,
    });
    await closedLoop(`local (opened in ${openMs.toFixed(0)} ms)`, writer, clients);
    const readStartMs = runtime.clock.monotonicMs();
    const { tail } = await readLocalLog({ disk: runtime.disk, directory, branch });
    const readMs = runtime.clock.monotonicMs() - readStartMs;
    console.log(
      `  reading it back: ${tail?.records.length} records not known to be uploaded, in ${readMs.toFixed(0)} ms`,
    );
  } finally {
    await rm(data, { recursive: true });
  }
}

async function object(clients: number): Promise<void> {
  const store = new MemoryStore(runtime);
  const settings = defaultLogSettings;
  const writer = createLogWriter({
    runtime,
    store,
    branch,
    epoch: 1 as Epoch,
    nonce,
    position: firstPosition,
    settings,
  });
  await closedLoop("object, in memory", writer, clients);
}

encoding();
encoding();
for (const clients of [1, 10, 100]) await local(clients);
for (const clients of [1, 100]) await object(clients);
