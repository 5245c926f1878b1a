import { DbError } from "../base/errors.ts";
import { etcdStorageVersion, etcdVersion } from "../base/version.ts";
import type { Method } from "./unary-call.ts";
import { headerOf } from "./wire/headers.ts";
import { Message } from "./wire/message.ts";
import { decodeAlarm, decodeEmpty } from "./wire/other-requests.ts";

const ALARM_ACTIVATE = 1;

/**
 * etcdserverpb.Maintenance. Raft's index is the number of the newest record, the applied one that of the newest
 * durable one.
 */
export const maintenanceService = (quotaBytes: number): Record<string, Method> => ({
  "/etcdserverpb.Maintenance/Status": (database, message) => {
    decodeEmpty(message, "StatusRequest");
    const status = database.status();
    const leads = database.unprovenBecause() === null;
    const errors = leads ? status.errors : ["etcdserver: no leader", ...status.errors];
    return (
      new Message()
        .header(headerOf(database), status.revision)
        .text(2, etcdVersion)
        // An etcd's file is never empty, and etcdctl divides by its size.
        .number(3, Math.max(status.bytes, 1))
        .big(4, leads ? database.identity.memberId : 0n)
        .number(5, status.record)
        .number(6, status.epoch)
        .number(7, status.committedRecord)
        .texts(8, errors)
        .number(9, status.bytesInUse)
        .text(11, etcdStorageVersion)
        .number(12, quotaBytes)
        .alwaysMessage(13, new Message())
    );
  },
  /** No alarm can be raised: the list is empty, none is to be disarmed. Clients ask it to see whether all is well. */
  "/etcdserverpb.Maintenance/Alarm": (database, message) => {
    const { action } = decodeAlarm(message);
    if (action === ALARM_ACTIVATE) throw new DbError("unimplemented", "t4 has no alarms to activate yet");
    const reason = database.unprovenBecause();
    if (reason !== null) throw reason;
    return new Message().header(headerOf(database), database.committed);
  },
});
