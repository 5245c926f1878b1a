import { FloodKind } from "./flood-meter.ts";
import { ConnectionError, ErrorCode, FrameType, protocolError } from "./frames.ts";
import { statusFields } from "./grpc-status.ts";
import { StreamingCall } from "./grpc-streaming.ts";
import { UnaryCall } from "./grpc-unary.ts";
import type { H2Connection } from "./h2-connection.ts";
import { HttpExchange } from "./h2-http.ts";
import { HeadCache } from "./head-cache.ts";
import type { HeaderField } from "./header-field.ts";
import { HpackDecoder } from "./hpack-decoder.ts";
import { plainResponse } from "./http-exchange.ts";
import { HEADER_LIST_BYTES_MAX, TurnCost } from "./limits.ts";
import { areTrailers, type RequestHead, readRequestHead } from "./request-head.ts";
import type { Route } from "./router.ts";

/** What came with a header block, beside the block. */
export interface BlockFlags {
  readonly streamId: number;
  readonly endStream: boolean;
  /** Its priority makes the stream depend on itself. */
  readonly selfDependent: boolean;
}

/**
 * Header blocks of one connection: each is decoded, in order, and opens a stream, or ends one's request as trailers.
 */
export class H2Requests {
  private readonly connection: H2Connection;
  private readonly decoder = new HpackDecoder();
  private readonly cache = new HeadCache();

  constructor(connection: H2Connection) {
    this.connection = connection;
  }

  take(flags: BlockFlags, bytes: Buffer, start: number, end: number): void {
    const { decoder, connection } = this;
    connection.input.spend(TurnCost.block);
    const { generation } = decoder;
    const opens = flags.streamId > connection.streams.lastId;
    const seen = opens ? this.cache.find(bytes, start, end, generation) : undefined;
    if (seen !== undefined) {
      this.open(flags, seen);
      return;
    }
    const fields = decoder.decode(bytes, start, end, HEADER_LIST_BYTES_MAX);
    if (!opens) this.takeLater(flags, fields);
    else if (decoder.listBytes > HEADER_LIST_BYTES_MAX) this.refuseTooLarge(flags);
    else {
      const unrouted = readRequestHead(fields);
      if (typeof unrouted === "string") this.resetNew(flags, ErrorCode.protocolError);
      else {
        const { listBytes } = decoder;
        const route = connection.context.router.route(unrouted);
        const head: RequestHead = { ...unrouted, listBytes, route, shared: { known: null } };
        if (decoder.generation === generation) this.cache.keep(bytes, start, end, generation, head);
        this.open(flags, head);
      }
    }
  }

  private open(flags: BlockFlags, head: RequestHead): void {
    const { connection } = this;
    const { streamId, endStream } = flags;
    if (flags.selfDependent) this.resetNew(flags, ErrorCode.protocolError);
    else if (connection.streams.isFull) this.resetNew(flags, ErrorCode.refusedStream);
    else if (this.admit(flags)) {
      const { route } = head;
      switch (route.kind) {
        case "unary": {
          const call = new UnaryCall(connection, streamId, head, route.handler);
          connection.streams.add(call);
          if (endStream) call.takeEnd();
          break;
        }
        case "stream": {
          const call = new StreamingCall(connection, streamId, head);
          connection.streams.add(call);
          call.open(route.handler);
          if (endStream && !call.closed) call.takeEnd();
          break;
        }
        case "http": {
          const exchange = new HttpExchange(connection, streamId, head);
          connection.streams.add(exchange);
          if (endStream) exchange.takeEnd();
          break;
        }
        case "refuse":
          this.refuse(flags, route);
          break;
      }
    }
  }

  /** A block for a stream that is, or was, there. */
  private takeLater(flags: BlockFlags, fields: readonly HeaderField[]): void {
    const { connection } = this;
    const stream = connection.streams.get(flags.streamId);
    if (stream === undefined) this.passOver(flags.streamId);
    else if (stream.remoteEnded) stream.reset(ErrorCode.streamClosed);
    else if (!flags.endStream || flags.selfDependent || !areTrailers(fields)) {
      stream.reset(ErrorCode.protocolError);
    } else stream.takeEnd();
  }

  /** A block for a stream that is gone. */
  private passOver(streamId: number): void {
    const { connection } = this;
    if ((streamId & 1) === 0) throw evenId();
    connection.noteFlood(FloodKind.ignored);
    if (connection.streams.forgetEarly(streamId)) return;
    throw new ConnectionError(ErrorCode.streamClosed, "protocol_error", "HEADERS on a closed stream");
  }

  /** The stream's id is used up. False: it comes after the last one that we promised to take, and is passed over. */
  private admit({ streamId, endStream }: BlockFlags): boolean {
    const { connection } = this;
    if ((streamId & 1) === 0) throw evenId();
    connection.work++;
    connection.streams.lastId = streamId;
    if (!connection.farewell.isSaid) return true;
    if (!endStream) connection.streams.rememberEarly(streamId);
    return false;
  }

  private resetNew(flags: BlockFlags, code: number): void {
    if (!this.admit(flags)) return;
    const { connection } = this;
    connection.sender.output.uint32Frame(FrameType.rstStream, flags.streamId, code);
    if (!flags.endStream) connection.streams.rememberEarly(flags.streamId);
    connection.noteFlood(FloodKind.reset);
  }

  private refuse(flags: BlockFlags, route: Route & { kind: "refuse" }): void {
    this.respondOnce(flags, route.httpStatus, {
      "content-type": "application/grpc",
      "grpc-accept-encoding": "identity,gzip",
      ...statusFields(route.code, route.message),
    });
  }

  private refuseTooLarge(flags: BlockFlags): void {
    if (!this.admit(flags)) return;
    const { fields } = plainResponse(431, "");
    this.respondOnce(flags, 431, { ...fields, "content-length": "0" });
  }

  /** A response without a body to a request that is not looked at. */
  private respondOnce({ streamId, endStream }: BlockFlags, status: number, fields: Record<string, string>): void {
    const { output, encoder } = this.connection.sender;
    output.headers(streamId, encoder.response(status, fields), true);
    if (endStream) return;
    output.uint32Frame(FrameType.rstStream, streamId, ErrorCode.noError);
    this.connection.streams.rememberEarly(streamId);
  }
}

const evenId = (): ConnectionError => protocolError("a client's stream has an odd id");
