import { Dice } from "./operations.ts";

/**
 * Random JSON for the gateway, most of it nearly right, asked of two servers. Both must take or refuse it alike: by the
 * same HTTP status and gRPC code, and with the same answer where they take it. What they say of a refusal is Go's text
 * of its own parser, and not compared.
 */
export interface BodyContest {
  readonly seed: number;
  readonly bodies: number;
  /** host:port of two servers with empty stores. */
  readonly left: string;
  readonly right: string;
  readonly enough?: (done: number) => boolean;
}

/** Null, or the first body that they answer differently. */
export async function bodyContest(options: BodyContest): Promise<string | null> {
  const dice = new Dice(options.seed);
  for (let n = 0; n < options.bodies; n++) {
    const request = randomRequest(dice);
    const [left, right] = await Promise.all([ask(options.left, request), ask(options.right, request)]);
    if (left !== right) return `body ${n}: ${request.path} ${JSON.stringify(request.body)}\n  ${left}\n  but ${right}`;
    if (options.enough?.(n + 1)) break;
  }
  return null;
}

interface Request {
  readonly path: string;
  readonly body: string;
}

const TIMEOUT_MS = 10_000;

async function ask(address: string, { path, body }: Request): Promise<string> {
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const response = await fetch(`http://${address}${path}`, { method: "POST", body, signal });
  const text = await response.text();
  if (response.ok) return `${response.status} ${withoutIdentity(text)}`;
  let code: unknown;
  try {
    code = (JSON.parse(text) as { code?: unknown }).code;
  } catch {
    code = text;
  }
  return `${response.status} code ${code}`;
}

const withoutIdentity = (text: string): string =>
  text.replace(/"(cluster_id|member_id|raft_term|ID|peerURLs|clientURLs|name)":("[^"]*"|\[[^\]]*\])/g, '"$1":"*"');

/** A field's kind, or the fields of a message; a list is one in brackets. */
type Shape = "bytes" | "int64" | "bool" | "enum" | Fields | readonly [Shape];
interface Fields {
  readonly [name: string]: Shape;
}

const range: Fields = {
  ...{ key: "bytes", range_end: "bytes", limit: "int64", revision: "int64", sort_order: "enum", sort_target: "enum" },
  ...{ serializable: "bool", keys_only: "bool", count_only: "bool", min_mod_revision: "int64" },
};
const put: Fields = { key: "bytes", value: "bytes", prev_kv: "bool", ignore_value: "bool", ignore_lease: "bool" };
const remove: Fields = { key: "bytes", range_end: "bytes", prev_kv: "bool" };
const compare: Fields = {
  ...{ result: "enum", target: "enum", key: "bytes", version: "int64", create_revision: "int64", value: "bytes" },
};
const operation: Fields = { request_range: range, request_put: put, request_delete_range: remove };
const txn: Fields = { compare: [compare], success: [operation], failure: [operation] };

const requests: Readonly<Record<string, Fields>> = {
  "/v3/kv/range": range,
  "/v3/kv/put": put,
  "/v3/kv/deleterange": remove,
  "/v3/kv/txn": txn,
  "/v3/lease/timetolive": { ID: "int64", keys: "bool" },
  "/v3/cluster/member/list": { linearizable: "bool" },
};

function randomRequest(dice: Dice): Request {
  const path = dice.one(Object.keys(requests));
  const text = valueText(dice, requests[path]!, 0);
  return { path, body: dice.chance(0.1) ? spoiled(dice, text) : text };
}

/** Now and then of another kind than it should be. */
function valueText(dice: Dice, shape: Shape, depth: number): string {
  if (depth > 0 && dice.chance(0.03)) return dice.one(oddities);
  if (shape === "bytes") return bytesText(dice);
  if (shape === "int64") return dice.one(numbers);
  if (shape === "bool") return dice.chance(0.95) ? dice.one(["true", "false"]) : dice.one(['"true"', "0", "1", "null"]);
  if (shape === "enum") return dice.one(enums);
  if (Array.isArray(shape)) {
    const items = Array.from({ length: dice.below(3) }, () =>
      valueText(dice, (shape as readonly [Shape])[0], depth + 1),
    );
    return `[${items.join(",")}]`;
  }
  return objectOf(dice, shape as Fields, depth);
}

function objectOf(dice: Dice, shape: Fields, depth: number): string {
  const fields: string[] = [];
  for (const [name, inner] of Object.entries(shape)) {
    if (dice.chance(depth === 0 ? 0.6 : 0.7)) continue;
    fields.push(`${nameText(dice, name)}:${valueText(dice, inner, depth + 1)}`);
  }
  if (dice.chance(0.03)) fields.push(`"unknown_field":${dice.one(oddities)}`);
  const space = dice.chance(0.05) ? dice.one([" ", "\n\t", "\r\n"]) : "";
  return `{${space}${fields.join(`,${space}`)}${space}}`;
}

const nameText = (dice: Dice, name: string): string =>
  JSON.stringify(dice.chance(0.15) ? name.replace(/_(.)/g, (_all, letter: string) => letter.toUpperCase()) : name);

const oddities = [
  ...["null", "{}", "[]", '""', "0", "-1", "1.5", "true", '"x"', '{"a":1}', "[null]", '"\\u0000"', "1e2"],
];
const numbers = [
  ...["0", "1", "2", "-1", '"0"', '"1"', '"-1"', '"3"', "9223372036854775807", '"9223372036854775807"'],
  ...["9223372036854775808", '"9223372036854775808"', '"-9223372036854775808"', "-9223372036854775808", "1.0", '"1.0"'],
  ...["1.5", '"1.5"', "1e2", '""', '" 1"', '"1 "', '"0x1"', '"01"', "null", '"+1"', "-0", '"-0"', "1e30", '"NaN"'],
];
const enums = [
  ...["0", "1", "2", "3", "7", "-1", '"NONE"', '"ASCEND"', '"KEY"', '"EQUAL"', '"VERSION"', '"none"', '"1"', '""'],
  ...["null", "1.0", "2147483648", "1.5"],
];
const encoded = ["YQ==", "YWI=", "YWJj", "", "AA==", "/w==", "_w==", "-_8=", "+/8=", "YQ", "YWI", "_w", "/w"];
const oddlyEncoded = [
  ...[
    "YQ=",
    "YQ===",
    "Y",
    "Y===",
    "=",
    "YQ==YQ==",
    "Y Q=",
    " YQ==",
    "YQ==\\n",
    "Y\\nQ==",
    "YQ=\\r=",
    "-/8=",
    "YR==",
    "Y*==",
  ],
  ...["YQ==a", "YWJj=", "a===", "YQ\\t==", "ÿ", "\\u0059Q=="],
];

const bytesText = (dice: Dice): string => `"${dice.chance(0.85) ? dice.one(encoded) : dice.one(oddlyEncoded)}"`;

/** Text that may be no JSON any more. */
function spoiled(dice: Dice, text: string): string {
  const at = dice.below(text.length + 1);
  switch (dice.below(7)) {
    case 0:
      return text.slice(0, at);
    case 1:
      return (
        text.slice(0, at) +
        dice.one([",", "}", "{", '"', "]", ":", "\\", "\u0001", "\u00ff", "//", "'"]) +
        text.slice(at)
      );
    case 2:
      return `${text}${dice.one([" ", "x", "{}", "null", ",", "\u0000"])}`;
    case 3:
      return `\ufeff${text}`;
    case 4:
      return dice.one(["", "null", "[]", "1", '"x"', "true", " ", "{", "{}{}", "nul", "{,}", '{"key":}', "{'key':1}"]);
    case 5:
      return text.replace("}", ',"key":"YQ==","key":"Yg=="}');
    default:
      return text.replace(/"key"/, dice.one(['"KEY"', '"Key"', '"key "', '"\\u006bey"']));
  }
}
