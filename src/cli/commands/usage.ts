import { Command } from "commander";
import type { Usage } from "../../engine/branches/history.ts";
import { Repository } from "../../gen/t4/v1/repository_pb.ts";
import type { EtcdClient } from "../client.ts";
import { UsageError } from "../errors.ts";
import type { OfflineContext } from "../offline.ts";
import { historyOf } from "../offline-history.ts";
import { counted, print, tableText } from "../output.ts";
import { monthly, type Prices, pricesOf } from "../prices.ts";
import { bytesText } from "../progress.ts";
import { type Format, onRepository, repositoryOptions } from "../repository.ts";
import { valueText } from "../value-text.ts";

const { method } = Repository;
const TIMEOUT_MS = 300_000;
const DEPTH_MAX = 32;

interface Options {
  prefixDepth: string;
  prices: string;
}

interface Requested {
  readonly operation: string;
  readonly object: string;
  readonly count: number;
  readonly bytes: number;
}

interface Shown extends Usage {
  /** Of the server, since its start; none of a bucket that is read alone. */
  readonly requests: readonly Requested[];
  readonly sinceMs: number;
}

export function usageCommand(): Command {
  const command = new Command("usage")
    .argument("[branch]", "of this one alone")
    .description("Tells what branches take in the store, what deleting each would free, and what it costs")
    .option("--prefix-depth <number>", "sizes and counts by key prefix, up to the n-th slash; reads all live keys", "0")
    .option("--prices <name>", "s3, gcs, r2 (examples of list prices), or a file of JSON", "s3")
    .addHelpText(
      "after",
      [
        "\nown: what its deletion alone frees. shared: needed by others, too. history: of tables that only older",
        "retained moments need (t4 retention shortens it). growth: of tables, a day.",
        "\nExamples:",
        "  t4 usage",
        "  t4 usage main --prefix-depth 2",
        "  t4 usage --prices my-prices.json --json",
        "  t4 usage --store 's3://bucket/prefix'",
      ].join("\n"),
    );
  for (const option of repositoryOptions()) command.addOption(option);
  return command.action(async (branch: string | undefined, options: Options) => {
    const depth = Number(options.prefixDepth);
    if (!Number.isInteger(depth) || depth < 0 || depth > DEPTH_MAX) {
      throw new UsageError(`--prefix-depth: expected 0 to ${DEPTH_MAX}, not "${options.prefixDepth}"`);
    }
    const prices = pricesOf(options.prices);
    const ways = {
      online: async (client: EtcdClient) => onlineUsage(client, branch, depth),
      offline: async (context: OfflineContext): Promise<Shown> => {
        const usage = await (await historyOf(context)).usage({ branch: branch ?? null, prefixDepth: depth });
        return { ...usage, requests: [], sinceMs: 0 };
      },
    };
    await onRepository(command, ways, (usage, format) => printUsage(usage, prices, format));
  });
}

async function onlineUsage(client: EtcdClient, branch: string | undefined, prefixDepth: number): Promise<Shown> {
  const asked = { branch: branch ?? "", prefixDepth };
  const answer = await client.repository(branch === undefined ? [] : [branch], method.usage, asked, TIMEOUT_MS);
  return {
    bytes: Number(answer.bytes),
    objects: Number(answer.objects),
    garbageBytes: Number(answer.garbageBytes),
    garbageObjects: Number(answer.garbageObjects),
    sinceMs: Number(answer.sinceMs),
    requests: answer.requests.map(({ operation, object, count, bytes }) => {
      return { operation, object, count: Number(count), bytes: Number(bytes) };
    }),
    branches: answer.branches.map((each) => ({
      name: each.name,
      id: each.id,
      ownBytes: Number(each.ownBytes),
      sharedBytes: Number(each.sharedBytes),
      historyBytes: Number(each.historyBytes),
      logBytes: Number(each.logBytes),
      objects: Number(each.objects),
      growthBytes: each.growthBytes === undefined ? null : Number(each.growthBytes),
      prefixes: each.prefixes.map(({ prefix, keys, bytes }) => {
        return { prefix: Buffer.from(prefix).latin1Slice(), keys: Number(keys), bytes: Number(bytes) };
      }),
    })),
  };
}

async function printUsage(usage: Shown, prices: Prices, format: Format): Promise<void> {
  const cost = monthly(prices, usage, Date.now());
  if (format === "json") {
    print(JSON.stringify({ ...usage, monthly: { ...cost, currency: "USD", prices } }));
    return;
  }
  const head = ["branch", "own", "shared", "history", "log", "objects", "growth a day"];
  const rows = usage.branches.map((each) => [
    each.name,
    bytesText(each.ownBytes),
    bytesText(each.sharedBytes),
    bytesText(each.historyBytes),
    bytesText(each.logBytes),
    String(each.objects),
    each.growthBytes === null ? "" : `${each.growthBytes < 0 ? "-" : ""}${bytesText(Math.abs(each.growthBytes))}`,
  ]);
  print(await tableText(head, rows));
  for (const { name, prefixes } of usage.branches) {
    if (prefixes.length === 0) continue;
    const lines = prefixes.map(({ prefix, keys, bytes }) => [
      valueText(Buffer.from(prefix, "latin1")),
      String(keys),
      bytesText(bytes),
    ]);
    print(await tableText([`prefix in ${name}`, "keys", "bytes"], lines));
  }
  print(`${counted(usage.objects, "object")}, ${bytesText(usage.bytes)} in the store`);
  if (usage.garbageObjects > 0) {
    print(`${usage.garbageObjects} of them, ${bytesText(usage.garbageBytes)}, nobody needs: t4 gc deletes them`);
  }
  await printRequests(usage);
  print(`storage: $${cost.storage.toFixed(2)} a month (${prices.name}, ${prices.date})`);
  if (cost.requests !== null) print(`requests: $${cost.requests.toFixed(2)} a month, as they go since the start`);
}

const OPERATIONS = ["get", "put", "list", "delete"] as const;

/** A line for each kind of object, the most asked for first. */
async function printRequests({ requests, sinceMs }: Shown): Promise<void> {
  if (requests.length === 0) return;
  const kinds = new Map<string, Map<string, Requested>>();
  for (const each of requests) {
    kinds.set(each.object, (kinds.get(each.object) ?? new Map()).set(each.operation, each));
  }
  const sumOf = (row: Map<string, Requested>): number => [...row.values()].reduce((sum, { count }) => sum + count, 0);
  const rows = [...kinds].sort(([, a], [, b]) => sumOf(b) - sumOf(a));
  const cell = (each: Requested | undefined): string => {
    if (each === undefined) return "";
    return each.bytes === 0 ? String(each.count) : `${each.count} (${bytesText(each.bytes)})`;
  };
  const lines = rows.map(([object, row]) => [object, ...OPERATIONS.map((operation) => cell(row.get(operation)))]);
  print(await tableText(["requests", ...OPERATIONS], lines));
  print(`requests of the server since ${new Date(sinceMs).toISOString()}`);
}
