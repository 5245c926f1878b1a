import {
  type HttpRequest,
  type HttpResponse,
  type HttpSink,
  type MessageSocket,
  type StreamHandler,
  WebSocketCode,
} from "../../transport/transport.ts";
import type { CallSurroundings } from "./gateway-call.ts";
import { GatewayStream } from "./gateway-stream.ts";
import type { GatewayMethod } from "./methods.ts";

export interface SocketCall {
  readonly method: GatewayMethod;
  readonly request: HttpRequest;
  readonly handler: StreamHandler;
  readonly surroundings: CallSurroundings;
  /** The request that a message is. */
  readonly read: (message: Buffer) => Buffer;
  /** What went wrong with one, as gRPC would say it. */
  readonly failureOf: (error: unknown) => { code: number; message: string };
}

/**
 * A streaming call by a WebSocket, as an etcd takes it: each message of the client's is a request, each response one of
 * ours; at the call's end comes the error, if it is one, and the socket is closed. The token comes in the
 * subprotocols ("Bearer, TOKEN"), for a page can send no Authorization.
 */
export function socketAnswer(call: SocketCall): HttpResponse {
  const token = tokenOf(call.request);
  const headers = token === null ? {} : { "sec-websocket-protocol": "Bearer" };
  return { status: 200, headers, body: "", webSocket: (socket) => serve(call, withToken(call.request, token), socket) };
}

function serve(call: SocketCall, request: HttpRequest, socket: MessageSocket): void {
  const { method, handler, surroundings } = call;
  const stream = new GatewayStream(method, request, surroundings, null);
  void stream.answer.then(({ body }) => {
    // Without one the client has gone.
    if (typeof body === "function") body(sinkOf(socket));
  });
  const fail = (error: unknown): void => {
    const { code, message } = call.failureOf(error);
    stream.cancel();
    socket.send(Buffer.from(JSON.stringify({ error: { code, message } })));
    socket.close(WebSocketCode.normal);
  };
  const takesOne = method.kind === "server_streaming";
  stream.onTaken = () => socket.resume();
  socket.onMessage = (message) => {
    try {
      if (!stream.add(call.read(message))) socket.pause();
      if (!takesOne) return;
      // Nothing of what follows the one request is looked at.
      socket.onMessage = () => {};
      stream.endRequests();
    } catch (error) {
      fail(error);
    }
  };
  try {
    handler(stream);
    stream.start();
  } catch (error) {
    fail(error);
  }
}

/** Each line is a message of its own. */
function sinkOf(socket: MessageSocket): HttpSink {
  const sink: HttpSink = {
    write: (line) => socket.send(line.subarray(0, line.length - 1)),
    onDrain: () => {},
    end: () => socket.close(WebSocketCode.normal),
    abort: () => socket.close(WebSocketCode.internalError),
  };
  socket.onDrain = () => sink.onDrain();
  return sink;
}

function tokenOf({ headers }: HttpRequest): string | null {
  return /^Bearer *, *(\S+)$/.exec(headers.get("sec-websocket-protocol") ?? "")?.[1] ?? null;
}

function withToken(request: HttpRequest, token: string | null): HttpRequest {
  if (token === null) return request;
  return { ...request, headers: new Map(request.headers).set("authorization", `Bearer ${token}`) };
}
