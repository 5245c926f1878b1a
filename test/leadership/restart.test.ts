import { deepEqual, ok } from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

interface Led {
  readonly epoch: number;
  readonly tail: string;
  readonly nextSlot: number;
  readonly tookMs: number;
}

const program = fileURLToPath(new URL("lead.ts", import.meta.url));
/** On a busy machine a start takes longer than on an idle one; a term is 15,000 ms. */
const BUSY_MS = 8000;

async function lead(directory: string): Promise<{ led: Led; child: ChildProcess }> {
  const args = [program, join(directory, "store"), join(directory, "data")];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const led = await new Promise<Led>((resolve, reject) => {
    child.stdout!.once("data", (chunk: Buffer) => resolve(JSON.parse(chunk.toString())));
    child.once("exit", (code) => reject(new Error(`ended with ${code}`)));
  });
  child.removeAllListeners("exit");
  return { led, child };
}

test("local, a directory as store: kill -9 of the real process, and the next one leads without a wait", async () => {
  const directory = mkdtempSync(join(tmpdir(), "t4-restart-"));
  const seen: Led[] = [];
  try {
    for (let run = 0; run < 4; run++) {
      const { led, child } = await lead(directory);
      seen.push(led);
      const gone = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGKILL");
      await gone;
    }
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  deepEqual(
    seen.map(({ epoch, tail, nextSlot }) => [epoch, tail, nextSlot]),
    [
      [1, "empty", 1],
      [2, "recover", 9],
      [3, "recover", 17],
      [4, "recover", 25],
    ],
  );
  for (const { tookMs } of seen) ok(tookMs < BUSY_MS, `took ${tookMs} ms`);
});
