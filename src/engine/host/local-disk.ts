import type { BranchId, Epoch } from "../../base/ids.ts";
import type { FencingLog } from "../../log/fence.ts";
import { LocalLog } from "../../log/local-log.ts";
import { type LocalLogContent, lastOfTail, readLocalLog } from "../../log/local-log-reader.ts";
import type { LogRecord } from "../../log/log.ts";
import { markOfPosition } from "../../log/record-codec.ts";
import { tailToReappend } from "../../log/tail.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { BranchStart } from "./branch-start.ts";
import type { Notices } from "./notices.ts";

export interface LocalDiskOptions {
  readonly runtime: Runtime;
  readonly branch: BranchId;
  readonly takeover: FencingLog<BranchStart>;
  readonly notices: Notices;
}

/**
 * Makes the local log of a disk that joins the in-sync set: empty, but for the frame that says which record goes
 * before, so that a crash right after leaves a log that can be told from a lost one.
 */
export async function createLocalLog(options: LocalDiskOptions, path: string, epoch: Epoch): Promise<void> {
  const { runtime, branch, takeover } = options;
  const content = await readLocalLog({ disk: runtime.disk, directory: path, branch });
  const { end } = takeover;
  const after = markOfPosition(end);
  const log = await LocalLog.start({
    runtime,
    directory: path,
    branch,
    epoch,
    content,
    after,
    uploaded: end.lastRecord,
    discard: true,
  });
  await log.close();
}

/** Reads the local log, and does what needs no leadership. */
export async function prepareLocalLog(
  { runtime, branch }: Pick<LocalDiskOptions, "runtime" | "branch">,
  path: string,
): Promise<LocalLogContent> {
  const content = await readLocalLog({ disk: runtime.disk, directory: path, branch });
  if (content.tail !== null) await LocalLog.prepare({ runtime, directory: path, content });
  return content;
}

/**
 * Opens the local log for writing in `epoch`; `tail` is what it has and the bucket has not. `prepared`: what
 * `prepareLocalLog` has given, if it was called.
 */
export async function openLocalLog(
  options: LocalDiskOptions,
  { path, epoch, prepared }: { path: string; epoch: Epoch; prepared: LocalLogContent | null },
): Promise<{ log: LocalLog; tail: readonly LogRecord[] }> {
  const { runtime, branch, takeover, notices } = options;
  const content = prepared ?? (await readLocalLog({ disk: runtime.disk, directory: path, branch }));
  for (const note of content.notes) notices.warn(note);
  const { end } = takeover;
  const tail = tailToReappend(end, content.tail);
  const after = content.tail === null ? markOfPosition(end) : lastOfTail(content.tail);
  const uploaded = end.lastRecord;
  const log = await LocalLog.start({
    runtime,
    directory: path,
    branch,
    epoch,
    content,
    after,
    uploaded,
    discard: false,
    prepared: prepared !== null && content.tail !== null,
  });
  for (const note of log.notes) notices.info(note);
  return { log, tail };
}
