import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { emptied, etcd, peersBin, type System, type SystemSpec, stop, t4 } from "./systems.ts";

/**
 * What takes very many watchers and leases. Each phase runs against a fresh server, by a tool lean enough to share two
 * cores with it (scaleload), which fails when an event or a keep-alive is lost.
 */
export interface ScaleCase {
  readonly name: string;
  readonly target: string;
  readonly args: (scale: number) => string[];
  /** etcd's own pace makes it a matter of a minute: left out beside it. */
  readonly t4Only?: boolean;
  /** From the tool's lines: whether the target was reached. */
  readonly reached: (output: string) => boolean;
}

export interface ScaleResult {
  readonly name: string;
  readonly system: string;
  readonly lines: readonly string[];
  readonly verdict: string;
}

const seconds = (most: number, scale: number): string => `${Math.max(10, Math.round(most * scale))}s`;

/** The number behind `name=` in the line that begins with `line`; NaN where it is not. */
function figure(output: string, line: string, name: string): number {
  const found = output.split("\n").find((one) => one.startsWith(line)) ?? "";
  return Number(new RegExp(` ${name}=(-?[\\d.]+)`).exec(found)?.[1] ?? Number.NaN);
}

export const scaleCases: readonly ScaleCase[] = [
  {
    name: "10,000 watchers of one key, 100 connections, 10 puts/s",
    target: "p99 from put to event ≤ 50 ms, none lost",
    args: (scale) => ["watch", "-watchers=10000", "-conns=100", "-rate=10", `-for=${seconds(60, scale)}`],
    reached: (output) => figure(output, "put to event", "p99") <= 50,
  },
  {
    name: "10 watchers, 20 puts/s",
    target: "an event ≤ 2 ms after its put's answer (median)",
    args: () => ["watch", "-watchers=10", "-conns=10", "-rate=20", "-for=10s"],
    reached: (output) => figure(output, "acknowledged to event", "p50") <= 2,
  },
  {
    name: "100,000 leases kept every 10 s, 1,000 streams, 10 connections",
    target: "≤ 25 % of a core",
    args: (scale) => [
      ...["keep", "-n=100000", "-streams=1000", "-conns=10", "-every=10s", "-ttl=60"],
      `-for=${seconds(30, scale)}`,
    ],
    reached: (output) => figure(output, "keep-alives", "server_cores") <= 0.25,
  },
  {
    name: "50,000 leases with a key each due within a second, 500 puts/s",
    target: "all revoked ≤ 5 s after the last was due",
    args: () => ["expire", "-n=50000", "-conns=10", "-ttl=20", "-rate=500"],
    t4Only: true,
    reached: (output) => figure(output, "expired", "last") <= 5,
  },
];

export async function scaleResults(
  directory: string,
  { scale, only }: { scale: number; only: string },
): Promise<ScaleResult[]> {
  const results: ScaleResult[] = [];
  let port = 23_900;
  for (const one of scaleCases.filter(({ name }) => name.includes(only))) {
    for (const spec of one.t4Only === true ? [t4] : [t4, etcd]) {
      const result = await measured(one, spec, { place: emptied(join(directory, `scale-${port}`)), port, scale });
      console.error(scaleText([result]));
      results.push(result);
      port += 3;
    }
  }
  return results;
}

async function measured(
  one: ScaleCase,
  spec: SystemSpec,
  { place, port, scale }: { place: string; port: number; scale: number },
): Promise<ScaleResult> {
  const system: System = await spec.start(place, port);
  try {
    const pid = system.processes[0]!.pid!;
    const args = [...one.args(scale), `-endpoint=${system.endpoint}`, `-pid=${pid}`];
    const [command = "", ...rest] = args;
    const { stdout } = await promisify(execFile)(join(peersBin, "scaleload"), [command, ...rest], { timeout: 180_000 });
    const verdict = spec === t4 ? `${one.target} ${one.reached(stdout) ? "✓" : "✗"}` : "";
    return { name: one.name, system: system.name, lines: stdout.trim().split("\n"), verdict };
  } finally {
    await stop(system);
  }
}

export function scaleText(results: readonly ScaleResult[]): string {
  return results
    .map(({ name, system, lines, verdict }) => {
      const said = verdict === "" ? "" : `: ${verdict}`;
      return [`- ${name}, ${system}${said}`, ...lines.map((line) => `  - ${line}`)].join("\n");
    })
    .join("\n");
}
