import { isUtf8 } from "node:buffer";
import type { Database } from "../engine/engine.ts";
import { type Call, GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";

/** Does the call's metadata ask to be refused, or cut, where there is no leader (B1.9)? */
export const requiresLeader = (call: Call): boolean => call.metadata("hasleader") === "true";

/** What etcd checks of every call before its method. */
export function admit(database: Database, call: Call): void {
  const version = call.metadata("client-api-version");
  // Metadata comes with one character per byte. [E07]
  if (version !== undefined && !isUtf8(Buffer.from(version, "latin1"))) {
    throw new GrpcError(codes.invalidArgument, "etcdserver: invalid client api version");
  }
  if (requiresLeader(call)) {
    const reason = database.unprovenBecause();
    if (reason !== null) throw reason;
  }
}
