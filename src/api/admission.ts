import type { Database } from "../engine/engine.ts";
import { type Call, GrpcError } from "../transport/transport.ts";
import type { CallCounts } from "./call-counts.ts";
import { metadataOf } from "./call-metadata.ts";
import { codes } from "./errors.ts";

/** Does the call's metadata ask to be refused, or cut, where there is no leader (B1.9)? */
export const requiresLeader = (call: Call): boolean => metadataOf(call).requiresLeader;

interface Counting {
  readonly counts: CallCounts;
  readonly type: "unary" | "stream";
}

/** What etcd checks of every call before its method; what passes the first check is counted. */
export function admit(database: Database, call: Call, { counts, type }: Counting): void {
  const metadata = metadataOf(call);
  // [E07]
  if (!metadata.isVersionText) throw new GrpcError(codes.invalidArgument, "etcdserver: invalid client api version");
  counts.admitted(metadata.version, type);
  if (metadata.requiresLeader) {
    const reason = database.unprovenBecause();
    if (reason !== null) throw reason;
  }
}
