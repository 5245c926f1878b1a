import type { KeyValue } from "../gen/mvccpb/kv_pb.ts";
import { goQuote } from "./go-quote.ts";

export interface OutputOptions {
  format: "simple" | "json" | "fields";
  /** Bytes as hexadecimal escapes. */
  hex: boolean;
}

type Hex = Pick<OutputOptions, "hex">;

/** What is printed in one turn leaves as one write: a system call for each of many pairs takes long. */
let pending: Uint8Array[] = [];

function write(...bytes: Uint8Array[]): void {
  if (pending.length === 0) queueMicrotask(flush);
  pending.push(...bytes);
}

/** Before another process writes to the same place. */
export function flush(): void {
  if (pending.length === 0) return;
  process.stdout.write(Buffer.concat(pending));
  pending = [];
}

const NEWLINE = Buffer.from("\n");

export const print = (line: string): void => write(Buffer.from(line), NEWLINE);

/** Bytes as they are, or as \x escapes. */
export function printBytes(bytes: Uint8Array, { hex }: Hex): void {
  if (hex) print([...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join(""));
  else write(bytes, NEWLINE);
}

export function printPair(kv: KeyValue, output: Hex): void {
  printBytes(kv.key, output);
  printBytes(kv.value, output);
}

interface Header {
  clusterId: bigint;
  memberId: bigint;
  revision: bigint;
  raftTerm: bigint;
}

/** etcdctl's JSON of an answer whose header it flattens. */
export const flatHeader = (header: Header | undefined): Record<string, bigint> => ({
  cluster_id: header?.clusterId ?? 0n,
  member_id: header?.memberId ?? 0n,
  revision: header?.revision ?? 0n,
  raft_term: header?.raftTerm ?? 0n,
});

/** Lines `"Name" : value`, as etcdctl's `-w fields`. */
export function printFields(fields: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(fields)) print(`"${name}" : ${String(value)}`);
}

/** A revision of 0 is one that the answer does not have. */
export function printHeader(header: Header | undefined, { hex }: Hex): void {
  const id = (value: bigint | undefined) => (value ?? 0n).toString(hex ? 16 : 10);
  printFields({ ClusterID: id(header?.clusterId), MemberID: id(header?.memberId) });
  if (header !== undefined && header.revision > 0n) printFields({ Revision: header.revision });
  printFields({ RaftTerm: header?.raftTerm ?? 0n });
}

export const idField = (id: bigint, { hex }: Hex): string =>
  hex ? BigInt.asUintN(64, id).toString(16).padStart(16, "0") : String(id);

export function printPairFields(kv: KeyValue, output: Hex, prefix: "" | "Prev" = ""): void {
  printFields({
    [`${prefix}Key`]: goQuote(kv.key),
    [`${prefix}CreateRevision`]: kv.createRevision,
    [`${prefix}ModRevision`]: kv.modRevision,
    [`${prefix}Version`]: kv.version,
    [`${prefix}Value`]: goQuote(kv.value),
    [`${prefix}Lease`]: idField(kv.lease, output),
  });
}

/** One row a line of cells. The library is loaded for whoever wants a table. */
export async function tableText(head: string[], rows: string[][]): Promise<string> {
  const { default: Table } = await import("cli-table3");
  const table = new Table({ head, style: { head: [], border: [] } });
  table.push(...rows);
  return table.toString();
}

/** "1 change", "2 changes". */
export const counted = (count: number, one: string): string => `${count} ${one}${count === 1 ? "" : "s"}`;

const SI_UNITS = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

/** Powers of a thousand, as etcdctl prints sizes: "37 kB", "2.1 GB". */
export function siBytesText(bytes: bigint): string {
  let value = Number(bytes);
  let unit = 0;
  for (; value >= 1000 && unit < SI_UNITS.length - 1; unit++) value /= 1000;
  const tenths = Math.floor(value * 10 + 0.5) / 10;
  return `${unit > 0 && tenths < 10 ? tenths.toFixed(1) : tenths.toFixed(0)} ${SI_UNITS[unit]}`;
}

const ALARM_NAMES = ["NONE", "NOSPACE", "CORRUPT"];
export const alarmName = (alarm: number): string => ALARM_NAMES[alarm] ?? String(alarm);
