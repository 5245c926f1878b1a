import { deepEqual, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { leaseId } from "../../src/base/ids.ts";
import { del, put, range, txn } from "../engine/requests.ts";
import { staleLeases } from "./check-leases.ts";
import { checkHistory } from "./checkers.ts";
import {
  type Call,
  type ClientRequest,
  type History,
  type Outcome,
  type SeenMessage,
  type TruePair,
  type TrueRecord,
  tagOf,
  type WatchRun,
} from "./history.ts";

/**
 * A history made by hand. Three writes, one after the other, and reads of them: nothing is wrong with it. Each test
 * breaks one thing, and the checkers must say so.
 *
 *   call 0 puts a (revision 2)   call 1 puts b (3)   call 2 deletes a (4)   call 3 reads all
 */
class Made {
  readonly calls: Call[] = [];
  readonly records: TrueRecord[] = [];
  readonly watches: WatchRun[] = [];
  loss: History["loss"] = null;
  #order = 0;

  /** Begun and ended one after the other, a second each. */
  call(request: ClientRequest, outcome: Outcome): Call {
    const call: Call = { id: this.calls.length, request, begun: this.at(), ended: null, outcome };
    call.ended = this.at();
    this.calls.push(call);
    return call;
  }

  at(): { order: number; ms: number } {
    this.#order++;
    return { order: this.#order, ms: this.#order * 1000 };
  }

  record(changes: TrueRecord["changes"], more: Partial<TrueRecord> = {}): void {
    const before = this.records.at(-1)?.revision ?? 1;
    const revision = before + (changes.length > 0 ? 1 : 0);
    const rest = { epoch: 1, granted: [], ended: [], compacted: null, uploadedMs: this.at().ms };
    this.records.push({ ...rest, revision, changes, ...more });
  }

  watch(start: number, messages: readonly object[], more: Partial<WatchRun> = {}): void {
    const seen = messages.map((message) => ({ at: this.at(), ...message }) as SeenMessage);
    const shape = { name: "w", key: "\0", rangeEnd: "\0", prevKv: true, noPut: false, noDelete: false };
    this.watches.push({ ...shape, start, messages: seen, ...more });
  }

  problems(): string[] {
    const { calls, records, watches, loss } = this;
    return checkHistory({ calls, records, watches, loss });
  }
}

const pair = (call: number, key: string, mod: number, more: Partial<TruePair> = {}): TruePair => {
  return { key, create: mod, mod, version: 1, value: tagOf(call), lease: 0n, ...more };
};
const answered = (answer: object, revision: number, changed: boolean): Outcome => {
  return { kind: "answered", answer: JSON.stringify(answer), revision, changed };
};
const wrote = (revision: number): Outcome => answered({ revision, prev: null }, revision, true);
const rows = (revision: number, ...shown: string[]): Outcome =>
  answered({ revision, more: false, count: shown.length, rows: shown }, revision, false);
const all = range("\0", "\0");
const UNKNOWN: Outcome = { kind: "unknown", error: "timeout" };

function good(): Made {
  const made = new Made();
  made.call(put("a", tagOf(0)), wrote(2));
  made.record([{ key: "a", pair: pair(0, "a", 2) }]);
  made.call(put("b", tagOf(1)), wrote(3));
  made.record([{ key: "b", pair: pair(1, "b", 3) }]);
  made.call(del("a"), answered({ revision: 4, deleted: 1, prevs: [] }, 4, true));
  made.record([{ key: "a", pair: null }]);
  made.call(all, rows(4, "b=#1;@3/3/1"));
  made.call(range("\0", "\0", { revision: 3 }), rows(4, "a=#0;@2/2/1", "b=#1;@3/3/1"));
  return made;
}

const event = (call: number, key: string, mod: number, prev: string | null = null) => ({
  key,
  pair: `${key}=#${call};@${mod}/${mod}/1`,
  mod,
  prev,
});
const EVENTS = [event(0, "a", 2), event(1, "b", 3), { key: "a", pair: null, mod: 4, prev: "a=#0;@2/2/1" }];
const told = (events: readonly object[], revision: number) => ({ kind: "events", revision, events, more: false });

const says = (made: Made, what: RegExp): void => match(made.problems().join("\n"), what);

test("a good history has nothing wrong with it", () => {
  const made = good();
  made.watch(1, [{ kind: "created", revision: 4 }, told(EVENTS, 4), { kind: "progress", revision: 4 }]);
  deepEqual(made.problems(), []);
});

test("what was acknowledged is in the log: at its revision, alone, as it was asked for and answered", () => {
  const lost = good();
  lost.records.pop();
  says(lost, /call 2 .*is lost/);
  const shared = good();
  shared.call(put("a", tagOf(5)), wrote(3));
  says(shared, /both acknowledged at record 2/);
  const other = good();
  other.calls[1]!.outcome = answered({ revision: 3, prev: "b=x@1/1/1" }, 3, true);
  says(other, /was answered .*the model/);
  const value = good();
  value.records[1] = { ...value.records[1]!, changes: [{ key: "c", pair: pair(1, "c", 3) }] };
  says(value, /did \[\+c\], the model \[\+b\]/);
});

test("revisions are dense, versions and creations follow from what was there", () => {
  const skipped = good();
  skipped.records[2] = { ...skipped.records[2]!, revision: 5 };
  says(skipped, /its revision is 5, not 4/);
  const version = good();
  version.records[1] = { ...version.records[1]!, changes: [{ key: "b", pair: pair(1, "b", 3, { version: 2 }) }] };
  says(version, /b=#1;@3\/3\/2 follows nothing/);
});

test("writes are in the order of real time", () => {
  const made = new Made();
  made.call(put("a", tagOf(0)), wrote(3));
  made.call(put("b", tagOf(1)), wrote(2));
  made.record([{ key: "b", pair: pair(1, "b", 2) }]);
  made.record([{ key: "a", pair: pair(0, "a", 3) }]);
  says(made, /is before record 2, seen when it began/);
});

test("a read that is stale, from the future, or of no revision is seen; a serializable one may be stale", () => {
  const stale = good();
  stale.call(all, rows(3, "a=#0;@2/2/1", "b=#1;@3/3/1"));
  says(stale, /call 5 .*at no moment from revision 4/);
  const serializable = good();
  serializable.call({ ...all, serializable: true }, rows(3, "a=#0;@2/2/1", "b=#1;@3/3/1"));
  deepEqual(serializable.problems(), []);
  const early = new Made();
  early.call(all, rows(2, "a=#1;@2/2/1"));
  early.call(put("a", tagOf(1)), wrote(2));
  early.record([{ key: "a", pair: pair(1, "a", 2) }]);
  says(early, /call 0 .*at no moment/);
  const torn = good();
  torn.call(all, rows(4, "a=#0;@2/2/1", "b=#1;@3/3/1"));
  says(torn, /call 5 .*the model says .*"count":1/);
});

test("a read of an older revision, a count, an error are the model's", () => {
  const old = good();
  old.call(range("\0", "\0", { revision: 2 }), rows(4, "b=#1;@3/3/1"));
  says(old, /call 5/);
  const count = good();
  count.call(
    range("\0", "\0", { countOnly: true }),
    answered({ revision: 4, more: false, count: 2, rows: [] }, 4, false),
  );
  says(count, /call 5 .*"count":1/);
  const refused = good();
  refused.call(range("a", "", { revision: 3 }), { kind: "refused", error: "compacted" });
  says(refused, /call 5 .*answered compacted/);
  const served = good();
  served.call({ kind: "compact", revision: 4 }, answered({ revision: 4 }, 4, true));
  served.record([], { compacted: 4 });
  served.call(put("c", tagOf(6)), wrote(5));
  served.record([{ key: "c", pair: pair(6, "c", 5) }]);
  served.call(range("b", "", { revision: 3 }), rows(5, "b=#1;@3/3/1"));
  says(served, /call 7 .*the model says compacted/);
});

test("what was said not to have been done is not there; what is there is of somebody, and once", () => {
  const undone = good();
  undone.call(put("c", tagOf(5)), { kind: "notDone", error: "noLeader" });
  undone.record([{ key: "c", pair: pair(5, "c", 5) }]);
  says(undone, /record 4 .*is of no call/);
  const nobody = good();
  nobody.record([{ key: "b", pair: null }]);
  says(nobody, /record 4 .*is of no call/);
  const twice = good();
  twice.call(put("c", tagOf(5)), UNKNOWN);
  twice.record([{ key: "c", pair: pair(5, "c", 5) }]);
  twice.record([{ key: "c", pair: pair(5, "c", 6, { create: 5, version: 2 }) }]);
  says(twice, /record 5 .*is of no call/);
  const deletedTwice = good();
  deletedTwice.call(del("b"), UNKNOWN);
  deletedTwice.record([{ key: "b", pair: null }]);
  deletedTwice.call(put("b", tagOf(6)), wrote(6));
  deletedTwice.record([{ key: "b", pair: pair(6, "b", 6) }]);
  deletedTwice.record([{ key: "b", pair: null }]);
  says(deletedTwice, /carried out twice/);
});

test("an unknown outcome is whole or not at all, and does not come back once it was seen to be absent", () => {
  const there = good();
  there.call(txn([put("c", tagOf(5)), put("d", tagOf(5))]), UNKNOWN);
  deepEqual(there.problems(), [], "it is not there");
  there.record([
    { key: "c", pair: pair(5, "c", 5) },
    { key: "d", pair: pair(5, "d", 5) },
  ]);
  deepEqual(there.problems(), [], "it is there");
  const half = good();
  half.call(txn([put("c", tagOf(5)), put("d", tagOf(5))]), UNKNOWN);
  half.record([{ key: "c", pair: pair(5, "c", 5) }]);
  says(half, /did \[\+c\], the model \[\+c,\+d\]/);
  const back = good();
  back.call(put("c", tagOf(5)), UNKNOWN);
  back.call(put("d", tagOf(6)), wrote(5));
  back.call(all, rows(5, "b=#1;@3/3/1", "d=#6;@5/5/1"));
  back.record([{ key: "c", pair: pair(5, "c", 5) }]);
  back.record([{ key: "d", pair: pair(6, "d", 6) }]);
  says(back, /call (6|7)/);
});

test("watchers: order, completeness, whole revisions, the pair before, nothing too early", () => {
  const broken = (messages: readonly object[], what: RegExp): void => {
    const made = good();
    made.watch(1, [{ kind: "created", revision: 4 }, ...messages]);
    says(made, what);
  };
  broken([told([EVENTS[1]!, EVENTS[0]!], 4)], /got b=.* where a=/);
  broken([told([EVENTS[0]!, EVENTS[2]!], 4)], /where b=/);
  broken([told(EVENTS, 4), told([EVENTS[2]!], 4)], /where nothing follows/);
  // An answer of history names the newest revision, and goes no further than its last event.
  const parts = good();
  parts.watch(1, [{ kind: "created", revision: 4 }, told(EVENTS.slice(0, 1), 4), told(EVENTS.slice(1), 4)]);
  deepEqual(parts.problems(), []);
  broken([told(EVENTS.slice(0, 1), 3), { kind: "progress", revision: 3 }], /to be at 3 \(progress\) without b=/);
  broken([told(EVENTS.slice(0, 1), 4), told(EVENTS.slice(2), 4)], /where b=/);
  broken([told(EVENTS.slice(0, 2), 3), { kind: "progress", revision: 4 }], /to be at 4 \(progress\) without a deleted/);
  broken([told([...EVENTS.slice(0, 2), { ...EVENTS[2], prev: null }], 4)], /with null before it/);
  broken([told(EVENTS, 3)], /above the response's revision/);
  broken(
    [
      { ...told(EVENTS.slice(0, 1), 2), more: true },
      { kind: "progress", revision: 4 },
    ],
    /amid the fragments/,
  );
  broken([{ kind: "canceled", compactRevision: 3, reason: "" }], /which never was/);
  const early = good();
  early.watch(1, [{ kind: "created", revision: 1 }, told(EVENTS.slice(0, 1), 2)]);
  early.watches[0]!.messages[1] = { ...early.watches[0]!.messages[1]!, at: { order: 0, ms: 0 } };
  says(early, /told before it can have been/);
  const pieces = new Made();
  pieces.call(txn([put("a", tagOf(0)), put("b", tagOf(0))]), UNKNOWN);
  pieces.record([
    { key: "a", pair: pair(0, "a", 2) },
    { key: "b", pair: pair(0, "b", 2) },
  ]);
  pieces.watch(1, [{ kind: "created", revision: 1 }, told([event(0, "a", 2)], 2), told([event(0, "b", 2)], 2)]);
  says(pieces, /without b=|in pieces/);
});

test("leases: none ends early, their keys go with them, none stays", () => {
  const id = leaseId(7n);
  const leased = (endMs: number): Made => {
    const made = new Made();
    made.call({ kind: "grant", id, ttlSeconds: 5 }, answered({ id: "7", ttlSeconds: 5, revision: 1 }, 1, true));
    made.record([], { granted: [{ id, ttlSeconds: 5 }] });
    made.call(put("a", tagOf(1), { lease: id }), wrote(2));
    made.record([{ key: "a", pair: pair(1, "a", 2, { lease: id }) }]);
    made.call({ kind: "keepAlive", id }, answered({ ttlSeconds: 5, revision: 2 }, 2, false));
    made.record([{ key: "a", pair: null }], { ended: [id], uploadedMs: endMs });
    return made;
  };
  const keptAt = leased(0).calls[2]!.begun.ms;
  deepEqual(leased(keptAt + 5000).problems(), []);
  says(leased(keptAt + 4000), /lease 7 was gone/);
  const left = leased(keptAt + 5000);
  left.records[2] = { ...left.records[2]!, changes: [], revision: 2 };
  says(left, /its keys were \[-a\]/);
  const kept = leased(keptAt + 5000);
  kept.records.pop();
  const { calls, records } = kept;
  const history = { calls, records, watches: [], loss: null };
  deepEqual(staleLeases(history, [id], { nowMs: keptAt + 8000, slackMs: 2000 }), []);
  ok(staleLeases(history, [id], { nowMs: keptAt + 9000, slackMs: 2000 }).length === 1);
  const revived = leased(keptAt + 5000);
  revived.call({ kind: "timeToLive", id, keys: false }, answered({ granted: 0, keys: [], revision: 3 }, 3, false));
  revived.call({ kind: "keepAlive", id }, answered({ ttlSeconds: 5, revision: 3 }, 3, false));
  says(revived, /call 4 .*keepAlive/);
});

test("a lost disk takes what was not uploaded, and nothing else, and nothing of it comes back", () => {
  const lossy = (): Made => {
    const made = good();
    made.loss = { at: made.at(), revision: 3 };
    made.records.pop();
    made.call(put("c", tagOf(5)), wrote(4));
    made.record([{ key: "c", pair: pair(5, "c", 4) }], { epoch: 2 });
    return made;
  };
  deepEqual(lossy().problems(), []);
  const more = lossy();
  more.loss = { ...more.loss!, revision: 4 };
  says(more, /call|record/);
  const back = lossy();
  back.record([{ key: "a", pair: null }]);
  says(back, /record 4 .*is of no call/);
});
