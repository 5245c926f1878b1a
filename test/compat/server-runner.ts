import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePorts } from "../contract/free-port.ts";
import { onFreePorts, type ServerProcess, started } from "./etcd-process.ts";
import { PROGRESS_INTERVAL_MS } from "./story.ts";

const program = fileURLToPath(new URL("../../bin/t4", import.meta.url));
const mainFile = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));

export const serverIsMissing = (): string | false => (existsSync(mainFile) ? false : "there is no server to run yet");

/** Our own server as a process of its own, with an empty directory as its store. */
export const startServer = (flags: readonly string[] = []): Promise<ServerProcess> =>
  onFreePorts(() => startOnce(flags));

async function startOnce(flags: readonly string[]): Promise<ServerProcess> {
  const directory = await mkdtemp(join(tmpdir(), "t4-server-"));
  const [port] = await freePorts(1);
  const child = spawn(
    program,
    [
      ...["run", "--data-dir", join(directory, "data")],
      ...["--listen-client-urls", `http://127.0.0.1:${port}`],
      ...["--watch-progress-notify-interval", `${PROGRESS_INTERVAL_MS}ms`],
      ...["--bcrypt-cost", "4"],
      ...flags,
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  return started(child, `127.0.0.1:${port}`, directory);
}
