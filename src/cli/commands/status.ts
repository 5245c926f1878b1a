import { Command } from "commander";
import { Maintenance, type StatusResponse, StatusResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { online, withConnection } from "../context.ts";
import { CommandError } from "../errors.ts";
import { goJson, goJsonObject, RawJson } from "../go-json.ts";
import { print } from "../output.ts";

/** Where a t4 server tells what etcd's Status has no field for. */
const DETAIL_PATH = "/t4/status";

export const statusCommand = (): Command =>
  withConnection(new Command("status"))
    .description(
      "Shows how each server is: branch, revision, committed, epoch, slots, upload delay, checkpoint age, sizes",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  t4 status\n  t4 status --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379 --json",
    )
    .action(async (_options, command: Command) => {
      await online(command, async ({ client, output }) => {
        let failed = false;
        const reports: RawJson[] = [];
        for (const { endpoint, answer } of await client.unaryOnEach(Maintenance.method.status, {})) {
          const detail = await detailOf(endpoint);
          if (answer instanceof CommandError) {
            failed = true;
            const why = detail?.["errors"];
            const because = Array.isArray(why) ? ` (${why.join("; ")})` : "";
            process.stderr.write(`${endpoint}: ${answer.message}${because}\n`);
            continue;
          }
          if (output.format === "json") {
            const status = new RawJson(goJson(StatusResponseSchema, answer));
            const t4 = new RawJson(detail === null ? "null" : JSON.stringify(detail));
            reports.push(new RawJson(goJsonObject({ Endpoint: endpoint, Status: status, T4: t4 })));
          } else for (const line of lines(endpoint, answer, detail)) print(line);
        }
        if (output.format === "json") print(goJsonObject({ list: reports }).slice('{"list":'.length, -1));
        if (failed) throw new CommandError("not every server answered");
      });
    });

type Detail = Record<string, string | number | null | string[]>;

/** Null where the server is not a t4. */
async function detailOf(endpoint: string): Promise<Detail | null> {
  if (endpoint.startsWith("unix:")) return null;
  const url = (endpoint.includes("://") ? endpoint : `http://${endpoint}`) + DETAIL_PATH;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(2000) });
    // 503: nothing but `errors`, which say why nobody leads there.
    return response.ok || response.status === 503 ? ((await response.json()) as Detail) : null;
  } catch {
    return null;
  }
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function bytesText(bytes: number): string {
  let unit = 0;
  while (bytes >= 1024 && unit < SIZES.length - 1) {
    bytes /= 1024;
    unit++;
  }
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${SIZES[unit]}`;
}

const seconds = (ms: unknown): string => (typeof ms === "number" ? `${(ms / 1000).toFixed(1)} s` : "none yet");

function lines(endpoint: string, status: StatusResponse, detail: Detail | null): string[] {
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
      `  revision     ${detail["revision"]}, compacted ${detail["compactRevision"]}`,
      `  records      ${detail["record"]}, durable ${detail["committedRecord"]}, uploaded ${detail["uploadedRecord"]}`,
      `  slots        next ${detail["nextSlot"]}, in flight ${detail["slotsInFlight"]}`,
      `  upload       ${size("uploadPendingBytes")} pending, ${seconds(detail["uploadDelayMs"])} behind`,
      `  checkpoint   ${slot === null ? "none yet" : `at slot ${slot}, ${seconds(detail["checkpointAgeMs"])} ago`}`,
      `  size         ${size("bytes")}, in use ${size("bytesInUse")}`,
      `  storage      memtable ${size("memtableBytes")}, ${detail["tables"]} tables`,
      `  content      ${detail["keys"]} keys, ${detail["leases"]} leases`,
      `  watchers     ${detail["watchers"]} on ${detail["watchStreams"]} streams`,
    );
  }
  for (const error of status.errors) out.push(`  error        ${error}`);
  return out;
}
