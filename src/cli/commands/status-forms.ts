import type { StatusResponse } from "../../gen/etcdserverpb/rpc_pb.ts";
import { counted, type OutputOptions, print, printFields, printHeader } from "../output.ts";
import { bytesText } from "../progress.ts";

/** What a t4 server tells besides etcd's Status. */
export type Detail = Record<string, string | number | null | string[]>;

export interface ServerStatus {
  endpoint: string;
  status: StatusResponse;
  /** Null where the server is not a t4. */
  detail: Detail | null;
}

const compacted = (revision: unknown): string =>
  typeof revision === "number" && revision >= 0 ? `compacted ${revision}` : "never compacted";
const seconds = (ms: unknown): string => (typeof ms === "number" ? `${(ms / 1000).toFixed(1)} s` : "none yet");

export function statusLines({ endpoint, status, detail }: ServerStatus): string[] {
  const out = [
    endpoint,
    `  version      etcd API ${status.version}${detail === null ? "" : `, t4 ${detail["version"]}`}`,
    `  member       ${status.header?.memberId.toString(16)} of cluster ${status.header?.clusterId.toString(16)}`,
  ];
  if (detail === null) {
    out.push(`  revision     ${status.header?.revision}`, `  size         ${bytesText(Number(status.dbSize))}`);
  } else {
    const size = (name: string) => bytesText(Number(detail[name]));
    const { checkpointSlot: slot } = detail;
    out.push(
      `  branch       ${detail["branch"]}, durability ${detail["durability"]}, epoch ${detail["epoch"]}`,
      `  revision     ${detail["revision"]}, ${compacted(detail["compactRevision"])}`,
      `  records      ${detail["record"]}, durable ${detail["committedRecord"]}, uploaded ${detail["uploadedRecord"]}`,
      `  slots        next ${detail["nextSlot"]}, in flight ${detail["slotsInFlight"]}`,
      `  upload       ${size("uploadPendingBytes")} pending, ${seconds(detail["uploadDelayMs"])} behind`,
      `  checkpoint   ${slot === null ? "none yet" : `at slot ${slot}, ${seconds(detail["checkpointAgeMs"])} ago`}`,
      `  size         ${size("bytes")}, in use ${size("bytesInUse")}`,
      `  storage      memtable ${size("memtableBytes")}, ${counted(Number(detail["tables"]), "table")}`,
      ...cacheLines(detail),
      `  content      ${counted(Number(detail["keys"]), "key")}, ${counted(Number(detail["leases"]), "lease")}`,
      `  watchers     ${detail["watchers"]} on ${counted(Number(detail["watchStreams"]), "stream")}`,
    );
  }
  for (const error of status.errors) out.push(`  error        ${error}`);
  return out;
}

function cacheLines(detail: Detail): string[] {
  const of = (name: string): number => Number(detail[name] ?? 0);
  const line = (label: string, kind: string): string => {
    const [hits, misses] = [of(`${kind}Hits`), of(`${kind}Misses`)];
    const share = hits + misses === 0 ? "not used yet" : `${((100 * hits) / (hits + misses)).toFixed(1)} % found`;
    return `  ${label} ${bytesText(of(`${kind}Bytes`))} of ${bytesText(of(`${kind}BytesMax`))}, ${share}`;
  };
  const lines = [line("cache memory", "cacheMemory")];
  if (of("cacheDiskBytesMax") > 0) lines.push(line("cache disk  ", "cacheDisk"));
  return lines;
}

/** Every number, as `"Name" : value`: etcd's by etcdctl's names, t4's own by theirs. */
export function statusFields({ endpoint, status, detail }: ServerStatus, output: OutputOptions): void {
  printHeader(status.header, output);
  printFields({
    Version: JSON.stringify(status.version),
    DBSize: status.dbSize,
    DBSizeInUse: status.dbSizeInUse,
    Leader: status.leader.toString(output.hex ? 16 : 10),
    RaftIndex: status.raftIndex,
    RaftAppliedIndex: status.raftAppliedIndex,
    Errors: JSON.stringify(status.errors),
    Endpoint: JSON.stringify(endpoint),
  });
  for (const [name, value] of Object.entries(detail ?? {})) printFields({ [`T4.${name}`]: JSON.stringify(value) });
  print("");
}

/** One row a server. The library is loaded for whoever wants a table. */
export async function statusTable(servers: readonly ServerStatus[]): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const head = ["endpoint", "id", "version", "branch", "durability", "epoch", "revision", "size", "keys", "errors"];
  const table = new Table({ head, style: { head: [], border: [] } });
  for (const { endpoint, status, detail } of servers) {
    const of = (name: string) => String(detail?.[name] ?? "");
    table.push([
      endpoint,
      (status.header?.memberId ?? 0n).toString(16),
      detail === null ? status.version : `t4 ${of("version")}`,
      of("branch"),
      of("durability"),
      of("epoch"),
      String(status.header?.revision ?? 0n),
      bytesText(Number(status.dbSize)),
      of("keys"),
      status.errors.join("; "),
    ]);
  }
  return table.toString();
}
