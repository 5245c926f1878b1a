import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../contract/free-port.ts";
import { PROGRESS_INTERVAL_MS, sleep } from "./story.ts";

/** Where the programs that t4 is measured against lie (test/peers/build.sh puts them there). */
const peers = process.env["PEERS"] ?? "/opt/peers";
export const etcdProgram = join(peers, "bin", "etcd");
/** etcd 3.7, for what 3.6 has not. */
export const etcd37Program = join(peers, "bin", "etcd37");
export const etcdIsMissing = (): string | false =>
  existsSync(etcdProgram) ? false : `no etcd at ${etcdProgram}: test/peers/build.sh etcd builds it`;

export interface ServerProcess {
  /** host:port for gRPC. */
  readonly address: string;
  readonly pid: number;
  stop(): Promise<void>;
}

const START_TIMEOUT_MS = 20_000;

const STARTS_MAX = 5;

/** A port that was free may be another's by the time it is bound: then others are tried. */
export async function onFreePorts(start: () => Promise<ServerProcess>): Promise<ServerProcess> {
  for (let tries = 1; ; tries++) {
    try {
      return await start();
    } catch (error) {
      if (tries === STARTS_MAX || !String(error).includes("address already in use")) throw error;
    }
  }
}

interface EtcdOptions {
  readonly defaultTimings?: boolean;
  readonly program?: string;
  readonly flags?: readonly string[];
}

/**
 * A real etcd of one member with an empty store. Short election timings make it start in 0.1 s, and allow leases of
 * 1 s.
 */
export const startEtcd = (options: EtcdOptions = {}): Promise<ServerProcess> => onFreePorts(() => startOnce(options));

async function startOnce(options: EtcdOptions): Promise<ServerProcess> {
  const directory = await mkdtemp(join(tmpdir(), "t4-etcd-"));
  const [port, peerPort] = await freePorts(2);
  const client = `http://127.0.0.1:${port}`;
  const peer = `http://127.0.0.1:${peerPort}`;
  const timings = options.defaultTimings ? [] : ["--heartbeat-interval", "10", "--election-timeout", "100"];
  const flags = [
    ...["--data-dir", join(directory, "data"), "--unsafe-no-fsync", "--log-level", "error"],
    ...["--listen-client-urls", client, "--advertise-client-urls", client],
    ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `default=${peer}`],
    ...["--watch-progress-notify-interval", `${PROGRESS_INTERVAL_MS}ms`],
    ...["--bcrypt-cost", "4"],
  ];
  const all = [...flags, ...timings, ...(options.flags ?? [])];
  const child = spawn(options.program ?? etcdProgram, all, { stdio: ["ignore", "ignore", "pipe"] });
  return started(child, `127.0.0.1:${port}`, directory);
}

/** Waits until the server answers /health; stopping ends the process and removes its directory. */
export async function started(child: ChildProcess, address: string, directory: string): Promise<ServerProcess> {
  let errors = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    errors = (errors + chunk.toString()).slice(-4000);
  });
  // Whoever fails between a start and its stop leaves no server behind.
  const killed = () => void child.kill("SIGKILL");
  process.once("exit", killed);
  const ended = new Promise<void>((resolve) =>
    child.once("exit", () => {
      process.off("exit", killed);
      resolve();
    }),
  );
  const stop = async (): Promise<void> => {
    child.kill("SIGKILL");
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
  while (!(await answers(address))) {
    if (deadline.aborted || child.exitCode !== null) {
      await stop();
      throw new Error(`the server at ${address} did not start: ${errors}`);
    }
    await sleep(20);
  }
  return { address, pid: child.pid!, stop };
}

async function answers(address: string): Promise<boolean> {
  try {
    return (await fetch(`http://${address}/health`, { signal: AbortSignal.timeout(1000) })).ok;
  } catch {
    return false;
  }
}
