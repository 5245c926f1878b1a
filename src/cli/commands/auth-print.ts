import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { ResponseHeader } from "../../gen/etcdserverpb/rpc_pb.ts";
import { goJson } from "../go-json.ts";
import { goQuote } from "../go-quote.ts";
import { type OutputOptions, print, printHeader } from "../output.ts";

type Answer = Message & { header?: ResponseHeader | undefined };

/** An answer that says no more than that it was done. */
export function printDone(schema: DescMessage, answer: Answer, { format, hex }: OutputOptions, text: string): void {
  if (format === "json") print(goJson(schema, answer));
  else if (format === "fields") printHeader(answer.header, { hex });
  else print(text);
}

/** `"Roles" : "a" "b"`, as etcdctl's `-w fields`. */
export function printNames(
  title: string,
  names: readonly string[],
  { header, output }: { header: ResponseHeader | undefined; output: OutputOptions },
): void {
  printHeader(header, output);
  print([`"${title}" :`, ...names.map((name) => goQuote(Buffer.from(name)))].join(" "));
}
