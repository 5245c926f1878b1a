import { DbError } from "../../base/errors.ts";
import type { BranchId } from "../../base/ids.ts";
import { acquireLeadership, endUnled, leaderRegister } from "../../leadership/acquire.ts";
import { createTakeoverLog } from "../../log/fence.ts";
import { originKey } from "../../objects/keys.ts";
import { BranchStarts } from "./branch-start.ts";
import type { BranchSurroundings } from "./open-branch.ts";

/** Others that take it meanwhile. */
const ATTEMPTS_MAX = 5;

/**
 * Ends a branch for ever (DESIGN: deleting a branch): a takeover with all its waits, and a fence, so that nobody who
 * led it has a write acknowledged any more; then the tombstone on its leader record, which stays; then its origin goes.
 * What it has alone goes in later collections. Each step may be the last: whoever calls again goes on.
 */
export async function purgeBranch(
  surroundings: BranchSurroundings,
  branch: { id: BranchId; name: string },
  signal: AbortSignal,
): Promise<void> {
  const { store, runtime, settings } = surroundings;
  const register = leaderRegister(store, branch.id, runtime);
  const request = { timeoutMs: settings.requestTimeoutMs, signal };
  for (let attempt = 0; ; attempt++) {
    const state = await register.read(request);
    if (state?.body.tombstone) break;
    if (attempt === ATTEMPTS_MAX) throw new DbError("leadershipLost", `branch ${branch.name} is led by others again`);
    // Nobody has led it, or can begin to once this is written: there is nobody to be outlived.
    if (state === null) await endUnled({ store, runtime, request }, branch.id, surroundings.session.node);
    else await bury(surroundings, branch, signal);
  }
  await store.delete(originKey(branch.id), request);
}

async function bury(
  { store, repository, runtime, session, settings, notices }: BranchSurroundings,
  { id, name }: { id: BranchId; name: string },
  signal: AbortSignal,
): Promise<void> {
  const { requestTimeoutMs } = settings;
  const starts = new BranchStarts(store, id, { timeoutMs: requestTimeoutMs, signal });
  const takeoverLog = createTakeoverLog({
    ...{ runtime, store, branch: id, requestTimeoutMs, signal },
    nonce: runtime.random.bytes(8).toString("hex"),
    window: repository.window,
    newestStart: () => starts.newest(),
  });
  const { leadership } = await acquireLeadership({
    ...{ store, repository, branch: id, branchName: name, runtime, session, takeoverLog, signal },
    local: { refusal: "a branch that is deleted needs no disk" },
    settings: settings.leadership,
    onWaiting: ({ node }) => notices.info("waits for its leader before it is deleted", { branch: name, node }),
    ending: true,
  });
  await leadership.bury();
}
