import { deepEqual, equal, ok } from "node:assert/strict";
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { EtcdClient } from "../../src/cli/client.ts";
import { KV } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { SEGMENT_HEADER_BYTES, SEGMENT_TRAILER_BYTES } from "../../src/log/segment-codec.ts";
import { parseKey } from "../../src/objects/keys.ts";
import { type Program, run } from "../compat/etcdctl/command-line.ts";
import { eventually, World } from "../faults/world.ts";
import { seededBytes } from "../properties.ts";

/** What `t4 usage` and a retention's preview say is freed, is what is gone from the directory once it was done. */

const path = join(import.meta.dirname, "../../bin/t4");
const FENCE_BYTES = SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES;

/** Tables, checkpoints and segments with records: what deletions are about. */
function bytesIn(directory: string): number {
  let sum = 0;
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" })) {
    const kind = parseKey(name)?.kind;
    if (kind !== "table" && kind !== "checkpoint" && kind !== "segment") continue;
    const { size } = statSync(join(directory, name));
    if (kind !== "segment" || size > FENCE_BYTES) sum += size;
  }
  return sum;
}

const KEYS = 40;
const VALUE_BYTES = 4000;

async function filled(world: World) {
  const settings = ["--durability=local", "--upload-age=50ms", "--checkpoint-interval=1s", "--collect-interval=0"];
  const server = await world.server("data", settings);
  await server.start();
  const program: Program = { path, env: { T4_ENDPOINTS: server.endpoint } };
  const t4 = async (...line: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(program, line);
    equal(code, 0, `${line.join(" ")}: ${stderr}`);
    return stdout.toString();
  };
  /** A round of puts, and the checkpoint that has them. */
  const fill = async (branch: string): Promise<void> => {
    const client = new EtcdClient({
      endpoints: [server.endpoint],
      dialTimeoutMs: 5000,
      commandTimeoutMs: 9000,
      branch,
    });
    let revision = 0n;
    for (let n = 0; n < KEYS; n++) {
      const put = { key: Buffer.from(`/${branch}/${n}`), value: seededBytes(VALUE_BYTES) };
      revision = (await client.unary(KV.method.put, put)).header!.revision;
    }
    await client.close();
    await eventually(
      "a checkpoint",
      20_000,
      () => t4("log", branch, "--json").catch(() => '{"entries":[]}'),
      (text) => JSON.parse(text).entries.at(-1)?.revision >= Number(revision),
    );
  };
  return { server, t4, fill, store: ["--store", world.storeUrl], directory: world.path("store") };
}

const collectNow = ["gc", "--collect-grace", "0", "--rate", "0"];

test("deleting a branch frees what usage says is its own", { timeout: 300_000 }, async () => {
  await using world = await World.create("directory");
  const { server, t4, fill, store, directory } = await filled(world);
  await fill("main");
  await t4("branch", "create", "child");
  await t4("branch", "create", "other", "--from", "child");
  await fill("child");
  await fill("main");
  equal(await server.stop("SIGTERM"), 0, server.errors);
  await t4(...collectNow, ...store);

  const before = JSON.parse(await t4("usage", "--json", ...store));
  equal(before.garbageBytes, 0);
  const child = before.branches.find(({ name }: { name: string }) => name === "child");
  ok(child.ownBytes > KEYS * VALUE_BYTES && child.sharedBytes > KEYS * VALUE_BYTES, JSON.stringify(child));
  const bytesBefore = bytesIn(directory);
  await t4("branch", "delete", "child", "--grace", "0", ...store);
  await t4(...collectNow, ...store);
  await t4(...collectNow, ...store);
  equal(bytesBefore - bytesIn(directory), child.ownBytes);
  const after = JSON.parse(await t4("usage", "--json", ...store));
  deepEqual(
    [after.garbageBytes, after.branches.map(({ name }: { name: string }) => name).sort()],
    [0, ["main", "other"]],
  );
});

test("shortening retention frees what its preview says", { timeout: 300_000 }, async () => {
  await using world = await World.create("directory");
  const { server, t4, fill, store, directory } = await filled(world);
  for (let round = 0; round < 4; round++) await fill("main");
  await t4("compact", JSON.parse(await t4("get", "x", "--json")).header.revision);
  await fill("main");
  // What merging would free by itself meanwhile was not foretold: it has come to rest, and a checkpoint has it.
  await t4("defrag");
  await fill("main");
  const asked = ["retention", "set", "main", "--log", "0", "--checkpoints", "none"];
  const preview = JSON.parse(await t4(...asked, "--preview", "--json"));
  ok(preview.checkpointsDropped >= 3 && preview.bytesFreed > KEYS * VALUE_BYTES, JSON.stringify(preview));
  const bytesBefore = bytesIn(directory);
  const set = JSON.parse(await t4(...asked, "--json"));
  ok(set.bytesFreed >= preview.bytesFreed);
  // It is the branch's next checkpoint that lets go.
  await t4("put", "last", "1");
  await eventually(
    "a checkpoint",
    20_000,
    () => t4("log", "--json"),
    (text) => JSON.parse(text).entries.length <= 2,
  );
  equal(await server.stop("SIGTERM"), 0, server.errors);
  await t4(...collectNow, ...store);
  await t4(...collectNow, ...store);
  const freed = bytesBefore - bytesIn(directory);
  // What was written since is small: the setting, a put, checkpoints.
  const margin = 12_000;
  ok(Math.abs(freed - preview.bytesFreed) <= margin, `${freed} freed, ${preview.bytesFreed} foretold`);
});
