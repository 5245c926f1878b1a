import { readFields } from "./fields.ts";
import { WireReader } from "./reader.ts";

/** The requests of the Maintenance and Cluster services that other-requests.ts does not have. */

const uint64 = (value: bigint): bigint => BigInt.asUintN(64, value);

/** Any revision below 1 is as none, but for the answer, which names it. */
export function decodeHashKv(message: Buffer): { revision: bigint } {
  const reader = new WireReader(message);
  const request = { revision: 0n };
  readFields(reader, "HashKVRequest", [undefined, "Revision"], (tag) => {
    if (tag !== 0x08) return false;
    request.revision = reader.int64();
    return true;
  });
  return request;
}

export function decodeMoveLeader(message: Buffer): { target: bigint } {
  const reader = new WireReader(message);
  const request = { target: 0n };
  readFields(reader, "MoveLeaderRequest", [undefined, "TargetID"], (tag) => {
    if (tag !== 0x08) return false;
    request.target = uint64(reader.int64());
    return true;
  });
  return request;
}

export function decodeDowngrade(message: Buffer): { action: number; version: string } {
  const reader = new WireReader(message);
  const request = { action: 0, version: "" };
  readFields(reader, "DowngradeRequest", [undefined, "Action", "Version"], (tag) => {
    if (tag === 0x08) request.action = reader.enumeration();
    else if (tag === 0x12) request.version = reader.utf8();
    else return false;
    return true;
  });
  return request;
}

export function decodeMemberAdd(message: Buffer): { peerUrls: string[]; isLearner: boolean } {
  const reader = new WireReader(message);
  const request = { peerUrls: [] as string[], isLearner: false };
  readFields(reader, "MemberAddRequest", [undefined, "PeerURLs", "IsLearner"], (tag) => {
    if (tag === 0x0a) request.peerUrls.push(reader.utf8());
    else if (tag === 0x10) request.isLearner = reader.bool();
    else return false;
    return true;
  });
  return request;
}

/** MemberRemoveRequest and MemberPromoteRequest, named by `name`. */
export function decodeMemberId(message: Buffer, name: string): { id: bigint } {
  const reader = new WireReader(message);
  const request = { id: 0n };
  readFields(reader, name, [undefined, "ID"], (tag) => {
    if (tag !== 0x08) return false;
    request.id = uint64(reader.int64());
    return true;
  });
  return request;
}

export function decodeMemberUpdate(message: Buffer): { id: bigint; peerUrls: string[] } {
  const reader = new WireReader(message);
  const request = { id: 0n, peerUrls: [] as string[] };
  readFields(reader, "MemberUpdateRequest", [undefined, "ID", "PeerURLs"], (tag) => {
    if (tag === 0x08) request.id = uint64(reader.int64());
    else if (tag === 0x12) request.peerUrls.push(reader.utf8());
    else return false;
    return true;
  });
  return request;
}
