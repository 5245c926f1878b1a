import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { decodeSegmentHeader, SEGMENT_HEADER_BYTES } from "../../src/log/segment-codec.ts";
import { parseKey } from "../../src/objects/keys.ts";

/** What is looked at again and again; a number that does not apply is absent. */
export type Sample = { readonly atMs: number; readonly life: number } & Readonly<Record<string, number>>;

export interface Tree {
  files: number;
  bytes: number;
}

/** Files below a directory, and what they take of the disk; those that vanish meanwhile do not count. */
export function treeOf(directory: string, each?: (path: string, bytes: number) => void): Tree {
  const tree = { files: 0, bytes: 0 };
  let entries: string[];
  try {
    entries = readdirSync(directory, { recursive: true, encoding: "utf8" });
  } catch {
    return tree;
  }
  for (const entry of entries) {
    try {
      const stat = lstatSync(join(directory, entry));
      if (!stat.isFile()) continue;
      tree.files++;
      tree.bytes += stat.blocks * 512;
      each?.(entry, stat.size);
    } catch {
      // Deleted since it was listed.
    }
  }
  return tree;
}

/** Bytes of fences are the same for ever: looked at once. */
const FENCE_BYTES_MAX = 1024;

/** Objects of a repository that lies in a directory, by kind; fences apart, for they stay for ever. */
export class Bucket {
  readonly #directory: string;
  readonly #fences = new Map<string, boolean>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  look(): Record<string, number> {
    const counts: Record<string, number> = {};
    const add = (name: string, by: number) => {
      counts[name] = (counts[name] ?? 0) + by;
    };
    for (const kind of [
      "segment",
      "fence",
      "table",
      "checkpoint",
      "session",
      "collection",
      "collectionDone",
      "foreign",
    ])
      counts[`objects.${kind}`] = 0;
    treeOf(this.#directory, (path, bytes) => {
      const kind = this.#kindOf(path, bytes);
      add(`objects.${kind}`, 1);
      add("bucket.objects", kind === "fence" ? 0 : 1);
      add("bucket.bytes", kind === "fence" ? 0 : bytes);
    });
    return counts;
  }

  #kindOf(path: string, bytes: number): string {
    const kind = parseKey(path)?.kind ?? "foreign";
    if (kind !== "segment" || bytes > FENCE_BYTES_MAX) return kind;
    let fence = this.#fences.get(path);
    if (fence === undefined) {
      fence = this.#isFence(path, bytes);
      this.#fences.set(path, fence);
    }
    return fence ? "fence" : "segment";
  }

  #isFence(path: string, bytes: number): boolean {
    const file = openSync(join(this.#directory, path), "r");
    try {
      const header = Buffer.alloc(SEGMENT_HEADER_BYTES);
      readSync(file, header, 0, header.length, 0);
      return decodeSegmentHeader(path as never, header, bytes).fence;
    } finally {
      closeSync(file);
    }
  }
}

const MiB = 2 ** 20;

/** Memory, descriptors and threads of a process; nothing once it is gone. */
export function processOf(pid: number): Record<string, number> {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const field = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? Number.NaN);
    return {
      "process.rssMiB": (field("VmRSS") * 1024) / MiB,
      "process.threads": field("Threads"),
      "process.descriptors": readdirSync(`/proc/${pid}/fd`).length,
    };
  } catch {
    return {};
  }
}

/** Of /metrics: by its name there, as it is called here. */
const gauges: Readonly<Record<string, readonly [name: string, unit: number]>> = {
  nodejs_heap_size_used_bytes: ["process.heapUsedMiB", MiB],
  nodejs_external_memory_bytes: ["process.externalMiB", MiB],
  nodejs_active_resources_total: ["process.resources", 1],
  etcd_debugging_mvcc_watcher_total: ["server.watchers", 1],
  etcd_debugging_mvcc_watch_stream_total: ["server.watchStreams", 1],
  t4_connections: ["server.connections", 1],
  t4_streams: ["server.streams", 1],
  t4_leases: ["server.leases", 1],
  t4_tables: ["server.tables", 1],
  t4_memtable_bytes: ["server.memtableMiB", MiB],
  t4_cache_memory_bytes: ["server.cacheMemoryMiB", MiB],
  t4_cache_disk_bytes: ["server.cacheDiskMiB", MiB],
  etcd_debugging_mvcc_keys_total: ["server.keys", 1],
  t4_epoch: ["server.epoch", 1],
};
/** Counters that begin anew with each process; what they came to is summed up over all of them. */
const counters: Readonly<Record<string, string>> = {
  t4_collected_objects_total: "collected objects",
  t4_collected_bytes_total: "collected bytes",
  t4_cache_disk_written_total: "pieces written to the disk cache",
  t4_cache_disk_hits_total: "pieces found in the disk cache",
  t4_cache_disk_bad_total: "pieces found bad",
};

export async function metricsOf(
  url: string,
): Promise<{ gauges: Record<string, number>; counters: Map<string, number> }> {
  const found = { gauges: {} as Record<string, number>, counters: new Map<string, number>() };
  let body: string;
  try {
    body = await (await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(3000) })).text();
  } catch {
    return found;
  }
  for (const line of body.split("\n")) {
    const [name = "", value = ""] = line.split(" ", 2);
    const gauge = gauges[name];
    if (gauge !== undefined) found.gauges[gauge[0]] = Number(value) / gauge[1];
    const counter = counters[name];
    if (counter !== undefined) found.counters.set(counter, Number(value));
  }
  return found;
}
