/**
 * Puts, point reads and Kubernetes' transactions in process, over the tree in memory and a log that is durable at the
 * end of each batch: what the engine itself costs, the collector's threads included (so that other work on the machine
 * disturbs less).
 *
 *   t4-node src/engine/engine.bench.ts [thousand operations]
 */
import { FakeLog, openRig } from "../../test/engine/doubles.ts";
import { compareMod, put, range, txn } from "../../test/engine/requests.ts";
import type { LogWriter } from "../log/log.ts";

const count = Number(process.argv[2] ?? 200) * 1000;
const BATCH = 100;

const { database, log, watch } = await openRig({ auto: false });
watch.committed = () => {};
let number = 0;
// Keeps nothing: the fake's copy of each record is not what is measured.
(log as LogWriter).append = () => ++number as never;
Object.defineProperty(FakeLog.prototype, "head", { get: () => number });

const keys = Array.from({ length: 50_000 }, (_, i) => `/registry/pods/default/pod-${String(i).padStart(8, "0")}`);
const value = Buffer.alloc(256, 0x61);

async function measure(name: string, operation: (i: number) => unknown, writes: boolean): Promise<void> {
  const before = process.cpuUsage();
  for (let done = 0; done < count; done += BATCH) {
    const answers: unknown[] = [];
    for (let i = 0; i < BATCH; i++) answers.push(operation(done + i));
    if (writes) {
      log.durable = number as never;
      log.onDurable(log.durable);
      await Promise.all(answers);
    }
  }
  const { user, system } = process.cpuUsage(before);
  console.log(`${name.padEnd(32)} ${((user + system) / count).toFixed(2)} µs of CPU`);
}

const request = put("", "");
for (let round = 0; round < 2; round++) {
  await measure("put", (i) => database.put({ ...request, key: keys[i % keys.length]!, value }), true);
  await measure("get", (i) => database.range(range(keys[(i * 7919) % keys.length]!)), false);
  await measure(
    "txn: compare mod, put, else get",
    (i) => {
      const key = keys[i % keys.length]!;
      return database.txn(txn([{ ...request, key, value }], [range(key)], [compareMod(key, 1, "greater")]));
    },
    true,
  );
}
