import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const root = new URL("../..", import.meta.url).pathname;
export const peersBin = join(process.env["PEERS"] ?? "/opt/peers", "bin");

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
