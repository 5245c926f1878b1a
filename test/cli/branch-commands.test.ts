import { deepEqual, equal, match, ok } from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { shortId } from "../../src/cli/moment.ts";
import { type Outcome, type Program, run } from "../compat/etcdctl/command-line.ts";
import { eventually, metric, World } from "../faults/world.ts";

/** Commands about branches and their past, as processes. */

const path = join(import.meta.dirname, "../../bin/t4");

async function world(args: string[] = []) {
  const made = await World.create("directory");
  const settings = ["--durability=local", "--upload-age=50ms", "--usage-interval=500ms", ...args];
  const server = await made.server("data", settings);
  await server.start();
  const program: Program = { path, env: { T4_ENDPOINTS: server.endpoint } };
  const t4 = (...line: string[]): Promise<Outcome> => run(program, line);
  const ok0 = async (...line: string[]): Promise<string> => {
    const { code, stdout, stderr } = await t4(...line);
    equal(code, 0, `${line.join(" ")}: ${stderr}`);
    return stdout.toString();
  };
  /** Exit code, and the one line on standard error. */
  const failing = async (...line: string[]): Promise<[number | null, string]> => {
    const { code, stderr } = await t4(...line);
    return [code, stderr.trimEnd()];
  };
  return { made, server, t4, ok0, failing, store: ["--store", made.storeUrl] };
}

test("diff: what differs as text and JSON, exit codes as diff(1), online and on the bucket", {
  timeout: 300_000,
}, async () => {
  const { made, server, t4, ok0, failing, store } = await world();
  await using _world = made;
  await ok0("put", "/config/a", '{"x":1,"list":[1,2]}');
  await ok0("put", "/config/gone", "old");
  await ok0("put", "/other", "same");
  await ok0("branch", "create", "staging");
  await ok0("put", "/config/a", '{"x":2,"list":[1,2,3]}', "--branch", "staging");
  await ok0("put", "/config/new", "1", "--branch", "staging");
  await ok0("del", "/config/gone", "--branch", "staging");
  const expected = [
    "~ /config/a",
    "    list[2]: + 3",
    "    x: 1 → 2",
    "- /config/gone",
    '    "old"',
    "+ /config/new",
    '    "1"',
    "1 added, 1 removed, 1 changed",
  ];
  const different = await t4("diff", "main", "staging");
  equal(different.code, 1);
  deepEqual(different.stdout.toString().trimEnd().split("\n").sort(), [...expected].sort());
  const keys = await t4("diff", "main", "staging", "--prefix", "/config/n", "--keys");
  deepEqual([keys.code, keys.stdout.toString()], [1, "+ /config/new\n1 added, 0 removed, 0 changed\n"]);
  const stat = await t4("diff", "main@4", "staging", "--stat");
  match(
    stat.stdout.toString(),
    /^1 added, 1 removed, 1 changed\nfrom main@4 \(revision 4\) to staging \(revision 7\)\n/,
  );
  const json = await t4("diff", "main", "staging", "--json");
  const lines = json.stdout
    .toString()
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  deepEqual(
    lines.slice(0, -1).map(({ change, key, before, after }) => [change, atob(key), !!before, !!after]),
    [
      ["changed", "/config/a", true, true],
      ["removed", "/config/gone", true, false],
      ["added", "/config/new", false, true],
    ],
  );
  deepEqual(Object.keys(lines[0].before), ["createRevision", "modRevision", "version", "lease", "value"]);
  for (const { modRevision, lease } of [lines[0].before, lines[0].after]) {
    deepEqual([typeof modRevision, lease], ["number", 0]);
  }
  deepEqual(
    [lines.at(-1).summary.added, lines.at(-1).summary.fromRevision, lines.at(-1).summary.toRevision],
    [1, 4, 7],
  );
  equal((await t4("diff", "staging", "staging")).code, 0);
  equal((await t4("diff", "main", "staging", "--prefix", "/other")).code, 0);

  deepEqual(await failing("diff", "main", "stagin"), [
    2,
    "Error: there is no branch named stagin; did you mean staging?",
  ]);
  const [code, message] = await failing("diff", "main@99", "staging");
  equal(code, 2);
  match(message, /^Error: revision 99 is not there yet: the newest in the store is 4 \(2\d{3}-/);
  deepEqual((await failing("diff", "staging@2", "main"))[0], 2);
  match((await failing("diff", "staging@2", "main"))[1], /not retained; the nearest: revision 4 \(the beginning\)/);
  equal((await failing("diff", "main", "staging", "--stat", "--keys"))[0], 2);
  equal((await failing("diff", "main"))[0], 2);

  equal(await server.stop("SIGTERM"), 0, server.errors);
  const offline = await t4("diff", "main", "staging", ...store);
  equal(offline.code, 1, offline.stderr);
  deepEqual(offline.stdout, different.stdout);
  equal((await t4("diff", "main", "nope", ...store)).code, 2);
  equal((await t4("diff", "main", "staging")).code, 2, "nobody serves");
});

test("merge: what it would do, conflicts, what it does; bad input", { timeout: 300_000 }, async () => {
  const { made, server, t4, ok0, failing, store } = await world(["--max-txn-ops=10"]);
  await using _world = made;
  await ok0("put", "a", "base");
  await ok0("put", "b", "base");
  await ok0("branch", "create", "fix");
  await ok0("put", "a", "theirs", "--branch", "fix");
  await ok0("del", "b", "--branch", "fix");
  match(
    await ok0("branch", "merge", "fix", "--dry-run"),
    /^\+ a\n- b\n2 changes, 0 conflicts since revision 3\nnothing was changed \(--dry-run\); it takes one transac/,
  );
  equal(await ok0("get", "a", "--print-value-only"), "base\n");
  await ok0("put", "a", "ours");
  const refused = await t4("branch", "merge", "fix");
  deepEqual(
    [refused.code, refused.stderr],
    [1, "Error: nothing was changed: resolve the conflicts, or choose --ours or --theirs\n"],
  );
  match(refused.stdout.toString(), /! a\n {4}base {3}"base"\n {4}ours {3}"ours"\n {4}theirs "theirs"\n/);
  equal(await ok0("get", "b", "--print-value-only"), "base\n");
  const lines = (await ok0("branch", "merge", "fix", "--theirs", "--json")).trimEnd().split("\n");
  const { summary } = JSON.parse(lines.at(-1)!);
  deepEqual([summary.changes, summary.conflicts, summary.applied, summary.transactions], [2, 1, 2, 1]);
  equal(await ok0("get", "a", "--print-value-only"), "theirs\n");
  equal(await ok0("branch", "merge", "fix"), "0 changes, 0 conflicts since revision 3\n");

  for (let n = 0; n < 25; n++) await ok0("put", `series/${n}`, "v", "--branch", "fix");
  match(
    await ok0("branch", "merge", "fix", "--prefix", "series/"),
    /25 changes, 0 conflicts since revision 3\n25 applied to main in a series of 3 transactions, which is at rev/,
  );
  await ok0("del", "series/1");
  await ok0("put", "series/more", "v");
  const exact = await ok0("branch", "merge", "fix", "--prefix", "series/", "--exact");
  match(exact, /^\+ series\/1\n- series\/more\n2 changes, 0 conflicts .*\n2 applied to main in one transaction/);
  const trouble: [string[], number, RegExp][] = [
    [["nope"], 1, /there is no branch named nope/],
    [["fix", "--into", "fx"], 1, /there is no branch named fx; did you mean fix\?/],
    [["fix", "--exact"], 2, /--exact goes with --prefix/],
    [["fix", "--ours", "--theirs"], 2, /--ours, --theirs and --fail exclude each other/],
    [["fix", ...store], 1, /a merge is applied by a server that leads the branch/],
  ];
  for (const [line, code, text] of trouble) {
    const [found, message] = await failing("branch", "merge", ...line);
    equal(found, code, message);
    match(message, text);
  }
  equal(await server.stop("SIGTERM"), 0, server.errors);
  equal((await t4("branch", "merge", "fix", "--dry-run", ...store)).code, 0);
});

test("protected from writes: whoever leads it refuses them, what is cut off it takes them", {
  timeout: 300_000,
}, async () => {
  const { made, server, ok0, failing, store } = await world();
  await using _world = made;
  await ok0("branch", "create", "fixtures");
  await ok0("put", "k", "v", "--branch", "fixtures");
  equal(await ok0("branch", "protect", "fixtures", "--writes"), "branch fixtures takes no writes\n");
  const refused = "branch fixtures takes no writes: t4 branch unprotect fixtures --writes";
  for (const line of [
    ["put", "k", "x"],
    ["del", "k"],
    ["lease", "grant", "10"],
    ["compact", "2"],
  ]) {
    const [code, message] = await failing(...line, "--branch", "fixtures");
    deepEqual([code, message.includes(refused)], [1, true], message);
  }
  equal(await ok0("get", "k", "--print-value-only", "--branch", "fixtures"), "v\n");
  match(await ok0("branch", "show", "fixtures"), /"Takes writes" : false\n/);
  await ok0("branch", "protect", "fixtures");
  await ok0("branch", "create", "copy", "--from", "fixtures");
  const { ancestry } = JSON.parse(await ok0("branch", "show", "copy", "--json"));
  deepEqual(
    ancestry.map((each: Record<string, unknown>) => [each["name"], each["protected"], each["writeProtected"]]),
    [
      ["copy", false, false],
      ["fixtures", true, true],
      ["main", false, false],
    ],
  );
  await ok0("branch", "unprotect", "fixtures");
  await ok0("put", "k", "copied", "--branch", "copy");
  equal(JSON.parse(await ok0("branch", "show", "copy", "--json")).writeProtected, false);
  equal(await server.stop("SIGTERM"), 0, server.errors);
  const alone = [...store, "--data-dir", made.path("data")];
  equal(await ok0("branch", "protect", "copy", "--writes", ...alone), "branch copy takes no writes\n");
  await server.start();
  match((await failing("put", "k", "x", "--branch", "copy"))[1], /branch copy takes no writes/);
  await ok0("branch", "unprotect", "copy", "--writes");
  match((await failing("put", "k", "x", "--branch", "fixtures"))[1], /takes no writes/);
  equal(await ok0("branch", "unprotect", "fixtures", "--writes"), "branch fixtures takes writes again\n");
  await ok0("put", "k", "again", "--branch", "fixtures");
  // What is put in the place of another one takes writes.
  await ok0("branch", "protect", "fixtures", "--writes");
  await ok0("branch", "promote", "fixtures");
  await ok0("put", "k", "live");
  // One that was replaced takes none, what is cut off it does.
  match((await failing("put", "k", "x", "--branch", "main-old-1"))[1], /was replaced by branch/);
  await ok0("branch", "create", "of-old", "--from", "main-old-1");
  await ok0("put", "k", "written", "--branch", "of-old");
});

test("log, restore, retention: online and on the bucket, as text and JSON; bad input", {
  timeout: 300_000,
}, async () => {
  const { made, server, ok0, failing, store } = await world(["--checkpoint-interval=1s"]);
  await using _world = made;
  deepEqual(await ok0("log"), "main has no checkpoint yet\n");
  deepEqual(JSON.parse(await ok0("log", "--json")).entries, []);
  await ok0("put", "k", "good");
  await eventually(
    "a checkpoint",
    10_000,
    () => ok0("log", "--json"),
    (text) => JSON.parse(text).entries.length > 0,
  );
  await ok0("put", "k", "bad");
  const log = JSON.parse(await ok0("log", "--json"));
  deepEqual(Object.keys(log).sort(), ["branch", "checkpoints", "entries", "firstLogSlot", "name"]);
  const [first] = log.entries;
  deepEqual([log.name, first.revision, first.tables, first.leaf], ["main", 2, 1, 0]);
  match(await ok0("log", "main", "-n", "1"), /1 shown of \d+ that there were; the log is kept from slot \d+ on\n$/);
  deepEqual(await failing("log", "mian"), [1, "Error: there is no branch named mian; did you mean main?"]);
  equal((await failing("log", "--limit", "0"))[0], 2);

  equal(await ok0("restore", "--at", "2", "--as", "before"), "branch before: at revision 2\n");
  equal(await ok0("get", "k", "--print-value-only", "--branch", "before"), "good\n");
  const [code, far] = await failing("restore", "--at", "999", "--in-place");
  deepEqual([code, /revision 999 is not there yet/.test(far)], [1, true]);
  equal((await failing("restore", "--at", "2"))[0], 2);
  equal((await failing("restore", "--at", "2", "--as", "x", "--keep-as", "y"))[0], 2);
  await ok0("branch", "protect", "main");
  const [refused, why] = await failing("restore", "--at", "2", "--in-place");
  deepEqual([refused, /main is protected/.test(why)], [1, true], why);
  await ok0("branch", "unprotect", "main");
  const restored = JSON.parse(await ok0("restore", "--at", shortId(first.id), "--in-place", "--json"));
  deepEqual([restored.name, restored.replaced], ["main", "main-old-1"]);
  ok(restored.revision > 3);
  equal(await ok0("get", "k", "--print-value-only"), "good\n");
  equal(await ok0("get", "k", "--print-value-only", "--branch", "main-old-1"), "bad\n");

  match(await ok0("retention", "show"), /^main: log 1d, checkpoints 1h:all,1d:hourly,30d:daily \(its node's\)\n$/);
  const asked = ["--log", "1h", "--checkpoints", "1h:all"];
  match(await ok0("retention", "set", "before", ...asked, "--preview"), /\(a preview: nothing was changed\)\n/);
  const previewed = JSON.parse(await ok0("retention", "set", "before", ...asked, "--preview", "--json"));
  deepEqual(previewed.retention, { log: "1h", checkpoints: "1h:all" });
  // The restore in place went on from revision 2, past those of what it replaced.
  const told = await ok0("retention", "set", "main", ...asked, "--preview");
  match(told, /\nevery revision that there was from 2 on can be had\n$/);
  equal(await ok0("get", "k", "--print-value-only", "--at", "2"), "good\n");
  const [passed, never] = await failing("get", "k", "--at", "3");
  deepEqual([passed, /revision 3 was never there: a promotion or a restore in place/.test(never)], [1, true], never);
  equal(await ok0("get", "k", "--print-value-only", "--at", `${restored.revision}`), "good\n");
  const [early, beginning] = await failing("get", "k", "--at", "2020-01-01", "--branch", "main-old-1");
  equal(early, 1);
  match(beginning, /^Error: 2020-01-01T00:00:00.000Z is before anything was written; the nearest: revision 1 /);
  equal(JSON.parse(await ok0("retention", "show", "before", "--json")).own, false);
  await ok0("retention", "set", "before", ...asked);
  deepEqual(JSON.parse(await ok0("retention", "show", "before", "--json")), {
    ...{ branch: "before", own: true, log: "1h", checkpoints: "1h:all" },
  });
  match((await failing("retention", "set", "before", "--log", "1h", "--checkpoints", "zz"))[1], /not "zz"/);
  equal((await failing("retention", "set", "before", "--log", "1h"))[0], 2);
  match((await failing("retention", "show", "befor"))[1], /did you mean before\?/);
  equal(await server.stop("SIGTERM"), 0, server.errors);
  match(await ok0("log", "main-old-1", ...store), /shown of/);
  match(await ok0("retention", "show", "before", ...store), /^before: log 1h, checkpoints 1h:all \(its own\)\n$/);
  const [without, needed] = await failing("branch", "promote", "before", ...store);
  deepEqual([without, /needs the data directory that has its disk \(--data-dir\)/.test(needed)], [1, true], needed);
  const data = ["--data-dir", made.path("data")];
  match(await ok0("branch", "promote", "before", ...store, ...data), /^branch before is now main, at revision \d+/);
});

test("usage: what each branch takes, as a table, as JSON, as metrics; bad input", { timeout: 300_000 }, async () => {
  const { made, server, ok0, failing } = await world(["--checkpoint-interval=1s"]);
  await using _world = made;
  await ok0("put", "/a/x", "1".repeat(5000));
  await ok0("put", "/b/y", "2");
  await ok0("branch", "create", "child");
  await ok0("put", "/c/z", "3".repeat(5000), "--branch", "child");
  const usage = JSON.parse(await ok0("usage", "--json", "--prefix-depth", "1"));
  deepEqual(Object.keys(usage).sort(), [
    ...["branches", "bytes", "garbageBytes", "garbageObjects", "monthly", "objects", "requests", "sinceMs"],
  ]);
  const child = usage.branches.find(({ name }: { name: string }) => name === "child");
  deepEqual(
    child.prefixes.map(({ prefix, keys }: { prefix: string; keys: number }) => [prefix, keys]),
    [
      ["/a/", 1],
      ["/b/", 1],
      ["/c/", 1],
    ],
  );
  deepEqual([usage.monthly.currency, usage.monthly.storage > 0, usage.monthly.requests > 0], ["USD", true, true]);
  ok(usage.requests.some(({ operation, object }: Record<string, string>) => operation === "put" && object === "name"));
  const table = await ok0("usage", "child", "--prices", "r2");
  match(table, /│ child +│/);
  match(table, /requests +│ get +│ put +│ list +│ delete/);
  match(table, /storage: \$0\.00 a month \(Cloudflare R2/);
  match((await failing("usage", "chil"))[1], /no branch named chil; did you mean child\?/);
  equal((await failing("usage", "--prefix-depth", "99"))[0], 2);
  match((await failing("usage", "--prices", "nowhere.json"))[1], /--prices: nowhere.json is none of s3, gcs, r2/);
  // Nothing is written any more: what was looked at before a scrape is what the command says then.
  await eventually(
    "metrics that say what t4 usage says",
    20_000,
    async () => {
      const [main] = JSON.parse(await ok0("usage", "main", "--json")).branches;
      const seen = await metric(server, 't4_branch_usage_bytes{branch="main",kind="own"}');
      return [main.ownBytes, seen];
    },
    ([said, seen]) => said! > 0 && said === seen,
  );
  ok((await metric(server, "t4_usage_branches")) === 2);
  equal(await server.stop("SIGTERM"), 0, server.errors);
});
