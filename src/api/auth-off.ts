import { GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import type { Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";
import { decodeAuthenticate, decodeEmpty } from "./wire/other-requests.ts";

/** The auth store's revision before anything was changed in it (A1). */
const FIRST_AUTH_REVISION = 1;

/**
 * What of etcdserverpb.Auth can be answered truthfully while there is no authentication: it is off. A client that has
 * a name and a password goes on without them when it is told so in etcd's words, as it does with an etcd.
 */
export const authOffService: Record<string, Method> = {
  "/etcdserverpb.Auth/Authenticate": (_database, message) => {
    decodeAuthenticate(message);
    throw new GrpcError(codes.failedPrecondition, "etcdserver: authentication is not enabled"); // [E40]
  },
  "/etcdserverpb.Auth/AuthStatus": (database, message) => {
    decodeEmpty(message, "AuthStatusRequest");
    const reason = database.unprovenBecause();
    if (reason !== null) throw reason;
    return new Message().header(headerOf(database), database.committed).number(3, FIRST_AUTH_REVISION);
  },
  /** Disabling what is off is no error (A2). */
  "/etcdserverpb.Auth/AuthDisable": (database, message) => {
    decodeEmpty(message, "AuthDisableRequest");
    const reason = database.unprovenBecause();
    if (reason !== null) throw reason;
    return new Message().header(headerOf(database), database.committed);
  },
};
