import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { freePorts } from "../contract/free-port.ts";
import { etcdProgram, type ServerProcess, started } from "./etcd-process.ts";

/** A real etcd whose data outlives its process: it can be stopped and started again, or begin with a snapshot. */
export class EtcdDirectory {
  readonly path: string;
  readonly peerUrl: string;
  readonly #port: number;

  private constructor(path: string, port: number, peerPort: number) {
    this.path = path;
    this.#port = port;
    this.peerUrl = `http://127.0.0.1:${peerPort}`;
  }

  static async create(): Promise<EtcdDirectory> {
    const [port, peerPort] = await freePorts(2);
    return new EtcdDirectory(await mkdtemp(join(tmpdir(), "t4-etcd-")), port!, peerPort!);
  }

  get dataDirectory(): string {
    return join(this.path, "data");
  }

  /** What `etcdutl snapshot restore` must be told, too. */
  get clusterFlags(): string[] {
    return ["--initial-cluster", `default=${this.peerUrl}`, "--initial-advertise-peer-urls", this.peerUrl];
  }

  /** Stopping ends the process alone. */
  async start(flags: readonly string[] = []): Promise<ServerProcess> {
    const client = `http://127.0.0.1:${this.#port}`;
    const child = spawn(
      etcdProgram,
      [
        ...["--data-dir", this.dataDirectory, "--unsafe-no-fsync", "--log-level", "error"],
        ...["--listen-client-urls", client, "--advertise-client-urls", client],
        ...["--listen-peer-urls", this.peerUrl, ...this.clusterFlags],
        ...["--heartbeat-interval", "10", "--election-timeout", "100", ...flags],
      ],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    // What is removed with a server's process is not the data.
    return started(child, `127.0.0.1:${this.#port}`, join(this.path, "nothing"));
  }

  remove(): Promise<void> {
    return rm(this.path, { recursive: true, force: true });
  }
}
