import { deepEqual, equal, match, ok } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { hash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join, relative } from "node:path";
import { after, before, describe, type TestContext, test } from "node:test";
import { encodeEnvelope } from "../../src/objects/envelope.ts";
import { repositoryKey } from "../../src/objects/keys.ts";
import { noS3Server, storeUrlOf } from "../contract/s3-server.ts";
import { FaultClient, show } from "./client.ts";
import { Ledger } from "./ledger.ts";
import { root, type ServerProcess } from "./server.ts";
import { noMount, SmallDisk } from "./small-disk.ts";
import { eventually, httpGet, World } from "./world.ts";

const limit = { timeout: 60_000 };

/** A start that ends by itself, with one line that says why. */
async function refused(server: ServerProcess, code: 1 | 2, why: RegExp, more: string[] = []): Promise<void> {
  server.launch(more);
  const ended = await server.untilEnded(20_000);
  equal(ended.code, code, server.errors);
  const lines = server.lines.filter((line) => !/ (info|warn) /.test(line));
  equal(lines.length, 1, server.errors);
  match(lines[0]!, why);
}

/** Every file below a directory, with a hash of its content; without a store's own locks. */
function contents(directory: string): Map<string, string> {
  const files = readdirSync(directory, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  const names = files.map(({ parentPath, name }) => relative(directory, join(parentPath, name)));
  return new Map(
    names
      .filter((name) => !name.startsWith(".t4/"))
      .sort()
      .map((name) => [name, hash("sha256", readFileSync(join(directory, name)))]),
  );
}

describe("starts that cannot be", { concurrency: 2, ...limit }, () => {
  test("a port in use, named; nothing is written", async () => {
    await using world = await World.create("directory");
    const server = await world.server("data");
    const other = createServer().listen(server.port, "127.0.0.1");
    try {
      await refused(server, 1, /error --listen-client-urls: http:\/\/127\.0\.0\.1:\d+: .*EADDRINUSE/);
    } finally {
      other.close();
    }
    deepEqual(readdirSync(world.directory), []);
  });

  test("a flag's file that cannot be read, or is no key: as a bad value, before anything is done", async () => {
    await using world = await World.create("directory");
    mkdirSync(world.path("keys"));
    writeFileSync(world.path("keys/none"), "no key\n");
    const server = await world.server("data");
    for (const [file, why] of [
      ["missing", /^Error: --auth-token: \/.*\/keys\/missing: no such file$/],
      [".", /^Error: --auth-token: .*EISDIR/],
      ["none", /^Error: --auth-token: /],
    ] as const) {
      const path = world.path(`keys/${file}`);
      await refused(server, 2, why, [`--auth-token=jwt,sign-method=RS256,priv-key=${path},pub-key=${path}`]);
    }
    await refused(server, 2, /^Error: --signing-key: \/.*ENOENT/, [`--signing-key=${world.path("keys/missing")}`]);
    deepEqual(readdirSync(world.directory), ["keys"]);
  });

  test("a data directory that is none", async () => {
    await using world = await World.create("directory");
    writeFileSync(world.path("file"), "");
    await refused(await world.server("file"), 1, /error cannot make the directory \/.*\/file: EEXIST/);
    await refused(await world.server("file/below"), 1, /error cannot make the directory \/.*\/file\/below: ENOTDIR/);
    deepEqual(readdirSync(world.directory), ["file"]);
  });

  test("a data directory or store on a disk that takes nothing", { skip: noMount }, async () => {
    await using world = await World.create("directory");
    using disk = new SmallDisk(world.path("disk"), 1 << 20);
    disk.remount("ro");
    await refused(await world.server("disk/data"), 1, /error cannot make the directory \/.*\/disk\/data: EROFS/);
    const store = `--store=file://${world.path("disk/store")}`;
    await refused(await world.server("data", [store]), 1, /error .*\/disk\/store.*EROFS/);
  });

  test("wrong flags, each named, with code 2", async () => {
    await using world = await World.create("directory");
    const server = await world.server("data");
    await refused(server, 2, /^Error: --store: store "s3:\/\/": names no bucket/, ["--store=s3://"]);
    await refused(server, 2, /^Error: --session-term: 10ms is outside 1s to 3m$/, ["--session-term=10ms"]);
    await refused(server, 2, /^Error: unknown option '--bogus'/, ["--bogus"]);
    await refused(server, 2, /^Error: --config-file: .*ENOENT/, [`--config-file=${world.path("none.yaml")}`]);
    deepEqual(readdirSync(world.directory), []);
  });

  test("a prefix that is somebody else's is left as it is", async () => {
    await using world = await World.create("directory");
    mkdirSync(world.path("store/photos"), { recursive: true });
    writeFileSync(world.path("store/photos/cat.jpg"), "meow");
    const because = /error file:.*\/store is not empty \(it holds "photos\/cat\.jpg"\) and has no repository\.json/;
    await refused(await world.server("data"), 1, because);
    deepEqual([...contents(world.path("store"))], [["photos/cat.jpg", hash("sha256", "meow")]]);
  });

  test("a repository of a later format is left as it is", async () => {
    await using world = await World.create("directory");
    const body = { format: 2, repository: "0".repeat(32), window: 8 };
    mkdirSync(world.path("store"));
    const bytes = encodeEnvelope(repositoryKey, { counter: 0, body });
    writeFileSync(world.path("store/repository.json"), bytes);
    const because = /error object repository\.json: repository format 2 is unknown to this version of t4/;
    await refused(await world.server("data"), 1, because);
    equal(readFileSync(world.path("store/repository.json"), "latin1"), bytes.toString("latin1"));
  });

  test("wrong credentials, none at all, no bucket", { skip: noS3Server }, async () => {
    await using world = await World.create("s3");
    const other = await world.server("data", [], { AWS_ACCESS_KEY_ID: "nobody" });
    await refused(other, 1, /error s3:\/\/bucket\/t4.*: get repository\.json: HTTP 40\d \w+ .*access key/i);
    const secret = await world.server("data", [], { AWS_SECRET_ACCESS_KEY: "not this one" });
    await refused(secret, 1, /error s3:\/\/bucket\/t4.*: get repository\.json: HTTP 403 SignatureDoesNotMatch/);
    const none = { AWS_ACCESS_KEY_ID: "", AWS_SECRET_ACCESS_KEY: "", AWS_EC2_METADATA_DISABLED: "true" };
    const without = await world.server("data", [], { ...none, HOME: world.directory });
    await refused(without, 1, /error s3:\/\/bucket\/t4.*: no credentials: Could not load credentials/);
    const missing = storeUrlOf({ endpoint: world.s3.endpoint, bucket: "missing" });
    const elsewhere = await world.server("data", [`--store=${missing}`]);
    await refused(elsewhere, 1, /error s3:\/\/missing\/t4.*: get repository\.json: HTTP 404 NoSuchBucket/);
    deepEqual(readdirSync(join(world.s3.directory, "bucket")), []);
  });
});

/** A store with a checkpoint, its tables and segments behind it, released cleanly. */
class Damaged {
  readonly world: World;
  #copies = 0;

  constructor(world: World) {
    this.world = world;
  }

  static async create(): Promise<Damaged> {
    const world = await World.create("directory");
    const early = await world.server("base", ["--durability=object", "--checkpoint-interval=1s"]);
    await early.start();
    const client = new FaultClient(early.endpoint);
    for (let n = 0; n < 20; n++) ok((await client.put(`early${n}`, "x".repeat(1000))).ok);
    const status = async () => JSON.parse((await httpGet(early, "/t4/status")).body) as Record<string, number | null>;
    const isCovered = (now: Record<string, number | null>) => now["checkpointSlot"] === now["nextSlot"];
    await eventually("a checkpoint of all of it", 15_000, status, isCovered);
    await client.close();
    equal(await early.stop("SIGTERM"), 0, early.errors);
    const late = await world.server("base");
    await late.start();
    const more = new FaultClient(late.endpoint);
    for (let n = 0; n < 3; n++) ok((await more.put(`late${n}`, "y")).ok);
    await more.close();
    equal(await late.stop("SIGTERM"), 0, late.errors);
    return new Damaged(world);
  }

  /** A copy in which one byte of the last file that matches is another one, at `share` of its length. */
  async copy(pattern: RegExp, share = 0.5): Promise<{ server: ServerProcess; store: string; name: string }> {
    const copy = `copy${++this.#copies}`;
    const store = this.world.path(`${copy}/store`);
    cpSync(this.world.path("store"), store, { recursive: true });
    // A clean stop wrote a checkpoint of all of the log: without it the log is read.
    if (/log/.test(pattern.source)) {
      const checkpoints = [...contents(store).keys()].filter((name) => /^branch\/\w+\/checkpoint\//.test(name));
      ok(checkpoints.length > 1, "a checkpoint before the one of the stop");
      rmSync(join(store, checkpoints.at(-1)!));
    }
    const names = [...contents(store).keys()].filter((candidate) => pattern.test(candidate));
    // The largest table; of all else the newest.
    const size = (candidate: string) => statSync(join(store, candidate)).size;
    const name = (names[0]!.startsWith("sst/") ? names.sort((a, b) => size(a) - size(b)) : names).at(-1)!;
    flip(join(store, name), share);
    return { server: await this.world.server(`${copy}/data`, [`--store=file://${store}`]), store, name };
  }
}

function flip(path: string, share: number): void {
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length * share);
  bytes[at] = bytes[at]! ^ 0x10;
  writeFileSync(path, bytes);
}

/** What no start may change; the leader record and the sessions are what a start writes. */
const lasting = (store: string): [string, string][] =>
  [...contents(store)].filter(([name]) => !/^(session|probe)\/|\/leader$/.test(name));

describe("damaged objects", { concurrency: 2, ...limit }, () => {
  let damaged: Damaged;
  before(async () => {
    damaged = await Damaged.create();
  });
  after(() => damaged.world[Symbol.asyncDispose]());

  const cases: { what: string; pattern: RegExp; keepsLeader?: true }[] = [
    { what: "the repository", pattern: /^repository\.json$/, keepsLeader: true },
    { what: "the name of main", pattern: /^name\/main$/, keepsLeader: true },
    { what: "the leader record", pattern: /^branch\/\w+\/leader$/, keepsLeader: true },
    { what: "a segment", pattern: /^branch\/\w+\/log\// },
    { what: "the newest checkpoint", pattern: /^branch\/\w+\/checkpoint\// },
  ];
  for (const { what, pattern, keepsLeader } of cases) {
    test(`${what}: named, exit code 1, nothing overwritten`, limit, async () => {
      const { server, store, name } = await damaged.copy(pattern);
      const stored = lasting(store);
      const all = contents(store);
      await refused(server, 1, new RegExp(`error object ${name}: `));
      deepEqual(lasting(store), stored);
      if (keepsLeader)
        for (const [path, text] of all) if (path.endsWith("/leader")) equal(contents(store).get(path), text);
    });
  }

  test("a table: reads that need it get DataLoss, and readiness says so", limit, async (t) => {
    const { server, store, name } = await damaged.copy(/^sst\//, 0.25);
    const stored = lasting(store);
    await server.start();
    const client = new FaultClient(server.endpoint);
    const reads = await Promise.all(Array.from({ length: 20 }, (_, n) => client.get(`early${n}`)));
    const failed = reads.filter((read) => !read.ok);
    ok(failed.length > 0);
    for (const read of failed) {
      ok(!read.ok && read.code === 15 && read.text.includes(`object ${name}: `), show(read));
    }
    t.diagnostic(`${failed.length} of 20 reads: ${show(failed[0]!)}`);
    ok((await client.get("late1")).ok, "what does not need it is answered");
    const ready = await httpGet(server, "/readyz");
    equal(ready.status, 503);
    match(ready.body, new RegExp(`\\[-\\]data_corruption failed: etcdserver: corrupt cluster: object ${name}: `));
    equal(server.lines.filter((line) => /error a corrupt object was met/.test(line)).length, 1, server.errors);
    await client.close();
    await server.stop("SIGKILL");
    for (const [path, text] of stored) equal(contents(store).get(path), text, path);
  });
});

/** The local log alone has what was acknowledged: damage in it is never taken for its end. */
test("a damaged local log is refused, naming the file; mended, it has everything", limit, async () => {
  await using world = await World.create("directory");
  const server = await world.server("data", ["--durability=local", "--upload-age=1h"]);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 30; n++) ok((await ledger.put(client, "k", 100)).ok);
  await client.close();
  await server.stop("SIGKILL");
  const name = [...contents(world.path("data")).keys()].find((path) => /log-\d+$/.test(path))!;
  const path = world.path(`data/${name}`);
  const whole = readFileSync(path);
  const end = whole.findLastIndex((byte) => byte !== 0);
  flip(path, end / 2 / whole.length);
  const flipped = readFileSync(path);
  await refused(
    server,
    1,
    /error local log \/.*\/log-\d+: the frame at byte \d+ is damaged: a good one follows at byte/,
  );
  ok(readFileSync(path).equals(flipped), "it is left as it is");
  writeFileSync(path, whole);
  await server.start();
  await ledger.verify(server.endpoint);
  equal(await server.stop("SIGTERM"), 0, server.errors);
});

async function diskFull(t: TestContext): Promise<void> {
  await using world = await World.create("directory");
  using disk = new SmallDisk(world.path("disk"), 6 << 20);
  const args = ["--durability=local", "--upload-age=1h", "--max-request-bytes=1MiB"];
  const server = await world.server("disk/data", args);
  await server.start();
  const client = new FaultClient(server.endpoint);
  const ledger = new Ledger();
  for (let n = 0; n < 20; n++) ok((await ledger.put(client, "a", 1000)).ok);
  // Something else fills the disk.
  disk.fill("filler");
  const full = await eventually(
    "a put that the disk has no room for",
    20_000,
    () => ledger.put(client, "b", 100_000),
    (put) => !put.ok,
  );
  t.diagnostic(`${ledger.acknowledged} acknowledged, then: ${show(full.answer)}`);
  const later = await ledger.put(client, "b", 100_000);
  ok(!later.ok, "and it stays refused");
  t.diagnostic(`the next one: ${show(later)}`);
  t.diagnostic(
    server.lines
      .filter((line) => / (warn|error) /.test(line))
      .slice(0, 4)
      .join("\n"),
  );
  match(server.errors, /ENOSPC/);
  equal((await httpGet(server, "/readyz")).status, 503);
  const says = () => httpGet(server, "/t4/status");
  await eventually("why nobody leads", 5000, says, ({ body }) => /ENOSPC: no space left on device/.test(body));
  disk.free("filler");
  const back = await eventually(
    "a put when there is room again",
    15_000,
    () => ledger.put(client, "c"),
    (put) => put.ok,
  );
  t.diagnostic(`writes are back ${back.ms.toFixed(0)} ms after there was room`);
  await ledger.verify(server.endpoint);
  await client.close();
  equal(await server.stop("SIGTERM"), 0, server.errors);
}

test(
  "a full disk: writes are refused, nothing is lost, and they are taken again when there is room",
  {
    ...limit,
    skip: noMount,
  },
  diskFull,
);

/** `npm start` is bin/t4: a machine's older Node does not matter, and where none is new enough one line says so. */
test("bin/t4 finds a Node that is new enough", limit, async () => {
  await using world = await World.create("directory");
  mkdirSync(world.path("bin"));
  writeFileSync(
    world.path("bin/node"),
    '#!/bin/sh\n[ "$1" = --version ] && echo v20.20.2 && exit 0\necho wrong node; exit 9\n',
    {
      mode: 0o755,
    },
  );
  const server = await world.server("data", [], { PATH: `${world.path("bin")}:${process.env["PATH"]}`, T4_NODE: "" });
  await server.start();
  equal(await server.stop("SIGTERM"), 0, server.errors);
  // Where the repository's own is missing and the machine's is too old, one line says what is needed.
  mkdirSync(world.path("alone/bin"), { recursive: true });
  cpSync(join(root, "bin/t4"), world.path("alone/bin/t4"));
  const alone = spawnSync(world.path("alone/bin/t4"), ["run"], { env: { PATH: `${world.path("bin")}:/usr/bin:/bin` } });
  deepEqual(
    [alone.status, String(alone.stderr)],
    [1, "t4: Node.js 22.19 or newer is needed (found v20.20.2); set T4_NODE to one\n"],
  );
});
