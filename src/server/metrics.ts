import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import type { CallCounts } from "../api/call-counts.ts";
import { etcdVersion, version } from "../base/version.ts";
import type { CollectionStats } from "../collector/background.ts";
import type { Database, DatabaseStatus } from "../engine/engine.ts";
import type { RequestSeries } from "../objects/metered.ts";
import { timeBoundsMs } from "../objects/metered.ts";
import type { TransportStats } from "../transport/transport.ts";
import { addServer, histogramLines, type ServerCounts } from "./server-metrics.ts";
import type { UsageSeen } from "./usage-look.ts";
import { addUsage } from "./usage-metrics.ts";

/** What is read at each scrape: nothing is counted twice on the hot path. */
export interface MetricSources {
  /** Null while there is no leadership. */
  database: () => Database | null;
  /** Every branch that is open, the served one among them. */
  branches?: () => readonly { readonly name: string; readonly database: Database }[];
  transport: () => TransportStats;
  calls: CallCounts;
  storeRequests: () => Iterable<Readonly<RequestSeries>>;
  server: ServerCounts;
  /** Null where this node collects nothing by itself. */
  collections?: () => CollectionStats | null;
  /** Null where this node does not look. */
  usage?: () => UsageSeen | null;
}

/** The text of /metrics. This module is loaded, and the registry made, at the first scrape. */
export function createMetrics(sources: MetricSources): () => Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const add = { registers: [registry] };
  // Before anything is rendered: what one source tells is shown by several metrics, all of the same moment.
  const refreshes = [
    addStatus(sources, add),
    addBranches(sources, add),
    addTransport(sources, add),
    addCalls(sources, add),
    addStore(sources, add),
    addServer(sources, add),
    addCollections(sources, add),
    addUsage(sources.usage, add),
  ];
  new Gauge({
    ...add,
    name: "etcd_server_version",
    help: "Which etcd is emulated",
    labelNames: ["server_version"],
  }).set({ server_version: etcdVersion }, 1);
  new Gauge({ ...add, name: "t4_version", help: "Which t4 is running", labelNames: ["version"] }).set({ version }, 1);
  return () => {
    for (const refresh of refreshes) refresh();
    return registry.metrics().then((text) => text + histogramLines(sources.server, sources.storeRequests()));
  };
}

type Add = { registers: Registry[] };
/** Reads a source and sets its metrics. */
type Refresh = () => void;

/** Name, help, value. Names of etcd's where they have a meaning here. */
const statusGauges: readonly [string, string, (status: DatabaseStatus) => number][] = [
  ["etcd_server_proposals_committed_total", "Newest durable record", (s) => s.committedRecord],
  ["etcd_server_proposals_applied_total", "Newest record applied for readers", (s) => s.committedRecord],
  ["etcd_server_proposals_pending", "Records not yet durable", (s) => s.record - s.committedRecord],
  ["etcd_mvcc_db_total_size_in_bytes", "Bytes of tables and log", (s) => s.bytes],
  ["etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of live versions", (s) => s.bytesInUse],
  ["etcd_mvcc_put_total", "Keys written under this leadership", (s) => s.keysPut],
  ["etcd_mvcc_delete_total", "Keys deleted under this leadership", (s) => s.keysDeleted],
  ["etcd_debugging_mvcc_keys_total", "Live keys", (s) => s.keys],
  ["etcd_debugging_mvcc_current_revision", "Newest durable revision", (s) => s.revision],
  ["etcd_debugging_mvcc_compact_revision", "Compacted below this revision", (s) => s.compactRevision],
  ["etcd_debugging_mvcc_watcher_total", "Watchers", (s) => s.watchers],
  ["etcd_debugging_mvcc_watch_stream_total", "Watch streams", (s) => s.watchStreams],
  ["t4_epoch", "Number of the leadership", (s) => s.epoch],
  ["t4_leases", "Leases", (s) => s.leases],
  ["t4_log_next_slot", "The first slot never written", (s) => s.nextSlot],
  ["t4_log_slots_in_flight", "Segments being uploaded", (s) => s.slotsInFlight],
  ["t4_log_upload_pending_bytes", "Bytes of records not in the bucket", (s) => s.uploadPendingBytes],
  ["t4_log_upload_delay_seconds", "Age of the oldest record not in the bucket", (s) => s.uploadDelayMs / 1000],
  ["t4_checkpoint_age_seconds", "Age of the newest checkpoint", (s) => (s.checkpointAgeMs ?? Number.NaN) / 1000],
  ["t4_memtable_bytes", "State in memory that no table has", (s) => s.memtableBytes],
  ["t4_cache_memory_bytes", "Blocks of tables kept in memory", (s) => s.cacheMemoryBytes],
  ["t4_cache_memory_bytes_max", "Most that may be", (s) => s.cacheMemoryBytesMax],
  ["t4_cache_memory_hits_total", "Blocks that were in memory when asked for", (s) => s.cacheMemoryHits],
  ["t4_cache_memory_misses_total", "Blocks that had to be read", (s) => s.cacheMemoryMisses],
  ["t4_cache_disk_bytes", "Tables kept on the node's disk", (s) => s.cacheDiskBytes],
  ["t4_cache_disk_bytes_max", "Most that may be; 0 without a disk cache", (s) => s.cacheDiskBytesMax],
  ["t4_cache_disk_files", "Files of the disk cache", (s) => s.cacheDiskFiles],
  ["t4_cache_disk_hits_total", "Pieces of tables that were on the disk when asked for", (s) => s.cacheDiskHits],
  ["t4_cache_disk_misses_total", "Pieces of tables that were not", (s) => s.cacheDiskMisses],
  ["t4_cache_disk_written_total", "Pieces written to the disk cache", (s) => s.cacheDiskWritten],
  ["t4_cache_disk_dropped_total", "Pieces not written: too many at once, no room", (s) => s.cacheDiskDropped],
  ["t4_cache_disk_bad_total", "Pieces that were damaged or gone", (s) => s.cacheDiskBad],
  ["t4_tables", "Tables of the branch", (s) => s.tables],
];

/** While there is no leadership, what it would tell is absent, and etcd_server_has_leader is 0. */
function addStatus({ database }: MetricSources, add: Add): Refresh {
  const gauges = statusGauges.map(([name, help, value]) => ({ gauge: new Gauge({ ...add, name, help }), value }));
  const isLeader = new Gauge({ ...add, name: "etcd_server_is_leader", help: "Whether leadership is proven" });
  new Gauge({ ...add, name: "etcd_server_is_learner", help: "Always 0" }).set(0);
  const hasLeader = new Gauge({ ...add, name: "etcd_server_has_leader", help: "Whether leadership is proven" });
  const name = "etcd_server_leader_changes_seen_total";
  const leaderChanges = new Counter({ ...add, name, help: "Leaderships seen: the first one, and how the epoch grew" });
  let epoch: number | null = null;
  return () => {
    const present = database();
    const leads = present !== null && present.unprovenBecause() === null ? 1 : 0;
    hasLeader.set(leads);
    isLeader.set(leads);
    const status = present?.status();
    if (status !== undefined) {
      leaderChanges.inc(epoch === null ? 1 : Math.max(0, status.epoch - epoch));
      epoch = status.epoch;
    }
    for (const { gauge, value } of gauges) {
      if (status === undefined) gauge.remove();
      else gauge.set(value(status));
    }
  };
}

/** By branch, for all that are open: the metrics above are of the one that is served by default. */
const branchGauges: readonly [string, string, (status: DatabaseStatus) => number][] = [
  ["t4_branch_revision", "Newest durable revision", (s) => s.revision],
  ["t4_branch_keys", "Live keys", (s) => s.keys],
  ["t4_branch_keys_put_total", "Keys written under this leadership", (s) => s.keysPut],
  ["t4_branch_keys_deleted_total", "Keys deleted under this leadership", (s) => s.keysDeleted],
  ["t4_branch_bytes", "Bytes of tables and log that it refers to", (s) => s.bytes],
  ["t4_branch_memtable_bytes", "State in memory that no table has", (s) => s.memtableBytes],
  ["t4_branch_records_pending", "Records not yet durable", (s) => s.record - s.committedRecord],
  ["t4_branch_upload_pending_bytes", "Bytes of records not in the bucket", (s) => s.uploadPendingBytes],
  ["t4_branch_watchers", "Watchers", (s) => s.watchers],
  ["t4_branch_leases", "Leases", (s) => s.leases],
  ["t4_branch_epoch", "Number of the leadership", (s) => s.epoch],
];

function addBranches({ branches }: MetricSources, add: Add): Refresh {
  if (branches === undefined) return () => {};
  const open = new Gauge({ ...add, name: "t4_branches_open", help: "Branches that are open here" });
  const labelled = { ...add, labelNames: ["branch"] };
  const gauges = branchGauges.map(([name, help, value]) => ({ gauge: new Gauge({ ...labelled, name, help }), value }));
  return () => {
    const all = branches();
    open.set(all.length);
    for (const { gauge } of gauges) gauge.reset();
    for (const { name, database } of all) {
      const status = database.status();
      for (const { gauge, value } of gauges) gauge.set({ branch: name }, value(status));
    }
  };
}

function addTransport({ transport }: MetricSources, add: Add): Refresh {
  const sent = new Counter({ ...add, name: "etcd_network_client_grpc_sent_bytes_total", help: "Bytes to clients" });
  const connections = new Gauge({ ...add, name: "t4_connections", help: "Client connections" });
  const streams = new Gauge({ ...add, name: "t4_streams", help: "Calls and streams under way" });
  const received = new Counter({
    ...add,
    name: "etcd_network_client_grpc_received_bytes_total",
    help: "Bytes from clients",
  });
  const refused = new Counter({
    ...add,
    name: "t4_connections_refused_total",
    help: "Connections ended for a flood or a protocol error",
    labelNames: ["reason"],
  });
  return () => {
    const stats = transport();
    for (const counter of [sent, received, refused]) counter.reset();
    sent.inc(stats.bytesSent);
    received.inc(stats.bytesReceived);
    connections.set(stats.connections);
    streams.set(stats.streams);
    for (const [reason, count] of stats.refused) refused.inc({ reason }, count);
  };
}

/** As grpc's own metrics name them. */
const codeNames = [
  ...["OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists"],
  ...["PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented"],
  ...["Internal", "Unavailable", "DataLoss", "Unauthenticated"],
];

function addCalls({ calls }: MetricSources, add: Add): Refresh {
  const labelNames = ["grpc_method", "grpc_service", "grpc_type"] as const;
  const started = new Counter({ ...add, name: "grpc_server_started_total", help: "Calls begun", labelNames });
  const ended = new Counter({
    ...add,
    name: "grpc_server_handled_total",
    help: "Calls ended",
    labelNames: ["grpc_code", ...labelNames],
  });
  return () => {
    ended.reset();
    started.reset();
    for (const { path, type, started: begun, handled } of calls.methods.values()) {
      const [, service = "", method = ""] = path.split("/");
      // In alphabetical order, as an etcd writes them: some look for the whole text.
      const names = { grpc_method: method, grpc_service: service, grpc_type: type };
      started.inc(names, begun);
      handled.forEach((count, code) => {
        if (count > 0) ended.inc({ grpc_code: codeNames[code] ?? "Unknown", ...names }, count);
      });
    }
  };
}

function addStore({ storeRequests }: MetricSources, add: Add): Refresh {
  const labels = ["operation", "object", "outcome"] as const;
  const bytes = new Counter({
    ...add,
    name: "t4_store_bytes_total",
    help: "Bytes of objects read and written",
    labelNames: labels,
  });
  const seconds = new Counter({
    ...add,
    name: "t4_store_request_duration_seconds_bucket",
    help: "Requests that took at most le seconds",
    labelNames: [...labels, "le"],
  });
  const requests = new Counter({
    ...add,
    name: "t4_store_requests_total",
    help: "Requests to the object store",
    labelNames: labels,
  });
  return () => {
    for (const one of [requests, bytes, seconds]) one.reset();
    for (const series of storeRequests()) {
      const names = { operation: series.operation, object: series.object, outcome: series.outcome };
      requests.inc(names, series.count);
      bytes.inc(names, series.bytes);
      let upTo = 0;
      series.counts.forEach((count, n) => {
        upTo += count;
        const bound = timeBoundsMs[n];
        seconds.inc({ ...names, le: bound === undefined ? "+Inf" : String(bound / 1000) }, upTo);
      });
    }
  };
}

function addCollections({ collections }: MetricSources, add: Add): Refresh {
  const objects = new Counter({
    ...add,
    name: "t4_collected_objects_total",
    help: "Objects deleted that no branch needs",
  });
  const bytes = new Counter({ ...add, name: "t4_collected_bytes_total", help: "Their bytes" });
  const last = new Gauge({
    ...add,
    name: "t4_collection_last_timestamp_seconds",
    help: "When the last collection ended",
  });
  const failed = new Gauge({ ...add, name: "t4_collection_failed", help: "1 if the last collection failed" });
  return () => {
    const stats = collections?.() ?? null;
    for (const counter of [objects, bytes]) counter.reset();
    objects.inc(stats?.objects ?? 0);
    bytes.inc(stats?.bytes ?? 0);
    last.set(stats?.lastMs == null ? Number.NaN : stats.lastMs / 1000);
    failed.set(stats?.error == null ? 0 : 1);
  };
}
