import { isPromise, type MaybePromise } from "../../base/maybe-promise.ts";
import {
  type Encodable,
  GrpcError,
  type HttpHandler,
  type HttpRequest,
  type HttpResponse,
  inPieces,
  type Pieces,
  type Routes,
  type StreamHandler,
  type UnaryHandler,
} from "../../transport/transport.ts";
import { codes } from "../errors.ts";
import type { ServiceTimers } from "../settings.ts";
import { answeredHeaders, errorAnswer, jsonAnswer } from "./answers.ts";
import { GatewayCall } from "./gateway-call.ts";
import { socketAnswer } from "./gateway-socket.ts";
import { GatewayStream } from "./gateway-stream.ts";
import { JsonPieces } from "./json-pieces.ts";
import { JsonTextError, JsonTexts } from "./json-text.ts";
import { requestBytes, responseJson } from "./messages.ts";
import { type GatewayMethod, gatewayMethods } from "./methods.ts";

export interface GatewaySettings {
  /** The handlers of gRPC: what is there is offered as JSON, too. */
  readonly routes: Pick<Routes, "unary" | "streams">;
  readonly timers: Pick<ServiceTimers, "set">;
  readonly monotonicMs: () => number;
  /** As gRPC's own limit of a message (B1.1). */
  readonly messageBytesMax: number;
  readonly onBug: (error: unknown) => void;
}

/**
 * What is not given in pieces is made into JSON as a whole, which takes ten times as much for a moment. A larger answer
 * of a transaction, or a list of a million leases, is had by gRPC.
 */
const WHOLE_BYTES_MAX = 16 << 20;

/** Requests of one body at most: a stream's requests are few, and each is kept until it is taken. */
const REQUESTS_MAX = 10_000;

/**
 * etcd's JSON gateway (B0, B1.15): POST /v3/…, and /t4/v1/… for branches, the request as JSON. Each request is turned
 * into the bytes that gRPC would have carried and given to the same handler, so nothing is decided here that gRPC
 * decides otherwise.
 */
export function gateway(settings: GatewaySettings): HttpHandler {
  const methods = new Map<string, GatewayMethod>();
  for (const method of gatewayMethods) for (const path of method.httpPaths) methods.set(path, method);
  return (request) => {
    const path = pathOf(request.target);
    const method = methods.get(path);
    if (method === undefined) return errorAnswer(codes.notFound, "Not Found");
    const stream = request.webSocket === true ? settings.routes.streams.get(method.grpcPath) : undefined;
    if (stream !== undefined) return callBySocket(settings, method, request, stream);
    if (request.method !== "POST") return errorAnswer(codes.unimplemented, "Method Not Allowed");
    try {
      return call(settings, method, request);
    } catch (error) {
      return answerOf(settings, error);
    }
  };
}

/** Without its query, and of the old name of the API. */
function pathOf(target: string): string {
  const [path = ""] = target.split("?", 1);
  return path.startsWith("/v3beta/") ? path.replace("/v3beta/", "/v3/") : path;
}

function call(settings: GatewaySettings, method: GatewayMethod, request: HttpRequest): MaybePromise<HttpResponse> {
  const unary = settings.routes.unary.get(method.grpcPath);
  if (unary !== undefined) return callUnary(settings, method, request, unary);
  const stream = settings.routes.streams.get(method.grpcPath);
  if (stream !== undefined) return callStream(settings, method, request, stream);
  const { name, service } = method;
  return errorAnswer(codes.unimplemented, `unknown method ${name} for service ${service}`);
}

function callUnary(
  settings: GatewaySettings,
  method: GatewayMethod,
  request: HttpRequest,
  handler: UnaryHandler,
): MaybePromise<HttpResponse> {
  const call = new GatewayCall(method.grpcPath, request, settings);
  try {
    checkTimeout(call, request);
    const message = firstRequest(settings, method, request.body);
    if (call.timeLeftMs() === 0) throw new GrpcError(codes.deadlineExceeded, "context deadline exceeded");
    const answer = handler(message, call);
    const respond = (response: Encodable): HttpResponse => {
      if (inPieces(response)) return answerInPieces(settings, { method, call, pieces: response });
      call.finish();
      checkSize(response);
      return jsonAnswer(JSON.stringify(responseJson(method, response)));
    };
    if (!isPromise(answer)) return respond(answer);
    // Whichever comes first is the answer; the other one is passed over.
    const late = Promise.withResolvers<never>();
    call.onExpired = () => late.reject(new GrpcError(codes.deadlineExceeded, "context deadline exceeded"));
    return Promise.race([answer.then(respond), late.promise]).catch((error: unknown) => {
      call.finish();
      return answerOf(settings, error);
    });
  } catch (error) {
    call.finish();
    throw error;
  }
}

/** Nobody may wait for it any more: then it is let go. */
function answerInPieces(
  { onBug }: GatewaySettings,
  { method, call, pieces }: { method: GatewayMethod; call: GatewayCall; pieces: Pieces },
): HttpResponse {
  const json = new JsonPieces(method, pieces, { call, onBug });
  return { status: 200, headers: answeredHeaders(), body: (sink) => json.start(sink) };
}

function checkSize(response: Encodable): void {
  const bytes = response.byteLength();
  if (bytes <= WHOLE_BYTES_MAX) return;
  const text = `the response is too large for JSON (${bytes} vs. ${WHOLE_BYTES_MAX} bytes): ask by gRPC, or for less`;
  throw new GrpcError(codes.resourceExhausted, text);
}

function callStream(
  settings: GatewaySettings,
  method: GatewayMethod,
  request: HttpRequest,
  handler: StreamHandler,
): Promise<HttpResponse> {
  const requests =
    method.kind === "server_streaming"
      ? [firstRequest(settings, method, request.body)]
      : allRequests(settings, method, request);
  const stream = new GatewayStream(method, request, settings, requests);
  try {
    checkTimeout(stream, request);
    handler(stream);
    stream.start();
  } catch (error) {
    stream.cancel();
    stream.finish();
    throw error;
  }
  return stream.answer;
}

/** Its head is no body: what is wrong with a request is told by the socket. */
function callBySocket(
  settings: GatewaySettings,
  method: GatewayMethod,
  request: HttpRequest,
  handler: StreamHandler,
): HttpResponse {
  return socketAnswer({
    method,
    request,
    handler,
    surroundings: settings,
    read: (message) => firstRequest(settings, method, message),
    failureOf: (error) => failureOf(settings, error),
  });
}

function checkTimeout(call: GatewayCall, request: HttpRequest): void {
  if (!call.timeoutMalformed) return;
  throw new GrpcError(codes.invalidArgument, `invalid grpc-timeout: ${request.headers.get("grpc-timeout")}`);
}

/** An empty body is an empty request; what follows the first value is not looked at. */
function firstRequest(settings: GatewaySettings, method: GatewayMethod, body: Buffer): Buffer {
  const json = new JsonTexts(body, method.input).next();
  return bytesOf(settings, method, json === undefined ? {} : json);
}

function allRequests(settings: GatewaySettings, method: GatewayMethod, request: HttpRequest): Buffer[] {
  const texts = new JsonTexts(request.body, method.input);
  const requests: Buffer[] = [];
  for (let json = texts.next(); json !== undefined; json = texts.next()) {
    if (requests.length === REQUESTS_MAX) throw new JsonTextError(`over ${REQUESTS_MAX} requests in one body`);
    requests.push(bytesOf(settings, method, json));
  }
  return requests;
}

function bytesOf({ messageBytesMax }: GatewaySettings, method: GatewayMethod, json: unknown): Buffer {
  const bytes = requestBytes(method, json);
  if (bytes.length <= messageBytesMax) return bytes;
  const text = `grpc: received message larger than max (${bytes.length} vs. ${messageBytesMax})`;
  throw new GrpcError(codes.resourceExhausted, text);
}

function answerOf(settings: GatewaySettings, error: unknown): HttpResponse {
  const { code, message } = failureOf(settings, error);
  return errorAnswer(code, message);
}

function failureOf({ onBug }: GatewaySettings, error: unknown): { code: number; message: string } {
  if (error instanceof JsonTextError) return { code: codes.invalidArgument, message: error.message };
  if (error instanceof GrpcError) return { code: error.code, message: error.message };
  // A text longer than the language can hold.
  if (error instanceof RangeError) {
    return { code: codes.resourceExhausted, message: "the response is too large for JSON" };
  }
  onBug(error);
  return { code: codes.internal, message: "internal error" };
}
