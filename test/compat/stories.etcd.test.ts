import { etcdIsMissing, startEtcd } from "./etcd-process.ts";
import { playAll } from "./play.ts";
import { overSocket } from "./socket-endpoint.ts";

/** A real etcd: that the stories and the recorded answers are true. */
playAll({
  missing: etcdIsMissing(),
  open: async (story) => overSocket(await startEtcd({ defaultTimings: story.defaultTimings === true })),
});
