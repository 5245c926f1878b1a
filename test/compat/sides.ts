import type { Endpoint } from "./endpoint.ts";
import { openEngine } from "./engine-runner.ts";
import { startEtcd } from "./etcd-process.ts";
import { GatewayEndpoint } from "./gateway-endpoint.ts";
import { startServer } from "./server-runner.ts";
import { overSocket } from "./socket-endpoint.ts";

/** What can be compared with each other; each call gives a new, empty store. */
export const sides = {
  engine: openEngine,
  server: async () => overSocket(await startServer(["--store", "memory:"])),
  gateway: async () => new GatewayEndpoint(await startServer(["--store", "memory:"])),
  etcd: async () => overSocket(await startEtcd()),
  "etcd-gateway": async () => new GatewayEndpoint(await startEtcd()),
} as const satisfies Readonly<Record<string, () => Promise<Endpoint>>>;
