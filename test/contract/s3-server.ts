import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { assert } from "../../src/base/assert.ts";
import type { CredentialSource } from "../../src/objects/s3-signing.ts";
import { Signer } from "../../src/objects/s3-signing.ts";
import { freePort } from "./free-port.ts";

const binary = join(process.env["PEERS"] ?? "/opt/peers", "bin/versitygw");

function missing(): string | false {
  try {
    accessSync(binary, constants.X_OK);
    return false;
  } catch {
    return `no S3 server at ${binary}: test/peers/build.sh versitygw builds it`;
  }
}

/** Why tests against an S3 server cannot run here, or false. */
export const noS3Server: string | false = missing();

export interface S3Server {
  /** Origin. */
  endpoint: string;
  bucket: string;
  credentials: CredentialSource;
  /** The same as variables of AWS's tools. */
  env: { AWS_ACCESS_KEY_ID: string; AWS_SECRET_ACCESS_KEY: string };
  /** Where it keeps the bucket: a directory of the bucket's name, objects as files. */
  directory: string;
  /** Connections stay open and are taken, and nothing is answered, until `resume`. */
  pause(): void;
  resume(): void;
  /** Ends the process: connections are refused until `start` brings it back with the same port and data. */
  kill(): Promise<void>;
  start(): Promise<void>;
  stop(): Promise<void>;
}

/** Starts an S3 server with one empty bucket on a free port of loopback; its data lies in a temporary directory. */
export async function startS3Server(): Promise<S3Server> {
  const directory = await mkdtemp(join(tmpdir(), "t4-s3-"));
  const port = await freePort();
  const access = { accessKeyId: "testaccess", secretAccessKey: "testsecret1" };
  const server = new VersityServer(directory, port, access);
  const found = {
    endpoint: `http://127.0.0.1:${port}`,
    bucket: "bucket",
    credentials: async () => access,
    env: { AWS_ACCESS_KEY_ID: access.accessKeyId, AWS_SECRET_ACCESS_KEY: access.secretAccessKey },
    directory,
    pause: () => server.signal("SIGSTOP"),
    resume: () => server.signal("SIGCONT"),
    kill: () => server.kill(),
    start: () => server.start(() => untilItAnswers(`http://127.0.0.1:${port}`)),
    stop: async () => {
      await server.kill();
      await rm(directory, { recursive: true, force: true });
    },
  };
  try {
    await server.start(() => makeBucket(found, port));
    return found;
  } catch (error) {
    await found.stop();
    throw error;
  }
}

const TRIES_MAX = 100;
const TRY_PAUSE_MS = 50;

/** The process, which may be ended and started again. */
class VersityServer {
  readonly #args: string[];
  readonly #env: NodeJS.ProcessEnv;
  #child: ChildProcess | null = null;

  constructor(directory: string, port: number, access: { accessKeyId: string; secretAccessKey: string }) {
    this.#args = ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "posix", directory];
    this.#env = { ...process.env, ROOT_ACCESS_KEY: access.accessKeyId, ROOT_SECRET_KEY: access.secretAccessKey };
  }

  /** Resolves when `ask` does, which is asked until it is answered. */
  async start(ask: () => Promise<void>): Promise<void> {
    assert(this.#child === null, "the S3 server is started once until it is killed");
    this.#child = spawn(binary, this.#args, { env: this.#env, stdio: "ignore" });
    for (let tries = 0; ; tries++) {
      try {
        return await ask();
      } catch (error) {
        if (tries === TRIES_MAX || this.#child.exitCode !== null) throw error;
        await wait(TRY_PAUSE_MS);
      }
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    child.kill("SIGKILL");
    await exited;
  }
}

/** Any answer will do: without a signature it is a refusal. */
async function untilItAnswers(endpoint: string): Promise<void> {
  await fetch(endpoint, { signal: AbortSignal.timeout(1000) });
}

/** The URL by which t4 finds it. */
export const storeUrlOf = ({ endpoint, bucket }: Pick<S3Server, "endpoint" | "bucket">): string =>
  `s3://${bucket}/t4?endpoint=${endpoint}&region=us-east-1&path-style=true`;

async function makeBucket(server: Pick<S3Server, "endpoint" | "bucket" | "credentials">, port: number): Promise<void> {
  const host = `127.0.0.1:${port}`;
  const signer = new Signer(
    { host, region: "us-east-1", profile: null, credentials: server.credentials },
    { wallMs: Date.now },
  );
  const bodyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
  const { host: _, ...headers } = await signer.sign({
    method: "PUT",
    path: `/${server.bucket}`,
    query: {},
    headers: {},
    bodyHash,
  });
  const answer = await fetch(`${server.endpoint}/${server.bucket}`, { method: "PUT", headers });
  if (answer.status !== 200) throw new Error(`making a bucket: HTTP ${answer.status} ${await answer.text()}`);
}
