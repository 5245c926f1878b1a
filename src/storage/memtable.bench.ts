import { Memtable } from "./memtable.ts";
import { AT_HEAD, type Entry, KEYS } from "./storage.ts";

/** Rates of the memtable, in processor time of its thread: `t4-node src/storage/memtable.bench.ts [keys]`. */
const total = Number(process.argv[2] ?? 100_000);
const value = Buffer.alloc(100, 1);

/** A fresh flat string each time, as the wire decoder makes them. */
const template = Buffer.from("/registry/pods/000000000");
const digits = template.length;
function name(i: number): string {
  for (let d = 1; d <= 9; d++) {
    template[digits - d] = 48 + (i % 10);
    i = Math.floor(i / 10);
  }
  return template.latin1Slice();
}

function entry(key: string, main: number, effect: 0 | 1): Entry {
  return { space: KEYS, key, main, sub: 0, tombstone: false, effect, bytes: value, start: 0, end: value.length };
}

function time(what: string, count: number, run: () => void): void {
  const from = process.threadCpuUsage();
  run();
  const used = process.threadCpuUsage(from);
  const ms = (used.user + used.system) / 1000;
  console.log(`${what}: ${(count / ms / 1000).toFixed(2)} M/s, ${((ms / count) * 1e6).toFixed(0)} ns each`);
}

const order = Array.from({ length: total }, (_, i) => (i * 7919) % total);
for (let round = 0; round < 3; round++) {
  console.log(`round ${round}, ${total} keys`);
  time("making a key (in all that follows)", total, () => {
    for (let i = 0; i < total; i++) name(order[i]!);
  });
  const sequential = new Memtable();
  time("insert sequential", total, () => {
    for (let i = 0; i < total; i++) sequential.apply(entry(name(i), i + 2, 1));
  });
  global.gc?.();
  const before = process.memoryUsage();
  const random = new Memtable();
  time("insert random", total, () => {
    for (let i = 0; i < total; i++) random.apply(entry(name(order[i]!), i + 2, 1));
  });
  global.gc?.();
  const after = process.memoryUsage();
  const real = after.heapUsed - before.heapUsed + after.arrayBuffers - before.arrayBuffers;
  console.log(
    `bytes counted ${random.bytes}, really ${real}, a key ${(real / total - 100).toFixed(0)} beside its value`,
  );
  time("overwrite random", total, () => {
    for (let i = 0; i < total; i++) random.apply(entry(name(order[i]!), total + i + 2, 0));
  });
  let found = 0;
  time("get random", total, () => {
    for (let i = 0; i < total; i++) if (random.find(KEYS, name(order[i]!), AT_HEAD) !== null) found++;
  });
  time("scan", total, () => {
    const cursor = random.cursor(KEYS, { from: "", to: null }, AT_HEAD, false);
    for (; cursor.version !== null; cursor.advance()) found++;
  });
  time("count at the head", 10_000, () => {
    for (let i = 0; i < 10_000; i++) found += random.count(KEYS, { from: name(order[i]!), to: null }, AT_HEAD);
  });
  time("count ten keys back", 10_000, () => {
    for (let i = 0; i < 10_000; i++) found += random.count(KEYS, { from: name(order[i]!), to: null }, total - 10);
  });
  if (found < 0) throw new Error("never");
}
