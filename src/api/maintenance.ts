import { DbError } from "../base/errors.ts";
import { etcdVersion } from "../base/version.ts";
import type { Database } from "../engine/engine.ts";
import { type Alarm, type AlarmRequest, alarmTypes, type DowngradeRequest } from "../engine/maintenance/maintenance.ts";
import { GrpcError } from "../transport/transport.ts";
import { codes } from "./errors.ts";
import { encoded, type Method } from "./unary-call.ts";
import { untilCanceled } from "./until-canceled.ts";
import { headerOf } from "./wire/headers.ts";
import { decodeDowngrade, decodeHashKv, decodeMoveLeader } from "./wire/maintenance-requests.ts";
import { Message } from "./wire/message.ts";
import { decodeAlarm, decodeEmpty } from "./wire/other-requests.ts";

const alarmActions: readonly AlarmRequest["action"][] = ["get", "activate", "deactivate"];
const downgradeActions: readonly DowngradeRequest["action"][] = ["validate", "enable", "cancel"];

/** etcdserverpb.Maintenance, but for its stream. */
export const maintenanceService: Record<string, Method> = {
  "/etcdserverpb.Maintenance/Status": (database, message) => {
    decodeEmpty(message, "StatusRequest");
    database.require("user");
    return statusMessage(database);
  },
  "/etcdserverpb.Maintenance/Alarm": (database, message) => {
    const { action: number, memberId, alarm } = decodeAlarm(message);
    const action = alarmActions[number];
    // etcd 3.6.16 ends itself on such a request, and again at each start.
    if (action === undefined) throw new DbError("invalidArgument", `t4: there is no alarm action ${number}`);
    database.require(action === "get" ? "user" : "root");
    return encoded(database.maintenance.alarm({ action, memberId, type: alarm }), ({ alarms, revision }) => {
      const response = new Message().header(headerOf(database), revision);
      for (const each of alarms) response.alwaysMessage(2, alarmMessage(each));
      return response;
    });
  },
  "/etcdserverpb.Maintenance/Hash": (database, message, call) => {
    decodeEmpty(message, "HashRequest");
    database.require("root");
    return encoded(database.maintenance.hash(untilCanceled(call)), ({ revision, hash }) =>
      new Message().header(headerOf(database), revision).number(2, hash),
    );
  },
  "/etcdserverpb.Maintenance/HashKV": (database, message, call) => {
    const { revision } = decodeHashKv(message);
    database.require("root");
    // No store reaches a revision that a number does not hold; one below 1 hashes nothing, and is told as it was asked.
    const near = Math.max(-1, Math.min(Number(revision), Number.MAX_SAFE_INTEGER));
    return encoded(database.maintenance.hashKv(near, untilCanceled(call)), (result) =>
      new Message()
        .header(headerOf(database), result.revision)
        .number(2, result.hash)
        .number(3, result.compactRevision)
        .big(4, revision < 0n ? revision : BigInt(result.hashRevision)),
    );
  },
  /** Its answer has no header, in etcd too. */
  "/etcdserverpb.Maintenance/Defragment": (database, message, call) => {
    decodeEmpty(message, "DefragmentRequest");
    database.require("root");
    return encoded(database.maintenance.defragment(untilCanceled(call)), () => new Message());
  },
  /** Its answer has no header, in etcd too. */
  "/etcdserverpb.Maintenance/MoveLeader": (database, message) => {
    const { target } = decodeMoveLeader(message);
    database.require("root");
    return encoded(database.maintenance.moveLeader(target), () => new Message());
  },
  "/etcdserverpb.Maintenance/Downgrade": (database, message) => {
    const { action: number, version } = decodeDowngrade(message);
    database.require("root");
    const action = downgradeActions[number];
    if (action === undefined) throw new GrpcError(codes.unknown, "etcdserver: unknown method");
    return encoded(database.maintenance.downgrade({ action, version }), ({ revision, clusterVersion }) =>
      new Message().header(headerOf(database), revision).text(2, clusterVersion),
    );
  },
};

/**
 * Raft's index is the number of the newest record, the applied one that of the newest durable one. In an etcd none of
 * the numbers is ever 0, which JSON leaves out: etcdctl divides by the size, others look for the field.
 */
function statusMessage(database: Database): Message {
  const { maintenance } = database;
  const status = database.status();
  const leads = database.unprovenBecause() === null;
  const alarms = maintenance.alarms.map(alarmText);
  const errors = [...(leads ? [] : ["etcdserver: no leader"]), ...alarms, ...status.errors];
  const target = maintenance.downgradeTarget;
  const downgrade = new Message().bool(1, target !== null).text(2, target ?? "");
  return new Message()
    .header(headerOf(database), status.revision)
    .text(2, etcdVersion)
    .number(3, Math.max(status.bytes, 1))
    .big(4, leads ? database.identity.memberId : 0n)
    .number(5, Math.max(status.record, 1))
    .number(6, status.epoch)
    .number(7, Math.max(status.committedRecord, 1))
    .texts(8, errors)
    .number(9, Math.max(status.bytesInUse, 1))
    .text(11, maintenance.storageVersion)
    .number(12, maintenance.quotaBytes ?? 0)
    .alwaysMessage(13, downgrade);
}

const alarmMessage = ({ memberId, type }: Alarm): Message => new Message().big(1, memberId).number(2, type);

/** The text form of an AlarmMember, as etcd's Status has it, a blank at its end. */
function alarmText({ memberId, type }: Alarm): string {
  const name = type === alarmTypes.noSpace ? "NOSPACE" : type === alarmTypes.corrupt ? "CORRUPT" : String(type);
  return `${memberId === 0n ? "" : `memberID:${memberId} `}alarm:${name} `;
}
