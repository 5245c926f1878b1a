import { get } from "node:http";
import { text } from "node:stream/consumers";
import { Command } from "commander";
import { Maintenance, StatusResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Context, online } from "../context.ts";
import { CommandError } from "../errors.ts";
import { goJson, goJsonObject, RawJson } from "../go-json.ts";
import { print } from "../output.ts";
import { type Detail, type ServerStatus, statusFields, statusLines, statusTable } from "./status-forms.ts";

/** Where a t4 server tells what etcd's Status has no field for. */
const DETAIL_PATH = "/t4/status";
const DETAIL_TIMEOUT_MS = 2000;

export const statusCommand = (): Command =>
  new Command("status")
    .description(
      "Shows how each server is: branch, revision, committed, epoch, slots, upload delay, checkpoint age, sizes",
    )
    .addHelpText(
      "after",
      "\nExamples:\n  t4 status\n  t4 status --endpoints http://10.0.0.1:2379,http://10.0.0.2:2379 -w table",
    )
    .action(async (_options, command: Command) => {
      const show = async ({ client, output, table }: Context) => {
        let failed = false;
        const rows: ServerStatus[] = [];
        const reports: RawJson[] = [];
        for (const { endpoint, answer } of await client.unaryOnEach(Maintenance.method.status, {})) {
          const detail = await detailOf(endpoint, client.branch);
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
          } else if (output.format === "fields") statusFields({ endpoint, status: answer, detail }, output);
          else if (table) rows.push({ endpoint, status: answer, detail });
          else for (const line of statusLines({ endpoint, status: answer, detail })) print(line);
        }
        if (rows.length > 0) print(await statusTable(rows));
        if (output.format === "json") print(goJsonObject({ list: reports }).slice('{"list":'.length, -1));
        if (failed) throw new CommandError("not every server answered");
      };
      await online(command, show, { hasTable: true });
    });

/** Null where the server is not a t4. */
async function detailOf(endpoint: string, branch: string | undefined): Promise<Detail | null> {
  try {
    const { statusCode, body } = await getText(endpoint, branch);
    // 503: nothing but `errors`, which say why nobody leads there.
    return statusCode === 200 || statusCode === 503 ? (JSON.parse(body) as Detail) : null;
  } catch {
    return null;
  }
}

function getText(endpoint: string, branch: string | undefined): Promise<{ statusCode: number; body: string }> {
  const url = new URL(DETAIL_PATH, endpoint.startsWith("unix:") ? "http://localhost" : httpUrl(endpoint));
  const place = endpoint.startsWith("unix:") ? { socketPath: endpoint.slice("unix://".length) } : {};
  const headers = branch === undefined ? {} : { "t4-branch": branch };
  return new Promise((resolve, reject) => {
    const request = get(url, { ...place, headers, signal: AbortSignal.timeout(DETAIL_TIMEOUT_MS) }, (response) => {
      text(response).then((body) => resolve({ statusCode: response.statusCode ?? 0, body }), reject);
    });
    request.once("error", reject);
  });
}

const httpUrl = (endpoint: string): string => (endpoint.includes("://") ? endpoint : `http://${endpoint}`);
