import { equal, match } from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { freePort } from "../contract/free-port.ts";
import { ServerProcess } from "../faults/server.ts";
import { blocksOf } from "./blocks.ts";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
const page = blocksOf(readFileSync(join(root, "docs/branches.md"), "utf8"));

test("docs/branches.md: its commands, as written", { timeout: 120_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "t4-docs-"));
  const server = new ServerProcess({ port: await freePort(), args: [`--data-dir=${directory}`] });
  try {
    await server.start();
    const script = page.find(({ language }) => language === "sh")!.text;
    const env = { ...process.env, T4_ENDPOINTS: server.endpoint };
    const { stdout } = await run("bash", ["-e", "-c", script], { cwd: root, env, timeout: 100_000 });
    match(stdout, /branch rehearsal: from main at revision 2 .*, expires /);
    match(stdout, /└── rehearsal {2}from 2, at 3, expires /);
    match(stdout, /as it is protected\n/);
    match(stdout, /deleted, its data goes at /);
    match(stdout, /branch rehearsal is back\n/);
    match(
      stdout,
      /rehearsal is now main, at revision 4; what it was is kept as main-old-1, at revision \d+\n.*limit\n20\n/,
    );
    match(stdout, /branch main-old-1 is now main, at revision \d+; .*\n\/config\/limit\n10\n/);
    equal(await server.stop("SIGTERM"), 0, server.errors);
  } finally {
    await server.stop("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
});
