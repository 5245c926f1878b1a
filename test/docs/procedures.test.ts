import { deepEqual, equal, match, ok } from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { freePort } from "../contract/free-port.ts";
import { ServerProcess } from "../faults/server.ts";
import { blocksOf } from "./blocks.ts";

const run = promisify(execFile);
const root = new URL("../..", import.meta.url).pathname;
const page = blocksOf(readFileSync(join(root, "docs/operating/branches.md"), "utf8"));
const directory = mkdtempSync(join(tmpdir(), "t4-docs-"));
let server: ServerProcess;

before(async () => {
  server = new ServerProcess({ port: await freePort(), args: [`--data-dir=${directory}`] });
  await server.start();
});
after(async () => {
  await server.stop("SIGKILL");
  rmSync(directory, { recursive: true, force: true });
});

async function shell(text: string, more: Record<string, string> = {}): Promise<string> {
  const env = { ...process.env, T4_ENDPOINTS: server.endpoint, ...more };
  return (await run("bash", ["-e", "-c", text], { cwd: root, env, timeout: 240_000 })).stdout;
}

function procedure(heading: RegExp): string {
  const found = page.filter((block) => block.language === "sh" && heading.test(block.heading));
  equal(found.length, 1);
  return found[0]!.text;
}

const branches = async (): Promise<string[]> =>
  JSON.parse(await shell("bin/t4 branch list --json")).map(({ name }: { name: string }) => name);

test("rehearse an upgrade", { timeout: 300_000 }, async () => {
  await shell("bin/t4 put /registry/settings/schema v1 && bin/t4 put /registry/legacy/a 1");
  const told = await shell(procedure(/^Rehearse/));
  match(told, /0 added, 1 removed, 1 changed\nfrom main \(revision 3\) to rehearsal \(revision 5\)\n/);
  match(told, /- \/registry\/legacy\/a\n {4}"1"\n~ \/registry\/settings\/schema\n {4}- "v1"\n {4}\+ "v2"\n/);
  equal(await shell("bin/t4 get /registry/settings/schema --print-value-only"), "v1\n");
  deepEqual(await branches(), ["main"]);
});

test("a branch for each CI run", { timeout: 300_000 }, async () => {
  const told = await shell(procedure(/CI/), { CI_JOB_ID: "17" });
  match(told, /branch ci-17: from fixtures at revision 4/);
  match(told, /\/fixtures\/user\nalice\n/);
  match(told, /~ \/fixtures\/user\n0 added, 0 removed, 1 changed\nbranch ci-17 is deleted/);
  equal(await shell("bin/t4 get /fixtures/user --print-value-only --branch fixtures"), "alice\n");
  deepEqual(await branches(), ["fixtures", "main"]);
});

test("recover a namespace", { timeout: 300_000 }, async () => {
  const prefix = "/registry/configmaps/shop/";
  await shell(`for n in 1 2 3; do bin/t4 put ${prefix}$n "value $n"; done; bin/t4 put /registry/configmaps/other 1`);
  const when = JSON.parse(await shell("bin/t4 get x --json")).header.revision as number;
  await shell(
    `bin/t4 del --prefix ${prefix} && bin/t4 put ${prefix}4 wrong && bin/t4 put /registry/configmaps/other 2`,
  );
  await shell(`bin/t4 compact ${when + 3}`);
  const told = await shell(procedure(/^Recover/), { when: String(when) });
  match(told, /- \/registry\/configmaps\/shop\/3\n\+ \/registry\/configmaps\/shop\/4\n1 added, 3 removed, 0 changed\n/);
  match(told, /4 changes, 0 conflicts .*\nnothing was changed \(--dry-run\); it takes one transaction\n/);
  match(told, /4 applied to main in one transaction/);
  match(told, /0 added, 0 removed, 0 changed\n/);
  equal(await shell(`bin/t4 get --prefix ${prefix} --print-value-only`), "value 1\nvalue 2\nvalue 3\n");
  equal(await shell("bin/t4 get /registry/configmaps/other --print-value-only"), "2\n");
});

test("retention, cleanup and cost", { timeout: 300_000 }, async () => {
  const told = await shell(procedure(/cost/));
  match(told, /│ main +│/);
  match(told, /prefix in main/);
  match(told, /lets go of 0 checkpoints/);
  match(told, /scratch: log 1h, checkpoints 1h:all \(its own\)/);
  match(told, /branch scratch is back\n/);
  ok(!(await branches()).includes("scratch"));
  equal(await server.stop("SIGTERM"), 0, server.errors);
});
