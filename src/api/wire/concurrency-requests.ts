import type { LeaseId } from "../../base/ids.ts";
import { readFields } from "./fields.ts";
import { WireReader } from "./reader.ts";

/** The requests of v3lock and v3election. Names and keys are latin1 strings, as all keys. */

export function decodeLock(message: Buffer): { name: string; lease: LeaseId } {
  const reader = new WireReader(message);
  const request = { name: "", lease: 0n as LeaseId };
  readFields(reader, "LockRequest", [undefined, "Name", "Lease"], (tag) => {
    if (tag === 0x0a) request.name = reader.latin1();
    else if (tag === 0x10) request.lease = reader.int64() as LeaseId;
    else return false;
    return true;
  });
  return request;
}

export function decodeUnlock(message: Buffer): { key: string } {
  const reader = new WireReader(message);
  const request = { key: "" };
  readFields(reader, "UnlockRequest", [undefined, "Key"], (tag) => {
    if (tag !== 0x0a) return false;
    request.key = reader.latin1();
    return true;
  });
  return request;
}

export interface CampaignRequest {
  name: string;
  lease: LeaseId;
  value: Uint8Array;
}

const NOTHING = new Uint8Array(0);

export function decodeCampaign(message: Buffer): CampaignRequest {
  const reader = new WireReader(message);
  const request: CampaignRequest = { name: "", lease: 0n as LeaseId, value: NOTHING };
  readFields(reader, "CampaignRequest", [undefined, "Name", "Lease", "Value"], (tag) => {
    if (tag === 0x0a) request.name = reader.latin1();
    else if (tag === 0x10) request.lease = reader.int64() as LeaseId;
    else if (tag === 0x1a) request.value = reader.view();
    else return false;
    return true;
  });
  return request;
}

/** What a campaign gave, and who proclaims or resigns shows. */
export interface LeaderKey {
  name: string;
  key: string;
  revision: bigint;
  lease: LeaseId;
}

function readLeaderKey(reader: WireReader): LeaderKey {
  const end = reader.end;
  const length = reader.length();
  reader.end = reader.at + length;
  const leader: LeaderKey = { name: "", key: "", revision: 0n, lease: 0n as LeaseId };
  readFields(reader, "LeaderKey", [undefined, "Name", "Key", "Rev", "Lease"], (tag) => {
    if (tag === 0x0a) leader.name = reader.latin1();
    else if (tag === 0x12) leader.key = reader.latin1();
    else if (tag === 0x18) leader.revision = reader.int64();
    else if (tag === 0x20) leader.lease = reader.int64() as LeaseId;
    else return false;
    return true;
  });
  reader.end = end;
  return leader;
}

export function decodeProclaim(message: Buffer): { leader: LeaderKey | null; value: Uint8Array } {
  const reader = new WireReader(message);
  const request: { leader: LeaderKey | null; value: Uint8Array } = { leader: null, value: NOTHING };
  readFields(reader, "ProclaimRequest", [undefined, "Leader", "Value"], (tag) => {
    if (tag === 0x0a) request.leader = readLeaderKey(reader);
    else if (tag === 0x12) request.value = reader.view();
    else return false;
    return true;
  });
  return request;
}

export function decodeResign(message: Buffer): { leader: LeaderKey | null } {
  const reader = new WireReader(message);
  const request: { leader: LeaderKey | null } = { leader: null };
  readFields(reader, "ResignRequest", [undefined, "Leader"], (tag) => {
    if (tag !== 0x0a) return false;
    request.leader = readLeaderKey(reader);
    return true;
  });
  return request;
}

export function decodeLeader(message: Buffer): { name: string } {
  const reader = new WireReader(message);
  const request = { name: "" };
  readFields(reader, "LeaderRequest", [undefined, "Name"], (tag) => {
    if (tag !== 0x0a) return false;
    request.name = reader.latin1();
    return true;
  });
  return request;
}
