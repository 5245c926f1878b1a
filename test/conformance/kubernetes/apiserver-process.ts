import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync } from "node:crypto";
import { createWriteStream, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { freePort } from "../../contract/free-port.ts";
import { ApiClient } from "./api-client.ts";

const TOKEN = "smoke";

/** A kube-apiserver on its own, without controllers: who has the token may do everything. */
export class ApiServer {
  readonly port: number;
  readonly log: string;
  readonly #child: ChildProcess;

  private constructor(port: number, log: string, child: ChildProcess) {
    this.port = port;
    this.log = log;
    this.#child = child;
  }

  /** `directory` is made, and gets its keys and its log. */
  static async start(program: string, directory: string, storeUrl: string, more: string[] = []): Promise<ApiServer> {
    mkdirSync(directory, { recursive: true });
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const key = join(directory, "service-account.key");
    writeFileSync(key, privateKey.export({ type: "pkcs8", format: "pem" }), { mode: 0o600 });
    const tokens = join(directory, "tokens.csv");
    writeFileSync(tokens, `${TOKEN},smoke,smoke,system:masters\n`, { mode: 0o600 });
    const port = await freePort();
    const log = join(directory, "kube-apiserver.log");
    const child = spawn(
      program,
      [
        `--etcd-servers=${storeUrl}`,
        "--bind-address=127.0.0.1",
        `--secure-port=${port}`,
        `--cert-dir=${directory}`,
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        `--service-account-key-file=${key}`,
        `--service-account-signing-key-file=${key}`,
        `--token-auth-file=${tokens}`,
        "--disable-admission-plugins=ServiceAccount",
        "--authorization-mode=RBAC",
        "--etcd-compaction-interval=10s",
        ...more,
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    child.stderr!.pipe(createWriteStream(log));
    const server = new ApiServer(port, log, child);
    const client = server.client();
    try {
      await client.untilReady(120_000);
    } catch (error) {
      await server.stop();
      throw new Error(`${(error as Error).message}: ${readFileSync(log, "utf8").slice(-2000)}`);
    } finally {
      client.close();
    }
    return server;
  }

  client(): ApiClient {
    return new ApiClient(this.port, TOKEN);
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async stop(): Promise<void> {
    if (!this.isRunning) return;
    const ended = new Promise<void>((resolve) => this.#child.once("exit", () => resolve()));
    this.#child.kill("SIGKILL");
    await ended;
  }
}
