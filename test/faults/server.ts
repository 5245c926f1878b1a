import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export const root = new URL("../..", import.meta.url).pathname;
export const peersBin = join(process.env["PEERS"] ?? "/opt/peers", "bin");

export interface ServerOptions {
  port: number;
  args: string[];
  env?: NodeJS.ProcessEnv;
  /** Least level of what is logged; "info" for tests that read it. */
  logLevel?: "info" | "warn";
}

/** How a process came to its end. */
export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  /** Since it was started or asked to stop. */
  ms: number;
}

/** A real `t4 run`, which can be killed and started again on the same directory and port. */
export class ServerProcess {
  readonly port: number;
  readonly #options: ServerOptions;
  #child: ChildProcess | null = null;
  #output = "";
  #startedMs = 0;

  constructor(options: ServerOptions) {
    this.port = options.port;
    this.#options = options;
  }

  get endpoint(): string {
    return `127.0.0.1:${this.port}`;
  }

  get url(): string {
    return `http://${this.endpoint}`;
  }

  /** Starts the process and waits for nothing. */
  launch(more: string[] = []): void {
    const { args, env, logLevel = "warn" } = this.#options;
    this.#startedMs = performance.now();
    this.#output = "";
    const all = ["run", `--listen-client-urls=${this.url}`, `--log-level=${logLevel}`, ...args, ...more];
    const child = spawn(join(root, "bin/t4"), all, {
      stdio: ["ignore", "ignore", "pipe"],
      env: { ...process.env, ...env },
    });
    this.#child = child;
    child.stderr!.on("data", (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-OUTPUT_MAX)));
  }

  /** Resolves when it answers /health; returns how long that took since the start, in ms. */
  async start(more: string[] = [], timeoutMs = 30_000): Promise<number> {
    this.launch(more);
    return this.untilHealthy(timeoutMs);
  }

  async untilHealthy(timeoutMs = 30_000): Promise<number> {
    const begunMs = performance.now();
    while (performance.now() - begunMs < timeoutMs) {
      if (!this.isRunning) throw new Error(`t4 ended with code ${this.#child?.exitCode}: ${this.errors}`);
      const healthy = await fetch(`${this.url}/health`, { signal: AbortSignal.timeout(1000) }).then(
        (response) => response.ok,
        () => false,
      );
      if (healthy) return performance.now() - this.#startedMs;
      await sleep(10);
    }
    this.#child?.kill("SIGKILL");
    throw new Error(`t4 is not healthy after ${timeoutMs} ms: ${this.errors}`);
  }

  /** The first line of its log that matches. */
  async untilLogged(pattern: RegExp, timeoutMs = 15_000): Promise<string> {
    const begunMs = performance.now();
    for (;;) {
      const line = this.lines.find((candidate) => pattern.test(candidate));
      if (line !== undefined) return line;
      const ended = this.isRunning ? "" : " and never will, it has ended";
      if (performance.now() - begunMs > timeoutMs || ended !== "") {
        throw new Error(`nothing logged matches ${pattern}${ended}: ${this.errors}`);
      }
      await sleep(10);
    }
  }

  /** How it ended by itself. */
  async untilEnded(timeoutMs = 30_000): Promise<Ended> {
    const child = this.#running();
    const begunMs = performance.now();
    while (child.exitCode === null && child.signalCode === null) {
      if (performance.now() - begunMs > timeoutMs) {
        child.kill("SIGKILL");
        throw new Error(`t4 still runs after ${timeoutMs} ms: ${this.errors}`);
      }
      await sleep(5);
    }
    return { code: child.exitCode, signal: child.signalCode, ms: performance.now() - begunMs };
  }

  signal(signal: NodeJS.Signals): void {
    this.#running().kill(signal);
  }

  async stop(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill(signal);
    // One that was stopped by SIGSTOP would not hear it.
    if (signal !== "SIGKILL") child.kill("SIGCONT");
    await ended;
    return child.exitCode;
  }

  get isRunning(): boolean {
    const child = this.#child;
    return child !== null && child.exitCode === null && child.signalCode === null;
  }

  /** Undefined while it does not run. */
  get pid(): number | undefined {
    return this.isRunning ? this.#child!.pid : undefined;
  }

  /** What it wrote to standard error since it was started, whole lines. */
  get lines(): string[] {
    return this.#output.split("\n").slice(0, -1);
  }

  /** The end of it. */
  get errors(): string {
    return this.#output.slice(-4000);
  }

  #running(): ChildProcess {
    if (this.#child === null) throw new Error("t4 was never started");
    return this.#child;
  }
}

const OUTPUT_MAX = 200_000;
