import type { MessageInitShape } from "@bufbuild/protobuf";
import { DbError } from "../../base/errors.ts";
import type { Branches, BranchInfo } from "../../engine/branches/branches.ts";
import type { Moment } from "../../engine/branches/moment.ts";
import {
  type BranchSchema,
  type Moment as MomentMessage,
  Repository,
  type State,
} from "../../gen/t4/v1/repository_pb.ts";
import { countOf, type UnaryMethod, unaryMethod } from "./method.ts";

const { method } = Repository;

/** The methods that make, show and change branches. */
export function branchMethods(branches: () => Branches): UnaryMethod[] {
  return [...lookMethods(branches), ...changeMethods(branches)];
}

const changeMethods = (branches: () => Branches): UnaryMethod[] => [
  unaryMethod({
    method: method.branchUpdate,
    names: ({ name }) => [name],
    run: async ({ name, protected: isProtected, expiresInMs, writeProtected }) => {
      const inMs = expiresInMs === undefined ? undefined : countOf("expires_in_ms", expiresInMs) || null;
      const asked = { name, protected: isProtected, expiresInMs: inMs, writeProtected };
      return { branch: branchMessage(await branches().update(asked)) };
    },
  }),
  unaryMethod({
    method: method.branchDelete,
    names: ({ name }) => [name],
    run: async ({ name }) => ({ branch: branchMessage(await branches().delete(name)) }),
  }),
  unaryMethod({
    // It cannot be asked whom it knows: main is.
    method: method.branchUndelete,
    names: () => [],
    run: async ({ name }) => ({ branch: branchMessage(await branches().undelete(name)) }),
  }),
  unaryMethod({
    method: method.branchPromote,
    names: ({ name, over }) => [name, over === "" ? "main" : over],
    run: async ({ name, over, keepAs, revoke }) => {
      const asked = { name, over: over === "" ? "main" : over, keepAs: keepAs === "" ? null : keepAs, revoke };
      const { promoted, replaced, revision } = await branches().promote(asked);
      return {
        promoted: branchMessage(promoted),
        ...(replaced !== null && { replaced: branchMessage(replaced) }),
        revision: BigInt(revision),
      };
    },
  }),
];

function lookMethods(branches: () => Branches): UnaryMethod[] {
  return [
    unaryMethod({
      method: method.branchCreate,
      names: ({ from }) => [fromOf(from)],
      run: async (request) => {
        const { name, from, stripAuth, stripLeases } = request;
        const { branch, revision } = await branches().create({
          name,
          from: fromOf(from),
          moment: momentOf(from?.moment),
          expiresInMs: countOf("expires_in_ms", request.expiresInMs) || null,
          stripAuth,
          stripLeases,
        });
        return { branch: branchMessage(branch), revision: BigInt(revision) };
      },
    }),
    unaryMethod({
      method: method.branchList,
      names: () => [],
      run: async ({ deleted }) => ({ branches: (await branches().list({ deleted })).map(branchMessage) }),
    }),
    unaryMethod({
      method: method.branchShow,
      names: ({ name }) => [name],
      run: async ({ name }) => {
        const { branch, ancestry } = await branches().show(name);
        return { branch: branchMessage(branch), ancestry: ancestry.map(branchMessage) };
      },
    }),
  ];
}

/** Of no branch named: main. */
const fromOf = (from: State | undefined): string => (from === undefined || from.branch === "" ? "main" : from.branch);

export const branchMessage = (branch: BranchInfo): MessageInitShape<typeof BranchSchema> => ({
  name: branch.name,
  id: branch.id,
  parentId: branch.parentId ?? "",
  parentName: branch.parentName ?? "",
  forkRevision: BigInt(branch.forkRevision),
  forkTimeMs: BigInt(branch.forkMs),
  protected: branch.protected,
  expiresMs: BigInt(branch.expiresMs ?? 0),
  deleted: branch.deleted,
  purgeMs: BigInt(branch.purgeMs ?? 0),
  revision: BigInt(branch.revision),
  open: branch.open,
  leader: branch.leader ?? "",
  frozen: branch.frozen,
  ...(branch.writeProtected !== null && { writeProtected: branch.writeProtected }),
});

/** Left out: the newest. */
export function momentOf(moment: MomentMessage | undefined): Moment {
  const at = moment?.at;
  switch (at?.case) {
    case "revision":
      return { kind: "revision", revision: countOf("revision", at.value) };
    case "timeMs":
      return { kind: "time", wallMs: countOf("time_ms", at.value) };
    case "checkpoint":
      if (at.value === "") throw new DbError("invalidArgument", "checkpoint: expected its id, or SLOT-N");
      return { kind: "checkpoint", name: at.value };
    default:
      return { kind: "newest" };
  }
}
