import { deepEqual, equal, match, ok } from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { test } from "node:test";
import { newest, request, runtime, TestRepository, write } from "../../test/branches/repository.ts";
import { copyOf, setObject } from "../../test/readers/sample-bucket.ts";
import { parseKey } from "../objects/keys.ts";
import { type MemoryBucket, MemoryStore } from "../objects/memory.ts";
import { decodeCheckpoint } from "../storage/checkpoint-codec.ts";
import { defaultRetention } from "../storage/checkpoint-retention.ts";
import { signerOf, trustedKeyOf } from "../storage/checkpoint-signature.ts";
import { findBranch, openOffline } from "./open-offline.ts";
import { traceBranch } from "./trace.ts";

const pemOf = (): string =>
  generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
const pem = pemOf();
const key = trustedKeyOf(pem);

async function trace(bucket: MemoryBucket, name: string, trusted: readonly string[] = []) {
  const repository = await openOffline(new MemoryStore(runtime, bucket), runtime, request);
  const { id } = await findBranch(repository, name);
  return traceBranch({ ...repository, trusted }, id);
}

async function sample(): Promise<MemoryBucket> {
  // All checkpoints up to an hour old, so that they stay; the first ones of main are thinned by hand below.
  const retention = { ...defaultRetention, logMs: 0 };
  await using repository = await TestRepository.open({ signer: signerOf(pem), retention });
  const main = await repository.serve("main");
  for (let n = 0; n < 6; n++) {
    await write(main.database, `k${n}`, "v");
    await main.checkpoint();
  }
  await repository.cut("child", "main", newest);
  const child = await repository.serve("child");
  for (let n = 0; n < 4; n++) {
    await write(child.database, `c${n}`, "v");
    await child.checkpoint();
  }
  await write(child.database, "behind", "the tip");
  for (let n = 0; n < 2; n++) {
    await write(main.database, `m${n}`, "v");
    await main.checkpoint();
  }
  // As it is while they are open: an end would leave nothing behind the tip.
  return copyOf(repository.bucket);
}

const checkpointsOf = (bucket: MemoryBucket, branch: string): string[] =>
  [...bucket.entries.keys()].filter((each) => each.startsWith(`branch/${branch}/checkpoint/`)).sort();

test("a branch is proved from its tip to its origin, and through its parent", async () => {
  const bucket = await sample();
  const traces = await trace(bucket, "child", [key]);
  deepEqual(
    traces.flatMap(({ faults }) => faults),
    [],
  );
  const [child, main] = traces;
  deepEqual([child!.thinned, main!.thinned], [[], []], "number 0 of the child is its origin's");
  equal(traces.length, 2);
  ok(child!.signatures[0]!.fits && child!.signatures[0]!.trusted && child!.segments >= 1);
  equal(child!.revision, child!.tipRevision + 1);
  match(child!.link!, /^begins with [0-9a-f]{12}, the tip's first: number \d+ of the history of the branch/);
  ok(main!.proved.length >= 4 && child!.proved.length >= 3);
  const untrusted = await trace(bucket, "main", [trustedKeyOf(pemOf())]);
  match(untrusted[0]!.faults[0]!.what, /^is signed by [0-9a-f]{64}, expected by a trusted key$/);
});

test("a checkpoint that is changed, dropped or put elsewhere is named", async () => {
  const bucket = await sample();
  const [child] = await trace(bucket, "child");
  const keys = checkpointsOf(bucket, child!.branch);
  const middle = keys[1]!;
  const bodyOf = (name: string): Buffer => Buffer.from(bucket.entries.get(name)!.body);
  const faults = async (change: (copy: MemoryBucket) => void) => {
    const copy = copyOf(bucket);
    change(copy);
    return (await trace(copy, "child", [key])).flatMap((each) => each.faults);
  };
  const changed = await faults((copy) => {
    const body = bodyOf(middle);
    body[60]! ^= 1;
    setObject(copy, middle, body);
  });
  deepEqual(
    changed.map(({ object }) => object),
    [middle],
  );
  const dropped = await faults((copy) => copy.delete(middle));
  deepEqual(dropped, [{ object: middle, what: "is missing" }]);
  const swapped = await faults((copy) => {
    setObject(copy, keys[0]!, bodyOf(middle));
    setObject(copy, middle, bodyOf(keys[0]!));
  });
  deepEqual(new Set(swapped.map(({ object }) => object)), new Set([keys[0], middle]));
  const segment = [...bucket.entries.keys()].filter((each) => parseKey(each)?.kind === "segment").at(-1)!;
  ok(segment.startsWith("branch/"));
});

test("a tip that somebody else has made is found, and a signature is of its own bytes", async () => {
  const bucket = await sample();
  const [child] = await trace(bucket, "child");
  const tip = checkpointsOf(bucket, child!.branch).at(-1)!;
  const { encodeCheckpoint } = await import("../storage/checkpoint-codec.ts");
  const { id: _id, signatures, ...fields } = decodeCheckpoint(tip as never, Buffer.from(bucket.entries.get(tip)!.body));
  equal(signatures!.length, 1);
  for (const [signer, expected] of [
    [null, /^is not signed, expected by a trusted key$/],
    [{ publicKey: key, sign: () => signatures![0]!.signature }, /^the signature by key .* is not of these bytes$/],
  ] as const) {
    const copy = copyOf(bucket);
    const forged = { ...fields, point: { ...fields.point, wallMs: fields.point.wallMs + 1 } };
    setObject(copy, tip, encodeCheckpoint(forged, signer));
    const [found] = await trace(copy, "child", [key]);
    equal(found!.faults[0]!.object, tip);
    match(found!.faults[0]!.what, expected);
  }
});
