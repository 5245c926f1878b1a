import { readFileSync } from "node:fs";
import type { Command } from "commander";
import { fileTrouble } from "../base/errors.ts";
import type { BranchTrace } from "../readers/trace.ts";
import { CommandError, UsageError } from "./errors.ts";
import { type OfflineContext, offline } from "./offline.ts";
import { print } from "./output.ts";

/** `t4 verify BRANCH`: proves the chain of one branch, and of its ancestors. */
export async function traceOne(command: Command, branch: string, trust: readonly string[]): Promise<void> {
  const { trustedKeyOf } = await import("../storage/checkpoint-signature.ts");
  const trusted = trust.map((file) => {
    try {
      return trustedKeyOf(readFileSync(file, "utf8"));
    } catch (error) {
      throw new UsageError(`--trust: ${file}: ${fileTrouble(error)}`);
    }
  });
  await offline(command, (context) => trace(context, branch, trusted));
}

async function trace(context: OfflineContext, branch: string, trusted: readonly string[]): Promise<void> {
  const [{ traceBranch }, { findBranch }, { readNames }] = await Promise.all([
    import("../readers/trace.ts"),
    import("../readers/open-offline.ts"),
    import("../engine/branches/branch-list.ts"),
  ]);
  const { id } = await findBranch(context, branch);
  const traces = await traceBranch({ ...context, trusted }, id);
  const faults = traces.flatMap((each) => each.faults);
  if (context.format === "json") print(JSON.stringify({ ok: faults.length === 0, branches: traces }));
  else {
    const named = (await readNames(context)).filter(({ body }) => !body.tombstone);
    const names = new Map(named.map(({ name, body }) => [body.branch, name]));
    for (const each of traces) for (const line of linesOf(each, names.get(each.branch) ?? each.branch)) print(line);
    for (const { object, what } of faults) print(`fault: ${object}: ${what}`);
  }
  if (faults.length > 0) throw new CommandError(`${faults.length} ${faults.length === 1 ? "fault" : "faults"} found`);
}

function* linesOf(trace: BranchTrace, name: string): Generator<string> {
  const { tip, tipRevision, signatures, proved, thinned, segments, revision, parent, forkRevision, link } = trace;
  yield `branch ${name}: revision ${revision}`;
  yield `  log: ${segments} segments behind the tip, each naming the hash of the one before`;
  yield tip === null
    ? "  no checkpoint of its own yet, so nothing of its own is signed"
    : `  tip: checkpoint ${tip.slice(0, 12)}, revision ${tipRevision}`;
  for (const { publicKey, fits, trusted } of signatures) {
    yield `  signed by ${publicKey}${fits ? "" : ", WRONG"}${trusted ? ", trusted" : ""}`;
  }
  if (tip !== null && signatures.length === 0) yield "  not signed";
  yield `  proved of its history: ${proved.length} retained checkpoints`;
  for (const { from, to } of thinned) yield `  thinned out by retention: numbers ${from} to ${to}`;
  if (parent === null) yield "  a root: it was cut off no other branch";
  else yield `  cut at revision ${forkRevision}; ${link}`;
}
