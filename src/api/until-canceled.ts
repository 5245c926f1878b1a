import type { Call } from "../transport/transport.ts";

/** Fires when nobody waits for the call's answer any more: by cancellation, deadline, or the connection's end. */
export function untilCanceled(call: Pick<Call, "onCancel">): AbortSignal {
  const gone = new AbortController();
  call.onCancel(() => gone.abort());
  return gone.signal;
}
