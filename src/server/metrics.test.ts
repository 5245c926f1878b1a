import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { CallCounts } from "../api/call-counts.ts";
import { DbError } from "../base/errors.ts";
import type { Epoch, RecordNumber, Revision } from "../base/ids.ts";
import type { Database, DatabaseStatus, RangeResult, TxnResult } from "../engine/engine.ts";
import { timeBoundsMs } from "../objects/metered.ts";
import type { Clock, Disk } from "../runtime/runtime.ts";
import type { Call, Encodable, GrpcStream, TransportStats, UnaryHandler } from "../transport/transport.ts";
import { CallMetrics } from "./call-metrics.ts";
import { DiskTimings } from "./disk-timings.ts";
import { createMetrics } from "./metrics.ts";

const status: DatabaseStatus = {
  branch: "main",
  durability: "object",
  epoch: 1 as Epoch,
  revision: 5 as Revision,
  compactRevision: -1,
  record: 9 as RecordNumber,
  committedRecord: 7 as RecordNumber,
  nextSlot: 1,
  slotsInFlight: 0,
  uploadedRecord: 7 as RecordNumber,
  uploadPendingBytes: 0,
  uploadDelayMs: 1500,
  bytes: 0,
  bytesInUse: 0,
  memtableBytes: 0,
  cacheMemoryBytes: 0,
  cacheMemoryBytesMax: 0,
  cacheMemoryHits: 0,
  cacheMemoryMisses: 0,
  cacheDiskBytes: 0,
  cacheDiskBytesMax: 0,
  cacheDiskFiles: 0,
  cacheDiskHits: 0,
  cacheDiskMisses: 0,
  cacheDiskWritten: 0,
  cacheDiskDropped: 0,
  cacheDiskBad: 0,
  tables: 0,
  checkpointAgeMs: null,
  checkpointSlot: null,
  keys: 0,
  watchers: 0,
  watchStreams: 0,
  keysPut: 3,
  keysDeleted: 1,
  leases: 0,
  leasesExpired: 2,
  errors: [],
};

/** Three within 10 ms, one above all bounds. */
const puts = [...timeBoundsMs.map((bound) => (bound === 10 ? 3 : 0)), 1];
const identity = { memberId: 0xabcn } as Database["identity"];
const maintenance = { quotaBytes: 5000 } as Database["maintenance"];

function world() {
  const calls = new CallCounts();
  let nowMs = 0;
  const clock: Clock = { monotonicMs: () => (nowMs += 3), wallMs: () => 0 };
  const server = {
    health: { success: 7, failures: 1 },
    bugs: { call: 2, branch: 0, process: 0 },
    calls: new CallMetrics(clock, { extensive: true }),
    disk: new DiskTimings(clock),
  };
  const state = {
    database: null as Partial<Database> | null,
    transport: { connections: 2, streams: 3, bytesReceived: 10, bytesSent: 20, refused: new Map([["flood", 4]]) },
    calls,
  };
  const scrape = createMetrics({
    database: () => state.database as Database | null,
    transport: () => state.transport as unknown as TransportStats,
    calls,
    storeRequests: () => [
      { ...{ operation: "put", object: "segment", outcome: "done", count: 4, bytes: 9, sumMs: 400 }, counts: puts },
      { ...{ operation: "get", object: "segment", outcome: "done", count: 1, bytes: 9, sumMs: 400 }, counts: puts },
    ],
    server,
  });
  return { state, server, shownAs: async (name: string) => shownAs(await scrape(), name) };
}

const shownAs = (text: string, name: string): string | undefined =>
  text
    .split("\n")
    .find((line) => line.startsWith(`${name} `))
    ?.slice(name.length + 1);

test("each scrape shows what is so at that moment, the first one too", async () => {
  const { state, shownAs } = world();
  state.database = { status: () => status, unprovenBecause: () => null, identity, maintenance };
  const counts = state.calls.of("/etcdserverpb.KV/Put", "unary");
  counts.started = 2;
  counts.ended(14);
  const put = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"';
  const shown: Record<string, string> = {
    etcd_server_has_leader: "1",
    etcd_server_is_leader: "1",
    etcd_server_leader_changes_seen_total: "1",
    etcd_server_proposals_pending: "2",
    t4_log_upload_delay_seconds: "1.5",
    t4_connections: "2",
    t4_streams: "3",
    etcd_network_client_grpc_sent_bytes_total: "20",
    etcd_network_client_grpc_received_bytes_total: "10",
    't4_connections_refused_total{reason="flood"}': "4",
    [`grpc_server_started_total{${put}}`]: "2",
    [`grpc_server_msg_received_total{${put}}`]: "2",
    [`grpc_server_msg_sent_total{${put}}`]: "0",
    etcd_mvcc_put_total: "3",
    etcd_mvcc_delete_total: "1",
    etcd_server_health_success: "7",
    etcd_server_health_failures: "1",
    etcd_server_quota_backend_bytes: "5000",
    'etcd_server_id{server_id="abc"}': "1",
    'etcd_cluster_version{cluster_version="3.6"}': "1",
    [`grpc_server_handled_total{grpc_code="Unavailable",${put}}`]: "1",
  };
  const read = async (): Promise<Record<string, string | undefined>> =>
    Object.fromEntries(await Promise.all(Object.keys(shown).map(async (name) => [name, await shownAs(name)])));
  deepEqual(await read(), shown);
  deepEqual(await read(), shown, "nothing is counted twice");
  state.database = { ...state.database, unprovenBecause: () => new DbError("noLeader") };
  equal(await shownAs("etcd_server_has_leader"), "0");
  equal(await shownAs("etcd_server_is_leader"), "0");
  state.database = { ...state.database, status: () => ({ ...status, epoch: (status.epoch + 2) as Epoch }) };
  equal(await shownAs("etcd_server_leader_changes_seen_total"), "3");
});

test("B1.10 clients' versions, operations in transactions, leases, segments in the store", async () => {
  const { state, shownAs } = world();
  const { calls } = state;
  for (let n = 0; n < 200; n++) calls.admitted(`3.${n}`, "unary");
  calls.admitted("3.6", "stream");
  calls.admitted(null, "unary");
  const version = (name: string, type: string) =>
    shownAs(`etcd_server_client_requests_total{client_api_version="${name}",type="${type}"}`);
  deepEqual([await version("3.6", "unary"), await version("3.6", "stream")], ["1", "1"]);
  // Clients cannot make names without end.
  deepEqual([await version("3.150", "unary"), await version("other", "unary")], [undefined, "101"]);
  const range = { kind: "range" } as RangeResult;
  const nested = { kind: "txn", responses: [range, { kind: "put" }] } as unknown as TxnResult;
  calls.txnDone({ kind: "txn", responses: [nested] } as unknown as TxnResult);
  calls.txnDone({ kind: "txn", responses: [range] } as unknown as TxnResult);
  deepEqual([await shownAs("etcd_mvcc_range_total"), await shownAs("etcd_mvcc_txn_total")], ["2", "1"]);
  calls.of("/etcdserverpb.Lease/LeaseRevoke", "unary").ended(0);
  calls.leasesRenewed = 7;
  state.database = { status: () => status, unprovenBecause: () => null, identity, maintenance };
  equal(await shownAs("etcd_debugging_lease_renewed_total"), "7");
  equal(await shownAs("etcd_debugging_lease_revoked_total"), "3");
  equal(await shownAs("etcd_debugging_server_lease_expired_total"), "2");
  equal(await shownAs('etcd_disk_backend_commit_duration_seconds_bucket{le="0.01"}'), "3");
  equal(await shownAs("etcd_disk_backend_commit_duration_seconds_count"), "4");
});

test("without a leadership what it would tell is absent", async () => {
  const { state, shownAs } = world();
  equal(await shownAs("etcd_debugging_mvcc_current_revision"), undefined);
  equal(await shownAs("etcd_server_has_leader"), "0");
  state.database = { status: () => status, unprovenBecause: () => null, identity, maintenance };
  equal(await shownAs("etcd_debugging_mvcc_current_revision"), "5");
  state.database = null;
  equal(await shownAs("etcd_debugging_mvcc_current_revision"), undefined);
});

test("how long calls and the log's durable writes took; messages of streams", async () => {
  const { state, server, shownAs } = world();
  const path = "/etcdserverpb.Watch/Watch";
  state.calls.of(path, "bidi_stream").started = 1;
  const { unary, streams } = server.calls.around({
    unary: new Map<string, UnaryHandler>([
      ["/etcdserverpb.KV/Put", () => Promise.reject(new Error("refused"))],
      ["/etcdserverpb.KV/Range", () => ({}) as Encodable],
    ]),
    streams: new Map([[path, (stream) => void (stream.traffic!.sent += 5)]]),
  });
  streams.get(path)!({} as GrpcStream);
  await rejects(async () => unary.get("/etcdserverpb.KV/Put")!(Buffer.alloc(0), {} as Call));
  void unary.get("/etcdserverpb.KV/Range")!(Buffer.alloc(0), {} as Call);
  const kept: string[] = [];
  const file = { write: (bytes: Uint8Array) => void kept.push(`${bytes.length}`) };
  const disk = server.disk.around({ open: async () => file, bootId: async () => "boot" } as unknown as Disk);
  for (const sync of [true, false]) {
    const opened = await disk.open("x", { create: true, sync });
    await opened!.write(Buffer.alloc(10), 0);
  }
  deepEqual([kept, await disk.bootId()], [["10", "10"], "boot"]);
  equal(await shownAs("etcd_disk_wal_write_bytes_total"), "10");
  equal(await shownAs('etcd_disk_wal_fsync_duration_seconds_bucket{le="0.002"}'), "0");
  equal(await shownAs('etcd_disk_wal_fsync_duration_seconds_bucket{le="0.004"}'), "1");
  equal(await shownAs('etcd_disk_wal_fsync_duration_seconds_bucket{le="+Inf"}'), "1");
  equal(await shownAs("etcd_disk_wal_fsync_duration_seconds_sum"), "0.003");
  const put = 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"';
  equal(await shownAs(`grpc_server_handling_seconds_count{${put}}`), "1");
  const apply = (what: string) => `etcd_server_apply_duration_seconds_count{op="Put",success="${what}",version="v3"}`;
  deepEqual([await shownAs(apply("true")), await shownAs(apply("false"))], ["0", "1"]);
  equal(await shownAs('etcd_server_range_duration_seconds_count{success="true"}'), "1");
  const watch = 'grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"';
  equal(await shownAs(`grpc_server_msg_sent_total{${watch}}`), "5");
  equal(await shownAs(`grpc_server_msg_received_total{${watch}}`), "0");
});
