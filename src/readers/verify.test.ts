import { deepEqual, equal, match, ok } from "node:assert/strict";
import { before, test } from "node:test";
import { copyOf, runtime, sampleBucket, setObject } from "../../test/readers/sample-bucket.ts";
import { type ObjectKind, parseKey } from "../objects/keys.ts";
import { type MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { ReadOnlyStore } from "../objects/read-only.ts";
import { verifyRepository } from "./verify.ts";

const request = { timeoutMs: 10_000 };

const verify = (bucket: MemoryBucket, quick = false) =>
  verifyRepository({
    store: new ReadOnlyStore(new MemoryStore(runtime, bucket)),
    runtime,
    request,
    quick,
    onProgress: () => {},
  });

let bucket: MemoryBucket;
before(async () => {
  bucket = await sampleBucket();
});

const faultsOf = async (of: MemoryBucket, quick = false) => (await verify(of, quick)).findings.faults;

const keysOf = (kind: ObjectKind): string[] => [...bucket.entries.keys()].filter((key) => parseKey(key)?.kind === kind);

test("a repository without faults has none, and what nothing names is listed", async () => {
  for (const quick of [false, true]) {
    const report = await verify(bucket, quick);
    deepEqual(report.findings.faults, []);
    const [main] = report.branches;
    ok(main !== undefined && main.keys !== null && main.keys > 0 && main.segments > 10 && main.epoch === 2);
    ok(report.tables.named > 1);
    equal(report.objects, bucket.entries.size - 1, "all but the left-over probe are counted as objects");
  }
});
