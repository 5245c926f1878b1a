import { create } from "@bufbuild/protobuf";
import type { StateName } from "../engine/branches/history.ts";
import type { Moment } from "../engine/branches/moment.ts";
import { type Moment as MomentMessage, MomentSchema, type State, StateSchema } from "../gen/t4/v1/repository_pb.ts";
import { UsageError } from "./errors.ts";
import { momentOf } from "./moment.ts";

/** NAME, or NAME@REVISION, NAME@TIME, NAME@CHECKPOINT; @… alone is of `branch`. */
export function stateNameOf(text: string, branch = "main"): StateName {
  const at = text.indexOf("@");
  const name = at < 0 ? text : text.slice(0, at);
  if (at < 0 && name === "") throw new UsageError("expected a branch, or BRANCH@MOMENT, not nothing");
  if (at === text.length - 1)
    throw new UsageError(`"${text}": expected a revision, a time or a checkpoint behind the @`);
  return {
    branch: name === "" ? branch : name,
    moment: momentOf(at < 0 ? undefined : text.slice(at + 1), Date.now(), text),
  };
}

export const stateMessage = ({ branch, moment }: StateName): State =>
  create(StateSchema, { branch, moment: momentMessage(moment) });

export function momentMessage(moment: Moment): MomentMessage {
  switch (moment.kind) {
    case "newest":
      return create(MomentSchema);
    case "revision":
      return create(MomentSchema, { at: { case: "revision", value: BigInt(moment.revision) } });
    case "time":
      return create(MomentSchema, { at: { case: "timeMs", value: BigInt(moment.wallMs) } });
    case "checkpoint":
      return create(MomentSchema, { at: { case: "checkpoint", value: moment.name } });
  }
}

export const stateText = ({ branch, moment }: StateName): string => {
  if (moment.kind === "newest") return branch;
  if (moment.kind === "time") return `${branch}@${new Date(moment.wallMs).toISOString()}`;
  return `${branch}@${moment.kind === "revision" ? moment.revision : moment.name}`;
};
