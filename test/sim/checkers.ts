import { CallReplay } from "./check-calls.ts";
import { checkLeases } from "./check-leases.ts";
import { WatchCheck } from "./check-watches.ts";
import type { Call, ClientRequest, History, WatchRun } from "./history.ts";
import { Model } from "./model.ts";
import { Timeline } from "./timeline.ts";

/**
 * What is wrong with a history, in words; empty if nothing is. Pure: what clients did and saw, against the records that
 * the bucket holds in the end.
 *
 *   timeline: no acknowledged write is lost, none shares a record with another
 *   calls:    every record is of one call, every answer is the model's at a moment between the call's beginning and end
 *   watches:  ordered, unique, complete, whole revisions
 *   leases:   none ends early
 *
 * That what was observed absent never comes back, and that nothing is taken back, follows: there is one order of
 * records in the end, and every answer ever given must fit into it.
 */
export function checkHistory(given: History): string[] {
  const history = given.loss === null ? given : withoutLost(given, given.loss);
  const timeline = new Timeline(history);
  const model = new Model();
  const calls = new CallReplay(history, timeline, model);
  const watches = new WatchCheck(history, timeline);
  calls.run((position) => watches.at(position, model));
  watches.run();
  return [...timeline.problems, ...calls.problems, ...watches.problems, ...checkLeases(history, timeline)];
}

/**
 * The history without what was known of revisions that went with a lost disk. What was acknowledged there is lost, and
 * must not come back: no call is left that a record of it could be of.
 */
function withoutLost(history: History, loss: { at: { order: number }; revision: number }): History {
  const isBefore = (order: number): boolean => order < loss.at.order;
  const calls = history.calls.flatMap((call) => {
    const { ended, outcome, request } = call;
    if (ended === null || !isBefore(ended.order)) return [call];
    // What was refused may have been so at a revision that is gone.
    if (outcome.kind === "refused") return [];
    if (outcome.kind !== "answered" || outcome.revision < loss.revision) return [call];
    if (outcome.revision > loss.revision) return [];
    // Records that take no revision may be gone although the revision that they tell is not.
    if (NO_REVISION.has(request.kind))
      return [{ ...call, outcome: { kind: "unknown", error: "connectionLost" } } as Call];
    return LEASE_READS.has(request.kind) ? [] : [call];
  });
  const watches = history.watches.map((watch: WatchRun): WatchRun => {
    const messages = watch.messages.filter(
      (message) => !isBefore(message.at.order) || (message.kind !== "canceled" && message.revision <= loss.revision),
    );
    return { ...watch, messages };
  });
  return { ...history, calls, watches };
}

const NO_REVISION: ReadonlySet<ClientRequest["kind"]> = new Set(["compact", "grant", "revoke"]);
const LEASE_READS: ReadonlySet<ClientRequest["kind"]> = new Set(["keepAlive", "timeToLive", "leases"]);
