import { deepEqual, equal, rejects, throws } from "node:assert/strict";
import { test } from "node:test";
import { changed } from "../../test/log/changed.ts";
import { fc } from "../../test/properties.ts";
import { BRANCH } from "../../test/storage/storage-bench.ts";
import { buildTable, runtime } from "../../test/storage/table-samples.ts";
import { tableRefOf } from "../../test/storage/table-verify.ts";
import { crc32c } from "../base/crc32c.ts";
import { DbError } from "../base/errors.ts";
import { branchId, type Epoch, type ObjectKey, type RecordNumber, type Revision, type Slot } from "../base/ids.ts";
import { checkpointKey } from "../objects/keys.ts";
import { MemoryBucket, MemoryStore } from "../objects/memory.ts";
import type { ObjectStore, PutOutcome } from "../objects/objects.ts";
import type { Checkpoint, CheckpointPosition } from "./checkpoint.ts";
import { decodeCheckpoint, encodeCheckpoint } from "./checkpoint-codec.ts";
import { defaultRetention } from "./checkpoint-retention.ts";
import { isSignedBy, signedPart, signerOf } from "./checkpoint-signature.ts";
import {
  CheckpointWriter,
  type CheckpointWriterOptions,
  newestCheckpoint,
  readCheckpoint,
} from "./checkpoint-store.ts";
import { provesLeaf } from "./mountain-range.ts";
import { type CheckpointPoint, KEYS } from "./storage.ts";

const options = { timeoutMs: 1000 };

const RFC_8032_SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
const GOLDEN_SIGNATURE =
  "40b5843ee3c82a49cd720fa2df01c17d72feb0c63d412a34c78700fab328b9d8" +
  "db1e61ae57a633db2f10704aca4364a9e26904151a8b787e69681498ae865507";
const GOLDEN_2_HEX =
  "5434435002000000000000000123456789abcdef0123456789abcdef02013563f24cc90b15ccf037a4ade38d89d569869252" +
  "0a0b0b6d36ca49d75890d30103010123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef1e011580" +
  "d095ffbc3106a0fe0ac25e6d62d2265b0464251fecfa68acc701010123456789abcdef0123456789abcdef0738e999b01db5" +
  "821638be2731a3e4b1f1425ac703abcf34be446cf2eb8e1d0fcea2011ac25e6d62d2265b0464251fecfa68acc70600016100" +
  "0002610000010001040002040100030102400fdbb104dddde7bbef735d99587fe6efa1a3a8115e65a07ffb6be0b293caad02" +
  "5ac4e88956912ad2ea9d4c8d80fd61234a16bbcdbdc2dc1cb83880477b1ad1920123456789abcdef0123456789abcdef0200" +
  "0ec0a90700013fb0e2dc7eb52519d68eaf346cd4cafc056cd16b20c28f13f421f18d8b6862503563f24cc90b15ccf037a4ad" +
  "e38d89d5698692520a0b0b6d36ca49d75890d3010123456789abcdef0123456789abcdef030015a0fe0a0101e967f4895a4e" +
  "89806d01980a343e78c459419b43aec537bdd2f417901cb06366015ac4e88956912ad2ea9d4c8d80fd61234a16bbcdbdc2dc" +
  "1cb83880477b1ad192013fb0e2dc7eb52519d68eaf346cd4cafc056cd16b20c28f13f421f18d8b68625000112fce9c";

function point(nextSlot: number, wallMs = nextSlot * 60_000): CheckpointPoint<CheckpointPosition> {
  const position: CheckpointPosition = {
    nextSlot: nextSlot as Slot,
    highestEpoch: 1 as Epoch,
    lastHash: "0123456789abcdef".repeat(4),
    lastRecord: (nextSlot * 10) as RecordNumber,
    lastRecordEpoch: 1 as Epoch,
    revision: (nextSlot * 7) as Revision,
    wallMs: 1_700_000_000_000,
  };
  return { position, compactRevision: 3 as Revision, wallMs };
}

function writer(
  store: ObjectStore,
  newest: Checkpoint | null,
  more: Partial<CheckpointWriterOptions> = {},
): CheckpointWriter {
  return new CheckpointWriter({
    store,
    runtime,
    branch: BRANCH,
    epoch: 2 as Epoch,
    newest,
    firstSlot: 1 as Slot,
    retention: defaultRetention,
    timeoutMs: 2000,
    ...more,
  });
}

async function sample(): Promise<{ bytes: Buffer; key: ObjectKey }> {
  const { key, body } = await buildTable([{ space: KEYS, key: "a", main: 4, value: "one", effect: 1 }]);
  const store = new MemoryStore(runtime);
  const first = await writer(store, null).write(point(2), []);
  const second = await writer(store, first).write(point(3), [[tableRefOf(key, body)]]);
  const third = await writer(store, second).write(point(3), [[tableRefOf(key, body)]]);
  const object = await store.get(checkpointKey(BRANCH, third.point.position.nextSlot, third.n), options);
  return { bytes: object!.body, key: checkpointKey(BRANCH, 3 as Slot, 1) };
}

const key3 = checkpointKey(BRANCH, 3 as Slot, 1);

test("a checkpoint's bytes are those of its format's versions, and come back as they were", async () => {
  const { bytes, key } = await sample();
  equal(key, key3);
  equal(bytes.toString("hex"), GOLDEN_2_HEX);
  for (const golden of [GOLDEN_HEX, GOLDEN_2_HEX]) {
    const { id, signatures: _signatures, ...fields } = decodeCheckpoint(key, Buffer.from(golden, "hex"));
    equal(id.length, 64);
    equal(encodeCheckpoint(fields).toString("hex"), golden);
    equal(fields.range.leaves, 2);
    deepEqual(
      fields.retained.map((each) => [each.nextSlot, each.n, each.proof.leaf]),
      [
        [2, 0, 0],
        [3, 0, 1],
      ],
    );
  }
});

/** The key of RFC 8032's first test, 7.1. */
const SIGNING_KEY = `-----BEGIN PRIVATE KEY-----
${Buffer.from(`302e020100300506032b657004220420${RFC_8032_SEED}`, "hex").toString("base64")}
-----END PRIVATE KEY-----
`;

test("a signature is Ed25519 of all before it, and comes back", () => {
  const { id: _id, signatures: none, ...fields } = decodeCheckpoint(key3, Buffer.from(GOLDEN_2_HEX, "hex"));
  deepEqual(none, []);
  const bytes = encodeCheckpoint(fields, signerOf(SIGNING_KEY));
  const { signatures } = decodeCheckpoint(key3, Buffer.from(bytes));
  equal(signatures!.length, 1);
  equal(signatures![0]!.publicKey, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
  equal(signatures![0]!.signature, GOLDEN_SIGNATURE);
  equal(bytes.toString("hex").slice(0, -8).endsWith(`01${signatures![0]!.publicKey}${GOLDEN_SIGNATURE}`), true);
  equal(isSignedBy(signatures![0]!, signedPart(bytes, signatures!)), true);
  const other = Buffer.from(signedPart(bytes, signatures!));
  other[40]! ^= 1;
  equal(isSignedBy(signatures![0]!, other), false);
});

test("any flipped bit is found and the object named", async () => {
  const { bytes, key } = await sample();
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const bad = Buffer.from(bytes);
    bad[bit >> 3]! ^= 1 << (bit & 7);
    throws(
      () => decodeCheckpoint(key, bad),
      (error) => named(error, key),
      `bit ${bit}`,
    );
  }
  for (let length = 0; length < bytes.length; length++) {
    throws(
      () => decodeCheckpoint(key, bytes.subarray(0, length)),
      (error) => named(error, key),
    );
  }
  throws(() => decodeCheckpoint(checkpointKey(BRANCH, 3 as Slot, 2), bytes), /holds checkpoint 3-1/);
});

const named = (error: unknown, key: ObjectKey): boolean =>
  error instanceof DbError && ["corrupt", "storeRefused"].includes(error.kind) && error.message.includes(key);

test("hostile fields under a right checksum are refused, not believed", async () => {
  const { bytes, key } = await sample();
  let decoded = 0;
  fc.assert(
    fc.property(fc.nat(bytes.length - 5), fc.nat(255), (at, byte) => {
      const bad = Buffer.from(bytes);
      bad[at] = byte;
      bad.writeUInt32LE(crc32c(bad, 0, bad.length - 4), bad.length - 4);
      try {
        decodeCheckpoint(key, bad);
        decoded++;
      } catch (error) {
        equal(named(error, key), true, String(error));
      }
    }),
    { numRuns: 3000 },
  );
  equal(decoded > 0, true);
});

test("checkpoints chain: each names its parent, and proves what it retains", async () => {
  const store = new MemoryStore(runtime);
  let newest = await newestCheckpoint(store, BRANCH, options);
  const ids: string[] = [];
  for (let slot = 2; slot < 60; slot++) {
    // A new writer now and then, as after a restart.
    const one: CheckpointWriter = writer(store, newest, { epoch: slot as Epoch });
    const made = await one.write(point(slot), []);
    equal(made.parent, newest?.id ?? null);
    equal(made.n, 0);
    equal(made.range.leaves, ids.length);
    for (const each of made.retained) {
      equal(provesLeaf(made.range, each.id, each.proof), true);
      equal(ids[each.proof.leaf], each.id);
      equal((await readCheckpoint(store, each, options))?.id, each.id);
    }
    ids.push(made.id);
    newest = await newestCheckpoint(store, BRANCH, options);
    equal(newest?.id, made.id);
  }
});

test("the newest is the one of the greatest slot, then n; also beyond one page of a listing", async () => {
  const store = new MemoryStore(runtime);
  equal(await newestCheckpoint(store, BRANCH, options), null);
  const retention = { ...defaultRetention, tiers: [] };
  let last = await newestCheckpoint(store, BRANCH, options);
  for (let i = 0; i < 1203; i++) {
    const before: Checkpoint | null = last;
    last = await writer(store, before, { retention }).write(point(2 + Math.floor(i / 3), i), []);
    equal(last.n, i % 3);
  }
  const newest = await newestCheckpoint(store, BRANCH, options);
  deepEqual([newest?.point.position.nextSlot, newest?.n, newest?.id], [402, 2, last?.id]);
  await store.put(`branch/${BRANCH}/checkpoint/strange` as ObjectKey, Buffer.of(1), {
    condition: { kind: "none" },
    ...options,
  });
  await rejects(newestCheckpoint(store, BRANCH, options), /strange/);
});

test("a name taken by a deposed leader: the next n; by a higher epoch: leadership is lost", async () => {
  const bucket = new MemoryBucket();
  const store = new MemoryStore(runtime, bucket);
  const base = await writer(store, null, { epoch: 1 as Epoch }).write(point(2), []);
  const deposed = await writer(store, base).write(point(5), []);
  const mine = await writer(store, base, { epoch: 3 as Epoch }).write(point(5), []);
  deepEqual([mine.n, mine.parent], [1, base.id]);
  equal(
    mine.retained.some((each) => each.id === deposed.id),
    false,
  );
  await rejects(
    writer(store, base).write(point(5, 1), []),
    (error) => error instanceof DbError && error.kind === "leadershipLost",
  );
  throws(() => writer(store, mine), /epoch 2 met a checkpoint of epoch 3/);
});

test("a checkpoint of unknown outcome becomes the parent of the next, or never exists", async () => {
  for (const applied of [true, false]) {
    const store = new MemoryStore(runtime);
    const put = store.put.bind(store);
    const one = writer(store, null, { timeoutMs: 150 });
    const unknown: PutOutcome = { kind: "unknown", cause: new Error("lost") };
    store.put = async (key, body, how) => {
      if (applied) await put(key, body, how);
      return unknown;
    };
    store.get = () => Promise.reject(new DbError("storeUnavailable", "no answer"));
    await rejects(one.write(point(2), []), (error) => error instanceof DbError && error.kind === "storeUnavailable");
    store.put = put;
    store.get = MemoryStore.prototype.get;
    const second = await one.write(point(3), []);
    const first = await readCheckpoint(store, { branch: BRANCH, nextSlot: 2 as Slot, n: 0 }, options);
    equal(second.parent, first?.id);
    equal(second.range.leaves, 1);
  }
});

test("a child's history begins with its origin's checkpoint as leaf 0", async () => {
  const store = new MemoryStore(runtime);
  const origin = await writer(store, null).write(point(9), []);
  const child = branchId("fedcba9876543210fedcba9876543210");
  const first = await writer(store, origin, { branch: child }).write(point(2), []);
  deepEqual(
    [first.branch, first.parent, first.range.leaves, first.retained.length, first.firstLogSlot],
    [child, origin.id, 1, 0, 1],
  );
  const second = await writer(store, first, { branch: child }).write(point(3), []);
  equal(second.range.leaves, 2);
  deepEqual(
    second.retained.map((each) => [each.id, each.proof.leaf]),
    [[first.id, 1]],
  );
});

/** Made once by format version 1; a checkpoint like it must be readable for ever. */
const GOLDEN_HEX = [
  "5434435001000000000000000123456789abcdef0123456789abcdef0201ec343be1aab36177aca1306e899b7dc8d3c9e54c",
  "34f14c436b6ab371d85643b303010123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef1e011580",
  "d095ffbc3106a0fe0ac25e6d62d2265b0464251fecfa68acc701010123456789abcdef0123456789abcdef0738e999b01db5",
  "821638be2731a3e4b1f1425ac703abcf34be446cf2eb8e1d0fcea2011ac25e6d62d2265b0464251fecfa68acc70600016100",
  "00026100000100010400020401000301023976aef50c99c89fcc42a436a40a735c9de5e5e9fa68f62dbf87d281cf70024d02",
  "5ac4e88956912ad2ea9d4c8d80fd61234a16bbcdbdc2dc1cb83880477b1ad1920123456789abcdef0123456789abcdef0200",
  "0ec0a90700011fd59586c4e80282ecac90eb847e716e683b22cdb7f26eba941e0e27bb09b0b0ec343be1aab36177aca1306e",
  "899b7dc8d3c9e54c34f14c436b6ab371d85643b30123456789abcdef0123456789abcdef030015a0fe0a0101e967f4895a4e",
  "89806d01980a343e78c459419b43aec537bdd2f417901cb0636606bc2ed4",
].join("");

test("nothing is thinned while this machine's clock and the store's differ by more than a minute", async () => {
  for (const [skewMs, kept] of [
    [null, 3],
    [61_000, 3],
    [-61_000, 3],
    [59_000, 1],
  ] as const) {
    const store = changed<ObjectStore>(new MemoryStore(runtime), { clockSkewMs: () => skewMs });
    const checkpoints = writer(store, null, { retention: { logMs: 0, tiers: [], checkpointsMax: 1 } });
    for (let slot = 2; slot <= 4; slot++) await checkpoints.write(point(slot), []);
    const newest = await checkpoints.write(point(5), []);
    equal(newest.retained.length, kept, `${skewMs} ms`);
    equal(newest.firstLogSlot, kept === 3 ? 1 : 4);
  }
});
