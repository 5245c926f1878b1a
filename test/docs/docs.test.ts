import { deepEqual, equal, match, ok } from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { freePort } from "../contract/free-port.ts";
import { peersBin, ServerProcess } from "../faults/server.ts";
import { type Block, blocksOf } from "./blocks.ts";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
const page = (path: string): Block[] => blocksOf(readFileSync(join(root, path), "utf8"));
const readme = page("README.md");
const under = (heading: string, language: string): Block[] =>
  readme.filter((block) => block.heading === heading && block.language === language);

/** Runs a program's text with `from "t4"` meaning this checkout. */
async function runProgram(text: string): Promise<string> {
  const directory = mkdtempSync(join(tmpdir(), "t4-docs-"));
  try {
    const program = text
      .replace('from "t4"', `from "${join(root, "src/index.ts")}"`)
      .replaceAll("/tmp/t4-example", join(directory, "db"));
    const file = join(directory, "program.mts");
    writeFileSync(file, program);
    return (await run(process.execPath, [file], { timeout: 30_000 })).stdout;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function withServer(use: (server: ServerProcess) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "t4-docs-"));
  const server = new ServerProcess({ port: await freePort(), args: [`--data-dir=${directory}`] });
  try {
    await server.start();
    await use(server);
    equal(await server.stop("SIGTERM"), 0, server.errors);
  } finally {
    await server.stop("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
}

const shell = (text: string, env: Record<string, string>) =>
  run("bash", ["-e", "-c", text], { cwd: root, env: { ...process.env, ...env }, timeout: 60_000 });

test("README: the two commands at its top are the package's", () => {
  const [install] = readme;
  match(install!.text, /^npm ci && npm start /m);
  match(install!.text, /^npm ci && npm test /m);
  const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  ok(scripts["start"] && scripts["test"]);
});

test("README: the first steps with bin/t4, as written", async () => {
  const block = under("First steps", "sh")[0]!;
  await withServer(async (server) => {
    const { stdout } = await shell(block.text, { T4_ENDPOINTS: server.endpoint });
    match(stdout, /^OK\ngreeting\nhello\n/);
    match(stdout, /\n {2}revision +3,/);
  });
});

test("README: branches, as written", async () => {
  const block = under("Branches", "sh")[0]!;
  await withServer(async (server) => {
    const { stdout } = await shell(block.text, { T4_ENDPOINTS: server.endpoint });
    match(stdout, /\/config\/limit\n20\n/);
    match(stdout, /main[\s\S]*rehearsal/);
  });
});

test("README: the first steps with etcdctl, as written", {
  skip: existsSync(join(peersBin, "etcdctl")) ? false : "no etcdctl here: test/peers/build.sh etcd",
}, async () => {
  const block = under("First steps", "sh")[1]!;
  await withServer(async (server) => {
    const env = { ETCDCTL_ENDPOINTS: `http://${server.endpoint}`, PATH: `${peersBin}:${process.env["PATH"]}` };
    const { stdout } = await shell(block.text, env);
    match(stdout, /^OK\ngreeting\nhello\nlease [0-9a-f]+ granted with TTL\(60s\)\n/);
  });
});

test("README and docs/library.md: the programs run", async () => {
  equal(await runProgram(under("In a program", "ts")[0]!.text), "hello\n");
  const programs = page("docs/library.md").filter((block) => block.language === "ts");
  const lines = (await runProgram(programs.map(({ text }) => text).join("\n"))).split("\n");
  deepEqual(lines.slice(0, 8), [
    "config/mode = blue @ 2",
    "true",
    "put config/mode green",
    "experiment 4",
    "main 0",
    "purple",
    "config/mode: green -> purple",
    "blue",
  ]);
  const usage = lines.slice(8, -2).map((line) => line.replace(/ \d+ \d+$/, " N N"));
  deepEqual(usage.sort(), ["before N N", "broken N N", "fix N N", "main N N", "main-old-1 N N"]);
  match(lines.at(-2)!, /^\d+ bytes would go$/);
});

test("README: every setting that it names is one of t4 run", async () => {
  const { stdout } = await run(join(root, "bin/t4"), ["run", "--help"]);
  const lines = readFileSync(join(root, "README.md"), "utf8").split("\n");
  // Commands that are typed as written are tried above; this is about what the text and `t4 run` lines name.
  const others = /^(bin\/t4 (?!run)|etcdctl )/;
  const named = new Set(
    lines.filter((line) => !others.test(line)).flatMap((line) => line.match(/--[a-z][a-z-]+/g) ?? []),
  );
  for (const other of ["--help", "--endpoints"]) named.delete(other);
  ok(named.size >= 5, "settings are named");
  for (const flag of named) ok(stdout.includes(flag), `${flag} is in t4 run --help`);
});
