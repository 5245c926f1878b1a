import { assert } from "../base/assert.ts";
import type { PeerIdentity } from "../runtime/runtime.ts";
import type { Expiring } from "./deadlines.ts";
import { ErrorCode, FrameType } from "./frames.ts";
import { GrpcDeframer, type MessageSink } from "./grpc-deframer.ts";
import { GrpcCode, statusFields } from "./grpc-status.ts";
import type { H2Connection } from "./h2-connection.ts";
import { H2Stream } from "./h2-stream.ts";
import { TURN_COST_UNPACKED_BYTES } from "./limits.ts";
import type { RequestHead } from "./request-head.ts";
import { type Call, GrpcError } from "./transport.ts";

const NO_DEADLINE = Number.POSITIVE_INFINITY;

/** What unary and streaming calls share: who calls, deadline, cancellation, messages in, trailers out. */
export abstract class GrpcCall extends H2Stream implements Call, Expiring, MessageSink {
  readonly deadlineMs: number;
  deadlineIndex = -1;
  private deframer: GrpcDeframer | null = null;
  private cancelled = false;
  private onCancelled: (() => void)[] | null = null;
  /** When the message that is being received began; infinite between messages. */
  protected messageSinceMs = Number.POSITIVE_INFINITY;
  private endCode = -1;
  private endMessage = "";

  constructor(connection: H2Connection, id: number, head: RequestHead) {
    super(connection, id, head);
    const { timeoutMs } = head;
    this.deadlineMs = timeoutMs === undefined ? NO_DEADLINE : connection.turnMs + timeoutMs;
    if (timeoutMs !== undefined) connection.context.deadlines.add(this);
  }

  /** One message of the client. May throw a GrpcError. */
  protected abstract accept(message: Buffer): void;

  get path(): string {
    return this.head.path;
  }

  get authority(): string {
    return this.head.authority;
  }

  get remoteAddress(): string {
    return this.connection.remoteAddress;
  }

  get peer(): PeerIdentity | null {
    return this.connection.peer;
  }

  get label(): string | undefined {
    return this.connection.context.router.routes.label;
  }

  get shared(): { known: unknown } {
    return this.head.shared;
  }

  metadata(name: string): string | undefined {
    for (const field of this.head.fields) if (field.name === name) return field.value;
    return undefined;
  }

  timeLeftMs(): number | undefined {
    if (this.deadlineMs === NO_DEADLINE) return undefined;
    return Math.max(0, this.deadlineMs - this.connection.context.clock.monotonicMs());
  }

  onCancel(handler: () => void): void {
    if (this.cancelled) handler();
    else if (this.onCancelled === null) this.onCancelled = [handler];
    else this.onCancelled.push(handler);
  }

  expire(): void {
    this.connection.guard(() => {
      assert(!this.closed, "a call that is over has no deadline");
      if (this.cutsAnswer) this.cut();
      else {
        this.finish(GrpcCode.deadlineExceeded, "context deadline exceeded");
        this.cancel();
      }
    });
  }

  /** A message has begun to leave, or is queued, whose rest would not be sent if the call ended now. */
  protected get cutsAnswer(): boolean {
    return this.queuedBytes > 0;
  }

  /**
   * Ends the call amid a message. Trailers there are wrong to a client that reads the message first: grpc-go tells
   * "unexpected EOF" instead of the deadline. Once that has passed for it, too, it takes a cancellation for it.
   */
  private cut(): void {
    this.connection.sender.output.uint32Frame(FrameType.rstStream, this.id, ErrorCode.cancel);
    this.takeReset();
    this.connection.touch();
  }

  /** The response ends, after what is queued. */
  protected finish(code: number, message: string): void {
    if (this.closed || this.endCode >= 0) return;
    this.endCode = code;
    this.endMessage = message;
    if (this.queuedBytes === 0) this.sendEnd();
    this.connection.touch();
  }

  takeMessage(message: Buffer): void {
    this.messageSinceMs = Number.POSITIVE_INFINITY;
    // A message that came before in the same frame may have ended the call.
    if (!this.closed && this.endCode < 0) this.accept(message);
  }

  protected get ending(): boolean {
    return this.endCode >= 0;
  }

  /** Ends the call with what was thrown. */
  protected fail(error: unknown): void {
    if (error instanceof GrpcError) this.finish(error.code, error.message);
    else {
      this.connection.context.onBug(error);
      this.finish(GrpcCode.internal, "internal error");
    }
  }

  protected override receive(bytes: Buffer, start: number, end: number): void {
    // What comes after the answer's end was decided is not wanted.
    if (this.ending) return;
    try {
      this.deframer ??= new GrpcDeframer({
        bytesMax: this.connection.context.settings.messageBytesMax,
        encoding: this.head.grpcEncoding,
        budget: this.connection.assemblyBudget,
        onUnpacked: (count) => this.connection.input.spend((count / TURN_COST_UNPACKED_BYTES) | 0),
      });
      this.deframer.push(bytes, start, end, this);
      if (this.messageSinceMs === Number.POSITIVE_INFINITY && this.midMessage) {
        this.messageSinceMs = this.connection.turnMs;
      }
    } catch (error) {
      this.deframer?.close();
      this.fail(error);
    }
  }

  giveUpRequest(): void {
    if (!this.midMessage) return;
    this.deframer!.close();
    this.fail(new GrpcError(GrpcCode.resourceExhausted, "grpc: too many bytes in unfinished messages"));
  }

  protected get midMessage(): boolean {
    return this.deframer?.midMessage === true;
  }

  get endsWithData(): boolean {
    return false;
  }

  sendEnd(): void {
    if (this.endCode < 0) return;
    const { output, encoder } = this.connection.sender;
    if (!this.headersSent) {
      const fields = { "content-type": "application/grpc", ...statusFields(this.endCode, this.endMessage) };
      output.headers(this.id, encoder.response(200, fields), true);
    } else if (this.endCode === 0 && this.endMessage === "") {
      output.headers(this.id, encoder.okTrailers(), true);
    } else output.headers(this.id, encoder.fields(statusFields(this.endCode, this.endMessage)), true);
    this.endLocal();
  }

  onGone(): void {
    this.cancel();
  }

  onClosed(): void {
    this.deframer?.close();
    if (this.deadlineIndex >= 0) this.connection.context.deadlines.remove(this);
  }

  protected cancel(): void {
    if (this.cancelled) return;
    this.cancelled = true;
    const handlers = this.onCancelled;
    this.onCancelled = null;
    if (handlers === null) return;
    for (const handler of handlers) this.connection.tell(handler);
  }
}
