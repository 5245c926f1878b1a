import type { Call, History } from "./history.ts";
import type { Timeline } from "./timeline.ts";

/** Clocks may differ so much in rate. */
const RATE_TOLERANCE = 0.01;

/**
 * No lease ends by itself before its TTL since the last keep-alive (or grant) that was acknowledged. What ends is
 * judged by when it can be seen: once its record is in the bucket, or known to a client in another way. (That its keys
 * go in one revision is judged by the model.)
 */
export function checkLeases(history: History, timeline: Timeline): string[] {
  const problems: string[] = [];
  const calls = leaseCalls(history.calls);
  for (const [index, record] of history.records.entries()) {
    for (const id of record.ended) {
      const own = calls.get(id) ?? [];
      if (own.some(({ request, outcome }) => request.kind === "revoke" && mayBeDone(outcome.kind))) continue;
      const seenMs = Math.min(record.uploadedMs, timeline.seenMs(index + 1), firstGoneMs(own));
      for (const call of own) {
        const ttlMs = renewed(call);
        if (ttlMs === null || call.ended!.ms > seenMs) continue;
        const earliestMs = call.begun.ms + ttlMs * (1 - RATE_TOLERANCE);
        if (seenMs < earliestMs)
          problems.push(
            `lease ${id} was gone at ${seenMs.toFixed(0)} ms, and call ${call.id} (${call.request.kind}) ` +
              `had it to ${earliestMs.toFixed(0)} ms`,
          );
      }
    }
  }
  return problems;
}

/** Leases that are there in the end although nobody has kept them alive for so long. */
export function staleLeases(
  history: History,
  live: readonly bigint[],
  { nowMs, slackMs }: { nowMs: number; slackMs: number },
): string[] {
  const calls = leaseCalls(history.calls);
  const ttls = new Map(
    history.records.flatMap(({ granted }) => granted.map(({ id, ttlSeconds }) => [id, ttlSeconds] as const)),
  );
  return live.flatMap((id) => {
    const last = Math.max(0, ...(calls.get(id) ?? []).map((call) => call.ended?.ms ?? call.begun.ms));
    const dueMs = last + ttls.get(id)! * 1000 + slackMs;
    return nowMs > dueMs
      ? [`lease ${id} was due at ${dueMs.toFixed(0)} ms, and is there at ${nowMs.toFixed(0)} ms`]
      : [];
  });
}

function leaseCalls(calls: readonly Call[]): Map<bigint, Call[]> {
  const byId = new Map<bigint, Call[]>();
  for (const call of calls) {
    const { request } = call;
    if (
      request.kind !== "grant" &&
      request.kind !== "revoke" &&
      request.kind !== "keepAlive" &&
      request.kind !== "timeToLive"
    )
      continue;
    const own = byId.get(request.id);
    if (own === undefined) byId.set(request.id, [call]);
    else own.push(call);
  }
  return byId;
}

const mayBeDone = (kind: Call["outcome"]["kind"]): boolean => kind === "answered" || kind === "unknown";

/** The TTL that an answered call promises; null if it promises nothing. */
function renewed({ request, outcome }: Call): number | null {
  if (outcome.kind !== "answered" || (request.kind !== "keepAlive" && request.kind !== "grant")) return null;
  const { ttlSeconds } = JSON.parse(outcome.answer) as { ttlSeconds: number };
  return ttlSeconds > 0 ? ttlSeconds * 1000 : null;
}

/** When a client was first told that the lease is gone. */
function firstGoneMs(calls: readonly Call[]): number {
  const gone = calls.filter(({ request, outcome }) => {
    if (outcome.kind !== "answered") return false;
    if (request.kind === "keepAlive") return (JSON.parse(outcome.answer) as { ttlSeconds: number }).ttlSeconds === 0;
    return request.kind === "timeToLive" && (JSON.parse(outcome.answer) as { granted: number }).granted === 0;
  });
  // An answer that was given before the lease was granted says nothing of its end.
  const grantedMs = Math.min(...calls.filter((call) => call.request.kind === "grant").map((call) => call.begun.ms));
  return Math.min(
    Number.POSITIVE_INFINITY,
    ...gone.filter(({ begun }) => begun.ms > grantedMs).map((call) => call.ended!.ms),
  );
}
