import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { PutRequestSchema, RangeRequestSchema } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import type { Load } from "./measure.ts";
import { peersBin, type System } from "./systems.ts";

type Figures = ReturnType<Load["parse"]>;

/** The summary blocks that etcd's `benchmark` prints; several where it measures several things. */
function summaries(output: string): Figures[] {
  const blocks = output.split(/(?=Summary:|summary:)/).filter((block) => block.includes("Requests/sec:"));
  if (blocks.length === 0) throw new Error(`no summary in: ${output.slice(-500)}`);
  const errors = /Error distribution:\n(.*)/.exec(output);
  if (errors !== null) throw new Error(`the load tool saw errors: ${errors[1]}`);
  return blocks.map((block) => ({
    opsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(block)![1]),
    p50Ms: quantile(block, "50"),
    p99Ms: quantile(block, "99"),
  }));
}

function quantile(block: string, percent: string): number | null {
  const match = new RegExp(`^\\s*${percent}% in ([\\d.]+)`, "m").exec(block);
  return match === null ? null : Number(match[1]) * 1000;
}

/** Of several summaries: the sum of rates (reads and writes of a mix), the worst latencies. */
function together(figures: Figures[]): Figures {
  const worst = (of: (f: Figures) => number | null) => Math.max(...figures.map((f) => of(f) ?? 0));
  return {
    opsPerSecond: figures.reduce((sum, f) => sum + f.opsPerSecond, 0),
    p50Ms: worst((f) => f.p50Ms),
    p99Ms: worst((f) => f.p99Ms),
  };
}

export interface Shape {
  clients: number;
  connections: number;
}

export function benchmark(endpoint: string, shape: Shape, args: string[], operations: number): Load {
  const { clients, connections } = shape;
  return {
    command: join(peersBin, "benchmark"),
    args: ["--endpoints", endpoint, "--conns", `${connections}`, "--clients", `${clients}`, ...args],
    operations,
    parse: (output) => together(summaries(output)),
  };
}

/**
 * 1,000 watchers on 10 keys in 10 streams: each put is delivered to 100. Only the last summary counts, the events that
 * watchers received.
 */
export function watchBenchmark(endpoint: string, puts: number): Load {
  const keys = ["--watched-key-total=10", "--key-space-size=10", "--sequential-keys"];
  const args = ["watch", "--streams=10", "--watch-per-stream=100", ...keys, `--put-total=${puts}`];
  const load = benchmark(endpoint, { clients: 10, connections: 10 }, args, puts * 100);
  return { ...load, parse: (output) => summaries(output).at(-1)! };
}

export function kvload(endpoint: string, args: string[], operations: number): Load {
  return {
    command: join(peersBin, "kvload"),
    args: [args[0]!, "-endpoints", endpoint, ...args.slice(1)],
    operations,
    parse(output) {
      const match = /errs=(\d+) secs=[\d.]+ rate=(\d+)\/s p50=([\d.]+)ms p99=([\d.]+)ms/.exec(output);
      if (match === null || match[1] !== "0") throw new Error(`kvload: ${output.slice(-500)}`);
      return { opsPerSecond: Number(match[2]), p50Ms: Number(match[3]), p99Ms: Number(match[4]) };
    },
  };
}

const key = Buffer.from("g00000000");
const bodies = {
  range: { method: "Range", bytes: toBinary(RangeRequestSchema, create(RangeRequestSchema, { key })) },
  put: {
    method: "Put",
    bytes: toBinary(PutRequestSchema, create(PutRequestSchema, { key, value: Buffer.alloc(256, "v") })),
  },
};

/** A gRPC call repeated by h2load. It checks HTTP's status, not gRPC's: the compatibility tests check the answers. */
export function h2load(
  { endpoint, scheme, headers = [] }: Pick<System, "endpoint" | "scheme" | "headers">,
  what: keyof typeof bodies,
  shape: Shape,
  operations: number,
): Load {
  const { method, bytes } = bodies[what];
  const body = Buffer.alloc(5 + bytes.length);
  body.writeUInt32BE(bytes.length, 1);
  body.set(bytes, 5);
  const file = join(tmpdir(), `t4-bench-${what}.bin`);
  writeFileSync(file, body);
  const streams = shape.clients / shape.connections;
  return {
    command: "h2load",
    args: [
      ...["-n", `${operations}`, "-c", `${shape.connections}`, "-m", `${streams}`, "-t", "1", "-d", file],
      ...["-H", "content-type: application/grpc", "-H", "te: trailers"],
      ...headers.flatMap((header) => ["-H", header]),
      `${scheme ?? "http"}://${endpoint}/etcdserverpb.KV/${method}`,
    ],
    operations,
    parse(output) {
      const done = /finished in [\d.]+m?s, ([\d.]+) req\/s/.exec(output);
      const succeeded = /(\d+) succeeded/.exec(output);
      if (done === null || Number(succeeded?.[1]) !== operations) throw new Error(`h2load: ${output.slice(-500)}`);
      const mean = /time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)/.exec(output);
      const scale = { us: 0.001, ms: 1, s: 1000 }[mean?.[2] ?? ""] ?? Number.NaN;
      return { opsPerSecond: Number(done[1]), p50Ms: mean === null ? null : Number(mean[1]) * scale, p99Ms: null };
    },
  };
}
