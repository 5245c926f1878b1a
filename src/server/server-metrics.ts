import { Counter, Gauge, type Registry } from "prom-client";
import type { CallCounts } from "../api/call-counts.ts";
import { etcdVersion } from "../base/version.ts";
import type { Database } from "../engine/engine.ts";
import type { CallMetrics } from "./call-metrics.ts";
import type { DiskTimings } from "./disk-timings.ts";

/** What the server itself counts, beside branches, transport and store. */
export interface ServerCounts {
  /** Answers of /health. */
  readonly health: { readonly success: number; readonly failures: number };
  readonly calls: CallMetrics;
  readonly disk: DiskTimings;
}

interface Sources {
  readonly database: () => Database | null;
  readonly calls: CallCounts;
  readonly server: ServerCounts;
}

type Add = { registers: Registry[] };

/** What a server tells of itself by etcd's names. Gives what is to be called before each rendering. */
export function addServer({ database, calls, server }: Sources, add: Add): () => void {
  const version = { name: "etcd_cluster_version", help: "Which etcd is emulated", labelNames: ["cluster_version"] };
  new Gauge({ ...add, ...version }).set({ cluster_version: etcdVersion.replace(/\.\d+$/, "") }, 1);
  const id = new Gauge({ ...add, name: "etcd_server_id", help: "This member", labelNames: ["server_id"] });
  const quota = new Gauge({ ...add, name: "etcd_server_quota_backend_bytes", help: "0: there is none" });
  const written = new Gauge({ ...add, name: "etcd_disk_wal_write_bytes_total", help: "Bytes of the local log" });
  const counters: readonly [Counter, () => number][] = [
    [counter(add, "etcd_server_health_success", "Calls of /health answered 200"), () => server.health.success],
    [counter(add, "etcd_server_health_failures", "Calls of /health answered 503"), () => server.health.failures],
    [counter(add, "etcd_mvcc_range_total", "Range calls answered"), () => answered("Range") + answered("RangeStream")],
    [counter(add, "etcd_mvcc_txn_total", "Txn calls answered"), () => answered("Txn")],
  ];
  const answered = (method: string): number => calls.methods.get(`/etcdserverpb.KV/${method}`)?.handled[0] ?? 0;
  const refreshMessages = addMessages({ calls, server }, add);
  return () => {
    const present = database();
    id.reset();
    if (present !== null) id.set({ server_id: present.identity.memberId.toString(16) }, 1);
    quota.set(present?.maintenance.quotaBytes ?? 0);
    written.set(server.disk.bytesWritten);
    for (const [one, value] of counters) {
      one.reset();
      one.inc(value());
    }
    refreshMessages();
  };
}

const counter = (add: Add, name: string, help: string): Counter => new Counter({ ...add, name, help });

/** A unary call has a message each way, the one back only where it succeeded. */
function addMessages({ calls, server }: Pick<Sources, "calls" | "server">, add: Add): () => void {
  const labelNames = ["grpc_type", "grpc_service", "grpc_method"] as const;
  const names = { received: "grpc_server_msg_received_total", sent: "grpc_server_msg_sent_total" };
  const received = new Counter({ ...add, name: names.received, help: "Messages from clients", labelNames });
  const sent = new Counter({ ...add, name: names.sent, help: "Messages to clients", labelNames });
  return () => {
    received.reset();
    sent.reset();
    for (const { path, type, started, handled } of calls.methods.values()) {
      const [, service = "", method = ""] = path.split("/");
      const labels = { grpc_type: type, grpc_service: service, grpc_method: method };
      const traffic = server.calls.traffic.get(path);
      received.inc(labels, traffic?.received ?? started);
      sent.inc(labels, traffic?.sent ?? handled[0] ?? 0);
    }
  };
}

/** What is counted by bounds where it happens, as text. */
export function histogramLines({ disk, calls }: ServerCounts): string {
  const wal = "etcd_disk_wal_fsync_duration_seconds";
  let text = `# HELP ${wal} Durable writes of the local log\n# TYPE ${wal} histogram\n${disk.writes.lines(wal, "")}`;
  if (calls.timings.size === 0) return text;
  const name = "grpc_server_handling_seconds";
  text += `# HELP ${name} How long calls took until they were answered\n# TYPE ${name} histogram\n`;
  for (const [path, timings] of calls.timings) {
    const [, service = "", method = ""] = path.split("/");
    text += timings.lines(name, `grpc_type="unary",grpc_service="${service}",grpc_method="${method}"`);
  }
  return text;
}
