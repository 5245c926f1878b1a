import { deepEqual, equal, throws } from "node:assert/strict";
import { test } from "node:test";
import { at, branch, sample, start } from "../../test/log/samples.ts";
import { branchId } from "../base/ids.ts";
import { Chain, firstPosition } from "./chain.ts";

const one = [{ payload: "x", wallMs: 10 }];

test("segments that follow each other are valid, and the position is behind them", () => {
  const chain = new Chain(branch, start);
  const first = sample(start, 1, [
    { payload: "a", wallMs: 5 },
    { payload: "b", wallMs: 9 },
  ]);
  equal(chain.accept(first), "valid");
  deepEqual(chain.position(), {
    nextSlot: 2,
    highestEpoch: 1,
    lastHash: first.hash,
    lastRecord: 2,
    lastRecordEpoch: 1,
    revision: 3,
    wallMs: 9,
  });
  equal(chain.accept(sample(chain.position(), 1, one)), "valid");
  equal(chain.position().lastRecord, 3);
  deepEqual(firstPosition, start);
});

test("a segment of an epoch below the highest seen is void, whatever else it says", () => {
  const chain = new Chain(branch, at({ nextSlot: 4, highestEpoch: 5, lastHash: "aa".repeat(32) }));
  const before = chain.position();
  const stale = sample(at({ nextSlot: 4, lastHash: "bb".repeat(32), lastRecord: 77 }), 4, one);
  equal(chain.accept(stale), "void");
  deepEqual(chain.position(), { ...before, nextSlot: 5 });
});

test("the highest epoch comes with the position: a checkpoint's reader does not believe what its fences end", () => {
  const chain = new Chain(branch, at({ nextSlot: 4, highestEpoch: 3 }));
  equal(chain.accept(sample(chain.position(), 2, one)), "void");
  equal(chain.accept(sample(chain.position(), 3, one)), "valid");
});

test("further fences of one takeover all name the first, also with void segments among them", () => {
  const chain = new Chain(branch, start);
  chain.accept(sample(start, 1, one));
  const stale = chain.position();
  equal(chain.accept(sample(chain.position(), 2, [])), "valid");
  const fenced = chain.position();
  // All made at once, when only the first was there.
  const further = [1, 2, 3].map((k) => sample(at({ ...fenced, nextSlot: fenced.nextSlot + k - 1 }), 2, []));
  equal(chain.accept(further[0]!), "valid");
  equal(chain.accept(sample(at({ ...stale, nextSlot: chain.position().nextSlot }), 1, one)), "void");
  equal(chain.accept(further[2]!), "valid");
  equal(chain.position().lastHash, fenced.lastHash);
  equal(chain.accept(sample(chain.position(), 2, one)), "valid");
});

test("records keep the epoch that sequenced them when a later one appends them again", () => {
  const chain = new Chain(branch, at({ nextSlot: 9, highestEpoch: 2, lastRecord: 4, lastRecordEpoch: 2, revision: 5 }));
  const again = sample(chain.position(), 3, [
    { payload: "old", epoch: 2 },
    { payload: "new", epoch: 3 },
  ]);
  equal(chain.accept(again), "valid");
  equal(chain.position().lastRecordEpoch, 3);
});

test("what does not follow is corrupt, and both objects are named", () => {
  const cases: [string, RegExp, object, object][] = [
    ["hash", /hash of the one before it is c/, { lastHash: "cc".repeat(32) }, {}],
    ["record gap", /first record is 9, expected 2/, { lastRecord: 8 }, {}],
    ["revision", /revision before it is 3, expected 2/, { revision: 3 }, {}],
    ["epoch of the last record", /epoch of the record before it is 0, expected 1/, { lastRecordEpoch: 0 }, {}],
    ["wall time", /wall time of the record before it is 9, expected 10/, { wallMs: 9 }, {}],
    ["slot", /slot is 3, expected 2/, { nextSlot: 3 }, {}],
    ["branch", /branch is f/, {}, { branch: branchId("f".repeat(32)) }],
  ];
  for (const [what, message, position, place] of cases) {
    const chain = new Chain(branch, start);
    chain.accept(sample(start, 1, one));
    const before = chain.position();
    const wrong = sample(at({ ...before, ...position }), 1, one, place);
    throws(() => chain.accept(wrong), message, what);
    throws(() => chain.accept(wrong), /object branch\/\w+\/log\/0*2 .* does not follow branch\/\w+\/log\/0*1:/, what);
    deepEqual(chain.position(), before, "nothing was accepted");
  }
});

test("before anything is read, the position itself is named", () => {
  const chain = new Chain(branch, at({ nextSlot: 5, lastHash: "aa".repeat(32) }));
  throws(() => chain.accept(sample(at({ nextSlot: 5 }), 1, one)), /does not follow what lies before slot 5/);
});
