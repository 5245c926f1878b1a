import { Command } from "commander";
import {
  Cluster,
  type Member,
  MemberAddResponseSchema,
  type MemberListResponse,
  MemberListResponseSchema,
  MemberPromoteResponseSchema,
  MemberRemoveResponseSchema,
  MemberUpdateResponseSchema,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import { type Context, idOf, online } from "../context.ts";
import { UsageError } from "../errors.ts";
import { goJson } from "../go-json.ts";
import { idField, print, printFields, printHeader, tableText } from "../output.ts";

export const memberCommand = (): Command =>
  new Command("member")
    .description("Lists the nodes of a branch, and announces ones to come as etcd's tools do")
    .addHelpText("after", "\nExamples:\n  t4 member list -w table\n  t4 member remove 8e9e05c52164694d")
    .addCommand(list())
    .addCommand(add())
    .addCommand(update())
    .addCommand(remove())
    .addCommand(promote());

const hex = (id: bigint | undefined): string => (id ?? 0n).toString(16);

const list = (): Command =>
  new Command("list").description("Lists the members").action(async (_options, command: Command) => {
    await online(
      command,
      async (context) => printMembers(context, await context.client.unary(Cluster.method.memberList, LINEARIZABLE)),
      { hasTable: true },
    );
  });

const LINEARIZABLE = { linearizable: true };

async function printMembers({ output, table }: Context, answer: MemberListResponse): Promise<void> {
  if (output.format === "json") return print(goJson(MemberListResponseSchema, answer));
  if (output.format === "fields") {
    printHeader(answer.header, output);
    for (const member of answer.members) printMemberFields(member, output);
    return;
  }
  const rows = answer.members.map((member) => [
    hex(member.ID),
    member.name === "" ? "unstarted" : "started",
    member.name,
    member.peerURLs.join(","),
    member.clientURLs.join(","),
    String(member.isLearner),
  ]);
  const head = ["id", "status", "name", "peer addrs", "client addrs", "is learner"];
  if (table) print(await tableText(head, rows));
  else for (const row of rows) print(row.join(", "));
}

function printMemberFields(member: Member, output: Context["output"]): void {
  printFields({ ID: idField(member.ID, output), Name: JSON.stringify(member.name) });
  for (const url of member.peerURLs) printFields({ PeerURL: JSON.stringify(url) });
  for (const url of member.clientURLs) printFields({ ClientURL: JSON.stringify(url) });
  printFields({ IsLearner: member.isLearner });
  print("");
}

interface UrlOptions {
  peerUrls?: string;
  learner?: boolean;
}

function urlsOf({ peerUrls }: UrlOptions): string[] {
  if (peerUrls === undefined || peerUrls === "") throw new UsageError("member peer urls not provided");
  return peerUrls.split(",");
}

const add = (): Command =>
  new Command("add")
    .argument("<name>")
    .option("--peer-urls <urls>", "comma-separated addresses of the member to come")
    .option("--learner", "as a learner")
    .description("Announces a member")
    .action(async (name: string, options: UrlOptions, command: Command) => {
      const request = { peerURLs: urlsOf(options), isLearner: options.learner ?? false };
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Cluster.method.memberAdd, request);
        if (output.format === "json") return print(goJson(MemberAddResponseSchema, answer));
        const as = answer.member?.isLearner ? " as learner" : "";
        print(`Member ${hex(answer.member?.ID)} added${as} to cluster ${hex(answer.header?.clusterId)}`);
        // What etcdctl prints, for scripts that read it.
        const cluster = answer.members.flatMap((member) => {
          const label = member.ID === answer.member?.ID ? name : member.name;
          return member.peerURLs.map((url) => `${label}=${url}`);
        });
        print(`\nETCD_NAME="${name}"`);
        print(`ETCD_INITIAL_CLUSTER="${cluster.join(",")}"`);
        print(`ETCD_INITIAL_ADVERTISE_PEER_URLS="${answer.member?.peerURLs.join(",")}"`);
        print('ETCD_INITIAL_CLUSTER_STATE="existing"');
      });
    });

const update = (): Command =>
  new Command("update")
    .argument("<id>", "hexadecimal")
    .option("--peer-urls <urls>", "comma-separated addresses")
    .description("Changes a member's addresses")
    .action(async (text: string, options: UrlOptions, command: Command) => {
      const request = { ID: idOf("member ID", text), peerURLs: urlsOf(options) };
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Cluster.method.memberUpdate, request);
        if (output.format === "json") print(goJson(MemberUpdateResponseSchema, answer));
        else print(`Member ${hex(request.ID)} updated in cluster ${hex(answer.header?.clusterId)}`);
      });
    });

const remove = (): Command =>
  new Command("remove")
    .argument("<id>", "hexadecimal")
    .description("Takes an announced member back")
    .action(async (text: string, _options, command: Command) => {
      const ID = idOf("member ID", text);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Cluster.method.memberRemove, { ID });
        if (output.format === "json") print(goJson(MemberRemoveResponseSchema, answer));
        else print(`Member ${hex(ID)} removed from cluster ${hex(answer.header?.clusterId)}`);
      });
    });

const promote = (): Command =>
  new Command("promote")
    .argument("<id>", "hexadecimal")
    .description("Makes a learner a voter")
    .action(async (text: string, _options, command: Command) => {
      const ID = idOf("member ID", text);
      await online(command, async ({ client, output }) => {
        const answer = await client.unary(Cluster.method.memberPromote, { ID });
        if (output.format === "json") print(goJson(MemberPromoteResponseSchema, answer));
        else print(`Member ${hex(ID)} promoted in cluster ${hex(answer.header?.clusterId)}`);
      });
    });
