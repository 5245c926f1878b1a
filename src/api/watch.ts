import { unreachable } from "../base/assert.ts";
import type { DbError } from "../base/errors.ts";
import type { WatchMessage, WatchSink } from "../engine/engine.ts";
import type { StreamCall } from "./stream-call.ts";
import { headerOf } from "./wire/headers.ts";
import { decodeWatch } from "./wire/other-requests.ts";
import { WatchResponse } from "./wire/watch-responses.ts";

/**
 * etcdserverpb.Watch. Two-way back-pressure: while the client does not read, the engine is asked to stop, and the
 * client's own
 * requests are not read either, so that their answers cannot pile up.
 *
 * A client that has finished sending goes on being told of events until it cancels, as by etcd.
 */
export function watch(call: StreamCall): void {
  const { stream, database } = call;
  let paused = false;

  const sink: WatchSink = {
    send(message: WatchMessage): boolean {
      if (call.ended) return false;
      const flows = stream.send(new WatchResponse(headerOf(database), message));
      if (!flows && !paused) {
        paused = true;
        stream.pauseMessages();
      }
      return flows;
    },
    fail: (error: DbError) => call.fail(error),
  };
  const watchers = database.watch(sink);
  call.onEnd = () => watchers.close();

  stream.onMessage = (message) =>
    call.guard(() => {
      const request = decodeWatch(message);
      switch (request.kind) {
        case "create":
          return watchers.create(request.create);
        case "cancel":
          return watchers.cancel(request.watchId);
        case "progress":
          return watchers.progress();
        case "empty":
          return;
        default:
          return unreachable(request);
      }
    });
  stream.onDrain = () =>
    call.guard(() => {
      watchers.resume();
      // Resuming may have filled the queue again: then another drain follows.
      if (!paused || call.ended) return;
      paused = false;
      stream.resumeMessages();
    });
}
