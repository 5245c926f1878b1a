import type { KeyValue } from "../gen/mvccpb/kv_pb.ts";

export interface OutputOptions {
  format: "simple" | "json" | "fields";
  /** Bytes as hexadecimal escapes. */
  hex: boolean;
}

export const print = (line: string): void => {
  process.stdout.write(line + "\n");
};

/** Bytes as they are, or as \x escapes. */
export function printBytes(bytes: Uint8Array, { hex }: Pick<OutputOptions, "hex">): void {
  if (hex) print([...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""));
  else process.stdout.write(Buffer.concat([bytes, Buffer.from("\n")]));
}

export function printPair(kv: KeyValue, output: Pick<OutputOptions, "hex">): void {
  printBytes(kv.key, output);
  printBytes(kv.value, output);
}

interface Header {
  clusterId: bigint;
  memberId: bigint;
  revision: bigint;
  raftTerm: bigint;
}

export function headerFields(header: Header | undefined): Record<string, bigint> {
  return {
    ClusterID: header?.clusterId ?? 0n,
    MemberID: header?.memberId ?? 0n,
    Revision: header?.revision ?? 0n,
    RaftTerm: header?.raftTerm ?? 0n,
  };
}

/** etcdctl's JSON of an answer whose header it flattens. */
export function flatHeader(header: Header | undefined): Record<string, bigint> {
  const { ClusterID, MemberID, Revision, RaftTerm } = headerFields(header);
  return { cluster_id: ClusterID!, member_id: MemberID!, revision: Revision!, raft_term: RaftTerm! };
}

export function printFields(fields: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(fields)) print(`"${name}" : ${String(value)}`);
}

export function pairFields(kv: KeyValue): Record<string, unknown> {
  return {
    Key: JSON.stringify(Buffer.from(kv.key).toString()),
    CreateRevision: kv.createRevision,
    ModRevision: kv.modRevision,
    Version: kv.version,
    Value: JSON.stringify(Buffer.from(kv.value).toString()),
    Lease: kv.lease,
  };
}
