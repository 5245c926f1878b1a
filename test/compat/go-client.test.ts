import { deepEqual, ok } from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { etcdIsMissing, type ServerProcess, startEtcd } from "./etcd-process.ts";
import { startServer } from "./server-runner.ts";

const run = promisify(execFile);
const source = fileURLToPath(new URL("go-client", import.meta.url));
const directory = mkdtempSync(join(tmpdir(), "t4-go-client-"));
const program = join(directory, "go-client");
after(() => rmSync(directory, { recursive: true, force: true }));

const BUILD_TIMEOUT_MS = 300_000;
const PLAY_TIMEOUT_MS = 180_000;
/** So that a program which ends early is noticed. */
const CASES_MIN = 32;

/** Why it cannot be had here (no Go, no way to its modules), or false. What does not compile is a failure. */
async function build(): Promise<string | false> {
  const options = {
    cwd: source,
    timeout: BUILD_TIMEOUT_MS,
    env: { ...process.env, GOTOOLCHAIN: "local", GOFLAGS: "-buildvcs=false", CGO_ENABLED: "0" },
  };
  try {
    await run("go", ["list", "-deps", "-mod=readonly", "."], { ...options, maxBuffer: 1 << 24 });
  } catch (error) {
    return `the Go client is not built: ${(error as Error).message.split("\n").slice(0, 2).join(" ")}`;
  }
  await run("go", ["build", "-mod=readonly", "-o", program, "."], options);
  return false;
}

const missing = await build();

async function play(start: () => Promise<ServerProcess>): Promise<void> {
  const server = await start();
  try {
    const { stdout } = await run(program, [server.address], { timeout: PLAY_TIMEOUT_MS }).catch(
      (error: unknown) => error as { stdout: string },
    );
    const lines = stdout.trim().split("\n");
    deepEqual(
      lines.filter((line) => !line.startsWith("ok ")),
      [],
    );
    ok(lines.length >= CASES_MIN, stdout);
  } finally {
    await server.stop();
  }
}

test(
  "etcd's Go client on t4: KV, Txn, Watch, Lease, its recipes and wrappers, Kubernetes' interface",
  {
    skip: missing,
    timeout: PLAY_TIMEOUT_MS,
  },
  () => play(startServer),
);

test("the same cases hold on a real etcd", { skip: missing || etcdIsMissing(), timeout: PLAY_TIMEOUT_MS }, () =>
  play(() => startEtcd({ defaultTimings: true })),
);
