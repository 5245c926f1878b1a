import { deepEqual, equal, match } from "node:assert/strict";
import { test } from "node:test";
import { createLog } from "./logger.ts";

test("a console line has time, level, sentence and facts; what is below the level is not written", () => {
  const lines: string[] = [];
  const log = createLog({ level: "info", format: "console", write: (text) => lines.push(text) });
  log.debug("not this");
  log.warn("the store is slow", { ms: 12, store: "s3://b/p", why: "a b" });
  equal(lines.length, 1);
  match(lines[0]!, /^\d{4}-\d\d-\d\dT[\d:.]+Z warn {2}the store is slow {2}ms=12 {2}store=s3:\/\/b\/p {2}why="a b"\n$/);
});

test("a JSON line carries the same, and what called, as an etcd's does", () => {
  const lines: string[] = [];
  createLog({ level: "debug", format: "json", write: (text) => lines.push(text) }).debug("so", { n: 1 });
  const { ts, caller, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>;
  equal(typeof ts, "string");
  match(String(caller), /^server\/logger\.test\.ts:\d+$/);
  deepEqual(rest, { level: "debug", msg: "so", n: 1 });
});
