import { assert } from "../base/assert.ts";
import { isPromise, type MaybePromise } from "../base/maybe-promise.ts";
import type { TransportContext } from "./context.ts";
import { isFieldValue, isLowerCaseToken } from "./header-field.ts";
import type { HttpBody, HttpRequest, HttpResponse, HttpSink, MessageSocket } from "./transport.ts";

/**
 * A response that is ready for either protocol: names lower-case and checked, the body as bytes, its length among the
 * fields.
 */
export interface PreparedResponse {
  readonly status: number;
  readonly fields: Record<string, string>;
  readonly body: Buffer | HttpBody;
  readonly webSocket?: (socket: MessageSocket) => void;
}

/** Who waits to hear that the client of one exchange has gone. */
export class Departure {
  private gone = false;
  private handlers: (() => void)[] | null = null;

  readonly onGone = (handler: () => void): void => {
    if (this.gone) handler();
    else if (this.handlers === null) this.handlers = [handler];
    else this.handlers.push(handler);
  };

  /** The client has gone, or the answer is complete: then nobody is told any more. */
  end(context: TransportContext, gone: boolean): void {
    const { handlers } = this;
    this.handlers = null;
    this.gone ||= gone;
    if (!gone || handlers === null) return;
    for (const handler of handlers) {
      try {
        handler();
      } catch (error) {
        context.onBug(error);
      }
    }
  }
}

/** Starts a body that is made as it goes. What it throws is a bug, and the client sees that the body is cut. */
export function startBody(context: TransportContext, body: HttpBody, sink: HttpSink): void {
  try {
    body(sink);
  } catch (error) {
    context.onBug(error);
    sink.abort();
  }
}

/**
 * Runs the handler of plain HTTP requests. Never throws or rejects: a handler that does is a bug, answered with 500.
 */
export function answerHttp(context: TransportContext, request: HttpRequest): MaybePromise<PreparedResponse> {
  try {
    const response = context.router.routes.http(request);
    if (!isPromise(response)) return prepare(response);
    return response.then(prepare).catch((error: unknown) => failed(context, error));
  } catch (error) {
    return failed(context, error);
  }
}

export const httpBodyBytesMax = ({ settings }: TransportContext): number =>
  settings.httpBodyBytesMax ?? settings.messageBytesMax;

export const plainResponse = (status: number, text: string): PreparedResponse =>
  prepare({ status, headers: { "content-type": "text/plain; charset=utf-8" }, body: `${text}\n` });

function failed(context: TransportContext, error: unknown): PreparedResponse {
  context.onBug(error);
  return plainResponse(500, "internal error");
}

/** The framing is the transport's: these are not a handler's to set. */
const framing = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade", "content-length"]);

function prepare(response: HttpResponse): PreparedResponse {
  const { status } = response;
  assert(Number.isInteger(status) && status >= 200 && status <= 599, "a response has a final status");
  const fields: Record<string, string> = {};
  for (const [name, value] of Object.entries(response.headers)) {
    const lowerCase = name.toLowerCase();
    assert(isLowerCaseToken(lowerCase), "a response's field names are tokens");
    assert(isFieldValue(value) && isLatin1(value), "a response's field values are lines of latin1");
    if (!framing.has(lowerCase)) fields[lowerCase] = value;
  }
  if (response.webSocket !== undefined) {
    return { status: 101, fields, body: Buffer.alloc(0), webSocket: response.webSocket };
  }
  if (typeof response.body === "function") {
    assert(status !== 204 && status !== 304, "a 204 or 304 has no body");
    return { status, fields, body: response.body };
  }
  const body = typeof response.body === "string" ? Buffer.from(response.body, "utf8") : response.body;
  const bodiless = status === 204 || status === 304;
  assert(!bodiless || body.length === 0, "a 204 or 304 has no body");
  if (!bodiless) fields["content-length"] = String(body.length);
  return { status, fields, body };
}

function isLatin1(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) > 0xff) return false;
  return true;
}
