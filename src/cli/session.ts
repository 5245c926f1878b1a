import { Lease } from "../gen/etcdserverpb/rpc_pb.ts";
import type { EtcdClient } from "./client.ts";
import { CommandError } from "./errors.ts";

/** A lease that is kept alive for as long as a command lasts. */
export class Session {
  readonly lease: bigint;
  /** Rejects when the lease has ended though it was kept alive. */
  readonly lost: Promise<never>;
  readonly #client: EtcdClient;
  readonly #stop: () => void;

  private constructor(client: EtcdClient, lease: bigint, parts: { lost: Promise<never>; stop: () => void }) {
    this.#client = client;
    this.lease = lease;
    this.lost = parts.lost;
    this.#stop = parts.stop;
  }

  static async open(client: EtcdClient, ttlSeconds: bigint): Promise<Session> {
    const { ID, TTL } = await client.unary(Lease.method.leaseGrant, { TTL: ttlSeconds, ID: 0n });
    const stream = await client.stream(Lease.method.leaseKeepAlive);
    const timer = setInterval(() => stream.send({ ID }), Math.max(1, (Number(TTL) * 1000) / 3));
    const lost = (async (): Promise<never> => {
      for await (const answer of stream.messages()) if (answer.TTL <= 0n) break;
      throw new CommandError("session expired");
    })();
    // Whoever waits for it is told; while nobody does there is nothing to tell.
    lost.catch(() => {});
    const stop = () => {
      clearInterval(timer);
      stream.cancel();
    };
    return new Session(client, ID, { lost, stop });
  }

  /** Ends the lease, and with it what it holds. */
  async close(): Promise<void> {
    this.#stop();
    await this.#client.unary(Lease.method.leaseRevoke, { ID: this.lease });
  }
}

/** Resolves at the first signal to stop; from then on they do nothing more. */
export function stopAsked(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => resolve());
  });
}
