import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const root = new URL("../..", import.meta.url).pathname;
export const peersBin = join(process.env["PEERS"] ?? "/opt/peers", "bin");
export const haveS3 = existsSync(join(peersBin, "versitygw")) && existsSync(join(peersBin, "s3load"));

const S3 = { key: "peersaccess", secret: "peerssecret1", bucket: "faults" };

export async function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

/** A real `t4 run`, which can be killed and started again on the same directory and port. */
export class ServerProcess {
  readonly port: number;
  readonly #args: string[];
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;
  #errors = "";

  constructor(options: { port: number; args: string[]; env?: NodeJS.ProcessEnv }) {
    this.port = options.port;
    this.#args = options.args;
    this.#env = { ...process.env, ...options.env };
  }

  get endpoint(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Resolves when it answers /health; returns how long that took, in ms. */
  async start(more: string[] = [], timeoutMs = 30_000): Promise<number> {
    const begun = performance.now();
    this.#errors = "";
    const url = `http://${this.endpoint}`;
    const args = ["run", `--listen-client-urls=${url}`, "--log-level=warn", ...this.#args, ...more];
    const child = spawn(join(root, "bin/t4"), args, { stdio: ["ignore", "ignore", "pipe"], env: this.#env });
    this.#child = child;
    child.stderr!.on("data", (chunk: Buffer) => (this.#errors = (this.#errors + chunk.toString()).slice(-4000)));
    while (performance.now() - begun < timeoutMs) {
      if (child.exitCode !== null) throw new Error(`t4 ended with code ${child.exitCode}: ${this.#errors}`);
      const healthy = await fetch(`${url}/health`, { signal: AbortSignal.timeout(1000) }).then(
        (response) => response.ok,
        () => false,
      );
      if (healthy) return performance.now() - begun;
      await sleep(10);
    }
    child.kill("SIGKILL");
    throw new Error(`t4 is not healthy after ${timeoutMs} ms: ${this.#errors}`);
  }

  async stop(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    await ended;
    return child.exitCode;
  }

  /** The end of what it wrote to standard error. */
  get errors(): string {
    return this.#errors;
  }
}

/** An S3 server on loopback with an empty bucket. */
export async function startS3(
  directory: string,
): Promise<{ process: ChildProcess; store: string; env: NodeJS.ProcessEnv }> {
  const port = await freePort();
  mkdirSync(directory, { recursive: true });
  const child = spawn(
    join(peersBin, "versitygw"),
    ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "posix", directory],
    { stdio: "ignore", env: { ...process.env, ROOT_ACCESS_KEY: S3.key, ROOT_SECRET_KEY: S3.secret } },
  );
  const endpoint = `http://127.0.0.1:${port}`;
  const make = ["mb", "-endpoint", endpoint, "-key", S3.key, "-secret", S3.secret, "-bucket", S3.bucket];
  for (let tries = 0; tries < 100; tries++) {
    const code = await new Promise<number | null>((resolve) => {
      spawn(join(peersBin, "s3load"), make, { stdio: "ignore" }).once("exit", resolve);
    });
    if (code === 0) {
      const store = `s3://${S3.bucket}/t4?endpoint=${endpoint}&region=us-east-1&path-style=true`;
      return { process: child, store, env: { AWS_ACCESS_KEY_ID: S3.key, AWS_SECRET_ACCESS_KEY: S3.secret } };
    }
    await sleep(50);
  }
  child.kill("SIGKILL");
  throw new Error("the S3 server does not answer");
}
