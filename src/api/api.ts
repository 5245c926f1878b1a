import type { Routes, StreamHandler, UnaryHandler } from "../transport/transport.ts";
import { authService } from "./auth.ts";
import { CallCounts, type MethodType } from "./call-counts.ts";
import { clusterService } from "./cluster.ts";
import { electionService } from "./election.ts";
import { healthService, healthWatch } from "./health.ts";
import { keepAlive } from "./keep-alive-stream.ts";
import { kvService } from "./kv.ts";
import { LargeRanges } from "./large-ranges.ts";
import { LeaderWatch } from "./leader-watch.ts";
import { leaseService } from "./lease.ts";
import { lockService } from "./lock.ts";
import { maintenanceService } from "./maintenance.ts";
import { observe } from "./observe.ts";
import { rangeStream } from "./range.ts";
import { type RepositorySource, repositoryRoutes } from "./repository/service.ts";
import { requestSizeCheck } from "./request-size.ts";
import { type DatabaseSource, databaseOf, type EtcdSettings } from "./settings.ts";
import { snapshot } from "./snapshot.ts";
import { type StreamService, streamHandler } from "./stream-call.ts";
import { unaryHandler } from "./unary-call.ts";
import { watch } from "./watch.ts";

export type { DatabaseSource, EtcdSettings } from "./settings.ts";

/**
 * etcd's gRPC services on the engine, for the transport: decode, check, call, map the error, set the header. Of a
 * method that is not among them the transport says so.
 */
export interface EtcdRoutes extends Pick<Routes, "unary" | "streams"> {
  /** Counts of calls by method and status, for metrics. */
  readonly counts: CallCounts;
}

/** `repository`: what t4's own service stands on; left out: it is not served. */
export function etcdRoutes(
  source: DatabaseSource,
  settings: EtcdSettings,
  repository: RepositorySource | null = null,
): EtcdRoutes {
  const find = databaseOf(source);
  const counts = new CallCounts();
  const leaders = new LeaderWatch(settings.timers);
  const methods = {
    ...kvService(requestSizeCheck(settings.requestBytesMax), new LargeRanges(settings.timers), counts),
    ...leaseService(counts),
    ...clusterService(settings),
    ...maintenanceService,
    ...lockService,
    ...electionService,
    ...authService(requestSizeCheck(settings.requestBytesMax)),
    ...healthService,
  };
  const services: Record<string, StreamService> = {
    "/etcdserverpb.KV/RangeStream": rangeStream(settings.timers),
    "/etcdserverpb.Watch/Watch": watch,
    "/etcdserverpb.Lease/LeaseKeepAlive": (call) => keepAlive(call, counts),
    "/etcdserverpb.Maintenance/Snapshot": snapshot(settings.timers),
    "/v3electionpb.Election/Observe": observe,
    "/grpc.health.v1.Health/Watch": healthWatch,
  };

  const unary = new Map<string, UnaryHandler>();
  const { onBug, onCorrupt, share } = settings;
  for (const [path, method] of Object.entries(methods)) {
    unary.set(path, unaryHandler(find, { counts: counts.of(path, "unary"), all: counts, onCorrupt, share }, method));
  }
  const streams = new Map<string, StreamHandler>();
  for (const [path, service] of Object.entries(services)) {
    const surroundings = { counts: counts.of(path, typeOf(path)), all: counts, leaders, onBug, onCorrupt };
    streams.set(path, streamHandler(find, surroundings, service));
  }
  if (repository === null) return { unary, streams, counts };
  const own = repositoryRoutes(repository, counts);
  return { unary: new Map([...unary, ...own.unary]), streams: new Map([...streams, ...own.streams]), counts };
}

const bidirectional = new Set(["/etcdserverpb.Watch/Watch", "/etcdserverpb.Lease/LeaseKeepAlive"]);
const typeOf = (path: string): MethodType => (bidirectional.has(path) ? "bidi_stream" : "server_stream");
