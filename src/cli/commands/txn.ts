import { createInterface } from "node:readline";
import { Command } from "commander";
import { KV, type TxnResponse, TxnResponseSchema } from "../../gen/etcdserverpb/rpc_pb.ts";
import { online } from "../context.ts";
import { goJson } from "../go-json.ts";
import { type OutputOptions, print, printFields, printHeader } from "../output.ts";
import { printDeleted } from "./del.ts";
import { printRange } from "./get.ts";
import { printPut } from "./put.ts";
import { parseTxn } from "./txn-language.ts";

export const txnCommand = (): Command =>
  new Command("txn")
    .option("-i, --interactive", "say which block is being read")
    .description("Runs a transaction, read from standard input")
    .addHelpText(
      "after",
      [
        "\nThree blocks, each ended by an empty line: compares, what is done if all hold, what is done if not.",
        "Compares: mod, create, version, value or lease of a key; =, !=, < or >.",
        "Requests: get, put, del with their options.",
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
      const request = parseTxn(await readBlocks(options.interactive ?? false));
      await online(command, async ({ client, output }) => {
        printTxn(await client.unary(KV.method.txn, request), output);
      });
    });

const PROMPTS = ["compares:", "success requests (get, put, del):", "failure requests (get, put, del):"];

/** Standard input up to the empty line that ends the third block, or to its end. */
async function readBlocks(interactive: boolean): Promise<string> {
  const lines: string[] = [];
  let ended = 0;
  const prompt = () => {
    if (interactive && ended < PROMPTS.length) print(PROMPTS[ended]!);
  };
  prompt();
  for await (const line of createInterface({ input: process.stdin })) {
    lines.push(line);
    if (line.trim() !== "") continue;
    ended++;
    prompt();
    // On a terminal the third empty line is the end; what a file has behind it is looked at.
    if (ended === PROMPTS.length && process.stdin.isTTY) break;
  }
  return lines.join("\n");
}

function printTxn(answer: TxnResponse, output: OutputOptions): void {
  if (output.format === "json") {
    print(goJson(TxnResponseSchema, answer));
    return;
  }
  if (output.format === "fields") {
    printHeader(answer.header, output);
    printFields({ Succeeded: answer.succeeded });
  } else print(answer.succeeded ? "SUCCESS" : "FAILURE");
  for (const { response } of answer.responses) {
    if (output.format === "simple") print("");
    printResponse(response, output);
  }
}

function printResponse(response: TxnResponse["responses"][number]["response"], output: OutputOptions): void {
  switch (response.case) {
    case "responseRange":
      printRange(response.value, {}, output);
      return;
    case "responsePut":
      printPut(response.value, output);
      return;
    case "responseDeleteRange":
      printDeleted(response.value, output);
      return;
    case "responseTxn":
      printTxn(response.value, output);
      return;
    case undefined:
      return;
  }
}
