import { deepEqual, equal, notEqual, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { branchId, epoch, type Slot, slot } from "../base/ids.ts";
import {
  checkpointKey,
  nameKey,
  type ObjectName,
  objectKey,
  parseKey,
  segmentKey,
  sessionKey,
  tableKey,
} from "./keys.ts";

const id = branchId("0123456789abcdef0123456789abcdef");
const sha256 = "ab".repeat(32);

/** The names as they stand in buckets: a change here breaks every repository that exists. */
const golden: [ObjectName, string][] = [
  [{ kind: "repository" }, "repository.json"],
  [{ kind: "name", name: "main" }, "name/main"],
  [{ kind: "session", id: "node-1a-7" }, "session/node-1a-7"],
  [{ kind: "origin", branch: id }, `branch/${id}/origin`],
  [{ kind: "leader", branch: id }, `branch/${id}/leader`],
  [{ kind: "segment", branch: id, slot: slot(42) }, `branch/${id}/log/00000000000000000042`],
  [
    { kind: "checkpoint", branch: id, nextSlot: slot(9007199254740991), n: 3 },
    `branch/${id}/checkpoint/00009007199254740991-0000000003`,
  ],
  [{ kind: "table", branch: id, epoch: epoch(12), sha256 }, `sst/${id}-12-${sha256}`],
  [{ kind: "collection", n: 5 }, "collector/00000000000000000005"],
  [{ kind: "collectionDone", n: 5 }, "collector/00000000000000000005-done"],
  [{ kind: "probe", run: "00ff00ff00ff00ff", n: 2 }, "probe/00ff00ff00ff00ff-2"],
  [{ kind: "probePassed" }, "probe/passed"],
];

test("every object name is formatted and parsed as documented", () => {
  for (const [name, key] of golden) {
    equal(objectKey(name), key);
    deepEqual(parseKey(key), name);
  }
});

test("a foreign name, or a second spelling of one of ours, is null", () => {
  const foreign = [
    "",
    "/",
    "repository.json/",
    "repository.json2",
    "name/",
    "name/UPPER",
    "name/a.b",
    "name/-a",
    "name/a-",
    `name/${"a".repeat(64)}`,
    "name/a/b",
    "name/..",
    "session/",
    "session/../leader",
    "session/a_b",
    `branch/${id}`,
    `branch/${id}/`,
    `branch/${id}/other`,
    `branch/${id.toUpperCase()}/origin`,
    `branch/${id}/origin/`,
    `branch/${id}/log/42`,
    `branch/${id}/log/00000000000000000000`,
    `branch/${id}/log/00009007199254740992`,
    `branch/${id}/log/99999999999999999999`,
    `branch/${id}/log/0000000000000000004x`,
    `branch/${id}/log/00000000000000000042/x`,
    `branch/${id}/log/000000000000000000042`,
    `branch/${id}/checkpoint/00000000000000000042`,
    `branch/${id}/checkpoint/00000000000000000042-3`,
    `branch/${id}/checkpoint/00000000000000000042-00000000003`,
    `sst/${id}-012-${sha256}`,
    `sst/${id}-9007199254740992-${sha256}`,
    `sst/${id}--${sha256}`,
    `sst/${id}-1-${sha256}0`,
    "collector/5",
    "collector/00000000000000000005-Done",
    "probe/00ff00ff00ff00ff-02",
    "probe/00ff00ff00ff00ff",
    "probe/failed",
    "name/main\n",
    "../name/main",
  ];
  for (const key of foreign) equal(parseKey(key), null, JSON.stringify(key));
});

test("whatever parses is the one spelling of its name, and any text parses or is refused without a throw", () => {
  const alphabet = fc.constantFrom(..."0123456789abf-/.", "name/", "log/", "checkpoint/", "sst/", `branch/${id}/`);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.array(alphabet, { maxLength: 30 }).map((parts) => parts.join("")),
      ),
      (text) => {
        const name = parseKey(text);
        if (name) equal(objectKey(name), text);
      },
    ),
  );
});

test("the byte order of segments and checkpoints is the order of their numbers", () => {
  const slots = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }).map((value) => slot(value));
  const sign = (a: number | Slot, b: number | Slot) => Math.sign(a - b);
  const order = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
  fc.assert(
    fc.property(slots, slots, fc.nat(20), fc.nat(20), (a, b, n, m) => {
      equal(order(segmentKey(id, a), segmentKey(id, b)), sign(a, b));
      equal(order(checkpointKey(id, a, n), checkpointKey(id, b, m)), a === b ? sign(n, m) : sign(a, b));
    }),
  );
});

test("no name can be made that leaves its folder", () => {
  throws(() => nameKey("../repository"), /DNS label/);
  throws(() => nameKey(""), /DNS label/);
  throws(() => sessionKey("a/b"), /session id/);
  throws(() => tableKey({ branch: id, epoch: epoch(1), sha256: "../x" }), /SHA-256/);
  for (const [, key] of golden) {
    ok(key.split("/").every((part) => part !== "" && part !== "." && part !== ".."));
    for (const [, other] of golden) notEqual(`${key}/`, other.slice(0, key.length + 1));
  }
});
