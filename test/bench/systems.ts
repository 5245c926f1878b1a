import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { get } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const peersBin = join(process.env["PEERS"] ?? "/opt/peers", "bin");
const root = new URL("../..", import.meta.url).pathname;

/** A server under measurement. Its CPU is that of all `processes`. */
export interface System {
  readonly name: string;
  readonly endpoint: string;
  readonly processes: ChildProcess[];
}

export interface SystemSpec {
  readonly name: string;
  readonly start: (directory: string, port: number) => Promise<System>;
}

export const havePeer = (name: string): boolean => existsSync(join(peersBin, name));

function launch(command: string, args: string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], env: { ...process.env, ...env } });
}

/** Resolves when `url` answers at all; fails after ten seconds. Returns the milliseconds it took. */
export async function answering(url: string, child: ChildProcess): Promise<number> {
  const begun = performance.now();
  while (performance.now() - begun < 10_000) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with code ${child.exitCode}`);
    const ok = await new Promise<boolean>((resolve) => {
      const request = get(url, (response) => {
        response.resume();
        resolve(response.statusCode === 200);
      });
      request.on("error", () => resolve(false));
    });
    if (ok) return performance.now() - begun;
    await sleep(5);
  }
  throw new Error(`${url} does not answer`);
}

export async function stop(system: System, signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
  for (const child of [...system.processes].reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    const killer = setTimeout(() => child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(killer);
  }
}

export const etcd: SystemSpec = {
  name: "etcd",
  async start(directory, port) {
    const url = `http://127.0.0.1:${port}`;
    const peer = `http://127.0.0.1:${port + 1}`;
    const child = launch(join(peersBin, "etcd"), [
      `--data-dir=${directory}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=default=${peer}`,
      "--log-level=error",
    ]);
    await answering(`${url}/health`, child);
    return { name: "etcd", endpoint: `127.0.0.1:${port}`, processes: [child] };
  },
};

export function t4Args(directory: string, port: number, more: string[] = []): string[] {
  const url = `http://127.0.0.1:${port}`;
  return ["run", `--data-dir=${directory}`, `--listen-client-urls=${url}`, "--log-level=warn", ...more];
}

/** This repository's server: the built one where it was built, as users get it. */
export const t4Command = join(root, "bin/t4");

export const t4: SystemSpec = {
  name: "t4",
  async start(directory, port) {
    const child = launch(t4Command, t4Args(directory, port));
    await answering(`http://127.0.0.1:${port}/health`, child);
    return { name: "t4", endpoint: `127.0.0.1:${port}`, processes: [child] };
  },
};

const S3 = { key: "peersaccess", secret: "peerssecret1" };

async function startS3(directory: string, port: number): Promise<ChildProcess> {
  mkdirSync(directory, { recursive: true });
  const child = launch(
    join(peersBin, "versitygw"),
    ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "posix", directory],
    { ROOT_ACCESS_KEY: S3.key, ROOT_SECRET_KEY: S3.secret },
  );
  for (let tries = 0; tries < 100; tries++) {
    const code = await new Promise<number | null>((resolve) => {
      const args = [
        "mb",
        "-endpoint",
        `http://127.0.0.1:${port}`,
        "-key",
        S3.key,
        "-secret",
        S3.secret,
        "-bucket",
        "bench",
      ];
      spawn(join(peersBin, "s3load"), args, { stdio: "ignore" }).once("exit", resolve);
    });
    if (code === 0) return child;
    await sleep(50);
  }
  throw new Error("the S3 server does not answer");
}

/** t4 with its data in an S3 server on loopback; the server's CPU does not count. */
export const t4OnS3: SystemSpec = {
  name: "t4 + S3",
  async start(directory, port) {
    const s3 = await startS3(join(directory, "s3"), port + 1);
    const store = `s3://bench/t4?endpoint=http://127.0.0.1:${port + 1}&region=us-east-1&path-style=true`;
    const env = { AWS_ACCESS_KEY_ID: S3.key, AWS_SECRET_ACCESS_KEY: S3.secret };
    const child = launch(t4Command, t4Args(join(directory, "data"), port, [`--store=${store}`]), env);
    await answering(`http://127.0.0.1:${port}/health`, child);
    return { name: "t4 + S3", endpoint: `127.0.0.1:${port}`, processes: [child, s3] };
  },
};

/** The system of the same name in Go, with its data in an S3 server on loopback, each write uploaded before it is acknowledged. */
export const goT4OnS3: SystemSpec = {
  name: "Go t4 + S3",
  async start(directory, port) {
    const s3 = await startS3(join(directory, "s3"), port + 1);
    const child = launch(join(peersBin, "t4"), [
      "run",
      `--data-dir=${join(directory, "data")}`,
      `--listen=127.0.0.1:${port}`,
      `--metrics-addr=127.0.0.1:${port + 2}`,
      "--log-level=error",
      "--s3-bucket=bench",
      "--s3-prefix=go",
      `--s3-endpoint=http://127.0.0.1:${port + 1}`,
      "--s3-region=us-east-1",
      `--s3-access-key-id=${S3.key}`,
      `--s3-secret-access-key=${S3.secret}`,
      "--wal-sync-upload=true",
    ]);
    await answering(`http://127.0.0.1:${port + 2}/healthz`, child);
    return { name: "Go t4 + S3", endpoint: `127.0.0.1:${port}`, processes: [child, s3] };
  },
};

/** Answers Range and Put with a constant: what the load tools reach against a server that does nothing. */
export const nothing: SystemSpec = {
  name: "nothing",
  async start(_directory, port) {
    const child = launch(process.execPath, [join(root, "test/bench/nothing.ts"), String(port)]);
    await answering(`http://127.0.0.1:${port}/health`, child);
    return { name: "nothing", endpoint: `127.0.0.1:${port}`, processes: [child] };
  },
};

export function emptied(directory: string): string {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  return directory;
}
