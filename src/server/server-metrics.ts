import { Counter, Gauge, type Registry } from "prom-client";
import type { CallCounts } from "../api/call-counts.ts";
import { etcdVersion } from "../base/version.ts";
import type { Database } from "../engine/engine.ts";
import type { RequestSeries } from "../objects/metered.ts";
import { timeBoundsMs } from "../objects/metered.ts";
import type { CallMetrics, Outcomes } from "./call-metrics.ts";
import type { DiskTimings } from "./disk-timings.ts";

/** What the server itself counts, beside branches, transport and store. */
export interface ServerCounts {
  /** Answers of /health. */
  readonly health: { readonly success: number; readonly failures: number };
  readonly calls: CallMetrics;
  readonly disk: DiskTimings;
  /** By what they ended. */
  readonly bugs: Readonly<Record<string, number>>;
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
    [counter(add, "etcd_mvcc_range_total", "Ranges, in transactions too"), () => calls.ranges + answered(RANGE_STREAM)],
    [counter(add, "etcd_mvcc_txn_total", "Transactions of more than one operation"), () => calls.txns],
    [counter(add, "etcd_debugging_lease_granted_total", "Leases granted to callers"), () => answered(LEASE_GRANT)],
    [counter(add, "etcd_debugging_lease_renewed_total", "Keep-alives of live leases"), () => calls.leasesRenewed],
    [
      counter(add, "etcd_debugging_lease_revoked_total", "Leases revoked, by callers or at their end"),
      () => answered(LEASE_REVOKE) + expired(),
    ],
    [
      counter(
        add,
        "etcd_server_proposals_failed_total",
        "Writes whose outcome is not known, or that nobody could take",
      ),
      () => WRITES.reduce((sum, path) => sum + (calls.methods.get(path)?.handled[UNAVAILABLE] ?? 0), 0),
    ],
    [counter(add, "etcd_debugging_server_lease_expired_total", "Leases that nobody kept alive"), () => expired()],
  ];
  const answered = (path: string): number => calls.methods.get(path)?.handled[0] ?? 0;
  const expired = (): number => database()?.status().leasesExpired ?? 0;
  const bugs = new Counter({
    ...add,
    name: "t4_bugs_total",
    help: "Bugs met, by what they ended",
    labelNames: ["scope"],
  });
  const refreshChecks = addChecks(server, add);
  const alarms = new Gauge({
    ...add,
    name: "etcd_debugging_server_alarms",
    help: "Alarms that are raised",
    labelNames: ["alarm_type", "server_id"],
  });
  const merging = new Gauge({ ...add, name: "etcd_disk_defrag_inflight", help: "1 while a Defragment is under way" });
  const refreshVersions = addVersions(calls, add);
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
    alarms.reset();
    for (const { memberId, type } of present?.maintenance.alarms ?? []) {
      alarms.set({ alarm_type: ALARM_NAMES[type] ?? String(type), server_id: memberId.toString(16) }, 1);
    }
    merging.set(underWay(calls, DEFRAGMENT) > 0 ? 1 : 0);
    refreshChecks();
    bugs.reset();
    for (const [scope, count] of Object.entries(server.bugs)) bugs.inc({ scope }, count);
    refreshMessages();
    refreshVersions();
  };
}

const RANGE_STREAM = "/etcdserverpb.KV/RangeStream";
const LEASE_GRANT = "/etcdserverpb.Lease/LeaseGrant";
const LEASE_REVOKE = "/etcdserverpb.Lease/LeaseRevoke";

const DEFRAGMENT = "/etcdserverpb.Maintenance/Defragment";
const WRITES = [
  ...["/etcdserverpb.KV/Put", "/etcdserverpb.KV/DeleteRange", "/etcdserverpb.KV/Txn", "/etcdserverpb.KV/Compact"],
  ...[LEASE_GRANT, LEASE_REVOKE],
];
const UNAVAILABLE = 14;
const ALARM_NAMES: Readonly<Record<number, string>> = { 1: "NOSPACE", 2: "CORRUPT" };

function underWay(calls: CallCounts, path: string): number {
  const counts = calls.methods.get(path);
  return counts === undefined ? 0 : counts.started - counts.handled.reduce((sum, each) => sum + each, 0);
}

function addChecks(server: ServerCounts, add: Add): () => void {
  const found = new Gauge({
    ...add,
    name: "etcd_server_healthcheck",
    help: "What a check of /livez or /readyz found last",
    labelNames: ["name", "type"],
  });
  const counts = new Counter({
    ...add,
    name: "etcd_server_healthchecks_total",
    help: "Checks of /livez and /readyz",
    labelNames: ["name", "status", "type"],
  });
  return () => {
    counts.reset();
    for (const { type, name, passed, success, error } of server.calls.checks.values()) {
      found.set({ name, type }, passed ? 1 : 0);
      if (success > 0) counts.inc({ name, status: "success", type }, success);
      if (error > 0) counts.inc({ name, status: "error", type }, error);
    }
  };
}

/** B1.10 */
function addVersions(calls: CallCounts, add: Add): () => void {
  const requests = new Counter({
    ...add,
    name: "etcd_server_client_requests_total",
    help: "Calls by what clients say of their version",
    labelNames: ["client_api_version", "type"],
  });
  return () => {
    requests.reset();
    for (const [version, counts] of calls.versions) {
      for (const type of ["unary", "stream"] as const) {
        if (counts[type] > 0) requests.inc({ client_api_version: version, type }, counts[type]);
      }
    }
  };
}

const counter = (add: Add, name: string, help: string): Counter => new Counter({ ...add, name, help });

/** A unary call has a message each way, the one back only where it succeeded. */
function addMessages({ calls, server }: Pick<Sources, "calls" | "server">, add: Add): () => void {
  const labelNames = ["grpc_method", "grpc_service", "grpc_type"] as const;
  const names = { received: "grpc_server_msg_received_total", sent: "grpc_server_msg_sent_total" };
  const received = new Counter({ ...add, name: names.received, help: "Messages from clients", labelNames });
  const sent = new Counter({ ...add, name: names.sent, help: "Messages to clients", labelNames });
  return () => {
    received.reset();
    sent.reset();
    for (const { path, type, started, handled } of calls.methods.values()) {
      const [, service = "", method = ""] = path.split("/");
      const labels = { grpc_method: method, grpc_service: service, grpc_type: type };
      const traffic = server.calls.traffic.get(path);
      received.inc(labels, traffic?.received ?? started);
      sent.inc(labels, traffic?.sent ?? handled[0] ?? 0);
    }
  };
}

const head = (name: string, help: string): string => `# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;

/** What is counted by bounds where it happens, as text. */
export function histogramLines({ disk, calls }: ServerCounts, requests: Iterable<Readonly<RequestSeries>>): string {
  const wal = "etcd_disk_wal_fsync_duration_seconds";
  let text = head(wal, "Durable writes of the local log") + disk.writes.lines(wal, "") + commitLines(requests);
  const apply = "etcd_server_apply_duration_seconds";
  text += head(apply, "Writes, from their arrival until they are durable");
  for (const [op, outcomes] of calls.applied) text += outcomeLines(apply, `op="${op}",`, outcomes, `,version="v3"`);
  const range = "etcd_server_range_duration_seconds";
  text += head(range, "Ranges, until their answer is at hand") + outcomeLines(range, "", calls.ranges);
  const ttl = "etcd_debugging_lease_ttl_total";
  text += head(ttl, "Seconds that leases were granted for") + calls.leaseTtls.lines(ttl, "");
  for (const [name, { help, timings }] of calls.longWork) text += head(name, help) + timings.lines(name, "");
  if (calls.timings.size === 0) return text;
  const name = "grpc_server_handling_seconds";
  text += head(name, "How long calls took until they were answered");
  for (const [path, timings] of calls.timings) {
    const [, service = "", method = ""] = path.split("/");
    text += timings.lines(name, `grpc_method="${method}",grpc_service="${service}",grpc_type="unary"`);
  }
  return text;
}

function outcomeLines(name: string, before: string, { succeeded, failed }: Outcomes, after = ""): string {
  const labels = (success: boolean): string => `${before}success="${success}"${after}`;
  return succeeded.lines(name, labels(true)) + failed.lines(name, labels(false));
}

/** The store is the backend: a segment that is in it is committed there. */
function commitLines(requests: Iterable<Readonly<RequestSeries>>): string {
  const name = "etcd_disk_backend_commit_duration_seconds";
  const counts = new Array<number>(timeBoundsMs.length + 1).fill(0);
  let sumS = 0;
  for (const series of requests) {
    if (series.operation !== "put" || series.object !== "segment" || series.outcome !== "done") continue;
    for (const [n, count] of series.counts.entries()) counts[n]! += count;
    sumS += series.sumMs / 1000;
  }
  return head(name, "Segments of the log, written to the store") + bucketLines(name, timeBoundsMs, counts, sumS);
}

function bucketLines(name: string, boundsMs: readonly number[], counts: readonly number[], sumS: number): string {
  let upTo = 0;
  let text = "";
  for (const [n, count] of counts.entries()) {
    upTo += count;
    const bound = boundsMs[n];
    text += `${name}_bucket{le="${bound === undefined ? "+Inf" : bound / 1000}"} ${upTo}\n`;
  }
  return `${text}${name}_sum ${sumS}\n${name}_count ${upTo}\n`;
}
