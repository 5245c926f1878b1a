import type { LeaseId } from "../base/ids.ts";
import { isPromise } from "../base/maybe-promise.ts";
import type { LeaseTimeToLiveResult } from "../engine/engine.ts";
import type { Call, Encodable } from "../transport/transport.ts";
import type { CallCounts } from "./call-counts.ts";
import { answerLongList, type ElementCodec } from "./long-list.ts";
import type { StreamCall } from "./stream-call.ts";
import { encoded, type Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { LeaseResponse } from "./wire/lease-responses.ts";
import { Message } from "./wire/message.ts";
import { decodeEmpty, decodeLeaseGrant, decodeLeaseId, decodeLeaseTimeToLive } from "./wire/other-requests.ts";
import { bigSize, lengthDelimitedSize, writeBig, writeLength } from "./wire/write.ts";

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
  "/etcdserverpb.Lease/LeaseTimeToLive": (database, message, call) =>
    encoded(database.leaseTimeToLive(decodeLeaseTimeToLive(message)), (result) => timeToLive(database, result, call)),
  "/etcdserverpb.Lease/LeaseLeases": (database, message, call) => {
    decodeEmpty(message, "LeaseLeasesRequest");
    return encoded(database.leaseLeases(), ({ ids, revision }) =>
      answerLongList(new Message().header(headerOf(database), revision), ids, leaseStatus, call),
    );
  },
});

/** LeaseLeasesResponse.leases: each a message of its id. */
const leaseStatus: ElementCodec<LeaseId> = {
  size: (id) => lengthDelimitedSize(bigSize(id)),
  write: (buffer, at, id) => writeBig(buffer, writeLength(buffer, at, (2 << 3) | 2, bigSize(id)), 1 << 3, id),
};

/** LeaseTimeToLiveResponse.keys */
const attachedKey: ElementCodec<string> = {
  size: (key) => lengthDelimitedSize(key.length),
  write(buffer, at, key) {
    at = writeLength(buffer, at, (5 << 3) | 2, key.length);
    return at + buffer.latin1Write(key, at);
  },
};

function timeToLive(database: StreamCall["database"], result: LeaseTimeToLiveResult, call: Call): Encodable {
  const head = new Message()
    .header(headerOf(database), result.revision)
    .big(2, result.id)
    .number(3, result.ttlSeconds)
    .number(4, result.grantedTtlSeconds);
  return answerLongList(head, result.keys, attachedKey, call);
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
