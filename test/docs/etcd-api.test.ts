import { deepEqual, notEqual, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { DescFile, DescService } from "@bufbuild/protobuf";
import { pathsOf } from "../../src/api/gateway/paths.ts";
import { file_authpb_auth } from "../../src/gen/authpb/auth_pb.ts";
import { file_etcdserverpb_rpc } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { file_grpc_health_v1_health } from "../../src/gen/grpc/health/v1/health_pb.ts";
import { file_mvccpb_kv } from "../../src/gen/mvccpb/kv_pb.ts";
import { file_v3electionpb_v3election } from "../../src/gen/v3electionpb/v3election_pb.ts";
import { file_v3lockpb_v3lock } from "../../src/gen/v3lockpb/v3lock_pb.ts";
import { formerNames, ignoredFlags } from "../../src/server/foreign-settings.ts";
import type { Setting } from "../../src/server/setting.ts";
import { runSettings } from "../../src/server/settings.ts";
import { startServer } from "../compat/server-runner.ts";

/** docs/etcd-api.md has a row for each call, message, path and flag, and none for what is not. */

const files: readonly DescFile[] = [
  file_etcdserverpb_rpc,
  file_mvccpb_kv,
  file_authpb_auth,
  file_v3lockpb_v3lock,
  file_v3electionpb_v3election,
  file_grpc_health_v1_health,
];
const services: readonly DescService[] = files.flatMap((file) => file.services);
const settings = Object.entries<Setting<unknown>>(runSettings);
const methods = services.flatMap((service) => service.methods.map((method) => ({ service, method })));

/** The rows of the table below a heading, cell by cell. */
function rowsBelow(heading: string): string[][] {
  const page = readFileSync(new URL("../../docs/etcd-api.md", import.meta.url), "utf8");
  const section = page.split(/^## /m).find((text) => text.startsWith(`${heading}\n`));
  ok(section !== undefined, `docs/etcd-api.md has no "## ${heading}"`);
  return section
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim()),
    );
}

const bare = (cell: string): string => cell.replaceAll("`", "");
const sorted = (names: Iterable<string>): string[] => [...names].sort();
const verdicts = ["same", "better", "different", "without meaning"];

function checkVerdict(name: string, verdict: string, why: string): void {
  ok(verdicts.includes(verdict), `${name}: ${verdict} is none of ${verdicts.join(", ")}`);
  if (verdict !== "same") notEqual(why, "", `${name}: ${verdict}, but why?`);
}

test("each call has its row", () => {
  const rows = rowsBelow("Calls");
  const calls = methods.map(({ service, method }) => `${service.typeName}/${method.name}`);
  deepEqual(sorted(rows.map(([name]) => bare(name!))), sorted(calls));
  for (const [name, verdict, why] of rows) checkVerdict(name!, verdict!, why!);
});

test("each message has its row, with each field", () => {
  const messages = files.flatMap((file) => file.messages);
  const rows = rowsBelow("Messages");
  deepEqual(
    sorted(rows.map(([name, fields]) => `${bare(name!)}: ${bare(fields!)}`)),
    sorted(
      messages.map(({ typeName, fields }) => `${typeName}: ${fields.map(({ name }) => name).join(" ") || "none"}`),
    ),
  );
  for (const [name, , verdict, why] of rows) checkVerdict(name!, verdict!, why!);
});

test("each path has its row, and each path that has one is served", { timeout: 60_000 }, async () => {
  const rows = rowsBelow("Paths over HTTP");
  const listed = rows.map(([path]) => bare(path!));
  const ofGateway = methods.flatMap(({ service, method }) => pathsOf(service.typeName, method.name));
  deepEqual(sorted(listed.filter((path) => path.startsWith("/v3/"))), sorted(ofGateway));
  for (const [path, verdict, why] of rows) checkVerdict(path!, verdict!, why!);
  const server = await startServer(["--enable-pprof"]);
  try {
    for (const path of listed) {
      const { status } = await fetch(`http://${server.address}${path}`);
      // What the gateway takes by POST alone is there, too.
      ok(path.startsWith("/v3/") ? status === 501 || status === 405 : status === 200, `${path}: ${status}`);
    }
  } finally {
    await server.stop();
  }
});

test("each flag has its row, with its default or why it has no effect", () => {
  const byDefault = ({ byDefault: value }: Setting<unknown>): string =>
    value === undefined ? "not set" : value === "" ? "empty" : value;
  const followed = rowsBelow("Flags of etcd's that are followed");
  deepEqual(sorted(followed.map(([name, value]) => `${bare(name!)} ${bare(value!)}`)), [
    ...sorted([
      ...settings.filter(([, { etcd }]) => etcd).map(([name, setting]) => `--${name} ${byDefault(setting)}`),
      ...Object.keys(formerNames).map((name) => `--${name} as its later name`),
    ]),
  ]);
  for (const [name, , verdict, why] of followed) checkVerdict(name!, verdict!, why!);
  deepEqual(
    sorted(rowsBelow("Flags of etcd's without meaning here").map(([name, why]) => `${bare(name!)} ${why}`)),
    sorted(Object.entries(ignoredFlags).map(([name, why]) => `--${name} ${why}`)),
  );
  deepEqual(
    sorted(rowsBelow("t4's own flags").map(([name, value]) => `${bare(name!)} ${bare(value!)}`)),
    sorted(settings.filter(([, { etcd }]) => !etcd).map(([name, setting]) => `--${name} ${byDefault(setting)}`)),
  );
});
