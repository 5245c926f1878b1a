import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { type Program, run } from "../compat/etcdctl/command-line.ts";
import { FaultClient } from "../faults/client.ts";
import { Ledger } from "../faults/ledger.ts";
import { eventually, metric, World } from "../faults/world.ts";

/** Commands that look into a bucket, as processes, beside a server that runs on it and after it. */

const t4: Program = { path: join(import.meta.dirname, "../../bin/t4"), env: {} };

/** Of a directory that is a store. A file may go between being listed and read: one that was being written, mostly. */
function filesOf(directory: string): Map<string, string> {
  const names = readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
  const files = new Map<string, string>();
  for (const name of names) {
    const path = join(directory, name);
    try {
      if (statSync(path).isFile()) files.set(name, readFileSync(path).toString("base64"));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return files;
}

test("inspect and verify beside a running server, and after it", { timeout: 240_000 }, async () => {
  await using world = await World.create("directory");
  const args = ["--durability=local", "--checkpoint-interval=1s", "--upload-age=50ms"];
  const server = await world.server("data", args);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  const store = ["--store", world.storeUrl];
  const json = async (...command: string[]) => {
    const { code, stdout, stderr } = await run(t4, [...command, ...store, "--json"]);
    equal(code, 0, stderr);
    return JSON.parse(stdout.toString());
  };
  for (let n = 0; n < 20; n++) ok((await ledger.put(client, `k${n % 4}`)).ok);
  await eventually(
    "a checkpoint",
    15_000,
    () => filesOf(world.path("store")),
    (files) => [...files.keys()].some((name) => name.includes("/checkpoint/")),
  );
  for (let n = 0; n < 5; n++) ok((await ledger.put(client, "k0")).ok);
  await eventually(
    "uploaded",
    10_000,
    () => metric(server, "t4_log_upload_pending_bytes"),
    (bytes) => bytes === 0,
  );

  equal((await json("inspect", "count")).count, 4);
  const { asOf, versions } = await json("inspect", "key", "k0", "--history");
  deepEqual([asOf.revision, versions.length], [26, 10]);
  equal((await json("inspect", "key", "k", "--prefix", "--at", "3")).keys.length, 2);
  const checkpoint = await json("inspect", "checkpoint");
  const [table] = checkpoint.runs[0];
  equal((await json("inspect", "table", table.table, "--blocks")).index.length, 1);
  equal((await json("inspect", "table", table.table.slice(-64, -50))).object, table.table);
  equal((await json("inspect", "segment", "1")).slot, 1);
  deepEqual(await json("inspect", "segment", "1-1"), [await json("inspect", "segment", "1")]);
  equal((await json("inspect", "leader")).epoch, 1);
  equal((await json("inspect", "origin")).parent, null);
  equal((await json("inspect", "session")).length, 1);
  deepEqual(
    (await json("inspect", "name")).map(({ object }: { object: string }) => object),
    ["name/main"],
  );
  const report = await json("verify");
  deepEqual([report.ok, report.faults, report.branches[0].names], [true, [], ["main"]]);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);

  const before = filesOf(world.path("store"));
  equal((await json("verify", "--quick")).ok, true);
  deepEqual(filesOf(world.path("store")), before, "nothing was written");
  const path = world.path(`store/${table.table}`);
  const bytes = readFileSync(path);
  bytes[20]! ^= 4;
  writeFileSync(path, bytes);
  const { code, stdout, stderr } = await run(t4, ["verify", ...store]);
  deepEqual([code, stderr.toString()], [1, "Error: 2 faults found\n"]);
  match(stdout.toString(), new RegExp(`^fault: ${table.table}: block at byte 12: checksum 0x`));
});

test("wrong arguments: one line, exit code 2; nothing there: 1", async () => {
  const wrong: [string[], RegExp][] = [
    [["inspect", "key", "k", "--at", "yesterday"], /^Error: --at: "yesterday" is no revision, time, age/],
    [["inspect", "segment", "0"], /^Error: bad slot "0": expected a number from 1, or two as 12-40$/],
    [["inspect", "segment", "5-4"], /^Error: bad slot "5-4": expected a number from 1, or two as 12-40$/],
    [["inspect", "segment", "1-1001"], /^Error: bad slots "1-1001": at most 1000$/],
    [["inspect", "segment"], /^Error: missing required argument 'slots'$/],
    [["inspect", "thing"], /^Error: unknown command 'thing'/],
    [["verify", "--store", "nothing"], /^Error: --store: /],
  ];
  await using world = await World.create("directory");
  const server = await world.server("data");
  await server.start();
  equal(await server.stop("SIGTERM"), 0);
  for (const [args, why] of wrong) {
    const more = args.includes("--store") ? [] : ["--store", world.storeUrl];
    const { code, stderr } = await run(t4, [...args, ...more]);
    match(stderr.toString().trimEnd(), why);
    equal(code, 2, args.join(" "));
  }
  const none = await run(t4, ["verify", "--store", `file://${world.path("nowhere")}`]);
  deepEqual([none.code, /there is no repository/.test(none.stderr.toString())], [1, true]);
  const help = await run(t4, ["inspect", "--help"]);
  match(help.stdout.toString(), /Examples:\n {2}t4 inspect key/);
});
