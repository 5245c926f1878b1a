import { deepEqual, throws } from "node:assert/strict";
import { test } from "node:test";
import { momentOf, shortId } from "./moment.ts";
import { stateNameOf } from "./state-name.ts";

const NOW = Date.parse("2026-08-01T12:00:00Z");

test("a moment is told by its form", () => {
  deepEqual(momentOf(undefined), { kind: "newest" });
  deepEqual(momentOf("123456", NOW), { kind: "revision", revision: 123_456 });
  deepEqual(momentOf("2026-07-31T10:00:00Z", NOW), { kind: "time", wallMs: NOW - 26 * 3_600_000 });
  deepEqual(momentOf("2026-08-01T14:00:00+02:00", NOW), { kind: "time", wallMs: NOW });
  deepEqual(momentOf("10m", NOW), { kind: "time", wallMs: NOW - 600_000 });
  deepEqual(momentOf("12-0", NOW), { kind: "checkpoint", name: "12-0" });
  deepEqual(momentOf("ab12cd34", NOW), { kind: "checkpoint", name: "ab12cd34" });
  for (const wrong of ["", "yesterday", "2026-13-45T00:00:00Z", "-3", "1.5"]) {
    throws(() => momentOf(wrong, NOW), /^UsageError: --at: /);
  }
  throws(() => stateNameOf("main@-3"), /^UsageError: main@-3: "-3" is no revision, time/);
});

test("a short id is a checkpoint, never a revision", () => {
  for (const [id, short] of [
    ["ab12cd34".repeat(8), "ab12cd34ab12"],
    ["1149090612345678a".padEnd(64, "b"), "1149090612345678a"],
    ["114909061234".padEnd(64, "f"), "114909061234f"],
    ["1".repeat(64), "1".repeat(64)],
  ] as const) {
    deepEqual(shortId(id), short);
    deepEqual(momentOf(short, NOW), { kind: "checkpoint", name: short });
  }
});
