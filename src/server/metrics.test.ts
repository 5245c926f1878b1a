import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { CallCounts } from "../api/call-counts.ts";
import { DbError } from "../base/errors.ts";
import type { Epoch, RecordNumber, Revision } from "../base/ids.ts";
import type { Database, DatabaseStatus } from "../engine/engine.ts";
import type { TransportStats } from "../transport/transport.ts";
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
  leases: 0,
  errors: [],
};

function world() {
  const calls = new CallCounts();
  const state = {
    database: null as Partial<Database> | null,
    transport: { connections: 2, streams: 3, bytesReceived: 10, bytesSent: 20, refused: new Map([["flood", 4]]) },
    calls,
  };
  const scrape = createMetrics({
    database: () => state.database as Database | null,
    transport: () => state.transport as unknown as TransportStats,
    calls,
    storeRequests: () => [],
  });
  return { state, shownAs: async (name: string) => shownAs(await scrape(), name) };
}

const shownAs = (text: string, name: string): string | undefined =>
  text
    .split("\n")
    .find((line) => line.startsWith(`${name} `))
    ?.slice(name.length + 1);

test("each scrape shows what is so at that moment, the first one too", async () => {
  const { state, shownAs } = world();
  state.database = { status: () => status, unprovenBecause: () => null };
  const counts = state.calls.of("/etcdserverpb.KV/Put", "unary");
  counts.started = 2;
  counts.ended(14);
  const put = 'grpc_type="unary",grpc_service="etcdserverpb.KV",grpc_method="Put"';
  const shown: Record<string, string> = {
    etcd_server_has_leader: "1",
    etcd_server_is_leader: "1",
    etcd_server_proposals_pending: "2",
    t4_log_upload_delay_seconds: "1.5",
    t4_connections: "2",
    t4_streams: "3",
    etcd_network_client_grpc_sent_bytes_total: "20",
    etcd_network_client_grpc_received_bytes_total: "10",
    't4_connections_refused_total{reason="flood"}': "4",
    [`grpc_server_started_total{${put}}`]: "2",
    [`grpc_server_handled_total{${put},grpc_code="Unavailable"}`]: "1",
  };
  const read = async (): Promise<Record<string, string | undefined>> =>
    Object.fromEntries(await Promise.all(Object.keys(shown).map(async (name) => [name, await shownAs(name)])));
  deepEqual(await read(), shown);
  deepEqual(await read(), shown, "nothing is counted twice");
  state.database = { ...state.database, unprovenBecause: () => new DbError("noLeader") };
  equal(await shownAs("etcd_server_has_leader"), "0");
  equal(await shownAs("etcd_server_is_leader"), "0");
});

test("without a leadership what it would tell is absent", async () => {
  const { state, shownAs } = world();
  equal(await shownAs("etcd_debugging_mvcc_current_revision"), undefined);
  equal(await shownAs("etcd_server_has_leader"), "0");
  state.database = { status: () => status, unprovenBecause: () => null };
  equal(await shownAs("etcd_debugging_mvcc_current_revision"), "5");
  state.database = null;
  equal(await shownAs("etcd_debugging_mvcc_current_revision"), undefined);
});
