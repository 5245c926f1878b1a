import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import { fc } from "../../test/properties.ts";
import { DbError } from "../base/errors.ts";
import { branchId, epoch, type ObjectKey, recordNumber, revision, slot } from "../base/ids.ts";
import { decodeEnvelope, encodeEnvelope } from "../objects/envelope.ts";
import { leaderKey, nameKey, originKey, repositoryKey, sessionKey } from "../objects/keys.ts";
import { type BranchName, decodeBranchName } from "./branch-name.ts";
import { clusterId, mainBranchId, memberId, sessionId, sessionIdPrefix, sessionNumber } from "./identity.ts";
import { decodeLeaderRecord, type LeaderRecord } from "./leader-record.ts";
import { decodeOrigin, encodeOrigin, type Origin, rootOrigin } from "./origin.ts";
import { decodeRepository, encodeRepository } from "./repository.ts";
import { decodeSession, type SessionBody } from "./session-object.ts";

const hex = (digit: string): string => digit.repeat(32);
const repositoryId = "00112233445566778899aabbccddeeff";
const branch = mainBranchId(repositoryId);

const leader: LeaderRecord = {
  epoch: epoch(7),
  session: sessionId(repositoryId, "n1", 3),
  node: "n1",
  addresses: ["http://10.0.0.1:2379"],
  durability: "local",
  inSync: [{ disk: hex("d"), generation: hex("1") }],
  released: false,
  tombstone: false,
};
const session: SessionBody = {
  node: "n1",
  number: 3,
  nonce: hex("e"),
  state: "live",
  endedBy: null,
  termMs: 15_000,
  marginMs: 500,
  challenger: "n2",
  wallMs: 1_900_000_000_000,
  directory: { id: hex("f"), boot: "b0", device: "66309", inode: "18446744073709551615" },
};
const name: BranchName = { branch, protected: true, expiresMs: 1_900_000_000_000, tombstone: false };
const cut: Origin = {
  branch: branchId(hex("c")),
  parent: branch,
  checkpoint: { branch, nextSlot: slot(41), n: 2, sha256: "ab".repeat(32) },
  runs: [{ branch, first: slot(41), last: slot(44), lastRecord: recordNumber(90) }],
  position: {
    nextSlot: slot(1),
    highestEpoch: epoch(7),
    lastHash: "cd".repeat(32),
    lastRecord: recordNumber(90),
    lastRecordEpoch: epoch(6),
    revision: revision(77),
    wallMs: 1_900_000_000_000,
  },
};

const namedCut: Origin = { ...cut, name: "child" };

/** Hex digits over several lines. */
const hexOf = (text: string): string => text.replaceAll(/\s/g, "");

/** The bodies as they stand in buckets: a change here breaks every repository that exists. */
const golden: [string, ObjectKey, Buffer, string][] = [
  [
    "repository.json",
    repositoryKey,
    encodeRepository({ id: repositoryId, window: 8 }),
    hexOf(`
      54344f4201000100000000000000000000000000470000007b22666f726d6174223a312c227265706f7369746f7279223a223030
      313132323333343435353636373738383939616162626363646465656666222c2277696e646f77223a387d8664d6fc
    `),
  ],
  [
    "a root's origin",
    originKey(branch),
    encodeOrigin(rootOrigin(branch)),
    hexOf(`
      54344f42010004000000000000000000000000000b0100007b226272616e6368223a226661663636653733366235623432633062
      636661633039356633376534313763222c22636865636b706f696e74223a6e756c6c2c22706172656e74223a6e756c6c2c22706f
      736974696f6e223a7b226869676865737445706f6368223a302c226c61737448617368223a223030303030303030303030303030
      3030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030303030222c
      226c6173745265636f7264223a302c226c6173745265636f726445706f6368223a302c226e657874536c6f74223a312c22726576
      6973696f6e223a312c2277616c6c4d73223a307d2c2272756e73223a5b5d7d18970548
    `),
  ],
  [
    "a cut branch's origin, with its name",
    originKey(cut.branch),
    encodeOrigin(namedCut),
    hexOf(`
      54344f4201000400000000000000000000000000210200007b226272616e6368223a2263636363636363636363636363636363
      63636363636363636363636363636363222c22636865636b706f696e74223a7b226272616e6368223a22666166363665373336
      6235623432633062636661633039356633376534313763222c226e223a322c226e657874536c6f74223a34312c227368613235
      36223a226162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261
      6261626162616261626162616261626162227d2c226e616d65223a226368696c64222c22706172656e74223a22666166363665
      3733366235623432633062636661633039356633376534313763222c22706f736974696f6e223a7b226869676865737445706f
      6368223a372c226c61737448617368223a22636463646364636463646364636463646364636463646364636463646364636463
      64636463646364636463646364636463646364636463646364636463646364222c226c6173745265636f7264223a39302c226c
      6173745265636f726445706f6368223a362c226e657874536c6f74223a312c227265766973696f6e223a37372c2277616c6c4d
      73223a313930303030303030303030307d2c2272756e73223a5b7b226272616e6368223a226661663636653733366235623432
      633062636661633039356633376534313763222c226669727374223a34312c226c617374223a34342c226c6173745265636f72
      64223a39307d5d7d35f86bc7
    `),
  ],
  [
    "a cut branch's origin, of an earlier version",
    originKey(cut.branch),
    encodeOrigin(cut),
    hexOf(`
      54344f4201000400000000000000000000000000120200007b226272616e6368223a226363636363636363636363636363636363
      636363636363636363636363636363222c22636865636b706f696e74223a7b226272616e6368223a226661663636653733366235
      623432633062636661633039356633376534313763222c226e223a322c226e657874536c6f74223a34312c22736861323536223a
      22616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261626162616261
      62616261626162616261626162227d2c22706172656e74223a226661663636653733366235623432633062636661633039356633
      376534313763222c22706f736974696f6e223a7b226869676865737445706f6368223a372c226c61737448617368223a22636463
      64636463646364636463646364636463646364636463646364636463646364636463646364636463646364636463646364636463
      646364636463646364222c226c6173745265636f7264223a39302c226c6173745265636f726445706f6368223a362c226e657874
      536c6f74223a312c227265766973696f6e223a37372c2277616c6c4d73223a313930303030303030303030307d2c2272756e7322
      3a5b7b226272616e6368223a226661663636653733366235623432633062636661633039356633376534313763222c2266697273
      74223a34312c226c617374223a34342c226c6173745265636f7264223a39307d5d7da1385de4
    `),
  ],
  [
    "a branch's name",
    nameKey("main"),
    encodeEnvelope(nameKey("main"), { counter: 1, body: name }),
    hexOf(`
      54344f42010002000000000001000000000000006a0000007b226272616e6368223a226661663636653733366235623432633062
      636661633039356633376534313763222c22657870697265734d73223a313930303030303030303030302c2270726f7465637465
      64223a747275652c22746f6d6273746f6e65223a66616c73657d07d440cb
    `),
  ],
  [
    "a leader record",
    leaderKey(branch),
    encodeEnvelope(leaderKey(branch), { counter: 9, body: leader }),
    hexOf(`
      54344f4201000500000000000900000000000000030100007b22616464726573736573223a5b22687474703a2f2f31302e302e30
      2e313a32333739225d2c226475726162696c697479223a226c6f63616c222c2265706f6368223a372c22696e53796e63223a5b7b
      226469736b223a226464646464646464646464646464646464646464646464646464646464646464222c2267656e65726174696f
      6e223a223131313131313131313131313131313131313131313131313131313131313131227d5d2c226e6f6465223a226e31222c
      2272656c6561736564223a66616c73652c2273657373696f6e223a22373765306266646132326532373764312d30303030303030
      303033222c22746f6d6273746f6e65223a66616c73657dce9cef04
    `),
  ],
  [
    "a session",
    sessionKey(leader.session),
    encodeEnvelope(sessionKey(leader.session), { counter: 12, body: session }),
    hexOf(`
      54344f4201000300000000000c000000000000001a0100007b226368616c6c656e676572223a226e32222c226469726563746f72
      79223a7b22626f6f74223a226230222c22646576696365223a223636333039222c226964223a2266666666666666666666666666
      66666666666666666666666666666666666666222c22696e6f6465223a223138343436373434303733373039353531363135227d
      2c22656e6465644279223a6e756c6c2c226d617267696e4d73223a3530302c226e6f6465223a226e31222c226e6f6e6365223a22
      6565656565656565656565656565656565656565656565656565656565656565222c226e756d626572223a332c22737461746522
      3a226c697665222c227465726d4d73223a31353030302c2277616c6c4d73223a313930303030303030303030307ddd6864ad
    `),
  ],
];

test("every control object is written and read as documented", () => {
  for (const [what, key, bytes, expected] of golden) {
    equal(bytes.toString("hex"), expected, what);
    ok(decodeEnvelope(key, Buffer.from(expected, "hex")).counter >= 0, what);
  }
  deepEqual(decodeRepository(encodeRepository({ id: repositoryId, window: 8 })), { id: repositoryId, window: 8 });
  for (const origin of [rootOrigin(branch), cut, namedCut])
    deepEqual(decodeOrigin(origin.branch, encodeOrigin(origin)), origin);
  deepEqual(decodeLeaderRecord(JSON.parse(JSON.stringify(leader))), leader);
  deepEqual(decodeSession(JSON.parse(JSON.stringify(session))), session);
  deepEqual(decodeBranchName(JSON.parse(JSON.stringify(name))), name);
});

test("names that are functions of others are what they have always been", () => {
  equal(branch, "faf66e736b5b42c0bcfac095f37e417c");
  equal(clusterId(repositoryId, branch).toString(16), "595c28b733f96ada");
  equal(memberId(repositoryId, "n1").toString(16), "77e0bfda22e277d1");
  const prefix = sessionIdPrefix(repositoryId, "n1");
  equal(sessionId(repositoryId, "n1", 3), `${prefix}0000000003`);
  equal(sessionNumber(prefix, `${prefix}0000000003`), 3);
  for (const other of [
    "",
    prefix,
    `${prefix}3`,
    `${prefix}0000000000`,
    `${prefix}00000000031`,
    `x${prefix}0000000003`,
  ]) {
    equal(sessionNumber(prefix, other), null);
  }
  throws(() => memberId(repositoryId, "a\nb"), /a node's name/);
});

test("a field that is missing, unknown, of another kind or out of its bounds is refused by name", () => {
  const bodies: [(json: unknown) => unknown, object][] = [
    [decodeLeaderRecord, leader],
    [decodeSession, session],
    [decodeBranchName, name],
  ];
  for (const [decode, body] of bodies) {
    throws(() => decode(null), /is an object/);
    throws(() => decode([body]), /is an object/);
    throws(() => decode({ ...body, surprise: 1 }), /"surprise" is unknown/);
    for (const field of Object.keys(body)) {
      const { [field]: _, ...without } = body as Record<string, unknown>;
      throws(
        () => decode(without),
        new RegExp(`field ${field}: expected .*found nothing|${field} is an object`),
        field,
      );
      for (const wrong of [{}, -1, 0.5, 1e300, "\u0000", [[]]]) {
        throws(() => decode({ ...body, [field]: wrong }), new RegExp(field), `${field} = ${JSON.stringify(wrong)}`);
      }
    }
  }
});

test("a record that contradicts itself is refused", () => {
  throws(() => decodeLeaderRecord({ ...leader, durability: "object" }), /inSync: 1 disks in durability object/);
  throws(() => decodeLeaderRecord({ ...leader, released: true }), /inSync: 1 disks in a branch that is released/);
  throws(() => decodeLeaderRecord({ ...leader, inSync: [] }), /inSync: no disk in durability local/);
  throws(() => decodeLeaderRecord({ ...leader, inSync: [...leader.inSync, ...leader.inSync] }), /named twice/);
  throws(() => decodeSession({ ...session, state: "killed" }), /endedBy: null in a session that is killed/);
  throws(() => decodeSession({ ...session, endedBy: "n2" }), /endedBy: n2 in a session that is live/);
  const moved = decodeEnvelope(originKey(cut.branch), encodeOrigin(cut)).body;
  const elsewhere = encodeEnvelope(originKey(branch), { counter: 0, body: moved });
  throws(() => decodeOrigin(branch, elsewhere), /object branch\/.*\/origin: field branch: expected/);
});

test("a repository of a format to come is refused by name, not taken for a damaged one", () => {
  const bytes = encodeEnvelope(repositoryKey, { counter: 0, body: { format: 2, repository: repositoryId, window: 8 } });
  throws(
    () => decodeRepository(bytes),
    (error: DbError) => error.kind === "storeRefused" && /format 2/.test(error.message),
  );
});

test("whatever JSON a body holds, it is read or refused with an error that says what is wrong", () => {
  const fields = [...Object.keys(leader), ...Object.keys(session), ...Object.keys(name)];
  const almost = fc
    .constantFrom<object>(leader, session, name)
    .chain((body) =>
      fc
        .record({ field: fc.constantFrom(...fields), value: fc.jsonValue() })
        .map(({ field, value }) => ({ ...body, [field]: value })),
    );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), almost), (json) => {
      for (const decode of [decodeLeaderRecord, decodeSession, decodeBranchName]) {
        try {
          decode(json);
        } catch (error) {
          ok(error instanceof Error && error.name === "Error" && error.message.length > 5, String(error));
        }
      }
      try {
        decodeOrigin(branch, encodeEnvelope(originKey(branch), { counter: 0, body: json }));
      } catch (error) {
        ok(error instanceof DbError && error.kind === "corrupt", String(error));
      }
    }),
  );
});
