import { isDbError } from "../base/errors.ts";
import type { Database } from "../engine/engine.ts";
import type { HttpResponse } from "../transport/transport.ts";

/** GET /debug/vars: what Go's expvar tells of an etcd, as far as it is so here: sizes in bytes, times in ns. */
export function debugVars(database: () => Database): HttpResponse {
  const { rss, heapTotal, heapUsed, external, arrayBuffers } = process.memoryUsage();
  const vars = {
    cmdline: [...process.argv],
    memstats: { Alloc: heapUsed, HeapAlloc: heapUsed, HeapSys: heapTotal, HeapInuse: heapUsed, Sys: rss },
    node: { version: process.version, external, arrayBuffers, uptime_seconds: Math.floor(process.uptime()) },
    "raft.status": raftStatus(database),
  };
  return {
    status: 200,
    headers: { "content-type": "application/json; charset=utf-8" },
    body: `${JSON.stringify(vars, null, 1)}\n`,
  };
}

/** The names of etcd's consensus, for what takes its place; null while no branch is open. */
function raftStatus(database: () => Database): unknown {
  try {
    const opened = database();
    const status = opened.status();
    const leads = opened.unprovenBecause() === null;
    return {
      id: opened.identity.memberId.toString(16),
      term: status.epoch,
      commit: status.committedRecord,
      applied: status.committedRecord,
      lead: leads ? opened.identity.memberId.toString(16) : "0",
      raftState: leads ? "StateLeader" : "StateFollower",
    };
  } catch (error) {
    if (!isDbError(error)) throw error;
    return null;
  }
}
