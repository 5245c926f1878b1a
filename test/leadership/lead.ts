import { acquireLeadership } from "../../src/leadership/acquire.ts";
import { resolveBranch } from "../../src/leadership/branch-name.ts";
import { openDataDirectory } from "../../src/leadership/data-directory.ts";
import { BranchDisk } from "../../src/leadership/disk-identity.ts";
import { readOrigin } from "../../src/leadership/origin.ts";
import { openRepository } from "../../src/leadership/repository.ts";
import { NodeSession } from "../../src/leadership/session.ts";
import { defaultLeadershipSettings, defaultSessionSettings } from "../../src/leadership/settings.ts";
import { createTakeoverLog } from "../../src/log/fence.ts";
import { FileStore } from "../../src/objects/fs.ts";
import { createNodeRuntime } from "../../src/runtime/node.ts";

/**
 * A process that leads main of the store in argv[2] with the data directory in argv[3], says so in a line of JSON,
 * and waits to be killed.
 */
const [, , root = "", data = ""] = process.argv;
const runtime = createNodeRuntime();
const store = new FileStore(runtime, root);
const requestTimeoutMs = 5000;
const request = { timeoutMs: requestTimeoutMs };

const startedMs = performance.now();
const directory = await openDataDirectory(runtime, data);
const repository = await openRepository({ store, runtime, window: 8, requestTimeoutMs });
const { branch } = await resolveBranch(store, "main", runtime, request);
const session = new NodeSession({
  store,
  repositoryId: repository.id,
  runtime,
  node: directory.nodeName,
  directory: directory.identity,
  settings: defaultSessionSettings,
});
const disk = await BranchDisk.open({ directory: data, branch, runtime });
const { position } = await readOrigin(store, branch, request);
const takeoverLog = createTakeoverLog({
  runtime,
  store,
  branch,
  nonce: runtime.random.bytes(8).toString("hex"),
  window: repository.window,
  requestTimeoutMs,
  newestStart: async () => ({ id: "origin", position }),
});
const { leadership, localLog } = await acquireLeadership({
  store,
  repository,
  branch,
  branchName: "main",
  runtime,
  session,
  local: { disk, createLog: ({ path }) => runtime.disk.writeFile(`${path}/1`, Buffer.from("log")) },
  settings: { ...defaultLeadershipSettings, durabilityDefault: "local" },
  takeoverLog,
  onWaiting: () => {},
});
const tookMs = performance.now() - startedMs;
const { nextSlot } = takeoverLog.end;
console.log(JSON.stringify({ epoch: leadership.epoch, tail: localLog?.tail, nextSlot, tookMs }));
setInterval(() => {}, 1000);
