import { Command } from "commander";
import { KV, type TxnResponse, TxnResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { online, standardInput, withConnection } from "../context.ts";
import { goJson } from "../go-json.ts";
import { headerFields, type OutputOptions, pairFields, print, printFields, printPair } from "../output.ts";
import { parseTxn } from "./txn-language.ts";

export const txnCommand = (): Command =>
  withConnection(new Command("txn"))
    .option("-i, --interactive", "say which block is being read")
    .description("Runs a transaction, read from standard input")
    .addHelpText(
      "after",
      [
        "\nThree blocks, each ended by an empty line: compares, what is done if all hold, what is done if not.",
        "Example:",
        "  t4 txn <<'END'",
        '  mod("key") = "0"',
        "",
        '  put key "first"',
        "",
        "  get key",
        "",
        "  END",
      ].join("\n"),
    )
    .action(async (options: { interactive?: boolean }, command: Command) => {
      if (options.interactive)
        print("compares:\n\nsuccess requests (get, put, del):\n\nfailure requests (get, put, del):\n");
      const request = parseTxn((await standardInput()).toString());
      await online(command, async ({ client, output }) => {
        printTxn(await client.unary(KV.method.txn, request), output);
      });
    });

function printTxn(answer: TxnResponse, output: OutputOptions): void {
  if (output.format === "json") {
    print(goJson(TxnResponseSchema, answer));
    return;
  }
  if (output.format === "fields") printFields({ ...headerFields(answer.header), Succeeded: answer.succeeded });
  else print(answer.succeeded ? "SUCCESS" : "FAILURE");
  for (const { response } of answer.responses) {
    if (output.format === "simple") print("");
    printResponse(response, output);
  }
}

function printResponse(response: TxnResponse["responses"][number]["response"], output: OutputOptions): void {
  const pair = (kv: Parameters<typeof printPair>[0]) =>
    output.format === "fields" ? printFields(pairFields(kv)) : printPair(kv, output);
  switch (response.case) {
    case "responseRange":
      for (const kv of response.value.kvs) pair(kv);
      return;
    case "responsePut":
      print("OK");
      if (response.value.prevKv !== undefined) pair(response.value.prevKv);
      return;
    case "responseDeleteRange":
      print(String(response.value.deleted));
      for (const kv of response.value.prevKvs) pair(kv);
      return;
    case "responseTxn":
      printTxn(response.value, output);
      return;
    case undefined:
      return;
  }
}
