import { ConnectionError, ErrorCode, FrameType, WINDOW_BYTES_DEFAULT } from "./frames.ts";
import type { H2Output } from "./h2-output.ts";
import { CONNECTION_WINDOW_BYTES, HELD_BYTES_MAX } from "./limits.ts";

/** What the peer may send on the connection as a whole. Given back as it is taken, in large steps. */
export class ReceiveWindow {
  private readonly output: H2Output;
  private window = CONNECTION_WINDOW_BYTES;
  private taken = 0;
  private held = 0;

  constructor(output: H2Output) {
    this.output = output;
  }

  /** Grows the window from the protocol's default to ours. */
  open(): void {
    this.output.uint32Frame(FrameType.windowUpdate, 0, CONNECTION_WINDOW_BYTES - WINDOW_BYTES_DEFAULT);
  }

  take(bytes: number): void {
    this.window -= bytes;
    if (this.window < 0) {
      throw new ConnectionError(
        ErrorCode.flowControlError,
        "flow_control_error",
        "DATA beyond the connection's window",
      );
    }
    this.taken += bytes;
    if (this.taken >= CONNECTION_WINDOW_BYTES / 2) this.giveBack();
  }

  /** Bytes that wait for paused streams. */
  hold(bytes: number): void {
    this.held += bytes;
  }

  release(bytes: number): void {
    this.held -= bytes;
    // What streams held is let go at the connection's end, too.
    if (this.output.isClosed) return;
    if (this.taken >= CONNECTION_WINDOW_BYTES / 2) this.giveBack();
  }

  private giveBack(): void {
    if (this.held > HELD_BYTES_MAX) return;
    this.output.uint32Frame(FrameType.windowUpdate, 0, this.taken);
    this.window += this.taken;
    this.taken = 0;
  }
}
