import { unreachable } from "../base/assert.ts";
import { type ErrorKind, isDbError } from "../base/errors.ts";
import type { WatchCreate, WatchMessage, WatchSink } from "../engine/engine.ts";
import { statusText } from "./errors.ts";
import type { StreamCall } from "./stream-call.ts";
import { headerOf } from "./wire/headers.ts";
import { decodeWatch } from "./wire/other-requests.ts";
import { WatchResponses } from "./wire/watch-responses.ts";

const responses = new WatchResponses();

/**
 * etcdserverpb.Watch. Two-way back-pressure: while the client does not read, the engine is asked to stop, and the
 * client's own requests are not read either, so that their answers cannot pile up.
 *
 * A client that has finished sending goes on being told of events until it cancels, as by etcd.
 */
export function watch(call: StreamCall): void {
  const { stream, database } = call;
  let paused = false;

  const sink: WatchSink = {
    send(message: WatchMessage): boolean {
      let flows = false;
      // The branch tells all its watchers in one go: what one client's message fails of is that client's alone.
      call.guard(() => {
        flows = stream.send(responses.of(headerOf(database), message));
      });
      if (!flows && !paused && !call.ended) {
        paused = true;
        stream.pauseMessages();
      }
      return flows;
    },
    hasRoom: (bytes) => stream.hasRoom(bytes),
    fail: (error) => call.fail(error),
  };
  const watchers = database.watch(sink);
  /** Whoever may not watch is told so in a message (W6); the stream and its other watchers go on. */
  const create = (request: WatchCreate): void => {
    try {
      watchers.create(request);
    } catch (error) {
      if (!isDbError(error) || !refusals.has(error.kind)) throw error;
      const revision = database.committed;
      const reason = statusText(error);
      sink.send({ kind: "canceled", id: -1n, revision, created: true, compactRevision: 0, reason });
    }
  };
  call.onEnd(() => watchers.close());

  stream.onMessage = (message) =>
    call.guard(() => {
      const request = decodeWatch(message);
      switch (request.kind) {
        case "create":
          return create(request.create);
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

const refusals: ReadonlySet<ErrorKind> = new Set([
  "userEmpty",
  "invalidAuthToken",
  "authOldRevision",
  "permissionDenied",
] as const);
