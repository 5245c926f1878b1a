import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

/** Of one run of a load tool against one system. */
export interface Sample {
  opsPerSecond: number;
  p50Ms: number | null;
  p99Ms: number | null;
  /** Server CPU, microseconds an operation. */
  serverCpuUs: number;
  /** The load tool's own. */
  toolCpuUs: number;
  peakMiB: number;
}

export interface Load {
  command: string;
  args: string[];
  operations: number;
  parse: (output: string) => Pick<Sample, "opsPerSecond" | "p50Ms" | "p99Ms">;
}

const TICK_US = 10_000;
/** Ten million keys take two or three minutes. */
const LOAD_MS_MAX = 600_000;

/** User and system time that a process has used, and its ended children's, in microseconds. */
export function cpuUs(pid: number, options: { children: boolean } = { children: false }): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /s, "")
    .split(" ")
    .map(Number);
  const own = fields[11]! + fields[12]!;
  return (options.children ? fields[13]! + fields[14]! : own) * TICK_US;
}

function resetPeak(pid: number): void {
  try {
    writeFileSync(`/proc/${pid}/clear_refs`, "5");
  } catch {
    // Not permitted everywhere: then the peak is the one since the start.
  }
}

export function memoryMiB(pid: number, what: "VmHWM" | "VmRSS"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`${what}:\\s+(\\d+)`).exec(status)?.[1] ?? Number.NaN) / 1024;
}

/** Runs the tool against the server whose process is `pid`; fails if the tool does. */
export async function run(load: Load, pid: number): Promise<Sample> {
  resetPeak(pid);
  const serverBefore = cpuUs(pid);
  const toolBefore = cpuUs(process.pid, { children: true });
  const output = await outputOf(load);
  const serverCpuUs = (cpuUs(pid) - serverBefore) / load.operations;
  const toolCpuUs = (cpuUs(process.pid, { children: true }) - toolBefore) / load.operations;
  return { ...load.parse(output), serverCpuUs, toolCpuUs, peakMiB: memoryMiB(pid, "VmHWM") };
}

function outputOf(load: Load): Promise<string> {
  const child: ChildProcess = spawn(load.command, load.args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  child.stdout!.on("data", (chunk: Buffer) => (output += chunk.toString()));
  child.stderr!.on("data", (chunk: Buffer) => (output += chunk.toString()));
  const killer = setTimeout(() => child.kill("SIGKILL"), LOAD_MS_MAX);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearTimeout(killer);
      if (code === 0) resolve(output);
      else reject(new Error(`${load.command} ${load.args.join(" ")} ended with ${code}: ${output.slice(-500)}`));
    });
  });
}

export function median(samples: readonly Sample[]): Sample {
  const sorted = [...samples].sort((a, b) => a.opsPerSecond - b.opsPerSecond);
  return sorted[sorted.length >> 1]!;
}
