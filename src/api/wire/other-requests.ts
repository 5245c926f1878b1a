import type { LeaseId } from "../../base/ids.ts";
import type { WatchCreate } from "../../engine/engine.ts";
import { WireReader } from "./reader.ts";

/** The requests of the Watch, Lease, Cluster, Maintenance and health services. */

export type WatchRequest =
  | { readonly kind: "create"; readonly create: WatchCreate }
  | { readonly kind: "cancel"; readonly watchId: bigint }
  | { readonly kind: "progress" }
  /** No member of the union was set: etcd ignores such a message (W17). */
  | { readonly kind: "empty" };

const watchFields = [undefined, "CreateRequest", "CancelRequest", "ProgressRequest"];
const createFields = [
  undefined,
  ...["Key", "RangeEnd", "StartRevision", "ProgressNotify", "Filters", "PrevKv", "WatchId", "Fragment"],
];
const cancelFields = [undefined, "WatchId"];
const NOPUT = 0;
const NODELETE = 1;

export function decodeWatch(message: Buffer): WatchRequest {
  const reader = new WireReader(message);
  const end = reader.end;
  let request: WatchRequest = { kind: "empty" };
  while (reader.at < end) {
    const tag = reader.tag();
    if (tag === 0x0a || tag === 0x12 || tag === 0x1a) {
      const length = reader.length();
      reader.end = reader.at + length;
      if (tag === 0x0a) request = { kind: "create", create: readCreate(reader) };
      else if (tag === 0x12) request = { kind: "cancel", watchId: readCancel(reader) };
      else {
        readNothing(reader, "WatchProgressRequest");
        request = { kind: "progress" };
      }
      reader.end = end;
    } else {
      reader.other("WatchRequest", watchFields);
    }
  }
  return request;
}

function readCreate(reader: WireReader): WatchCreate {
  const create: WatchCreate = {
    key: "",
    rangeEnd: "",
    startRevision: 0,
    progressNotify: false,
    noPut: false,
    noDelete: false,
    prevKv: false,
    watchId: 0n,
    fragment: false,
  };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x0a:
        create.key = reader.latin1();
        break;
      case 0x12:
        create.rangeEnd = reader.latin1();
        break;
      case 0x18:
        create.startRevision = reader.int64Clamped();
        break;
      case 0x20:
        create.progressNotify = reader.bool();
        break;
      case 0x28:
        addFilter(create, reader.enumeration());
        break;
      case 0x2a:
        readPackedFilters(reader, create);
        break;
      case 0x30:
        create.prevKv = reader.bool();
        break;
      case 0x38:
        create.watchId = reader.int64();
        break;
      case 0x40:
        create.fragment = reader.bool();
        break;
      default:
        reader.other("WatchCreateRequest", createFields);
    }
  }
  return create;
}

function readPackedFilters(reader: WireReader, create: WatchCreate): void {
  const length = reader.length();
  const end = reader.at + length;
  while (reader.at < end) addFilter(create, reader.enumeration());
}

/** Filters of an unknown number are ignored, as in etcd (W9). */
function addFilter(create: WatchCreate, filter: number): void {
  if (filter === NOPUT) create.noPut = true;
  else if (filter === NODELETE) create.noDelete = true;
}

function readCancel(reader: WireReader): bigint {
  let watchId = 0n;
  while (reader.at < reader.end) {
    if (reader.tag() === 0x08) watchId = reader.int64();
    else reader.other("WatchCancelRequest", cancelFields);
  }
  return watchId;
}

function readNothing(reader: WireReader, name: string): void {
  while (reader.at < reader.end) {
    reader.tag();
    reader.other(name, []);
  }
}

/** A request without fields, or whose fields do not matter here: still refused when it is malformed. */
export const decodeEmpty = (message: Buffer, name: string): void => readNothing(new WireReader(message), name);

const grantFields = [undefined, "TTL", "ID"];

export function decodeLeaseGrant(message: Buffer): { id: LeaseId; ttlSeconds: bigint } {
  const reader = new WireReader(message);
  const request = { id: 0n as LeaseId, ttlSeconds: 0n };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x08:
        request.ttlSeconds = reader.int64();
        break;
      case 0x10:
        request.id = reader.int64() as LeaseId;
        break;
      default:
        reader.other("LeaseGrantRequest", grantFields);
    }
  }
  return request;
}

const idFields = [undefined, "ID"];

/** LeaseRevokeRequest and LeaseKeepAliveRequest, named by `name`. */
export function decodeLeaseId(message: Buffer, name: string): LeaseId {
  const reader = new WireReader(message);
  let id = 0n;
  while (reader.at < reader.end) {
    if (reader.tag() === 0x08) id = reader.int64();
    else reader.other(name, idFields);
  }
  return id as LeaseId;
}

const timeToLiveFields = [undefined, "ID", "Keys"];

export function decodeLeaseTimeToLive(message: Buffer): { id: LeaseId; keys: boolean } {
  const reader = new WireReader(message);
  const request = { id: 0n as LeaseId, keys: false };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x08:
        request.id = reader.int64() as LeaseId;
        break;
      case 0x10:
        request.keys = reader.bool();
        break;
      default:
        reader.other("LeaseTimeToLiveRequest", timeToLiveFields);
    }
  }
  return request;
}

const memberListFields = [undefined, "Linearizable"];

export function decodeMemberList(message: Buffer): { linearizable: boolean } {
  const reader = new WireReader(message);
  const request = { linearizable: false };
  while (reader.at < reader.end) {
    if (reader.tag() === 0x08) request.linearizable = reader.bool();
    else reader.other("MemberListRequest", memberListFields);
  }
  return request;
}

const alarmFields = [undefined, "Action", "MemberID", "Alarm"];

export function decodeAlarm(message: Buffer): { action: number; memberId: bigint; alarm: number } {
  const reader = new WireReader(message);
  const request = { action: 0, memberId: 0n, alarm: 0 };
  while (reader.at < reader.end) {
    switch (reader.tag()) {
      case 0x08:
        request.action = reader.enumeration();
        break;
      case 0x10:
        request.memberId = reader.int64();
        break;
      case 0x18:
        request.alarm = reader.enumeration();
        break;
      default:
        reader.other("AlarmRequest", alarmFields);
    }
  }
  return request;
}

const healthFields = [undefined, "Service"];

export function decodeHealthCheck(message: Buffer): { service: string } {
  const reader = new WireReader(message);
  const request = { service: "" };
  while (reader.at < reader.end) {
    if (reader.tag() === 0x0a) request.service = reader.utf8();
    else reader.other("HealthCheckRequest", healthFields);
  }
  return request;
}
