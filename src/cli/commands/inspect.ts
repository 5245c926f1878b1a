import { Command } from "commander";
import type { Slot } from "../../base/ids.ts";
import type { Described } from "../../readers/describe.ts";
import type { OfflineBranch } from "../../readers/open-offline.ts";
import { UsageError } from "../errors.ts";
import { momentOf } from "../moment.ts";
import { type OfflineContext, offline, offlineOptions } from "../offline.ts";
import { print } from "../output.ts";

/** Looks into a bucket without a server: nothing is ever written. */
export function inspectCommand(): Command {
  const command = new Command("inspect")
    .description("Shows what is in a store, at any moment that is retained, without a server")
    .addHelpText(
      "after",
      [
        "\nA moment (--at) is a revision, a time (2026-08-01T12:00:00Z, or 10m for ten minutes ago: the last revision",
        "at or before it), or a checkpoint (its id, how that begins, or SLOT-N).",
        "\nExamples:",
        "  t4 inspect key /config/a --history",
        "  t4 inspect key /config/ --prefix --at 2h",
        "  t4 inspect count --prefix /registry/ --at 120000",
        "  t4 inspect checkpoint --store 's3://bucket/prefix'",
        "  t4 inspect segment 42 --json",
      ].join("\n"),
    );
  command.addCommand(
    part("key", "a key, its history, or all keys with a prefix", (key, context, options) =>
      showKey(context, { ...options, key: key! }),
    )
      .argument("<key>")
      .option("--history", "every version that is kept, oldest first")
      .option("--prefix", "keys that begin with KEY")
      .option("--limit <number>", "most keys or versions; 0: all", "1000")
      .option("--at <moment>", "as it was then"),
  );
  command.addCommand(
    part("count", "the number of keys", (_argument, context, options) => showCount(context, options))
      .option("--prefix <text>", "of those that begin so", "")
      .option("--at <moment>", "as it was then"),
  );
  command.addCommand(
    part(
      "hash",
      "a hash that tells equal states (as HashKV), and one that tells equal entries",
      (_argument, context, options) => showHash(context, options),
    ).option("--at <moment>", "as it was then"),
  );
  command.addCommand(
    part("checkpoint", "the newest checkpoint, or another one", (name, context, options) =>
      showCheckpoint(context, { ...options, ...(name === undefined ? {} : { at: name }) }),
    )
      .argument("[checkpoint]")
      .option("--at <moment>", "the last one before it"),
  );
  command.addCommand(
    part("segment", "a segment of the log, or some in a row, with their records", async (text, context, options) => {
      const slots = slotsOf(text!);
      const { describeSegment } = await describing();
      const branch = await branchOf(context, options);
      const shown: Described[] = [];
      for (const slot of slots) shown.push(await describeSegment(context, branch, slot));
      return text!.includes("-") ? shown : shown[0]!;
    }).argument("<slots>", "12, or 12-40 for all of them"),
  );
  command.addCommand(
    part("table", "a table, by its name or six digits of its SHA-256", async (name, context, options) =>
      (await describing()).describeTable(context, name!, { blocks: options.blocks ?? false }),
    )
      .argument("<table>")
      .option("--blocks", "its blocks, with their sums"),
  );
  for (const kind of ["leader", "origin"] as const) {
    command.addCommand(
      part(kind, `the branch's ${kind}`, (_argument, context, options) => showOne(kind, context, options)),
    );
  }
  command.addCommand(
    part("session", "a node's session, or all", (id, context) => showNamed("session/", id, context)).argument("[id]"),
  );
  command.addCommand(
    part("name", "a branch's name, or all", (name, context) => showNamed("name/", name, context)).argument("[name]"),
  );
  return command;
}

interface Options {
  branch?: string;
  at?: string;
  prefix?: string | boolean;
  history?: boolean;
  limit?: string;
  blocks?: boolean;
}

/** More are not held at a time. */
const SLOTS_MAX = 1000;

/** "12", or "12-40" for all of them. */
function slotsOf(text: string): Slot[] {
  const [first, last = first] = text.split("-").map(Number);
  const isSlot = (slot: number | undefined): slot is number => Number.isSafeInteger(slot) && slot! >= 1;
  if (!/^\d+(-\d+)?$/.test(text) || !isSlot(first) || !isSlot(last) || last < first) {
    throw new UsageError(`bad slot "${text}": expected a number from 1, or two as 12-40`);
  }
  if (last - first >= SLOTS_MAX) throw new UsageError(`bad slots "${text}": at most ${SLOTS_MAX}`);
  return Array.from({ length: last - first + 1 }, (_, n) => (first + n) as Slot);
}

type Show = (
  argument: string | undefined,
  context: OfflineContext,
  options: Options,
) => Promise<Described | Described[]>;

function part(name: string, description: string, show: Show): Command {
  const command = new Command(name)
    .description(`Shows ${description}`)
    .option("--branch <name>", "which branch, by name or id", "main");
  for (const option of offlineOptions()) command.addOption(option);
  return command.action(async (...given: unknown[]) => {
    const self = given.at(-1) as Command;
    const options = self.opts<Options>();
    await offline(self, async (context) => {
      const shown = await show(self.args[0], context, options);
      if (context.format === "json") print(JSON.stringify(shown));
      else for (const line of linesOf(shown)) print(line);
    });
  });
}

const describing = () => import("../../readers/describe.ts");
const keys = () => import("../../objects/keys.ts");

async function branchOf(context: OfflineContext, { branch = "main" }: Options): Promise<OfflineBranch> {
  const { findBranch } = await import("../../readers/open-offline.ts");
  return findBranch(context, branch);
}

async function stateOf(context: OfflineContext, options: Options) {
  const { stateAt } = await import("../../readers/state-at.ts");
  return stateAt(context, await branchOf(context, options), momentOf(options.at));
}

type State = Awaited<ReturnType<typeof stateOf>>;

const asOf = (state: State): Described => ({
  revision: state.revision,
  time: state.wallMs === 0 ? null : new Date(state.wallMs).toISOString(),
  compactRevision: state.compactRevision,
});

async function showKey(context: OfflineContext, options: Options & { key: string }): Promise<Described> {
  const limit = Number(options.limit);
  if (!Number.isSafeInteger(limit) || limit < 0)
    throw new UsageError(`bad --limit "${options.limit}": expected a number`);
  const [{ describeVersion }, { versionsIn, liveIn }, { endOfPrefix }] = await Promise.all([
    describing(),
    import("../../readers/versions-in.ts"),
    import("../../engine/lease-key.ts"),
  ]);
  const from = Buffer.from(options.key).latin1Slice();
  const range = { from, to: options.prefix === true ? endOfPrefix(from) : `${from}\0` };
  const state = await stateOf(context, options);
  try {
    const read = options.history ? versionsIn : liveIn;
    const { versions, more } = await read(state, range, limit);
    return { asOf: asOf(state), [options.history ? "versions" : "keys"]: versions.map(describeVersion), more };
  } finally {
    await state.close();
  }
}

async function showCount(context: OfflineContext, options: Options): Promise<Described> {
  const { endOfPrefix } = await import("../../engine/lease-key.ts");
  const { AT_HEAD, KEYS } = await import("../../storage/storage.ts");
  const from = Buffer.from(String(options.prefix ?? "")).latin1Slice();
  const state = await stateOf(context, options);
  try {
    return { asOf: asOf(state), count: await state.tree.count(KEYS, { from, to: endOfPrefix(from) }, AT_HEAD) };
  } finally {
    await state.close();
  }
}

async function showHash(context: OfflineContext, options: Options): Promise<Described> {
  const { hashOfState } = await import("../../readers/state-hash.ts");
  const state = await stateOf(context, options);
  try {
    return { asOf: asOf(state), ...(await hashOfState(state)) };
  } finally {
    await state.close();
  }
}

async function showCheckpoint(context: OfflineContext, options: Options): Promise<Described> {
  const [{ describeCheckpoint }, { checkpointKey }] = await Promise.all([describing(), keys()]);
  const { checkpointAt } = await import("../../readers/state-at.ts");
  const moment = momentOf(options.at);
  const checkpoint = await checkpointAt(context, await branchOf(context, options), moment);
  return describeCheckpoint(
    checkpointKey(checkpoint.branch, checkpoint.point.position.nextSlot, checkpoint.n),
    checkpoint,
  );
}

async function showOne(kind: "leader" | "origin", context: OfflineContext, options: Options): Promise<Described> {
  const [{ describeControl }, { leaderKey, originKey }] = await Promise.all([describing(), keys()]);
  const { id } = await branchOf(context, options);
  return describeControl(context, kind === "leader" ? leaderKey(id) : originKey(id));
}

async function showNamed(
  prefix: "session/" | "name/",
  name: string | undefined,
  context: OfflineContext,
): Promise<Described | Described[]> {
  const [{ describeAll, describeControl }, { isBranchName, isSessionId, nameKey, sessionKey }] = await Promise.all([
    describing(),
    keys(),
  ]);
  if (name === undefined) return describeAll(context, prefix);
  const valid = prefix === "name/" ? isBranchName(name) : isSessionId(name);
  if (!valid) throw new UsageError(`"${name}" is no ${prefix === "name/" ? "branch name" : "id of a session"}`);
  return describeControl(context, prefix === "name/" ? nameKey(name) : sessionKey(name));
}

/** Lines `name: value`, what lies deeper further to the right; a list's items behind dashes. */
function* linesOf(value: unknown, indent = ""): Generator<string> {
  if (Array.isArray(value)) {
    for (const item of value) {
      const lines = [...linesOf(item, `${indent}  `)];
      yield `${indent}- ${(lines[0] ?? "").trimStart()}`;
      yield* lines.slice(1);
    }
    if (value.length === 0 && indent === "") yield "none";
    return;
  }
  if (value === null || typeof value !== "object") {
    yield `${indent}${String(value)}`;
    return;
  }
  for (const [name, inner] of Object.entries(value)) {
    const empty = Array.isArray(inner) && inner.length === 0;
    if (inner === null || typeof inner !== "object" || empty)
      yield `${indent}${name}: ${empty ? "none" : String(inner)}`;
    else {
      yield `${indent}${name}:`;
      yield* linesOf(inner, `${indent}  `);
    }
  }
}
