import { deepEqual, equal, match, ok } from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import type { ServerProcess } from "../compat/etcd-process.ts";
import { type Program, run, start } from "../compat/etcdctl/command-line.ts";
import { startServer } from "../compat/server-runner.ts";
import { freePorts } from "../contract/free-port.ts";

/** The program as a process: arguments, exit codes, streams. Answers as it prints them are test/compat's. */

const path = join(import.meta.dirname, "../../bin/t4");
const t4: Program = { path, env: {} };

const wrong: readonly (readonly [args: string[], why: RegExp])[] = [
  [["gte", "k"], /^Error: unknown command 'gte' \(Did you mean get\?\)$/],
  [["get", "k", "--limt", "1"], /^Error: unknown option '--limt' \(Did you mean --limit\?\)$/],
  [["get", "k", "--limit", "x"], /^Error: bad --limit "x": expected a number$/],
  [["get", "k", "-w", "xml"], /^Error: option '-w, --write-out <format>' argument 'xml' is invalid/],
  [["get", "k", "-w", "table"], /^Error: get has no table/],
  [["get", "a", "b", "c"], /^Error: too many arguments for 'get'/],
  [["put", "k"], /^Error: put: no value/],
  [["watch", "k", "--"], /^Error: watch: a command must stand behind --$/],
  [["lease", "revoke", "xyz"], /^Error: bad lease ID "xyz": expected hexadecimal digits$/],
  [
    ["get", "k", "--endpoints", ""],
    /^Error: --endpoints: expected HOST:PORT, http:\/\/HOST:PORT, https:\/\/HOST:PORT or unix:\/\/\/PATH, not ""$/,
  ],
  [["get", "k", "--cert", "c"], /^Error: --cert and --key: both or none must be given$/],
  [["get", "k", "--cacert", "/none"], /^Error: --cacert: \/none: ENOENT: no such file or directory$/],
  [["help", "nope"], /^Error: unknown command 'nope'/],
  [["help", "verfy"], /^Error: unknown command 'verfy' \(Did you mean verify\?\)$/],
  [["help", "lease", "grantt"], /^Error: unknown command 'grantt' \(Did you mean grant\?\)$/],
  [["get", "k", "--dial-timeout", "1"], /^Error: --dial-timeout: expected a duration/],
  [["run", "--max-txn-ops", "0"], /^Error: --max-txn-ops: 0 is outside 1 to 100000$/],
  [["run", "--cert-file", "x"], /^Error: --cert-file and --key-file: both or none must be given$/],
];

test("wrong arguments: one line, exit code 2, nothing on standard output", async () => {
  for (const [args, why] of wrong) {
    const { code, stdout, stderr } = await run(t4, args);
    deepEqual([code, stdout.toString(), stderr.endsWith("\n")], [2, "", true], `${args.join(" ")}: ${stderr}`);
    match(stderr.trimEnd(), why);
  }
});

test("where too few open files are allowed, Node.js is not even started: it would end by a signal", async () => {
  for (const files of [16, 20, 63]) {
    const few = await run({ path: "sh", env: {} }, ["-c", `ulimit -n ${files} && exec "$0" version`, path]);
    const why = `Error: only ${files} open files are allowed (ulimit -n): 64 are the least\n`;
    deepEqual([few.code, few.stdout.toString(), few.stderr], [1, "", why]);
  }
  const enough = await run({ path: "sh", env: {} }, ["-c", 'ulimit -n 64 && exec "$0" --version', path]);
  deepEqual([enough.code, enough.stderr], [0, ""]);
});

test("the version, as text and as JSON", async () => {
  const [text, json] = await Promise.all([run(t4, ["version"]), run(t4, ["version", "--json"])]);
  const { version, etcdVersion } = JSON.parse(json.stdout.toString());
  equal(text.stdout.toString(), `t4 version: ${version}\netcd API: ${etcdVersion}\n`);
});

test("without a server: one line, exit code 1, within the time to dial", async () => {
  const [port] = await freePorts(1);
  const { code, stderr } = await run(t4, ["get", "k", "--endpoints", `127.0.0.1:${port}`, "--dial-timeout", "300ms"]);
  equal(stderr, `Error: cannot reach 127.0.0.1:${port}: is a server running there? (--endpoints)\n`);
  equal(code, 1);
  const log = await run(t4, ["log", "--endpoints", `127.0.0.1:${port}`, "--dial-timeout", "300ms"]);
  match(log.stderr, /is a server running there\? \(--endpoints; without one: --store or --data-dir\)\n$/);
});

test("--help is printed for each command, with what they share; completion knows all of them", async () => {
  const completion = (await run(t4, ["completion", "bash"])).stdout.toString();
  for (const command of ["put", "get", "del", "watch", "txn", "lease grant", "compact", "status"]) {
    const { code, stdout } = await run(t4, [...command.split(" "), "--help"]);
    equal(code, 0);
    match(stdout.toString(), /Global Options:[\s\S]*--endpoints/);
    equal((await run(t4, ["help", ...command.split(" ")])).stdout.toString(), stdout.toString());
    ok(completion.includes(`"${command}") words="`), command);
  }
});

test("completion in bash: names, options, also behind values and keys", async () => {
  const ask = [
    'source <("$0" completion bash)',
    'for line in "t4 le" "t4 lease gr" "t4 get --pre" "t4 -w json get key --li" "t4 compaction --ph"; do',
    '  read -ra COMP_WORDS <<<"$line"; COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _t4; echo "${COMPREPLY[*]}"',
    "done",
  ].join("\n");
  const { stdout } = await run({ path: "bash", env: {} }, ["-c", ask, path]);
  deepEqual(stdout.toString().trim().split("\n"), ["lease", "grant", "--prefix", "--limit", "--physical"]);
});

let server: ServerProcess;
before(async () => {
  server = await startServer();
});
after(() => server.stop());
const at = (): Program => ({ path, env: { T4_ENDPOINTS: server.address } });

test("options of all commands may stand before the command; the environment comes after flags", async () => {
  equal((await run(at(), ["put", "where", "v"])).stdout.toString(), "OK\n");
  const { stdout } = await run({ path, env: { T4_ENDPOINTS: "127.0.0.1:1", T4_WRITE_OUT: "fields" } }, [
    ...["--endpoints", server.address, "-w", "json", "get", "where"],
  ]);
  equal((JSON.parse(stdout.toString()) as { count: number }).count, 1);
});

test("a proxy of the environment is not for this machine", async () => {
  const proxy = { http_proxy: "http://127.0.0.1:9", https_proxy: "http://127.0.0.1:9", no_proxy: "" };
  const { code, stderr } = await run({ path, env: { ...at().env, ...proxy } }, ["get", "k"]);
  equal(code, 0, stderr);
});

test("whoever reads the output may stop (t4 get | head), a disk may be full", async () => {
  equal((await run(at(), ["put", "large"], "x".repeat(1_500_000))).code, 0);
  const piped = await run({ path: "bash", env: at().env }, [
    "-c",
    '"$0" get large | head -c 1; echo "${PIPESTATUS[0]}"',
    path,
  ]);
  deepEqual([piped.stdout.toString(), piped.stderr], ["l141\n", ""]);
  const full = await run({ path: "bash", env: at().env }, ["-c", '"$0" get large >/dev/full', path]);
  deepEqual([full.code, full.stderr.split(":")[0], full.stderr.trim().split("\n").length], [1, "Error", 1]);
});

test("watch -i behind a pipe: a wrong line is told of, the watchers of the others go on", async () => {
  const watching = start(at(), ["watch", "-i"]);
  watching.child.stdin!.end("watch --nosuch a\nwatch a\nwatch --prefix b -- echo ran\nprogress\n");
  await watching.hasWritten(1);
  await run(at(), ["put", "a", "1"]);
  await watching.hasWritten(4);
  await run(at(), ["put", "bb", "2"]);
  await watching.hasWritten(8);
  watching.child.kill("SIGINT");
  const { stdout, stderr } = await watching.ended(5000);
  match(stdout.toString(), /^progress notify: \d+\nPUT\na\n1\nPUT\nbb\n2\nran\n$/);
  equal(stderr, "Invalid command watch --nosuch a (unknown option '--nosuch')\n");
});

test("txn -i says which block it reads when it begins", async () => {
  const running = start(at(), ["txn", "-i"]);
  await running.hasWritten(1);
  running.child.stdin!.write("\nput t 1\n\n");
  await running.hasWritten(3);
  running.child.stdin!.end("\n");
  const { stdout } = await running.ended(5000);
  equal(
    stdout.toString(),
    "compares:\nsuccess requests (get, put, del):\nfailure requests (get, put, del):\nSUCCESS\n\nOK\n",
  );
});

test("a server whose log nobody reads any more goes on", async () => {
  const directory = await mkdtemp(join(tmpdir(), "t4-cli-"));
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const child = spawn(path, ["run", "--data-dir", directory, "--listen-client-urls", url, "--log-level", "debug"], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
  try {
    await new Promise((resolve) => child.stderr.once("data", resolve));
    child.stderr.destroy();
    const { code, stderr } = await run(t4, [
      "put",
      "k",
      "v",
      "--endpoints",
      `127.0.0.1:${port}`,
      "--dial-timeout",
      "10s",
    ]);
    equal(code, 0, stderr);
    child.kill("SIGTERM");
    equal(await ended, 0);
  } finally {
    child.kill("SIGKILL");
    await ended;
    await rm(directory, { recursive: true, force: true });
  }
});

test("a port that is taken is named, with the flag that chooses another", async () => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
  const { port } = taken.address() as { port: number };
  const directory = await mkdtemp(join(tmpdir(), "t4-cli-"));
  try {
    const { code, stderr } = await run(t4, [
      "run",
      "--data-dir",
      directory,
      "--listen-client-urls",
      `http://127.0.0.1:${port}`,
    ]);
    equal(code, 1);
    match(stderr, new RegExp(`--listen-client-urls: http://127.0.0.1:${port}: .*address already in use`));
  } finally {
    taken.close();
    await rm(directory, { recursive: true, force: true });
  }
});
