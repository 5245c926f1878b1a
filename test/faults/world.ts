import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { inspect } from "node:util";
import { freePort } from "../contract/free-port.ts";
import { type S3Server, startS3Server, storeUrlOf } from "../contract/s3-server.ts";
import { ServerProcess } from "./server.ts";

/** A scratch directory, perhaps an S3 server, and the processes of a test, all gone when it ends. */
export class World {
  readonly directory = mkdtempSync(join(tmpdir(), "t4-faults-"));
  readonly #s3: S3Server | null;
  readonly #servers: ServerProcess[] = [];

  private constructor(s3: S3Server | null) {
    this.#s3 = s3;
  }

  static async create(store: "s3" | "directory"): Promise<World> {
    return new World(store === "s3" ? await startS3Server() : null);
  }

  get s3(): S3Server {
    if (this.#s3 === null) throw new Error("this world has no S3 server");
    return this.#s3;
  }

  get storeUrl(): string {
    return this.#s3 === null ? `file://${this.path("store")}` : storeUrlOf(this.#s3);
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** `data`: the name of its data directory. Not started yet. */
  async server(data: string, args: string[] = [], env: NodeJS.ProcessEnv = {}): Promise<ServerProcess> {
    const server = new ServerProcess({
      port: await freePort(),
      args: [`--data-dir=${this.path(data)}`, `--store=${this.storeUrl}`, ...args],
      env: { ...this.#s3?.env, ...env },
      logLevel: "info",
    });
    this.#servers.push(server);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const server of this.#servers) await server.stop("SIGKILL");
    await this.#s3?.stop();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Who stood still for a moment, on a busy machine, has not looked for all that time. */
const LOOKS_MIN = 10;

/** Asks again and again until the answer is wanted; the last one is told where that takes too long. */
export async function eventually<T>(
  what: string,
  timeoutMs: number,
  ask: () => Promise<T> | T,
  isWanted: (answer: T) => boolean,
): Promise<{ answer: T; ms: number }> {
  const begunMs = performance.now();
  for (let looks = 1; ; looks++) {
    const answer = await ask();
    const ms = performance.now() - begunMs;
    if (isWanted(answer)) return { answer, ms };
    if (ms > timeoutMs && looks >= LOOKS_MIN) {
      throw new Error(`${what}: not within ${timeoutMs} ms, but ${inspect(answer)}`);
    }
    await sleep(20);
  }
}

export interface HttpAnswer {
  status: number;
  body: string;
}

export async function httpGet(server: ServerProcess, path: string): Promise<HttpAnswer> {
  const response = await fetch(server.url + path, { signal: AbortSignal.timeout(5000) });
  return { status: response.status, body: await response.text() };
}

/** The value of a metric without labels; undefined where it is absent. */
export async function metric(server: ServerProcess, name: string): Promise<number | undefined> {
  const { body } = await httpGet(server, "/metrics");
  const line = body.split("\n").find((candidate) => candidate.startsWith(`${name} `));
  return line === undefined ? undefined : Number(line.slice(name.length + 1));
}
