import { deepEqual, equal, match, ok } from "node:assert/strict";
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Auth } from "../../src/gen/etcdserverpb/rpc_pb.ts";
import { freePort } from "../contract/free-port.ts";
import { blocksOf } from "../docs/blocks.ts";
import { ServerProcess } from "../faults/server.ts";
import { EtcdDirectory } from "./etcd-directory.ts";
import { run } from "./etcdctl/command-line.ts";
import { addUsers, clientOf, contents, loggedIn, PASSWORD, succeeds, tool, toolsAreMissing } from "./moved-state.ts";
import { RandomHistory } from "./random-history.ts";

const skip = toolsAreMissing();
const t4 = fileURLToPath(new URL("../../bin/t4", import.meta.url));
const directory = await mkdtemp(join(tmpdir(), "t4-import-"));
after(() => rm(directory, { recursive: true, force: true }));

const file = join(directory, "backup.db");
const memberFile = join(directory, "member.db");
const dataDirectoryOf = (name: string) => join(directory, `data-${name.replaceAll(/\W/g, "-")}`);
/** On a data directory of its own, which outlives it. */
const serverOn = async (dataDirectory: string) =>
  new ServerProcess({ port: await freePort(), args: ["--data-dir", dataDirectory, "--bcrypt-cost", "4"] });
const fails = async (args: readonly string[]) => {
  const { code, stdout, stderr } = await run({ path: t4, env: {} }, args);
  return { code, stdout: stdout.toString(), stderr: stderr.toString() };
};

/** Of the snapshot: what a real etcd says of it. */
let expected: string[] = [];
let revisions = { from: 0, to: 0 };

test("an etcd with a history, leases, users and a compaction saves a snapshot", {
  skip,
  timeout: 120_000,
}, async () => {
  const etcdDirectory = await EtcdDirectory.create();
  try {
    const etcd = await etcdDirectory.start(["--bcrypt-cost", "4"]);
    const client = clientOf(etcd);
    const history = new RandomHistory([client], { seed: 11, valueBytes: 20_000 });
    for (let n = 0; n < 250; n++) await history.step(n);
    ok(history.compacted > 0);
    await client.put("big", "x".repeat(1_000_000));
    await addUsers(client);
    // Of the compact revision itself an etcd gives a sum that it stored before.
    revisions = { from: history.compacted + 1, to: history.revision + 2 };
    expected = await contents(client, revisions);
    const user = { ETCDCTL_ENDPOINTS: etcd.address, ETCDCTL_USER: `root:${PASSWORD}` };
    // As docs/operating/snapshots.md has it.
    const page = await readFile(new URL("../../docs/operating/snapshots.md", import.meta.url), "utf8");
    const [procedure] = blocksOf(page).filter(({ heading }) => heading.startsWith("Moving in"));
    await succeeds(
      "bash",
      ["-ec", `cd ${directory}; PATH=${dirname(t4)}:${dirname(tool("etcdctl"))}:$PATH\n${procedure!.text}`],
      user,
    );
    match(await succeeds(t4, ["branch", "list", "--data-dir", join(directory, "t4-data")]), /main/);
    await etcd.stop();
    await copyFile(join(etcdDirectory.dataDirectory, "member/snap/db"), memberFile);
  } finally {
    await etcdDirectory.remove();
  }
});

for (const { name, source, flags } of [
  { name: "a snapshot", source: file, flags: [] },
  { name: "a member's own store", source: memberFile, flags: ["--skip-hash-check"] },
]) {
  test(`${name} becomes main of an empty store, and says all that the etcd did`, {
    skip,
    timeout: 120_000,
  }, async () => {
    const data = dataDirectoryOf(name);
    const told = JSON.parse(await succeeds(t4, ["import", source, ...flags, "--data-dir", data, "--json"]));
    equal(told.name, "main");
    const server = await serverOn(data);
    try {
      await server.start();
      const client = clientOf(server);
      deepEqual(await contents(client, revisions), expected);
      await server.stop("SIGKILL");
      await server.start();
      deepEqual(await contents(client, revisions), expected);
      const added = await client.call(Auth.method.userAdd, { name: "new", password: "p" }, await loggedIn(client));
      equal(added.header!.revision, BigInt(told.revision));
      await succeeds(t4, ["put", "after", "1", "--user", `root:${PASSWORD}`, "--endpoints", server.endpoint]);
      await server.stop("SIGTERM");
      match(await succeeds(t4, ["verify", "--data-dir", data]), /no faults/);
      await succeeds(t4, ["gc", "--data-dir", data, "--collect-grace", "0s"]);
      match(await succeeds(t4, ["verify", "--data-dir", data]), /no faults/);
      await server.start();
      const user = ["--user", `root:${PASSWORD}`, "--endpoints", server.endpoint];
      const { header, kvs } = JSON.parse(await succeeds(t4, ["get", "after", "--json", ...user]));
      deepEqual([header.revision, kvs.length], [told.revision + 1, 1]);
    } finally {
      await server.stop("SIGKILL");
    }
  });
}

test("beside other branches, while they are served: it then takes main's place", {
  skip,
  timeout: 120_000,
}, async () => {
  const data = dataDirectoryOf("beside");
  const server = await serverOn(data);
  try {
    await server.start();
    await clientOf(server).put("mine", "1");
    const refused = await fails(["import", file, "--data-dir", data]);
    const taken = "Error: there is a branch named main already: choose another name (--as), or a store that is empty\n";
    deepEqual([refused.code, refused.stderr], [1, taken]);
    await succeeds(t4, ["import", file, "--as", "moved", "--data-dir", data]);
    // Its users are asked, also for that.
    const user = ["--user", `root:${PASSWORD}`, "--endpoints", server.endpoint];
    await succeeds(t4, ["branch", "promote", "moved", "--over", "main", ...user]);
    const { users } = await clientOf(server).call(Auth.method.userList, {}, await loggedIn(clientOf(server)));
    deepEqual(users, ["reader", "root"]);
  } finally {
    await server.stop("SIGKILL");
  }
  match(await succeeds(t4, ["verify", "--data-dir", data]), /no faults/);
});

test("a bump is compacted: who watches from before is told", { skip, timeout: 120_000 }, async () => {
  const data = dataDirectoryOf("bumped");
  const bump = ["--bump-revision", "1000", "--mark-compacted"];
  const told = JSON.parse(await succeeds(t4, ["import", file, "--data-dir", data, "--json", ...bump]));
  deepEqual([told.revision, told.compactRevision], [revisions.to - 1 + 1000, revisions.to - 1 + 1000]);
  const server = await serverOn(data);
  try {
    await server.start();
    const user = ["--user", `root:${PASSWORD}`, "--endpoints", server.endpoint];
    const old = await run({ path: tool("etcdctl"), env: {} }, ["get", "big", "--rev", `${told.revision - 1}`, ...user]);
    match(old.stderr.toString(), /required revision has been compacted/);
    match(await succeeds(t4, ["get", "big", "--print-value-only", ...user]), /^x{1000000}\n$/);
  } finally {
    await server.stop("SIGKILL");
  }
});

test("an etcd whose revision was bumped when it was restored comes in, too", { skip, timeout: 120_000 }, async () => {
  const etcdDirectory = await EtcdDirectory.create();
  const data = dataDirectoryOf("bumped-before");
  const again = join(directory, "again.db");
  try {
    const bump = ["--bump-revision", "1000", "--mark-compacted"];
    const restore = ["snapshot", "restore", file, "--data-dir", etcdDirectory.dataDirectory, ...bump];
    await succeeds(tool("etcdutl"), [...restore, ...etcdDirectory.clusterFlags]);
    const etcd = await etcdDirectory.start(["--bcrypt-cost", "4"]);
    const user = { ETCDCTL_ENDPOINTS: etcd.address, ETCDCTL_USER: `root:${PASSWORD}` };
    await succeeds(tool("etcdctl"), ["put", "since", "1"], user);
    await succeeds(tool("etcdctl"), ["snapshot", "save", again], user);
    const all = await succeeds(tool("etcdctl"), ["get", "", "--prefix", "-w", "json"], user);
    await etcd.stop();
    await succeeds(t4, ["import", again, "--data-dir", data]);
    const server = await serverOn(data);
    try {
      await server.start();
      const ours = { ETCDCTL_ENDPOINTS: server.endpoint, ETCDCTL_USER: `root:${PASSWORD}` };
      const found = await succeeds(tool("etcdctl"), ["get", "", "--prefix", "-w", "json"], ours);
      const plain = (text: string) => {
        const { header, ...rest } = JSON.parse(text);
        return { revision: header.revision, ...rest };
      };
      deepEqual(plain(found), plain(all));
    } finally {
      await server.stop("SIGKILL");
    }
  } finally {
    await etcdDirectory.remove();
  }
});

test("what is no whole snapshot is refused by one line, and leaves no branch", { skip, timeout: 120_000 }, async () => {
  const data = dataDirectoryOf("refusals");
  const whole = await readFile(file);
  const damaged = Buffer.from(whole);
  damaged[whole.length >> 1]! ^= 1;
  const cases: [string, Buffer, readonly string[], RegExp][] = [
    ["flipped", damaged, [], /flipped: it is damaged: its SHA-256 is another one/],
    ["short", whole.subarray(0, 8192), ["--skip-hash-check"], /short: it ends early: 8192 bytes of \d+ pages of 4096/],
    ["bare", whole.subarray(0, whole.length - 32), [], /bare: there is no SHA-256 behind it; .* --skip-hash-check/],
    ["other", Buffer.alloc(5000, "x"), ["--skip-hash-check"], /other: it is not the file of an etcd member/],
    ["empty", Buffer.alloc(0), ["--skip-hash-check"], /empty: it is not the file of an etcd member/],
  ];
  for (const [name, bytes, flags, message] of cases) {
    const path = join(directory, name);
    await writeFile(path, bytes);
    const { code, stdout, stderr } = await fails(["import", path, "--data-dir", data, ...flags]);
    deepEqual([code, stdout, stderr.split("\n").length], [1, "", 2], stderr);
    match(stderr, message);
  }
  const missing = await fails(["import", join(directory, "nothing"), "--data-dir", data]);
  match(missing.stderr, /^Error: cannot read .*nothing: ENOENT\n$/);
  for (const flags of [["--bump-revision", "5"], ["--mark-compacted"], ["--as", "No Name"], ["--branch", "moved"]])
    equal((await fails(["import", file, "--data-dir", data, ...flags])).code, 2);
  // Nothing was founded, and nothing is in the way of the real one.
  equal((await fails(["verify", "--data-dir", data])).code, 1);
  await succeeds(t4, ["import", file, "--data-dir", data]);
  match(await succeeds(t4, ["verify", "--data-dir", data]), /no faults/);
});
