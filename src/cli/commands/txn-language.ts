import type { MessageInitShape } from "@bufbuild/protobuf";
import { Command } from "commander";
import {
  Compare_CompareResult as CompareResult,
  type CompareSchema,
  Compare_CompareTarget as CompareTarget,
  type RequestOpSchema,
} from "../../gen/etcdserverpb/rpc_pb.ts";
import { int64, leaseIdOf } from "../context.ts";
import { UsageError } from "../errors.ts";
import { keyRange } from "../key-range.ts";
import { addDelOptions, type DelOptions } from "./del.ts";
import { addGetOptions, type GetOptions, rangeRequest } from "./get.ts";
import { addPutOptions, type PutOptions, putRequest } from "./put.ts";

/**
 * etcdctl's language of transactions: three blocks, each ended by an empty line.
 *
 *   mod("key") > "0"          compares: version, create, mod, value or lease; =, !=, <, >
 *
 *   put key "a value"         what is done if all hold
 *   get key
 *
 *   del --prefix key          what is done if not
 */
export interface TxnText {
  compare: MessageInitShape<typeof CompareSchema>[];
  success: MessageInitShape<typeof RequestOpSchema>[];
  failure: MessageInitShape<typeof RequestOpSchema>[];
}

export function parseTxn(text: string): TxnText {
  const blocks: string[][] = [[], [], []];
  let block = 0;
  for (const line of text.split("\n")) {
    if (line.trim() === "") block++;
    else if (block < 3) blocks[block]!.push(line.trim());
    else throw new UsageError(`"${line.trim()}": stands behind the third block`);
  }
  return { compare: blocks[0]!.map(parseCompare), success: blocks[1]!.map(parseOp), failure: blocks[2]!.map(parseOp) };
}

const RESULTS: Record<string, CompareResult> = {
  "=": CompareResult.EQUAL,
  "!=": CompareResult.NOT_EQUAL,
  "<": CompareResult.LESS,
  ">": CompareResult.GREATER,
};

export function parseCompare(line: string): MessageInitShape<typeof CompareSchema> {
  const match = /^(\w+)\s*\(\s*("(?:[^"\\]|\\.)*"|[^)"]*)\s*\)\s*(!=|[=<>])\s*(.+)$/.exec(line);
  if (match === null) throw new UsageError(`malformed comparison: ${line}; expected target("key") operator "value"`);
  const [, target, quotedKey, operator, quotedOperand] = match;
  const key = Buffer.from(unquote(quotedKey!));
  const operand = unquote(quotedOperand!);
  const base = { key, result: RESULTS[operator!]! };
  switch (target) {
    case "ver":
    case "version":
      return {
        ...base,
        target: CompareTarget.VERSION,
        targetUnion: { case: "version", value: int64("version", operand) },
      };
    case "c":
    case "create":
      return {
        ...base,
        target: CompareTarget.CREATE,
        targetUnion: { case: "createRevision", value: int64("create revision", operand) },
      };
    case "m":
    case "mod":
      return {
        ...base,
        target: CompareTarget.MOD,
        targetUnion: { case: "modRevision", value: int64("mod revision", operand) },
      };
    case "val":
    case "value":
      return { ...base, target: CompareTarget.VALUE, targetUnion: { case: "value", value: Buffer.from(operand) } };
    case "lease":
      return { ...base, target: CompareTarget.LEASE, targetUnion: { case: "lease", value: leaseIdOf(operand) } };
    default:
      throw new UsageError(`malformed comparison: ${line} (unknown target ${target})`);
  }
}

function unquote(text: string): string {
  const quoted = /^"((?:[^"\\]|\\.)*)"$/.exec(text);
  if (quoted !== null) return unescapeGo(quoted[1]!, text);
  if (/\s|^["']/.test(text)) throw new UsageError(`${text}: what has spaces or quotes stands in double quotes`);
  return text;
}

/** Words, some of them in double quotes with Go's escapes, or in single quotes as they stand. */
export function splitWords(line: string): string[] {
  const words: string[] = [];
  for (const [word, quoted, plain] of line.matchAll(/"((?:[^"\\]|\\.)*)"|'([^']*)'|\S+/g)) {
    if (quoted !== undefined) words.push(unescapeGo(quoted, line));
    else words.push(plain ?? word);
  }
  return words;
}

function unescapeGo(quoted: string, line: string): string {
  try {
    return JSON.parse(`"${quoted.replace(/\\x([0-9a-f]{2})/gi, "\\u00$1").replace(/\t/g, "\\t")}"`) as string;
  } catch {
    throw new UsageError(`${line}: bad escape in "${quoted}"`);
  }
}

export function parseOp(line: string): MessageInitShape<typeof RequestOpSchema> {
  const [name, ...args] = splitWords(line);
  switch (name) {
    case "get": {
      const { words, options } = parseWith<GetOptions>(addGetOptions(new Command("get")), args, line);
      return { request: { case: "requestRange", value: rangeRequest(words, options) } };
    }
    case "put": {
      const command = addPutOptions(new Command("put").argument("<key>").argument("[value]"));
      const { words, options } = parseWith<PutOptions>(command, args, line);
      const [key, text] = words;
      if (options.ignoreValue === true && text !== undefined)
        throw new UsageError(`${line}: takes no value where 'ignore-value' is set`);
      if (options.ignoreValue !== true && text === undefined)
        throw new UsageError(`${line}: missing required argument 'value'`);
      const value = putRequest(Buffer.from(key!), Buffer.from(text ?? ""), options);
      return { request: { case: "requestPut", value } };
    }
    case "del": {
      const { words, options } = parseWith<DelOptions>(addDelOptions(new Command("del")), args, line);
      const value = { ...keyRange("del", words, options), prevKv: options.prevKv ?? false };
      return { request: { case: "requestDeleteRange", value } };
    }
    default:
      throw new UsageError(`invalid txn request: ${line}; expected get, put or del`);
  }
}

function parseWith<T>(command: Command, args: string[], line: string): { words: string[]; options: T } {
  command
    .exitOverride()
    .showSuggestionAfterError(false)
    .configureOutput({ writeErr: () => {}, writeOut: () => {} });
  try {
    command.parse(args, { from: "user" });
  } catch (error) {
    throw new UsageError(`${line}: ${(error as Error).message.replace(/^error: /, "")}`);
  }
  return { words: command.args, options: command.opts() as T };
}
