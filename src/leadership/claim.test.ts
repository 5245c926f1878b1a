import { deepEqual, equal, match } from "node:assert/strict";
import { test } from "node:test";
import { epoch } from "../base/ids.ts";
import { type Claim, type Claimant, judge } from "./claim.ts";
import type { MemberState } from "./disk-identity.ts";
import type { LeaderRecord } from "./leader-record.ts";

const hex = (digit: string): string => digit.repeat(32);

const object: LeaderRecord = {
  epoch: epoch(4),
  session: "s-4",
  node: "other",
  addresses: ["http://other:2379"],
  durability: "object",
  inSync: [],
  released: false,
  tombstone: false,
};
const local: LeaderRecord = { ...object, durability: "local", inSync: [{ disk: hex("d"), generation: hex("1") }] };
const released = { ...object, released: true };
const releasedLocal: LeaderRecord = { ...local, inSync: [], released: true };

const mine: MemberState = { disk: hex("d"), present: hex("1"), next: null, established: true };

const claimant: Claimant = {
  durability: null,
  durabilityDefault: "object",
  changeDurability: false,
  ending: false,
  force: false,
  branchName: "main",
  localRefusal: null,
  disk: null,
  ownSession: null,
};

const take = (claim: Partial<Extract<Claim, { kind: "take" }>>): Claim => ({
  kind: "take",
  durability: "object",
  outlive: null,
  fence: true,
  disk: "none",
  warning: null,
  ...claim,
});

test("who may take a branch, and what must be dead and fenced first", () => {
  const table: [string, LeaderRecord | null, Partial<Claimant>, Claim][] = [
    ["never led", null, {}, take({ fence: false })],
    [
      "never led, local",
      null,
      { durabilityDefault: "local" },
      take({ fence: false, durability: "local", disk: "join" }),
    ],
    [
      "the flag goes before the default",
      null,
      { durability: "local" },
      take({ fence: false, durability: "local", disk: "join" }),
    ],
    ["released", released, {}, take({ fence: false })],
    ["held by another session", object, {}, take({ outlive: "s-4" })],
    ["held by a session of this process", object, { ownSession: "s-4" }, take({})],
    [
      "the branch's durability goes before the default",
      object,
      { durabilityDefault: "local" },
      take({ outlive: "s-4" }),
    ],
    ["local, the set is this disk", local, { disk: mine }, take({ durability: "local", disk: "keep" })],
    [
      "local, this disk joined and has made no log yet",
      local,
      { disk: { ...mine, established: false } },
      take({ durability: "local", disk: "join" }),
    ],
    [
      "local, as before, cut short at its swap",
      local,
      { disk: { ...mine, present: hex("0"), next: hex("1"), established: false } },
      take({ durability: "local", disk: "join" }),
    ],
    [
      "local, released: any disk",
      releasedLocal,
      { disk: mine },
      take({ durability: "local", fence: false, disk: "join" }),
    ],
    [
      "an opening whose swap was not applied",
      local,
      { disk: { ...mine, next: hex("2") } },
      { kind: "finishOpening", disk: hex("d"), generation: hex("2"), swapped: false },
    ],
    [
      "an opening whose swap was applied",
      local,
      { disk: { ...mine, present: hex("0"), next: hex("1") } },
      { kind: "finishOpening", disk: hex("d"), generation: hex("1"), swapped: true },
    ],
    [
      "a change of durability, asked for, after a clean stop",
      releasedLocal,
      { durability: "object", changeDurability: true },
      take({ fence: false }),
    ],
    [
      "a change to local, asked for, of a branch that is held",
      object,
      { durability: "local", changeDurability: true },
      take({ durability: "local", disk: "join", outlive: "s-4" }),
    ],
  ];
  for (const [name, record, who, expected] of table) deepEqual(judge(record, { ...claimant, ...who }), expected, name);
});

test("who is refused is told why, and what to do", () => {
  const table: [string, LeaderRecord | null, Partial<Claimant>, string, RegExp][] = [
    ["deleted", { ...object, tombstone: true }, {}, "notFound", /main is deleted/],
    [
      "another flag",
      object,
      { durability: "local" },
      "invalidArgument",
      /has durability object, not local.*--change-durability/,
    ],
    [
      "a change while not all is uploaded",
      local,
      { durability: "object", changeDurability: true },
      "invalidArgument",
      /disk d{32} of node other.*stop it cleanly/,
    ],
    ["no disk for local", local, { localRefusal: "a shared file system" }, "invalidArgument", /a shared file system/],
    [
      "another's disk",
      local,
      {},
      "storeRefused",
      /only disk d{32} of node other \(http:\/\/other:2379\).*--force-takeover/,
    ],
    [
      "another disk here",
      local,
      { disk: { ...mine, disk: hex("e") } },
      "storeRefused",
      /only disk d{32}.*not yet uploaded/,
    ],
    [
      "an old copy of the disk",
      local,
      { disk: { ...mine, present: hex("8"), next: hex("9") } },
      "storeRefused",
      /old copy of disk d{32}: the leader record shows generation 1{32}/,
    ],
    [
      "several disks",
      { ...local, inSync: [...local.inSync, { disk: hex("e"), generation: hex("1") }] },
      { disk: mine },
      "unimplemented",
      /2 disks/,
    ],
  ];
  for (const [name, record, who, kind, text] of table) {
    const claim = judge(record, { ...claimant, ...who });
    equal(claim.kind, "refused", name);
    if (claim.kind !== "refused") continue;
    equal(claim.error.kind, kind, name);
    match(claim.error.message, text, name);
  }
});

test("by force a stranger's disk joins anew, once the session is dead, and what is lost is said", () => {
  for (const disk of [null, { ...mine, disk: hex("e") }, { ...mine, present: hex("8") }]) {
    const claim = judge(local, { ...claimant, force: true, disk });
    equal(claim.kind, "take");
    if (claim.kind !== "take") continue;
    match(claim.warning ?? "", /disk d{32} of node other acknowledged in epoch 4 and had not uploaded is lost/);
    deepEqual({ ...claim, warning: null }, take({ durability: "local", disk: "join", outlive: "s-4" }));
  }
  deepEqual(judge(local, { ...claimant, force: true, disk: mine }), take({ durability: "local", disk: "keep" }));
});
