import { Command } from "commander";
import {
  AlarmRequest_AlarmAction,
  Cluster,
  HashKVResponseSchema,
  KV,
  Maintenance,
  type StatusResponse,
  StatusResponseSchema,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import type { EtcdClient } from "../client.ts";
import { type Context, int64, online } from "../context.ts";
import { CommandError } from "../errors.ts";
import { goJson, goJsonObject, RawJson } from "../go-json.ts";
import { alarmName, print, printFields, printHeader, siBytesText, tableText } from "../output.ts";

export const endpointCommand = (): Command =>
  new Command("endpoint")
    .description("Health, status and hash of each server")
    .addHelpText("after", "\nExamples:\n  t4 endpoint health --cluster\n  t4 endpoint hashkv --rev 1000")
    .addCommand(onEach("health", "Writes nothing, reads through each server", health))
    .addCommand(onEach("status", "Shows what etcd's Status tells; see also: t4 status", status))
    .addCommand(
      onEach("hashkv", "Hashes the keys' history up to a revision, as etcd does", hashKv).option(
        "--rev <revision>",
        "0: the newest",
        "0",
      ),
    );

interface Options {
  cluster?: boolean;
  rev?: string;
}

type Action = (context: Context, options: Options) => Promise<void>;

function onEach(name: string, description: string, action: Action): Command {
  return new Command(name)
    .description(description)
    .option("--cluster", "of all members, not of --endpoints")
    .action(async (options: Options, command: Command) => {
      const run = async (context: Context) => {
        const client = options.cluster ? await ofMembers(context.client) : context.client;
        await action({ ...context, client }, options);
      };
      await online(command, run, { hasTable: true });
    });
}

/** Each member is called by its own addresses, one by one; the client holds no connection. */
async function ofMembers(client: EtcdClient): Promise<EtcdClient> {
  const { members } = await client.unary(Cluster.method.memberList, { linearizable: true });
  return client.at(members.flatMap((member) => member.clientURLs));
}

interface Health {
  readonly endpoint: string;
  readonly error: string;
  readonly took: string;
}

const PERMISSION_DENIED = "etcdserver: permission denied";

/** A linearizable read, which need not be allowed, and no alarm. */
async function health({ client, output, table }: Context): Promise<void> {
  const beganMs = performance.now();
  const key = Buffer.from("health");
  const reads = await client.unaryOnEach(KV.method.range, { key });
  const took = `${(performance.now() - beganMs).toFixed(6)}ms`;
  const alarms = await client.unaryOnEach(Maintenance.method.alarm, { action: AlarmRequest_AlarmAction.GET });
  const rows: Health[] = reads.map(({ endpoint, answer }, n) => {
    if (answer instanceof CommandError && answer.message !== PERMISSION_DENIED)
      return { endpoint, took, error: answer.message };
    return { endpoint, took, error: alarmsOf(alarms[n]!.answer) };
  });
  if (output.format === "json") {
    const list = rows.map(({ endpoint, error }) => {
      const why = error === "" ? {} : { error };
      return new RawJson(goJsonObject({ endpoint, health: error === "", took, ...why }));
    });
    print(`[${list.map(({ json }) => json).join(",")}]`);
  } else if (output.format === "fields") for (const row of rows) healthFields(row);
  else if (table) {
    const cells = rows.map(({ endpoint, error }) => [endpoint, String(error === ""), took, error]);
    print(await tableText(["endpoint", "health", "took", "error"], cells));
  } else for (const row of rows) healthLine(row);
  if (rows.some(({ error }) => error !== "")) throw new CommandError("unhealthy cluster");
}

function alarmsOf(answer: { alarms: readonly { alarm: number }[] } | CommandError): string {
  if (answer instanceof CommandError) return answer.message === PERMISSION_DENIED ? "" : answer.message;
  if (answer.alarms.length === 0) return "";
  return `Active Alarm(s): ${answer.alarms.map(({ alarm }) => alarmName(alarm)).join(", ")}`;
}

function healthLine({ endpoint, error, took }: Health): void {
  if (error === "") print(`${endpoint} is healthy: successfully committed proposal: took = ${took}`);
  else process.stderr.write(`${endpoint} is unhealthy: failed to commit proposal: ${error}\n`);
}

function healthFields({ endpoint, error, took }: Health): void {
  printFields({ Endpoint: JSON.stringify(endpoint), Health: error === "", Took: took, Error: error });
  print("");
}

const STATUS_HEAD = [
  ...["endpoint", "id", "version", "storage version", "db size", "in use", "percentage not in use", "quota"],
  ...["is leader", "is learner", "raft term", "raft index", "raft applied index", "errors"],
  ...["downgrade target version", "downgrade enabled"],
];

async function status({ client, output, table }: Context): Promise<void> {
  const rows: string[][] = [];
  const reports: string[] = [];
  const failures: string[] = [];
  for (const { endpoint, answer } of await client.unaryOnEach(Maintenance.method.status, {})) {
    if (answer instanceof CommandError) {
      failures.push(answer.message);
      process.stderr.write(`Failed to get the status of endpoint ${endpoint} (${answer.message})\n`);
    } else if (output.format === "json") {
      const json = new RawJson(goJson(StatusResponseSchema, answer));
      reports.push(goJsonObject({ Endpoint: endpoint, Status: json }));
    } else if (output.format === "fields") statusFields(endpoint, answer, output);
    else rows.push(statusRow(endpoint, answer));
  }
  if (output.format === "json") print(`[${reports.join(",")}]`);
  else if (table) print(await tableText(STATUS_HEAD, rows));
  else for (const row of rows) print(row.join(", "));
  if (failures.length > 0) throw new CommandError(failures.at(-1)!);
}

function statusRow(endpoint: string, answer: StatusResponse): string[] {
  const id = answer.header?.memberId ?? 0n;
  const { dbSize, dbSizeInUse } = answer;
  const unused = dbSize === 0n ? 0n : 100n - (dbSizeInUse * 100n) / dbSize;
  return [
    ...[endpoint, id.toString(16), answer.version, answer.storageVersion],
    ...[siBytesText(dbSize), siBytesText(dbSizeInUse), `${unused}%`, siBytesText(answer.dbSizeQuota)],
    ...[String(answer.leader === id), String(answer.isLearner), String(answer.raftTerm)],
    ...[String(answer.raftIndex), String(answer.raftAppliedIndex), answer.errors.join(", ")],
    ...[answer.downgradeInfo?.targetVersion ?? "", String(answer.downgradeInfo?.enabled ?? false)],
  ];
}

function statusFields(endpoint: string, answer: StatusResponse, output: Context["output"]): void {
  printHeader(answer.header, output);
  printFields({
    Version: JSON.stringify(answer.version),
    StorageVersion: JSON.stringify(answer.storageVersion),
    ...{ DBSize: answer.dbSize, DBSizeInUse: answer.dbSizeInUse, DBSizeQuota: answer.dbSizeQuota },
    ...{ Leader: answer.leader.toString(output.hex ? 16 : 10), IsLearner: answer.isLearner },
    ...{ RaftIndex: answer.raftIndex, RaftAppliedIndex: answer.raftAppliedIndex },
    Errors: `[${answer.errors.join(" ")}]`,
    Endpoint: JSON.stringify(endpoint),
    DowngradeTargetVersion: JSON.stringify(answer.downgradeInfo?.targetVersion ?? ""),
    DowngradeEnabled: answer.downgradeInfo?.enabled ?? false,
  });
  print("");
}

async function hashKv({ client, output, table }: Context, options: Options): Promise<void> {
  const revision = int64("--rev", options.rev ?? "0");
  const rows: string[][] = [];
  const reports: string[] = [];
  const failures: string[] = [];
  for (const { endpoint, answer } of await client.unaryOnEach(Maintenance.method.hashKV, { revision })) {
    if (answer instanceof CommandError) {
      failures.push(answer.message);
      process.stderr.write(`Failed to get the hash of endpoint ${endpoint} (${answer.message})\n`);
    } else if (output.format === "json") {
      const json = new RawJson(goJson(HashKVResponseSchema, answer));
      reports.push(goJsonObject({ Endpoint: endpoint, HashKV: json }));
    } else if (output.format === "fields") {
      printHeader(answer.header, output);
      const { hash, hashRevision } = answer;
      printFields({ Endpoint: JSON.stringify(endpoint), Hash: hash, HashRevision: hashRevision });
      print("");
    } else rows.push([endpoint, String(answer.hash), String(answer.hashRevision)]);
  }
  if (output.format === "json") print(`[${reports.join(",")}]`);
  else if (table) print(await tableText(["endpoint", "hash", "hash revision"], rows));
  else for (const row of rows) print(row.join(", "));
  if (failures.length > 0) throw new CommandError(failures.at(-1)!);
}
