import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { get } from "node:http";
import { get as getByTls } from "node:https";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type S3Server, startS3Server, storeUrlOf } from "../contract/s3-server.ts";

export const peersBin = join(process.env["PEERS"] ?? "/opt/peers", "bin");
const root = new URL("../..", import.meta.url).pathname;

/** A server under measurement: its CPU and memory are those of the first process. */
export interface System {
  readonly name: string;
  readonly endpoint: string;
  /** Where it differs from http. */
  readonly scheme?: "https";
  /** Sent with every call: "authorization: …". */
  readonly headers?: readonly string[];
  readonly processes: ChildProcess[];
  readonly s3?: S3Server;
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
      const ask = url.startsWith("https:") ? getByTls : get;
      const request = ask(url, { rejectUnauthorized: false }, (response) => {
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
  await system.s3?.stop();
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

/** Whoever calls has a password-bought token, and may read and write what begins with "g". */
export const t4WithUsers: SystemSpec = {
  name: "t4, a user's token",
  async start(directory, port) {
    const system = await t4.start(directory, port);
    const etcdctl = (...args: string[]) =>
      execFileSync(join(peersBin, "etcdctl"), [`--endpoints=${system.endpoint}`, ...args]);
    etcdctl("put", "g00000000", "v".repeat(256));
    etcdctl("user", "add", "root:root");
    etcdctl("user", "grant-role", "root", "root");
    etcdctl("user", "add", "someone:password");
    etcdctl("role", "add", "some");
    etcdctl("role", "grant-permission", "some", "--prefix=true", "readwrite", "g");
    etcdctl("user", "grant-role", "someone", "some");
    etcdctl("auth", "enable");
    const body = JSON.stringify({ name: "someone", password: "password" });
    const answer = await fetch(`http://${system.endpoint}/v3/auth/authenticate`, { method: "POST", body });
    const { token } = (await answer.json()) as { token: string };
    return { ...system, name: "t4, a user's token", headers: [`authorization: ${token}`] };
  },
};

export const t4WithTls: SystemSpec = {
  name: "t4 by TLS",
  async start(directory, port) {
    const url = `https://127.0.0.1:${port}`;
    const args = ["run", `--data-dir=${directory}`, `--listen-client-urls=${url}`, "--auto-tls", "--log-level=error"];
    const child = launch(t4Command, args);
    await answering(`${url}/health`, child);
    const put = ["put", "g00000000", "v".repeat(256)];
    execFileSync(join(peersBin, "etcdctl"), [`--endpoints=${url}`, "--insecure-skip-tls-verify", ...put]);
    return { name: "t4 by TLS", endpoint: `127.0.0.1:${port}`, scheme: "https", processes: [child] };
  },
};

/** t4 with its data in an S3 server on loopback; the server's CPU does not count. */
export const t4OnS3: SystemSpec = {
  name: "t4 + S3",
  async start(directory, port) {
    const s3 = await startS3Server();
    const child = launch(t4Command, t4Args(join(directory, "data"), port, [`--store=${storeUrlOf(s3)}`]), s3.env);
    await answering(`http://127.0.0.1:${port}/health`, child);
    return { name: "t4 + S3", endpoint: `127.0.0.1:${port}`, processes: [child], s3 };
  },
};

/**
 * The system of the same name in Go, with its data in an S3 server on loopback, each write uploaded before it is
 * acknowledged.
 */
export const goT4OnS3: SystemSpec = {
  name: "Go t4 + S3",
  async start(directory, port) {
    const s3 = await startS3Server();
    const child = launch(join(peersBin, "t4"), [
      "run",
      `--data-dir=${join(directory, "data")}`,
      `--listen=127.0.0.1:${port}`,
      `--metrics-addr=127.0.0.1:${port + 2}`,
      "--log-level=error",
      `--s3-bucket=${s3.bucket}`,
      "--s3-prefix=go",
      `--s3-endpoint=${s3.endpoint}`,
      "--s3-region=us-east-1",
      `--s3-access-key-id=${s3.env.AWS_ACCESS_KEY_ID}`,
      `--s3-secret-access-key=${s3.env.AWS_SECRET_ACCESS_KEY}`,
      "--wal-sync-upload=true",
    ]);
    await answering(`http://127.0.0.1:${port + 2}/healthz`, child);
    return { name: "Go t4 + S3", endpoint: `127.0.0.1:${port}`, processes: [child], s3 };
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
