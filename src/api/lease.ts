import type { LeaseId } from "../base/ids.ts";
import { bytesOfKey } from "../base/latin1.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { LeaseTimeToLiveResult } from "../engine/engine.ts";
import type { Encodable } from "../transport/transport.ts";
import type { CallCounts } from "./call-counts.ts";
import type { StreamCall } from "./stream-call.ts";
import { encoded, type Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { LeaseResponse } from "./wire/lease-responses.ts";
import { Message } from "./wire/message.ts";
import { decodeEmpty, decodeLeaseGrant, decodeLeaseId, decodeLeaseTimeToLive } from "./wire/other-requests.ts";

/** etcdserverpb.Lease, but for its stream. */
export const leaseService = (counts: Pick<CallCounts, "onLeaseGranted">): Record<string, Method> => ({
  "/etcdserverpb.Lease/LeaseGrant": (database, message) =>
    encoded(database.leaseGrant(decodeLeaseGrant(message)), ({ id, ttlSeconds, revision }) => {
      counts.onLeaseGranted(ttlSeconds);
      return new LeaseResponse(headerOf(database), { revision, id, ttlSeconds });
    }),
  "/etcdserverpb.Lease/LeaseRevoke": (database, message) =>
    encoded(database.leaseRevoke(decodeLeaseId(message, "LeaseRevokeRequest")), (revoked) =>
      new Message().header(headerOf(database), revoked.revision),
    ),
  "/etcdserverpb.Lease/LeaseTimeToLive": (database, message) =>
    encoded(database.leaseTimeToLive(decodeLeaseTimeToLive(message)), (result) => timeToLive(database, result)),
  "/etcdserverpb.Lease/LeaseLeases": (database, message) => {
    decodeEmpty(message, "LeaseLeasesRequest");
    return encoded(database.leaseLeases(), ({ ids, revision }) => {
      const response = new Message().header(headerOf(database), revision);
      for (const id of ids) response.alwaysMessage(2, new Message().big(1, id));
      return response;
    });
  },
});

function timeToLive(database: StreamCall["database"], result: LeaseTimeToLiveResult): Message {
  const response = new Message()
    .header(headerOf(database), result.revision)
    .big(2, result.id)
    .number(3, result.ttlSeconds)
    .number(4, result.grantedTtlSeconds);
  for (const key of result.keys) response.alwaysBytes(5, bytesOfKey(key));
  return response;
}

/** Keep-alives of a stream that wait for their answer; at this many no more are read. */
const PENDING_MAX = 128;

/**
 * LeaseKeepAlive: each message is answered, in the order of the messages, though answers may become ready in
 * another (L4).
 */
export function keepAlive(call: StreamCall, counts: Pick<CallCounts, "leasesRenewed">): void {
  const { stream, database } = call;
  /** Null: not answered yet. */
  const pending: { answer: Encodable | null }[] = [];
  let finished = false;
  let blocked = false;

  const flow = (): void => {
    if (blocked || pending.length >= PENDING_MAX) stream.pauseMessages();
    else stream.resumeMessages();
  };
  const flush = (): void => {
    let ready = 0;
    while (ready < pending.length && pending[ready]!.answer !== null) {
      if (!stream.send(pending[ready]!.answer!)) blocked = true;
      ready++;
    }
    if (ready > 0) pending.splice(0, ready);
    if (finished && pending.length === 0) call.end();
  };
  const renewed = (id: LeaseId, { ttlSeconds, revision }: { ttlSeconds: number; revision: number }): Encodable => {
    if (ttlSeconds > 0) counts.leasesRenewed++;
    return new LeaseResponse(headerOf(database), { revision, id, ttlSeconds });
  };

  stream.onMessage = (message) =>
    call.guard(() => {
      const id = decodeLeaseId(message, "LeaseKeepAliveRequest");
      const result = database.leaseKeepAlive(id);
      if (pending.length === 0 && !isPromise(result)) {
        if (stream.send(renewed(id, result))) return;
        blocked = true;
        flow();
        return;
      }
      const place: { answer: Encodable | null } = { answer: null };
      pending.push(place);
      if (!isPromise(result)) {
        place.answer = renewed(id, result);
        flush();
        if (blocked || pending.length >= PENDING_MAX) flow();
        return;
      }
      flow();
      result
        .then((done) => {
          place.answer = renewed(id, done);
          if (call.ended) return;
          flush();
          if (!call.ended) flow();
        })
        .catch((error: unknown) => call.fail(error));
    });
  stream.onDrain = () =>
    call.guard(() => {
      blocked = false;
      flow();
    });
  stream.onHalfClose = () =>
    call.guard(() => {
      finished = true;
      flush();
    });
}
