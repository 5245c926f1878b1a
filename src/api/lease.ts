import type { LeaseId } from "../base/ids.ts";
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
