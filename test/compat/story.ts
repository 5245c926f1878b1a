import { ok } from "node:assert/strict";
import type { EtcdClient } from "./client.ts";
import { RpcFailure } from "./endpoint.ts";

/**
 * A compatibility test's body: runs against a store that nothing else uses, at revision 1. Named after the rows of
 * etcd-api that it is about.
 */
export interface Story {
  readonly name: string;
  readonly body: (client: EtcdClient) => Promise<void>;
  /** The least TTL of a lease must be the default one, 2 s: real etcd is then slower to start. */
  readonly defaultTimings?: true;
}

/** Progress notifications are sent at this interval by every runner's server. */
export const PROGRESS_INTERVAL_MS = 200;

/** The call fails with this code and text. */
export async function fails(call: Promise<unknown>, code: number, text: string): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof RpcFailure)) throw error;
    ok(error.code === code && error.text === text, `expected [${code}] ${text}, got ${error.message}`);
    return;
  }
  throw new Error(`expected [${code}] ${text}, got an answer`);
}

/** Who stood still for a moment, on a busy machine, has not looked for all that time. */
const LOOKS_MIN = 20;

/** Polls until `holds`, for what takes effect by itself. */
export async function eventually(what: string, timeoutMs: number, holds: () => Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(timeoutMs);
  for (let looks = 1; !(await holds()); looks++) {
    if (deadline.aborted && looks >= LOOKS_MIN) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(25);
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
