import { assert } from "../base/assert.ts";
import type { TransportContext } from "./context.ts";
import { ConnectionError, ErrorCode, FrameType, WINDOW_BYTES_DEFAULT } from "./frames.ts";
import type { AssemblyBudget } from "./grpc-deframer.ts";
import type { H2Output } from "./h2-output.ts";
import {
  ASSEMBLY_BYTES_MIN,
  ASSEMBLY_BYTES_TOTAL_MAX,
  ASSEMBLY_MESSAGES_MAX,
  CONNECTION_WINDOW_BYTES,
  HELD_BYTES_MAX,
} from "./limits.ts";

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
    if (this.taken >= CONNECTION_WINDOW_BYTES / 2) this.giveBack();
  }

  private giveBack(): void {
    if (this.held > HELD_BYTES_MAX) return;
    this.output.uint32Frame(FrameType.windowUpdate, 0, this.taken);
    this.window += this.taken;
    this.taken = 0;
  }
}

/** Room for the unfinished messages of one connection, within that of all. */
export class ConnectionBudget implements AssemblyBudget {
  private readonly context: TransportContext;
  private left: number;

  constructor(context: TransportContext) {
    this.context = context;
    this.left = Math.max(ASSEMBLY_MESSAGES_MAX * context.settings.messageBytesMax, ASSEMBLY_BYTES_MIN);
  }

  reserve(bytes: number): boolean {
    if (bytes > this.left || bytes > ASSEMBLY_BYTES_TOTAL_MAX - this.context.assemblyBytes) return false;
    this.left -= bytes;
    this.context.assemblyBytes += bytes;
    return true;
  }

  release(bytes: number): void {
    this.left += bytes;
    this.context.assemblyBytes -= bytes;
    assert(this.context.assemblyBytes >= 0, "no more is given back than was reserved");
  }
}
