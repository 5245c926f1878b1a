import { isUtf8 } from "node:buffer";
import type { Database } from "../engine/engine.ts";
import { type Call, GrpcError } from "../transport/transport.ts";
import type { CallCounts } from "./call-counts.ts";
import { codes } from "./errors.ts";

/** Does the call's metadata ask to be refused, or cut, where there is no leader (B1.9)? */
export const requiresLeader = (call: Call): boolean => call.metadata("hasleader") === "true";

const isAscii = /^[\x20-\x7e]*$/;

interface Counting {
  readonly counts: CallCounts;
  readonly type: "unary" | "stream";
}

/** What etcd checks of every call before its method; what passes the first check is counted. */
export function admit(database: Database, call: Call, { counts, type }: Counting): void {
  const version = call.metadata("client-api-version");
  // Metadata comes with one character per byte. [E07]
  if (version !== undefined && !isAscii.test(version) && !isUtf8(Buffer.from(version, "latin1"))) {
    throw new GrpcError(codes.invalidArgument, "etcdserver: invalid client api version");
  }
  counts.admitted(version ?? null, type);
  if (requiresLeader(call)) {
    const reason = database.unprovenBecause();
    if (reason !== null) throw reason;
  }
}
