import { deepEqual } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../../src/base/assert.ts";
import { freePort } from "../contract/free-port.ts";
import { startS3Server, storeUrlOf } from "../contract/s3-server.ts";
import { Journal } from "./journal.ts";
import { Load, readBack } from "./load.ts";
import { root, ServerProcess } from "./server.ts";

export interface RoundsOptions {
  directory: string;
  durability: "local" | "object";
  /** `object`: an S3 server; else a directory is the store. */
  s3: boolean;
  rounds: number;
  /** The node's own disk is removed every so many rounds; 0: never. */
  loseDiskEvery: number;
  random: () => number;
  log: (line: string) => void;
}

export interface RoundsResult {
  rounds: number;
  acknowledged: number;
  observed: number;
  revision: number;
  startMsMax: number;
}

/**
 * Bound of what a forced takeover may lose in `local`: the upload age, an upload under way, and the scheduler of a busy
 * machine.
 */
const LOSS_MS_MAX = 4000;

/** A run of hours beside other work may find the machine busy. */
const START_MS_MAX = 180_000;

/** `kill -9` at random moments under load, again and again; throws when anything that was promised does not hold. */
export async function killRounds(options: RoundsOptions): Promise<RoundsResult> {
  const data = join(options.directory, "data");
  const s3 = options.s3 ? await startS3Server() : null;
  const store = s3 !== null ? storeUrlOf(s3) : `file://${join(options.directory, "store")}`;
  const server = new ServerProcess({
    port: await freePort(),
    // A start without the old disk waits for the term.
    args: [`--data-dir=${data}`, `--store=${store}`, `--durability=${options.durability}`, "--session-term=2s"],
    ...(s3 === null ? {} : { env: s3.env }),
  });
  const journal = new Journal();
  const result: RoundsResult = { rounds: 0, acknowledged: 0, observed: 0, revision: 1, startMsMax: 0 };
  try {
    await server.start();
    for (let round = 1; round <= options.rounds; round++) {
      const load = new Load(journal);
      load.start(server.endpoint, { round, workers: 6 });
      await sleep(100 + options.random() * 900);
      await server.stop("SIGKILL");
      const killedMs = performance.now();
      await load.stop();
      const loseDisk = options.loseDiskEvery > 0 && round % options.loseDiskEvery === 0;
      if (loseDisk) rmSync(data, { recursive: true, force: true });
      const forced = loseDisk && options.durability === "local";
      const startMs = await server.start(forced ? ["--force-takeover"] : [], START_MS_MAX);
      result.startMsMax = Math.max(result.startMsMax, startMs);
      await verify(server, journal, {
        whole: loseDisk || round % 10 === 0 || round === options.rounds,
        forced,
        killedMs,
      });
      if (round % 20 === 0) verifyStore(store, s3?.env);
      options.log(
        `round ${round}: revision ${journal.verifiedTo}, ${startMs.toFixed(0)} ms${loseDisk ? ", disk lost" : ""}`,
      );
    }
    const code = await server.stop("SIGTERM");
    assert(code === 0, `a clean stop ends with 0, not ${code}: ${server.errors}`);
    options.log(verifyStore(store, s3?.env));
  } finally {
    await server.stop("SIGKILL");
    await s3?.stop();
  }
  const { acknowledgedTotal: acknowledged, observedTotal: observed, verifiedTo: revision } = journal;
  return { ...result, rounds: options.rounds, acknowledged, observed, revision };
}

/** `t4 verify` as an operator runs it, beside the server or after it; returns its last line. */
function verifyStore(store: string, env: NodeJS.ProcessEnv = {}): string {
  const args = ["verify", "--store", store];
  const { status, stdout, stderr } = spawnSync(join(root, "bin/t4"), args, { env: { ...process.env, ...env } });
  assert(status === 0, `t4 verify ends with ${status}: ${stderr}${stdout}`);
  return String(stdout).trimEnd().split("\n").at(-1)!;
}

async function verify(
  server: ServerProcess,
  journal: Journal,
  { whole, forced, killedMs }: { whole: boolean; forced: boolean; killedMs: number },
): Promise<void> {
  const { head, history, state } = await readBack(server.endpoint, whole ? 2 : journal.verifiedTo + 1);
  if (forced) journal.forget(head, killedMs - LOSS_MS_MAX);
  journal.verify(history, head, { whole });
  deepEqual([...state].sort(), [...journal.state()].sort(), "the live keys are what the history leaves");
}
