import { Counter, collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { etcdVersion, version } from "../base/version.ts";
import type { Database } from "../engine/engine.ts";
import type { RequestSeries } from "../objects/metered.ts";
import { timeBoundsMs } from "../objects/metered.ts";
import type { TransportStats } from "../transport/transport.ts";

/** What is read at each scrape: nothing is counted twice on the hot path. */
export interface MetricSources {
  database: Database;
  transport: () => TransportStats;
  /** Calls ended, by method and status. */
  calls: () => Iterable<{
    service: string;
    method: string;
    type: string;
    code: string;
    started: number;
    handled: number;
  }>;
  storeRequests: () => Iterable<Readonly<RequestSeries>>;
}

/** The text of /metrics. This module is loaded, and the registry made, at the first scrape. */
export function createMetrics(sources: MetricSources): () => Promise<string> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const add = { registers: [registry] };
  const gauge = (name: string, help: string, read: () => number) =>
    new Gauge({
      ...add,
      name,
      help,
      collect: function (this: Gauge) {
        this.set(read());
      },
    });
  const counter = (name: string, help: string, read: () => number) =>
    new Counter({
      ...add,
      name,
      help,
      collect: function (this: Counter) {
        this.reset();
        this.inc(read());
      },
    });
  const { database } = sources;
  addEtcd(sources, gauge, counter);
  new Gauge({
    ...add,
    name: "etcd_server_version",
    help: "Which etcd is emulated",
    labelNames: ["server_version"],
  }).set({ server_version: etcdVersion }, 1);
  new Gauge({ ...add, name: "t4_version", help: "Which t4 is running", labelNames: ["version"] }).set({ version }, 1);
  gauge("t4_epoch", "Number of the leadership", () => database.epoch);
  gauge("t4_log_next_slot", "The first slot never written", () => database.status().nextSlot);
  gauge("t4_log_slots_in_flight", "Segments being uploaded", () => database.status().slotsInFlight);
  gauge(
    "t4_log_upload_pending_bytes",
    "Bytes of records not in the bucket",
    () => database.status().uploadPendingBytes,
  );
  gauge(
    "t4_log_upload_delay_seconds",
    "Age of the oldest record not in the bucket",
    () => database.status().uploadDelayMs / 1000,
  );
  gauge(
    "t4_checkpoint_age_seconds",
    "Since the newest checkpoint; NaN before any",
    () => (database.status().checkpointAgeMs ?? Number.NaN) / 1000,
  );
  gauge("t4_memtable_bytes", "State in memory that no table has", () => database.status().memtableBytes);
  gauge("t4_tables", "Tables of the branch", () => database.status().tables);
  gauge("t4_connections", "Client connections", () => sources.transport().connections);
  gauge("t4_streams", "Calls and streams under way", () => sources.transport().streams);
  addRefused(sources, add);
  addCalls(sources, add);
  addStore(sources, add);
  return () => registry.metrics();
}

type Add = (name: string, help: string, read: () => number) => unknown;

/** Names of etcd's where they have a meaning here. */
function addEtcd({ database, transport }: MetricSources, gauge: Add, counter: Add): void {
  const leads = () => (database.unprovenBecause() === null ? 1 : 0);
  gauge("etcd_server_has_leader", "Whether leadership is proven", leads);
  gauge("etcd_server_is_leader", "Whether this node leads", leads);
  gauge("etcd_server_is_learner", "Always 0", () => 0);
  gauge("etcd_server_proposals_committed_total", "Newest durable record", () => database.status().committedRecord);
  gauge("etcd_server_proposals_applied_total", "Newest applied record", () => database.status().committedRecord);
  gauge(
    "etcd_server_proposals_pending",
    "Records not yet durable",
    () => database.status().record - database.status().committedRecord,
  );
  gauge("etcd_mvcc_db_total_size_in_bytes", "Bytes of tables and log", () => database.status().bytes);
  gauge("etcd_mvcc_db_total_size_in_use_in_bytes", "Bytes of live versions", () => database.status().bytesInUse);
  gauge("etcd_debugging_mvcc_keys_total", "Live keys", () => database.status().keys);
  gauge("etcd_debugging_mvcc_current_revision", "Newest durable revision", () => database.committed);
  gauge(
    "etcd_debugging_mvcc_compact_revision",
    "Compacted below this revision",
    () => database.status().compactRevision,
  );
  gauge("etcd_debugging_mvcc_watcher_total", "Watchers", () => database.status().watchers);
  gauge("etcd_debugging_mvcc_watch_stream_total", "Watch streams", () => database.status().watchStreams);
  counter("etcd_network_client_grpc_received_bytes_total", "Bytes from clients", () => transport().bytesReceived);
  counter("etcd_network_client_grpc_sent_bytes_total", "Bytes to clients", () => transport().bytesSent);
}

function addRefused({ transport }: MetricSources, add: { registers: Registry[] }): void {
  new Counter({
    ...add,
    name: "t4_connections_refused_total",
    help: "Connections ended for a flood or a protocol error",
    labelNames: ["reason"],
    collect() {
      this.reset();
      for (const [reason, count] of transport().refused) this.inc({ reason }, count);
    },
  });
}

function addCalls({ calls }: MetricSources, add: { registers: Registry[] }): void {
  const labels = ["grpc_service", "grpc_method", "grpc_type"] as const;
  const started = new Counter({ ...add, name: "grpc_server_started_total", help: "Calls begun", labelNames: labels });
  new Counter({
    ...add,
    name: "grpc_server_handled_total",
    help: "Calls ended",
    labelNames: [...labels, "grpc_code"],
    collect() {
      this.reset();
      started.reset();
      for (const { service, method, type, code, started: begun, handled } of calls()) {
        const names = { grpc_service: service, grpc_method: method, grpc_type: type };
        this.inc({ ...names, grpc_code: code }, handled);
        started.inc(names, begun);
      }
    },
  });
}

function addStore({ storeRequests }: MetricSources, add: { registers: Registry[] }): void {
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
  new Counter({
    ...add,
    name: "t4_store_requests_total",
    help: "Requests to the object store",
    labelNames: labels,
    collect() {
      for (const one of [this, bytes, seconds]) one.reset();
      for (const series of storeRequests()) {
        const names = { operation: series.operation, object: series.object, outcome: series.outcome };
        this.inc(names, series.count);
        bytes.inc(names, series.bytes);
        let upTo = 0;
        series.counts.forEach((count, n) => {
          upTo += count;
          const bound = timeBoundsMs[n];
          seconds.inc({ ...names, le: bound === undefined ? "+Inf" : String(bound / 1000) }, upTo);
        });
      }
    },
  });
}
